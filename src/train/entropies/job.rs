//! The job: scores what is read, writes what is scored.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use half::f16;

use super::options::EntropyOptions;
use super::reading::{Group, GroupDocument, Item, Reader};
use super::record::{Record, agree, probe};
use super::shard::{Shard, is_complete, source_name, write_marker};
use crate::blt::LoadedModel;
use crate::blt::config::ModelConfig;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::{ScoreOptions, Scorer, Scoring};
use crate::platform::Ahead;
use crate::text::{TextFormat, TextKind};
use crate::train::data::ENTROPY_CONTEXT;

/// Groups of documents that are read ahead.
const GROUPS_AHEAD: usize = 4;

/// What a step has done.
#[derive(Clone, Debug, PartialEq)]
pub enum EntropyStep {
    /// Some documents were scored, or taken over.
    Scored,
    /// Sentences about odd documents.
    Notes(Vec<String>),
    /// A shard is complete.
    Completed(PathBuf),
    /// All are.
    Finished,
}

/// What has been done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EntropyProgress {
    pub document_count: u64,
    /// Their bytes of text.
    pub text_bytes: u64,
    /// Those of documents that an earlier process had scored.
    pub known_bytes: u64,
    pub shard_count: u64,
    /// Shards that were complete before.
    pub known_shard_count: u64,
    /// Bytes of the files that are read, as they are stored.
    pub file_bytes: u64,
    /// The same of all files.
    pub total_file_bytes: u64,
}

/// Documents that are being scored.
struct Begun<'m> {
    documents: Vec<GroupDocument>,
    /// Those that were scored at once, because they are long.
    entropies: Vec<Vec<f32>>,
    scorings: Vec<Scoring<'m>>,
}

/// Computes the entropies of texts and writes them.
pub struct EntropyJob<'m, E: Engine> {
    engine: &'m E,
    model: &'m LoadedModel<E>,
    scorer: Scorer<E>,
    items: Ahead<Item>,
    /// Documents that the device scores while the ones before them are written.
    on_the_way: Option<Begun<'m>>,
    bytes_read: Arc<AtomicU64>,
    known_shards: Arc<AtomicU64>,
    shard: Option<Shard>,
    progress: EntropyProgress,
    /// Held as long as the job lives: nobody else is this rank.
    _lock: File,
}

impl<'m, E: Engine> EntropyJob<'m, E> {
    /// A job in front of its first document.
    ///
    /// # Errors
    /// A file that cannot be read or is no text; two files of the same name; a directory whose
    /// shards are of another model or size, or on which another process works as this rank.
    pub async fn new(
        engine: &'m E,
        model: &'m LoadedModel<E>,
        files: Vec<PathBuf>,
        options: EntropyOptions,
    ) -> Result<Self> {
        let ModelConfig::Entropy(config) = &model.config else {
            return Err(Error::input("model", "expected an entropy model"));
        };
        if options.rank >= options.rank_count {
            let problem =
                format!("expected less than {}, got {}", options.rank_count, options.rank);
            return Err(Error::input("rank", problem));
        }
        let file_bytes = check_files(&files)?;
        let batch_bytes = options.batch_bytes;
        let context = config.transformer.max_positions.min(ENTROPY_CONTEXT);
        let score = ScoreOptions { context, batch_bytes };
        let scorer = Scorer::new(score);
        fs::create_dir_all(&options.out)
            .map_err(|error| Error::io("create", &options.out, error))?;
        let lock = lock(&options)?;
        let probe = probe(engine, model, score.context).await?;
        let record = Record { shard_bytes: options.shard_bytes, context: score.context, probe };
        agree(&options, &record)?;
        let (bytes_read, known_shards) = <(Arc<AtomicU64>, Arc<AtomicU64>)>::default();
        let total_file_bytes = file_bytes.iter().sum();
        let reader = Reader {
            files,
            file_bytes,
            options,
            config: model.config.clone(),
            score,
            bytes_read: Arc::clone(&bytes_read),
            known_shards: Arc::clone(&known_shards),
        };
        let items = Ahead::new("texts", GROUPS_AHEAD, move |give| reader.run(give))
            .map_err(|error| Error::input("a thread to read with", error.to_string()))?;
        let progress = EntropyProgress { total_file_bytes, ..Default::default() };
        Ok(Self {
            engine,
            model,
            scorer,
            items,
            on_the_way: None,
            bytes_read,
            known_shards,
            shard: None,
            progress,
            _lock: lock,
        })
    }

    /// Does the next thing.
    ///
    /// # Errors
    /// A text that cannot be read on, a full disk, or a device that fails; what is complete stays,
    /// and so do the rows of the open shard that are on the disk.
    pub async fn step(&mut self) -> Result<EntropyStep> {
        loop {
            let item = self.items.next();
            if !matches!(item, Some(Item::Group(_) | Item::Notes(_)))
                && let Some(begun) = self.on_the_way.take()
            {
                self.finish(begun).await?;
            }
            match item {
                None => return Ok(EntropyStep::Finished),
                Some(Item::Failed(error)) => {
                    self.leave()?;
                    return Err(error);
                }
                Some(Item::Notes(notes)) => return Ok(EntropyStep::Notes(notes)),
                Some(Item::Begin(path, text)) => self.shard = Some(Shard::begin(path, text)?),
                Some(Item::EndOfFile { marker, shards, text }) => {
                    if shards.iter().all(|shard| is_complete(shard, &text)) {
                        write_marker(&marker, &text)?;
                    }
                }
                Some(Item::End) => {
                    let shard = self.shard.take().expect("a shard ends behind its beginning");
                    self.progress.shard_count += 1;
                    return shard.complete().map(EntropyStep::Completed);
                }
                Some(Item::Group(group)) => {
                    let begun = self.begin(group).await?;
                    if let Some(before) = self.on_the_way.replace(begun) {
                        self.finish(before).await?;
                        return Ok(EntropyStep::Scored);
                    }
                }
            }
        }
    }

