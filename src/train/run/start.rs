//! Setting a run up: checks first, then texts, models, and the state of a checkpoint.

use std::sync::Arc;

use super::advice::advised;
use super::evaluation::{HeldOut, HeldOutOptions};
use super::event_file::EventFile;
use super::interval::Interval;
use super::job::{Parts, Run};
use super::metrics_file::MetricsFile;
use super::models::{RunModel, load_entropy_model, run_model};
use super::resume::{Resumed, check_config, restore};
use super::samples::SamplesFile;
use super::sharing::{check_ranks, sharing_warnings};
use crate::blt::config::ModelConfig;
use crate::blt::{LoadedModel, TableUpdates};
use crate::checkpoint::{Checkpoint, Checkpoints, DirectoryLock};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::kernels::optim::train_state::TrainState;
use crate::platform::Platform;
use crate::text::Files;
use crate::train::config::RunConfig;
use crate::train::data::{
    BatchOptions, BatchStream, DocumentReader, EntropyScorer, OpenTexts, RowOptions, RowStream,
    RowUnit, Share, document_options, patching_of, source_texts, text_files,
};
#[cfg(all(feature = "arrow", not(target_arch = "wasm32")))]
use crate::train::entropies::check_entropies;
use crate::train::flops::{ForwardWork, entropy_flops_per_byte};
use crate::train::packing::PackerOptions;
use crate::train::ranks::Ranks;
use crate::train::{AdamW, TableUpdateRule, Trainer, UpdateSituation, table_is_frozen};

/// Whether a run begins or goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// From fresh weights, in a directory without checkpoints.
    Fresh,
    /// From the newest checkpoint of the directory, with the same numbers to the bit.
    Resume,
    /// The same on another device, driver or version of the program, or with hash tables updated
    /// in another way: with other numbers in the last bits.
    ResumeElsewhere,
}

impl Start {
    /// How a run that began so goes on after its device was lost: from its newest checkpoint, or
    /// from the beginning where it has left none.
    ///
    /// # Errors
    /// If the directory of checkpoints cannot be read.
    pub fn after_loss(self, config: &RunConfig) -> Result<Self> {
        match self {
            Self::Fresh if checkpoints(config).latest()?.is_some() => Ok(Self::Resume),
            same => Ok(same),
        }
    }
}

impl<'e, E: Engine, P: Platform> Run<'e, E, P> {
    /// A run in front of its first update, with its first micro-batches ready.
    ///
    /// # Errors
    /// `Config` where keys contradict each other; `Input` where a text cannot be read, where the
    /// directory has checkpoints and the run is to begin, or has none and the run is to go on;
    /// `Model` where a checkpoint is damaged or another run's; or if the device has not the memory.
    pub async fn new(engine: &'e E, platform: P, config: RunConfig, start: Start) -> Result<Self> {
        Self::with_ranks(engine, platform, config, start, Arc::new(Ranks::alone())).await
    }

    /// The same as one of several ranks, all of which begin it alike. The texts and the directory
    /// of the run are the same for all of them; the first rank writes.
    ///
    /// # Errors
    /// As [`Self::new`]; where there are more ranks than micro-batches, or one that differs.
    pub async fn with_ranks(
        engine: &'e E,
        platform: P,
        config: RunConfig,
        start: Start,
        ranks: Arc<Ranks>,
    ) -> Result<Self> {
        let checkpoints = checkpoints(&config);
        Self::begin(engine, platform, config, start, ranks).await.map_err(|error| match error {
            // A file that cannot be read, not one that could not be written.
            Error::Io { .. } => error,
            other => {
                let saved = checkpoints.latest().ok().flatten();
                advised(other, saved.as_ref().map(|saved| saved.path.as_path()))
            }
        })
    }

