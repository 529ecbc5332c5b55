//! What says of a directory of shards which entropy model has made them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::options::EntropyOptions;
use crate::blt::LoadedModel;
use crate::blt::config::ModelConfig;
use crate::checkpoint::{atomic_write, sync_directory};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::{ScoreOptions, Scorer};
use crate::text::{TextFormat, TextKind, encode};

/// The file that says what the shards of a directory are.
const RECORD_FILE: &str = "entropies.json";

/// A text whose entropies tell one model from another.
const PROBE: &str = "It was a bright cold day in April, 1946: \u{e9}\u{20ac} (x) -> {0}\n";

/// How far entropies of one model may lie apart on two devices, in nats: more than its sums differ
/// and far less than another model's do.
const SAME_MODEL_NATS: f32 = 0.02;

/// What every process that works on a directory has to agree about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// Bytes of text after which a shard ends.
    pub shard_bytes: u64,
    /// Most positions that the model sees at once.
    pub context: usize,
    /// Entropies of a certain text, which tell models apart.
    pub probe: Vec<f32>,
}

impl Record {
    fn parse(path: &Path, written: &[u8]) -> Result<Self> {
        serde_json::from_slice(written).map_err(|error| {
            let problem = format!("this is not what was written: {error}");
            Error::input(path.display().to_string(), problem)
        })
    }

    /// Whether these are entropies of the same model.
    fn is_of(&self, probe: &[f32]) -> bool {
        let is_near = |(a, b): (&f32, &f32)| (a - b).abs() <= SAME_MODEL_NATS;
        self.probe.len() == probe.len() && self.probe.iter().zip(probe).all(is_near)
    }
}

/// Entropies that tell this model from others.
///
/// # Errors
/// If the device fails.
pub(super) async fn probe<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    context: usize,
) -> Result<Vec<f32>> {
    let mut scorer = Scorer::new(ScoreOptions { context, batch_bytes: context });
    scorer.entropies(engine, model, &encode(PROBE.as_bytes(), true, true)).await
}

/// That the entropies which these files hold, of those that hold some, are of this entropy model;
/// sentences about those that do not say which made them, as files of the reference.
///
/// # Errors
/// Entropies of another model, or a device that fails.
pub async fn check_entropies<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    files: impl IntoIterator<Item = &PathBuf>,
) -> Result<Vec<String>> {
    let has_entropies =
        |path: &&PathBuf| TextFormat::of(path).is_ok_and(|it| it.kind == TextKind::Arrow);
    let files = files.into_iter().filter(has_entropies);
    let directories: BTreeSet<_> =
        files.map(|path| path.parent().unwrap_or(Path::new("")).to_owned()).collect();
    let most_positions = match &model.config {
        ModelConfig::Entropy(config) => config.transformer.max_positions,
        ModelConfig::Blt(_) => return Err(Error::input("model", "expected an entropy model")),
    };
    let mut notes = Vec::new();
    for directory in directories {
        let path = directory.join(RECORD_FILE);
        let written = match fs::read(&path) {
            Ok(written) => written,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                notes.push(format!(
                    "{}: there is no {RECORD_FILE} that says which entropy model made the \
                     entropies here",
                    directory.display()
                ));
                continue;
            }
            Err(error) => return Err(Error::io("read", &path, error)),
        };
        let record = Record::parse(&path, &written)?;
        let context = record.context.clamp(1, most_positions);
        if !record.is_of(&probe(engine, model, context).await?) {
            let problem = "the entropies here were made with another entropy model than the run's";
            return Err(Error::input(path.display().to_string(), problem).with_hint(
                "`blt entropies` makes them with this one; data.accept_entropies = true reads them \
                 as they are",
            ));
        }
    }
    Ok(notes)
}

/// Writes down what the shards of the directory are, or holds that against what was written down.
/// Of several processes that begin at the same time one writes, and the others read that.
pub(super) fn agree(options: &EntropyOptions, record: &Record) -> Result<()> {
    let path = options.out.join(RECORD_FILE);
    let is_there = path.try_exists().map_err(|error| Error::io("read", &path, error))?;
    if !is_there && create(options, &path, record)? {
        return Ok(());
    }
    let written = fs::read(&path).map_err(|error| Error::io("read", &path, error))?;
    let name = path.display().to_string();
    let other = Record::parse(&path, &written)?;
    let is_same_model = other.context == record.context && other.is_of(&record.probe);
    let problem = if !is_same_model {
        "the shards here were made with another entropy model".to_owned()
    } else if other.shard_bytes != record.shard_bytes {
        let (expected, got) = (other.shard_bytes, record.shard_bytes);
        format!("the shards here have {expected} bytes of text, not {got}")
    } else {
        return Ok(());
    };
    Err(Error::input(name, problem).with_hint("go on with what they were made with, or elsewhere"))
}

/// Puts the record there, whole, unless another process has; whether it was this one.
fn create(options: &EntropyOptions, path: &Path, record: &Record) -> Result<bool> {
    let text = serde_json::to_string_pretty(record).expect("numbers become JSON") + "\n";
    let write = |path: &Path| atomic_write(path, |file| file.write_all(text.as_bytes()));
    if options.rank_count == 1 {
        return write(path).map(|()| true);
    }
    // A link takes no place that is taken, and what it names is whole, on shared file systems too.
    let own = options.out.join(format!(".{RECORD_FILE}.rank_{}", options.rank));
    write(&own)?;
    let linked = fs::hard_link(&own, path);
    fs::remove_file(&own).map_err(|error| Error::io("remove", &own, error))?;
    match linked {
        Ok(()) => sync_directory(&options.out).map(|()| true),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(Error::io("link", path, error)
            .with_hint("several ranks need a file system with hard links")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::OnError;

    fn options(out: PathBuf) -> EntropyOptions {
        let (shard_bytes, batch_bytes) = (100, 64);
        let on_error = OnError::Skip;
        EntropyOptions { out, shard_bytes, rank: 0, rank_count: 1, on_error, batch_bytes }
    }

    fn record(entropy: f32) -> Record {
        Record { shard_bytes: 100, context: 64, probe: vec![entropy; 3] }
    }

    #[test]
    fn whichever_rank_comes_first_says_what_the_shards_are() {
        let dir = tempfile::tempdir().unwrap();
        let agree = |rank, rank_count, entropy| {
            let out = dir.path().to_owned();
            let options = EntropyOptions { rank, rank_count, ..options(out) };
            super::agree(&options, &record(entropy))
        };
        agree(2, 3, 1.0).unwrap();
        for (rank, rank_count) in [(0, 3), (1, 3), (0, 1)] {
            let said = agree(rank, rank_count, 2.0).unwrap_err().to_string();
            assert!(said.ends_with("the shards here were made with another entropy model"));
            agree(rank, rank_count, 1.01).unwrap();
        }
        let names = fs::read_dir(dir.path()).unwrap().map(|it| it.unwrap().file_name());
        assert_eq!(names.collect::<Vec<_>>(), [RECORD_FILE]);
    }

    #[test]
    fn of_ranks_that_come_together_one_writes() {
        let dir = tempfile::tempdir().unwrap();
        let agreed = std::thread::scope(|scope| {
            let agree = |rank: u64| {
                let out = dir.path().to_owned();
                let options = EntropyOptions { rank, rank_count: 8, ..options(out) };
                super::agree(&options, &record(rank as f32)).is_ok()
            };
            let threads: Vec<_> = (0..8).map(|rank| scope.spawn(move || agree(rank))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert_eq!(agreed.iter().filter(|agreed| **agreed).count(), 1, "{agreed:?}");
    }
}