    /// What has been done so far.
    pub fn progress(&self) -> EntropyProgress {
        let file_bytes = self.bytes_read.load(Ordering::Relaxed);
        let known_shard_count = self.known_shards.load(Ordering::Relaxed);
        EntropyProgress { file_bytes, known_shard_count, ..self.progress }
    }

    /// Puts the rows of the open shard on the disk. The next job goes on behind them.
    ///
    /// # Errors
    /// A full disk.
    pub fn leave(&mut self) -> Result<()> {
        self.shard.take().map_or(Ok(()), Shard::leave)
    }

    async fn begin(&mut self, group: Group) -> Result<Begun<'m>> {
        let Group { documents, prepared } = group;
        let mut entropies = vec![Vec::new(); documents.len()];
        if prepared.is_empty() {
            for (document, entropies) in documents.iter().zip(&mut entropies) {
                if document.known.is_empty() {
                    *entropies =
                        self.scorer.entropies(self.engine, self.model, &document.ids).await?;
                }
            }
        }
        let mut scorings = Vec::with_capacity(prepared.len());
        for prepared in &prepared {
            scorings.push(self.scorer.begin(self.engine, self.model, prepared).await?);
        }
        Ok(Begun { documents, entropies, scorings })
    }

    async fn finish(&mut self, begun: Begun<'m>) -> Result<()> {
        let Begun { documents, mut entropies, scorings } = begun;
        for scoring in scorings {
            for (document, scored) in scoring.finish().await? {
                entropies[document].extend(scored);
            }
        }
        let shard = self.shard.as_mut().expect("documents stand behind the beginning of a shard");
        for (document, entropies) in documents.iter().zip(&entropies) {
            let bytes = document.text.len() as u64;
            self.progress.document_count += 1;
            self.progress.text_bytes += bytes;
            if document.known.is_empty() {
                let halves: Vec<_> = entropies.iter().map(|&it| f16::from_f32(it)).collect();
                shard.push(&document.id, &document.text, &halves)?;
            } else {
                self.progress.known_bytes += bytes;
                shard.push(&document.id, &document.text, &document.known)?;
            }
        }
        Ok(())
    }
}

/// Bytes of every file; that they are texts, and none is called as another is.
fn check_files(files: &[PathBuf]) -> Result<Vec<u64>> {
    let mut names = BTreeMap::new();
    let mut sizes = Vec::with_capacity(files.len());
    for path in files {
        let named = path.display().to_string();
        if TextFormat::of(path)?.kind == TextKind::Arrow {
            return Err(Error::input(named, "expected a text, got one with its entropies"));
        }
        if let Some(other) = names.insert(source_name(path), path) {
            let problem = format!("{} would have shards of the same names", other.display());
            return Err(Error::input(named, problem).with_hint("give each an --out of its own"));
        }
        let found = fs::metadata(path).map_err(|error| Error::io("open", path, error))?;
        sizes.push(found.len());
    }
    Ok(sizes)
}

/// Makes sure that this is the only process of its rank in the directory.
fn lock(options: &EntropyOptions) -> Result<File> {
    let path = options.out.join(format!(".rank_{}.lock", options.rank));
    let file = File::options()
        .create(true)
        .append(true)
        .open(&path)
        .map_err(|error| Error::io("create", &path, error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(fs::TryLockError::WouldBlock) => {
            let problem = format!("another process works here as rank {}", options.rank);
            Err(Error::input(options.out.display().to_string(), problem)
                .with_hint("give every process a --rank of its own, or wait for the other"))
        }
        Err(fs::TryLockError::Error(error)) => Err(Error::io("lock", &path, error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::config::{EntropyConfig, Semantics, TransformerConfig};
    use crate::cpu::HostEngine;
    use crate::text::OnError;
    use pollster::block_on;

    #[test]
    fn a_model_sees_no_more_than_where_a_run_patches_on_the_fly() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("a.txt");
        fs::write(&text, "some text").unwrap();
        let transformer = TransformerConfig {
            hidden_size: 16,
            layer_count: 1,
            head_count: 1,
            kv_head_count: 1,
            head_dim: 16,
            intermediate_size: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            max_positions: 2 * ENTROPY_CONTEXT,
            window: Some(16),
        };
        let config =
            ModelConfig::Entropy(EntropyConfig { semantics: Semantics::Reference, transformer });
        let engine = HostEngine::<f32>::default();
        let model = block_on(LoadedModel::create(&engine, config, false)).unwrap();
        model.initialise(&engine, 3).unwrap();
        let options = EntropyOptions {
            out: dir.path().join("out"),
            shard_bytes: 100,
            rank: 0,
            rank_count: 1,
            on_error: OnError::Skip,
            batch_bytes: 64,
        };
        block_on(EntropyJob::new(&engine, &model, vec![text], options)).unwrap();
        let written = fs::read(dir.path().join("out/entropies.json")).unwrap();
        let record: serde_json::Value = serde_json::from_slice(&written).unwrap();
        assert_eq!(record["context"], ENTROPY_CONTEXT);
    }
}