    async fn begin(
        engine: &'e E,
        platform: P,
        config: RunConfig,
        start: Start,
        ranks: Arc<Ranks>,
    ) -> Result<Self> {
        config.check()?;
        check_ranks(&config, &ranks)?;
        let is_writer = ranks.is_first();
        let mut model = run_model(&config)?;
        let open: OpenTexts = Arc::new(|| Box::new(Files));
        let sources = source_texts(&config.data)?;
        #[cfg(all(feature = "arrow", not(target_arch = "wasm32")))]
        let paths: Vec<_> = sources.iter().flat_map(|source| source.paths.clone()).collect();
        let reader = DocumentReader::new(sources, OpenTexts::clone(&open), config.data.seed, None)?;
        let checkpoints = checkpoints(&config);
        // Of a directory that is not there yet nothing is read.
        let is_there = config.dump_dir.is_dir() || config.checkpoint_dir().is_dir();
        let mut locks = if is_there && is_writer { locks(&config)? } else { Vec::new() };
        if is_there && is_writer {
            // A run that has nothing to save any more would leave them for ever.
            checkpoints.remove_leftovers()?;
        }
        let checkpoint = find_checkpoint(&checkpoints, &config, start)?;
        if let Some(checkpoint) = &checkpoint {
            check_config(checkpoint, &config)?;
        }

        let entropy_scorer = entropy_scorer(engine, &config, &mut model, &checkpoint).await?;
        // Without the feature no file with entropies is read.
        #[cfg(all(feature = "arrow", not(target_arch = "wasm32")))]
        if let Some(scorer) = entropy_scorer.as_ref().filter(|_| !config.data.accept_entropies) {
            let checked = check_entropies(engine, &scorer.model, &paths).await?;
            model.warnings.extend(checked);
        }
        let (model_config, precision) = (model.config.clone(), config.precision);
        let updates = table_updates(engine, &config, &model_config)?;
        let mut loaded =
            LoadedModel::create_to_train(engine, model_config, precision, updates).await?;
        loaded.recompute = config.recompute;
        let adamw = adamw(&config);
        let resumed = match &checkpoint {
            None => {
                model.initialise(engine, &loaded)?;
                None
            }
            Some(checkpoint) => {
                let data = &config.data;
                let most_bytes = data.batch_size.saturating_mul(data.max_encoder_seq_length);
                let elsewhere = start == Start::ResumeElsewhere;
                let resumed = restore(
                    engine,
                    &mut loaded,
                    &adamw,
                    checkpoint,
                    most_bytes,
                    updates,
                    elsewhere,
                );
                Some(resumed.await?)
            }
        };
        let tuned_otherwise = !engine.tuned().is_empty() && loaded.tuned != engine.tuned();
        let work = ForwardWork::new(&loaded)?;
        let entropy_flops = match &entropy_scorer {
            Some(scorer) => entropy_flops_per_byte(&scorer.model)?,
            None => None,
        };
        let trainer = Trainer::with_groups(engine, loaded, &adamw, &config.optim.groups).await?;

        let mut rows = RowStream::new(reader, row_options(&config), entropy_scorer)?;
        if let Some(resumed) = &resumed {
            rows.resume(&resumed.state.data)?;
        }
        let held_out = held_out(&config, &open)?;
        let reference_row_bytes = (config.data.reference_packing && !config.train_entropy_model)
            .then_some(config.data.max_encoder_seq_length);
        let options = BatchOptions {
            batch_rows: config.data.batch_size,
            reference_row_bytes,
            worker_count: config.data.workers,
            most_ahead: config.data.prefetch_size,
            share: Share {
                rank: ranks.place().rank,
                rank_count: ranks.place().count,
                update_batches: config.grad_acc_steps,
            },
        };
        let batches = BatchStream::new(rows, model.config, options)?;

        let step = resumed.as_ref().map_or(0, |resumed| resumed.state.step);
        // A run that was stopped before the evaluation of its last update does it now; the line of
        // that update then gets its figures.
        let was_evaluated = |resumed: &Resumed| resumed.state.evaluated_step == Some(step);
        let waits = held_out.is_some() && resumed.as_ref().is_some_and(|it| !was_evaluated(it));
        let (metrics_file, waiting_line) = match start {
            Start::Resume | Start::ResumeElsewhere if is_writer => {
                MetricsFile::resume(&config.dump_dir, step, waits)?
            }
            _ => (MetricsFile::new(&config.dump_dir), None),
        };
        let said = step - u64::from(waiting_line.is_some());
        let event_file = config.logging.tensorboard.then(|| EventFile::new(&config.dump_dir, said));
        let samples_file = match start {
            Start::Fresh => SamplesFile::new(&config),
            Start::Resume | Start::ResumeElsewhere => {
                SamplesFile::resume(&config, step, is_writer)?
            }
        };
        let mut warnings = model.warnings;
        warnings.extend(held_out.iter().flat_map(|it| it.notes.clone()));
        let scores_entropies = batches.scores_texts();
        warnings.extend(sharing_warnings(&config, &ranks, scores_entropies));
        warnings.extend(config.schedule_warning());
        warnings.extend(tuned_otherwise.then(|| {
            "the run goes on with the variants of kernels that it began with, not with those that \
             were measured since"
                .to_owned()
        }));
        let mut run = Self::assemble(Parts {
            engine,
            table_updates: updates,
            platform,
            ranks,
            config,
            trainer,
            batches,
            held_out,
            checkpoints,
            metrics_file,
            event_file,
            samples_file,
            work,
            entropy_flops,
            adamw,
        });
        if let (Some(resumed), Some(checkpoint)) = (resumed, checkpoint) {
            let state = resumed.state;
            warnings.extend(resumed.difference.map(|difference| {
                format!("{difference}: the numbers of the run will differ in the last bits")
            }));
            let words: Vec<_> = state.device_words.iter().map(|&it| f32::from_bits(it)).collect();
            let counts = TrainState::read(&words);
            (run.applied_count, run.skipped_count) = (counts.applied_steps, counts.skipped_steps);
            run.step = state.step;
            run.trainer.reserve_micro(&resumed.plan.capacity());
            // What was counted so far, the first rank goes on counting.
            run.patch_count = if is_writer { state.patch_count } else { 0 };
            run.skipped_in_a_row = state.skipped_in_a_row;
            run.evaluated_step = state.evaluated_step;
            run.score = state.score;
            if is_writer {
                run.interval = Interval::restored(&state.interval);
            }
            run.saved = Some(checkpoint);
        }
        if let Some(line) = waiting_line {
            run.write_line(line)?;
        }
        run.warnings = warnings;
        run.prepare_ahead().await;
        // What is wrong with the first rows should be said before anything is trained.
        match run.prepared.take() {
            Some(Err(error)) => return Err(error),
            prepared => run.prepared = prepared,
        }
        run.check_agreement().await?;
        // It begins. Who was quicker has the directory, or has left checkpoints in it.
        if locks.is_empty() && is_writer {
            locks = self::locks(&run.config)?;
            find_checkpoint(&run.checkpoints, &run.config, start)?;
        }
        if !locks.iter().all(DirectoryLock::is_held) {
            let problem = "this file system has no locks: see to it that no other run writes there";
            run.warnings.push(format!("{}: {problem}", run.config.dump_dir.display()));
        }
        run.locks = locks;
        Ok(run)
    }
}

