//! Rows put together into batches, ahead of whoever reads them.
//!
//! ```text
//! a thread: documents -> patches -> rows     workers: rows -> tables     the reader: batches
//! ```
//!
//! Where patches come from an entropy model on the device, rows are made by the reader itself, one
//! batch ahead, from text that the device has scored behind the step before; the workers still make
//! the tables. Batches come in the order of their rows,
//! whoever makes them and however many do: how they are made changes none of them.

use std::collections::VecDeque;
use std::sync::Arc;

use super::document_queue::ScoringProgress;
use super::patcher::EntropySource;
#[cfg(not(target_arch = "wasm32"))]
use super::patcher::NoEntropies;
use super::row_stream::{DataState, RowStream};
use crate::blt::Batch;
use crate::blt::config::ModelConfig;
use crate::blt::tables::Row;
#[cfg(not(target_arch = "wasm32"))]
use crate::error::Error;
use crate::error::Result;
#[cfg(not(target_arch = "wasm32"))]
use crate::platform::{Ahead, Promise, Workers};
use crate::train::packing::pad_reference_batch;

/// How rows become batches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchOptions {
    /// Rows of a batch.
    pub batch_rows: usize,
    /// Bytes that rows are cut to, where the reference's packing is followed: rows are then padded
    /// to the longest of their batch, as in the reference (spec §15.5), and not further
    /// (`pad_to_max_length`), which would change no loss.
    pub reference_row_bytes: Option<usize>,
    /// Threads that make tables; with 0 everything is done in the reader's.
    pub worker_count: usize,
    /// Batches that are made ahead of the reader, where that is in another thread.
    pub most_ahead: usize,
    /// Which of the batches are made here.
    pub share: Share,
}

/// The part of a rank in batches that several read: all walk through the same ones, and each makes
/// the tables of its own. So where a stream stands depends on nobody's share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Share {
    pub rank: usize,
    pub rank_count: usize,
    /// Batches of an update, which are dealt out in turns: the first to rank 0.
    pub update_batches: u64,
}

impl Share {
    /// Everything.
    pub const WHOLE: Self = Self { rank: 0, rank_count: 1, update_batches: 1 };

    /// Whether the batch of this number, from the beginning of an update on, is one's own.
    fn has(&self, index: u64) -> bool {
        index % self.update_batches % self.rank_count as u64 == self.rank as u64
    }
}

/// A batch that was read, here or by another rank.
#[derive(Clone, Debug)]
pub struct DealtBatch {
    /// As [`Batch::target_count`].
    pub target_count: f64,
    /// `None` where another rank has it.
    pub batch: Option<Batch>,
}

/// Batches of a stream of rows.
pub struct BatchStream<S: EntropySource> {
    source: Source<S>,
    /// Behind the batch that was given out last.
    state: DataState,
    notes: Vec<String>,
}

enum Source<S: EntropySource> {
    Here(Box<Here<S>>),
    #[cfg(not(target_arch = "wasm32"))]
    Ahead(Ahead<Made>),
}

/// Batches that are made by who reads them.
struct Here<S: EntropySource> {
    maker: Maker<S>,
    /// Made, or being made by workers, and not given out; nothing comes behind an error.
    waiting: VecDeque<Made>,
    is_ended: bool,
}

/// Rows of a batch at a time, for workers.
struct Maker<S: EntropySource> {
    rows: RowStream<S>,
    /// Rows of the next batch.
    gathered: Vec<Row>,
    model: Arc<ModelConfig>,
    options: BatchOptions,
    /// Batches so far.
    count: u64,
    #[cfg(not(target_arch = "wasm32"))]
    workers: Workers,
}

/// A batch, and where the rows stand behind it.
struct Made {
    batch: Making,
    state: DataState,
    notes: Vec<String>,
}

#[cfg(not(target_arch = "wasm32"))]
type Making = Result<Promise<Result<DealtBatch>>>;
#[cfg(target_arch = "wasm32")]
type Making = Result<DealtBatch>;

impl<S: EntropySource> BatchStream<S> {
    /// Batches of rows for a model, in front of the first batch of an update.
    ///
    /// # Errors
    /// If the system has no threads to give.
    pub fn new(rows: RowStream<S>, model: ModelConfig, options: BatchOptions) -> Result<Self> {
        let state = rows.state();
        let model = Arc::new(model);
        #[cfg(not(target_arch = "wasm32"))]
        {
            let no_threads =
                |error: std::io::Error| Error::input("threads for data", error.to_string());
            let workers = Workers::new("tables", options.worker_count).map_err(no_threads)?;
            if options.worker_count > 0 && !rows.entropies.has_device() {
                let maker = Maker {
                    rows: rows.without_entropies(),
                    gathered: Vec::new(),
                    model,
                    options,
                    count: 0,
                    workers,
                };
                let most_ahead = options.most_ahead.max(1);
                let made = Ahead::new("rows", most_ahead, move |give| maker.give(give))
                    .map_err(no_threads)?;
                return Ok(Self { source: Source::Ahead(made), state, notes: Vec::new() });
            }
            let maker = Maker { rows, gathered: Vec::new(), model, options, count: 0, workers };
            let here = Here { maker, waiting: VecDeque::new(), is_ended: false };
            Ok(Self { source: Source::Here(Box::new(here)), state, notes: Vec::new() })
        }
        #[cfg(target_arch = "wasm32")]
        {
            let maker = Maker { rows, gathered: Vec::new(), model, options, count: 0 };
            let here = Here { maker, waiting: VecDeque::new(), is_ended: false };
            Ok(Self { source: Source::Here(Box::new(here)), state, notes: Vec::new() })
        }
    }

