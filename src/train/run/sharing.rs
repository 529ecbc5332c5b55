//! What a run does where several ranks make it: all decide alike, and figures are added up.
//!
//! Every rank walks the same steps. What a decision depends on is the same on all of them (texts,
//! state of the device, scores) or is asked of all (whether to stop). What is counted is counted by
//! each rank for its own micro-batches, and added up by the first when it is written down.

use super::interval::Interval;
use super::job::Run;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::Hash;
use crate::platform::Platform;
use crate::train::config::RunConfig;
use crate::train::ranks::Ranks;

/// That every rank has something to do in an update.
///
/// # Errors
/// `Config` where there are more ranks than micro-batches.
pub(super) fn check_ranks(config: &RunConfig, ranks: &Ranks) -> Result<()> {
    let count = ranks.place().count as u64;
    if count <= config.grad_acc_steps {
        return Ok(());
    }
    let problem = format!(
        "expected at least a micro-batch for each of {count} ranks, got {}",
        config.grad_acc_steps
    );
    Err(Error::config("grad_acc_steps", problem).with_hint(
        "it counts the micro-batches of all ranks together, so that a run is the same on any \
         number of them",
    ))
}

/// What the person who runs it should know of how its work is shared.
pub(super) fn sharing_warnings(
    config: &RunConfig,
    ranks: &Ranks,
    scores_entropies: bool,
) -> Vec<String> {
    let (count, micro_count) = (ranks.place().count as u64, config.grad_acc_steps);
    let mut warnings = Vec::new();
    if micro_count % count != 0 {
        warnings.push(format!(
            "{micro_count} micro-batches an update (grad_acc_steps) are no multiple of {count} \
             ranks: some wait for others"
        ));
    }
    if count > 1 && scores_entropies {
        warnings.push(
            "every rank computes the entropies of all texts; `blt entropies` computes them once"
                .to_owned(),
        );
    }
    warnings
}

impl<E: Engine, P: Platform> Run<'_, E, P> {
    /// That all ranks make the same run, from the same state, on devices that compute the same.
    ///
    /// # Errors
    /// The first rank that differs from the first one, or that is gone.
    pub(super) async fn check_agreement(&self) -> Result<()> {
        if self.ranks.is_alone() {
            return Ok(());
        }
        let device = self.engine.fingerprint();
        let mut numbers = self.agreed(&self.trainer.train_state().await?);
        let device = [&device.name, &device.driver, &device.kernels];
        numbers.push(hash_of(&device.map(|text| text.as_bytes())));
        numbers.push(hash_of(&[self.config.to_toml()?.as_bytes()]));
        check_alike(&self.ranks.gather_numbers(&numbers)?, &["the device", "config.toml"])
    }

    /// Whether a rank was asked to stop. All answer alike.
    ///
    /// # Errors
    /// If a rank is gone.
    pub(super) fn is_stop_requested(&self) -> Result<bool> {
        self.ranks.any(self.platform.is_stop_requested())
    }

    /// Adds up what all ranks have counted: afterwards the first has the sums and the others have
    /// nothing. Gives the sum of `nats` too. `words` are the state of the device.
    ///
    /// # Errors
    /// If a rank is gone, or stands elsewhere than the others.
    pub(super) fn add_up_figures(&mut self, words: &[f32], nats: f64) -> Result<f64> {
        if self.ranks.is_alone() {
            return Ok(nats);
        }
        let mut numbers = self.agreed(words);
        let first = numbers.len();
        numbers.extend([nats, self.patch_count as f64]);
        numbers.extend(self.interval.numbers());
        let all = self.ranks.gather_numbers(&numbers)?;
        check_alike(&all, &[])?;
        let sum = |at: usize| all.iter().map(|numbers| numbers[at]).sum::<f64>();
        let sums: Vec<_> = (first..numbers.len()).map(sum).collect();
        if self.ranks.is_first() {
            self.patch_count = sums[1] as u64;
            self.interval.set_numbers(&sums[2..]);
        } else {
            self.patch_count = 0;
            self.interval = Interval::default();
        }
        Ok(sums[0])
    }

    /// Waits until the first rank has done what it alone does.
    ///
    /// # Errors
    /// If a rank is gone.
    pub(super) fn wait_for_first(&self) -> Result<()> {
        self.ranks.any(false).map(drop)
    }

    /// What must be the same on all ranks at every moment.
    fn agreed(&self, words: &[f32]) -> Vec<f64> {
        let place = serde_json::to_vec(&self.data_state).expect("numbers are JSON");
        vec![hash_of(&[&place]), hash_of(&[bytemuck::cast_slice(words)])]
    }
}

/// That the first numbers of all ranks, one a subject, are those of the first rank.
fn check_alike(all: &[Vec<f64>], more: &[&str]) -> Result<()> {
    let always = ["the place in the texts", "the state of the optimiser"];
    for (rank, numbers) in all.iter().enumerate() {
        for (at, subject) in always.iter().chain(more).enumerate() {
            if numbers[at].to_bits() != all[0][at].to_bits() {
                let problem = format!("{subject} is not what it is on rank 0");
                return Err(Error::input(format!("rank {rank}"), problem).with_hint(
                    "all ranks need the same program, configuration, texts and directory of \
                     checkpoints, and devices of one kind",
                ));
            }
        }
    }
    Ok(())
}

/// 32 bits of a hash, which an f64 holds.
fn hash_of(parts: &[&[u8]]) -> f64 {
    let mut hash = Hash::default();
    for part in parts {
        hash.add(part);
    }
    let digits = hash.to_hex();
    f64::from(u32::from_str_radix(&digits[8..], 16).expect("it is hexadecimal"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rank_that_stands_elsewhere_is_named() {
        let here = vec![hash_of(&[b"a", b"b"]), 2.0, 3.0];
        check_alike(&[here.clone(), here.clone()], &["the device"]).unwrap();
        let elsewhere = vec![hash_of(&[b"ab"]), 2.0, 3.0];
        let error = check_alike(&[here.clone(), here.clone(), elsewhere], &["the device"]);
        let said = error.unwrap_err().to_string();
        assert_eq!(said, "rank 2: the place in the texts is not what it is on rank 0");
        let other = vec![here[0], 2.0, 4.0];
        let said = check_alike(&[here, other], &["the device"]).unwrap_err().to_string();
        assert_eq!(said, "rank 1: the device is not what it is on rank 0");
    }
}