fn checkpoints(config: &RunConfig) -> Checkpoints {
    let keep_count = config.checkpoint.dump.kept_count();
    let keep_count = keep_count.map(|count| usize::try_from(count).unwrap_or(usize::MAX));
    Checkpoints::new(config.checkpoint_dir(), keep_count)
}

/// What the run writes to is taken: `dump_dir`, and the directory of checkpoints if it lies
/// elsewhere.
fn locks(config: &RunConfig) -> Result<Vec<DirectoryLock>> {
    let mut locks = vec![DirectoryLock::take(&config.dump_dir)?];
    let checkpoints = config.checkpoint_dir();
    if !checkpoints.starts_with(&config.dump_dir) {
        locks.push(DirectoryLock::take(&checkpoints)?);
    }
    Ok(locks)
}

/// The checkpoint to go on from, if the run does.
fn find_checkpoint(
    checkpoints: &Checkpoints,
    config: &RunConfig,
    start: Start,
) -> Result<Option<Checkpoint>> {
    let subject = config.checkpoint_dir().display().to_string();
    match start {
        Start::Resume | Start::ResumeElsewhere => match checkpoints.latest()? {
            Some(checkpoint) => Ok(Some(checkpoint)),
            None => Err(Error::input(subject, "there is no checkpoint to resume from")
                .with_hint("without `--resume` the run begins here")),
        },
        Start::Fresh => match checkpoints.list()?.last() {
            None => Ok(None),
            Some(last) => {
                let problem =
                    format!("a run has checkpoints here, the last after update {}", last.step);
                Err(Error::input(subject, problem).with_hint(
                    "`--resume` goes on with it; another `dump_dir` or `--out` begins a new run",
                ))
            }
        },
    }
}