    /// Comes nearer to the next batch, by a slice of scoring at most; whether [`Self::next_batch`]
    /// has no text to score any more. What goes wrong it says.
    pub async fn advance(&mut self) -> bool {
        match &mut self.source {
            Source::Here(here) => here.advance().await,
            #[cfg(not(target_arch = "wasm32"))]
            Source::Ahead(_) => true,
        }
    }

    /// The next batch; a short one, then `None`, where the rows end.
    ///
    /// # Errors
    /// A text that cannot be read, rows longer than the model's positions, or a device that fails.
    /// Nothing comes behind an error.
    pub async fn next_batch(&mut self) -> Result<Option<DealtBatch>> {
        while !self.advance().await {}
        let made = match &mut self.source {
            Source::Here(here) => here.waiting.pop_front(),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Ahead(made) => made.next(),
        };
        let Some(Made { batch, state, notes }) = made else { return Ok(None) };
        self.notes.extend(notes);
        #[cfg(not(target_arch = "wasm32"))]
        let batch = batch.and_then(Promise::wait);
        let batch = batch?;
        self.state = state;
        Ok(Some(batch))
    }

    /// Where patching gets its entropies; `None` where it needs no device for them.
    pub fn entropies(&self) -> Option<&S> {
        match &self.source {
            Source::Here(here) => Some(&here.maker.rows.entropies),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Ahead(_) => None,
        }
    }

    /// The same, to score other text with.
    pub fn entropies_mut(&mut self) -> Option<&mut S> {
        self.rows().map(|rows| &mut rows.entropies)
    }

    /// Begins to score `byte_count` bytes more of the text that comes next, where that is done on
    /// the fly.
    ///
    /// # Errors
    /// A text that cannot be read, or a device that fails.
    pub async fn score_ahead(&mut self, byte_count: usize) -> Result<()> {
        match self.rows() {
            Some(rows) => rows.score_ahead(byte_count).await,
            None => Ok(()),
        }
    }

    /// Waits for what [`Self::score_ahead`] has begun.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn finish_scoring(&mut self) -> Result<()> {
        match self.rows() {
            Some(rows) => rows.finish_scoring().await,
            None => Ok(()),
        }
    }

    /// The document that is being scored, where that is done on the fly.
    pub fn progress(&self) -> Option<ScoringProgress> {
        match &self.source {
            Source::Here(here) => here.maker.rows.progress(),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Ahead(_) => None,
        }
    }

    /// The rows, where they are made by who reads them.
    fn rows(&mut self) -> Option<&mut RowStream<S>> {
        match &mut self.source {
            Source::Here(here) => Some(&mut here.maker.rows),
            #[cfg(not(target_arch = "wasm32"))]
            Source::Ahead(_) => None,
        }
    }

    /// Where the rows stand behind the batch that was given out last.
    pub fn state(&self) -> DataState {
        self.state.clone()
    }

    /// Sentences about odd documents since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }
}

impl<S: EntropySource> Here<S> {
    /// Makes the next batch, and the one behind it where workers put that together meanwhile, as
    /// far as a slice of scoring goes; whether they are made.
    async fn advance(&mut self) -> bool {
        let ahead = usize::from(self.maker.options.worker_count > 0);
        while self.waiting.len() <= ahead && !self.is_ended {
            let Some(made) = self.maker.advance().await else { return false };
            self.is_ended = made.as_ref().is_none_or(|made| made.batch.is_err());
            self.waiting.extend(made);
        }
        true
    }
}

impl<S: EntropySource> Maker<S> {
    /// The next batch, which may still be being made; `Some(None)` where the rows end. Nothing
    /// after a slice of scoring that did not suffice for it.
    async fn advance(&mut self) -> Option<Option<Made>> {
        let mut failed = None;
        while self.gathered.len() < self.options.batch_rows && failed.is_none() {
            match self.rows.advance().await {
                Ok(false) => return None,
                Ok(true) => match self.rows.take_row() {
                    Some(row) => self.gathered.push(row),
                    None => break,
                },
                Err(error) => failed = Some(error),
            }
        }
        let (state, notes) = (self.rows.state(), self.rows.take_notes());
        if let Some(error) = failed {
            return Some(Some(Made { batch: Err(error), state, notes }));
        }
        let mut rows = std::mem::take(&mut self.gathered);
        if rows.is_empty() {
            return Some(None);
        }
        let (model, options) = (Arc::clone(&self.model), self.options);
        let is_own = options.share.has(self.count);
        self.count += 1;
        let make = move || {
            if let Some(row_bytes) = options.reference_row_bytes {
                pad_reference_batch(&mut rows, options.batch_rows, row_bytes, false)?;
            }
            if is_own {
                let batch = Batch::new(&model, &rows)?;
                return Ok(DealtBatch { target_count: batch.target_count, batch: Some(batch) });
            }
            Ok(DealtBatch { target_count: Batch::target_count_of(&rows), batch: None })
        };
        #[cfg(not(target_arch = "wasm32"))]
        let batch = Ok(self.workers.run(make));
        #[cfg(target_arch = "wasm32")]
        let batch = { make }();
        Some(Some(Made { batch, state, notes }))
    }
}

#[cfg(not(target_arch = "wasm32"))]
impl Maker<NoEntropies> {
    /// Hands batches on until nobody wants them any more.
    fn give(mut self, give: &mut dyn FnMut(Made) -> bool) {
        loop {
            // Nothing here waits for a device.
            let made = match pollster::block_on(self.advance()) {
                None => continue,
                Some(None) => return,
                Some(Some(made)) => made,
            };
            let is_last = made.batch.is_err();
            if !give(made) || is_last {
                return;
            }
        }
    }
}
