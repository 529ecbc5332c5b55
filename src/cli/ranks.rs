//! The processes that `mpirun` or another launcher of MPI has started, if one has.

use super::failure::Usage;
use super::terminal::Terminal;
use blt_wgpu::train::ranks::Ranks;
use std::sync::Arc;

/// What launchers tell every process of how many there are: Open MPI, then MPICH and others.
const COUNTS: [&str; 2] = ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"];
/// What launchers that use PMIx tell every process.
const PMIX: &str = "PMIX_RANK";

/// How the process was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Launch {
    /// By a person or a script.
    Alone,
    /// By a launcher, so often as it says, if it does.
    Launched(Option<usize>),
}

fn launch(variable: impl Fn(&str) -> Option<String>) -> Launch {
    let count = COUNTS.iter().find_map(|name| variable(name)?.trim().parse().ok());
    match (count, variable(PMIX)) {
        (None, None) => Launch::Alone,
        (count, _) => Launch::Launched(count),
    }
}

/// Joins the processes of this job; a process that no launcher has started is alone.
///
/// # Errors
/// If MPI cannot be had, by this build or on this machine.
pub fn join() -> anyhow::Result<Arc<Ranks>> {
    let ranks = match launch(|name| std::env::var(name).ok()) {
        Launch::Alone => Ranks::alone(),
        Launch::Launched(count) => joined(count)?,
    };
    Ok(Arc::new(ranks))
}

#[cfg(feature = "mpi")]
fn joined(_count: Option<usize>) -> anyhow::Result<Ranks> {
    Ok(Ranks::joined(blt_wgpu::train::ranks::MpiLink::new)?)
}

#[cfg(not(feature = "mpi"))]
fn joined(count: Option<usize>) -> anyhow::Result<Ranks> {
    match count {
        Some(count @ 2..) => Err(Usage::new(
            format!("this program was started {count} times and was built without MPI"),
            "build it with `--features mpi`, or start it once",
        )
        .into()),
        _ => Ok(Ranks::alone()),
    }
}

/// That what only a run of one process can do is not asked of several.
///
/// # Errors
/// [`Usage`] where it is.
pub fn only_alone(ranks: &Ranks, option: &str, instead: &str) -> anyhow::Result<()> {
    match ranks.is_alone() {
        true => Ok(()),
        false => {
            let count = ranks.place().count;
            Err(Usage::new(format!("{option} is for one process, and there are {count}"), instead)
                .into())
        }
    }
}

/// The terminal of this rank: messages and results are the first one's.
pub fn terminal(ranks: &Ranks, terminal: &Terminal) -> Terminal {
    Terminal {
        is_silent: terminal.is_silent || !ranks.is_first(),
        is_watched: terminal.is_watched && ranks.is_first(),
        ..*terminal
    }
}

/// What an error on one of several ranks begins with.
pub fn name(ranks: &Ranks) -> Option<String> {
    let place = ranks.place();
    (place.count > 1).then(|| format!("rank {} of {}", place.rank, place.count))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn launchers_are_known_by_what_they_tell() {
        let of = |variables: &[(&str, &str)]| {
            launch(|name| {
                let found = variables.iter().find(|(it, _)| *it == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), Launch::Alone);
        assert_eq!(of(&[("OMPI_COMM_WORLD_SIZE", "4")]), Launch::Launched(Some(4)));
        assert_eq!(of(&[("PMI_SIZE", "2"), ("PMIX_RANK", "1")]), Launch::Launched(Some(2)));
        assert_eq!(of(&[("PMIX_RANK", "0")]), Launch::Launched(None));
    }
}