/// The entropy model of the run, if patching needs one; it becomes the patcher of `model`. A run
/// that goes on uses the one in its checkpoint, whatever has become of the original.
async fn entropy_scorer<'e, E: Engine>(
    engine: &'e E,
    config: &RunConfig,
    model: &mut RunModel,
    checkpoint: &Option<Checkpoint>,
) -> Result<Option<EntropyScorer<'e, E>>> {
    let ModelConfig::Blt(blt) = &mut model.config else { return Ok(None) };
    if !patching_of(&config.data.patcher_args).mode.needs_entropies() {
        return Ok(None);
    }
    let configured = config.data.patcher_args.entropy_model_checkpoint_dir.as_deref();
    let directory = match checkpoint {
        Some(checkpoint) => &checkpoint.path,
        None => configured.expect("the configuration was checked for it"),
    };
    let (entropy, warnings) = load_entropy_model(engine, directory, Some(blt.semantics)).await?;
    model.warnings.extend(warnings);
    let ModelConfig::Entropy(patcher) = &entropy.config else {
        unreachable!("an entropy model was loaded")
    };
    blt.attach_patcher(patcher.clone());
    Ok(Some(EntropyScorer::new(engine, entropy)))
}

/// How hash tables are updated; a touched row has room whatever the texts are.
///
/// # Errors
/// `Config` for a frozen table that is to be updated lazily.
fn table_updates<E: Engine>(
    engine: &E,
    config: &RunConfig,
    model: &ModelConfig,
) -> Result<TableUpdates> {
    let ModelConfig::Blt(model) = model else { return Ok(TableUpdates::Dense) };
    if table_is_frozen(&config.optim.groups)? {
        return match config.optim.table_updates {
            TableUpdateRule::Lazy => {
                let problem = "expected \"dense\" or \"auto\" where optim.groups freezes the table";
                Err(Error::config("optim.table_updates", problem))
            }
            TableUpdateRule::Auto | TableUpdateRule::Dense => Ok(TableUpdates::Dense),
        };
    }
    let data = &config.data;
    let micro_count = usize::try_from(config.grad_acc_steps).unwrap_or(usize::MAX);
    let row_bytes = data.batch_size.saturating_mul(data.max_encoder_seq_length);
    let byte_count = row_bytes.saturating_mul(micro_count);
    let situation = UpdateSituation {
        is_gpu: engine.abilities().hardware,
        max_elements: engine.max_binding_elements(),
        byte_count,
        width: model.encoder.hidden_size,
    };
    Ok(config.optim.table_updates.choose(&model.hash, &situation))
}

fn adamw(config: &RunConfig) -> AdamW {
    let optim = &config.optim;
    AdamW {
        beta1: optim.beta1 as f32,
        beta2: optim.beta2 as f32,
        eps: optim.epsilon as f32,
        weight_decay: optim.weight_decay as f32,
        clip: optim.clip as f32,
    }
}

fn row_options(config: &RunConfig) -> RowOptions {
    let data = &config.data;
    let unit = if config.train_entropy_model {
        RowUnit::Bytes { row_bytes: data.seq_len }
    } else {
        let packing = PackerOptions {
            row_patch_count: data.seq_len,
            max_row_bytes: data.max_encoder_seq_length,
            reference: data.reference_packing,
        };
        RowUnit::Patches { patching: patching_of(&data.patcher_args), packing }
    };
    RowOptions {
        unit,
        add_bos: data.add_bos,
        add_eos: data.add_eos,
        block_rows: data.shuffle_buffer,
        seed: data.seed,
    }
}

fn held_out<E: Engine>(config: &RunConfig, open: &OpenTexts) -> Result<Option<HeldOut<E>>> {
    let data = &config.data;
    if data.valid.is_empty() || config.eval_every() == 0 {
        return Ok(None);
    }
    let mut paths = Vec::new();
    for path in &data.valid {
        paths.extend(text_files(&data.resolve(path))?);
    }
    let context = data.max_encoder_seq_length;
    let options = HeldOutOptions {
        patching: (!config.train_entropy_model).then(|| patching_of(&data.patcher_args)),
        add_bos: data.add_bos,
        add_eos: data.add_eos,
        context,
        context_patches: data.seq_len,
        batch_bytes: data.batch_size.saturating_mul(context),
        max_bytes: config.eval.max_bytes,
        documents: document_options(data),
    };
    HeldOut::read(&paths, open, options).map(Some)
}
