//! Rows of training text, in an order that can be taken up again.
//!
//! Rows are made in blocks of `block_rows` and every block is shuffled with random numbers of its
//! own (the reference shuffles so too, spec §15.4). What has to be kept is therefore where the
//! block began and how many of its rows are gone: the block is made again, without its first rows.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::document_queue::{DocumentQueue, ScoringProgress, Waiting};
use super::patcher::EntropySource;
#[cfg(not(target_arch = "wasm32"))]
use super::patcher::NoEntropies;
use super::reader::{DocumentReader, SourcePosition};
use super::row_packer::RowPacker;
use crate::blt::patching::Patching;
use crate::blt::tables::Row;
use crate::error::{Error, Result};
use crate::random::Random;
use crate::train::packing::PackerOptions;

/// The stream of random numbers that shuffles the first block; the others follow.
const SHUFFLE_STREAM: u64 = 0x7368_7566 << 32;

/// What rows are counted in.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RowUnit {
    /// Bytes without patches, for the entropy model.
    Bytes { row_bytes: usize },
    /// Patches, for a BLT.
    Patches { patching: Patching, packing: PackerOptions },
}

/// How documents become rows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowOptions {
    pub unit: RowUnit,
    /// Put id 1 before every document.
    pub add_bos: bool,
    /// Put id 2 after every document.
    pub add_eos: bool,
    /// Rows that are shuffled among each other; 1 is no shuffling.
    pub block_rows: usize,
    /// Seed of the shuffling.
    pub seed: u64,
}

/// Where a stream of rows stands. It means something for the same texts, options and seed only.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataState {
    /// For every source, its first document that is not in the rows before this block.
    pub sources: Vec<SourcePosition>,
    /// Sources of the documents that were read when the block began and are not in rows before
    /// it, in the order in which they were read.
    pub pending: Vec<usize>,
    /// Tokens of the first of them that are.
    pub consumed_count: u64,
    /// The choice between sources for the documents after those.
    pub choice: Random,
    /// Blocks before this one.
    pub block_index: u64,
    /// Rows of this block that are handed out.
    pub taken_count: u64,
}

/// Rows of some sources of text.
pub struct RowStream<S: EntropySource> {
    documents: DocumentQueue<S>,
    packer: RowPacker,
    options: RowOptions,
    /// Where patching by entropy gets its entropies.
    pub entropies: S,
    /// Documents of which tokens are in the packer.
    pending: VecDeque<Pending>,
    /// Tokens of the first of them that have left in rows.
    consumed_count: usize,
    /// Where another stream has stood, until the documents that it had in its packer are in ours.
    resumed: Option<Resumed>,
    /// Rows of the block, in the making or handed out.
    block: VecDeque<Row>,
    /// Whether the block is whole.
    is_made: bool,
    /// Bytes of the rows of the block before.
    block_bytes: usize,
    /// The state at the beginning of the block.
    start: DataState,
    taken_count: u64,
}

struct Resumed {
    /// Documents that have to be in the packer.
    owed_count: usize,
    /// Tokens of the first of them that are in rows before the block.
    skipped_count: usize,
}

struct Pending {
    source_index: usize,
    position: SourcePosition,
    token_count: usize,
}

impl<S: EntropySource> RowStream<S> {
    /// A stream from the reader's first document on.
    ///
    /// # Errors
    /// Rows too small to be packed, a block of no rows, or a patching that cannot be.
    pub fn new(reader: DocumentReader, options: RowOptions, entropies: S) -> Result<Self> {
        if options.block_rows == 0 {
            return Err(Error::input("rows to shuffle", "expected at least 1, got 0"));
        }
        let packer = match options.unit {
            RowUnit::Bytes { row_bytes } => RowPacker::bytes(row_bytes)?,
            RowUnit::Patches { patching, packing } => {
                patching.check()?;
                RowPacker::patches(packing)?
            }
        };
        let start = DataState {
            sources: reader.positions().collect(),
            pending: Vec::new(),
            consumed_count: 0,
            choice: reader.choice(),
            block_index: 0,
            taken_count: 0,
        };
        let needs_entropies = match options.unit {
            RowUnit::Bytes { .. } => false,
            RowUnit::Patches { patching, .. } => patching.mode.needs_entropies(),
        };
        let RowOptions { add_bos, add_eos, .. } = options;
        Ok(Self {
            documents: DocumentQueue::new(reader, add_bos, add_eos, needs_entropies),
            packer,
            options,
            entropies,
            pending: VecDeque::new(),
            consumed_count: 0,
            resumed: None,
            block: VecDeque::new(),
            is_made: false,
            block_bytes: 0,
            start,
            taken_count: 0,
        })
    }

    /// Goes to where another stream over the same texts stood; a stream that has been read from
    /// cannot. The rows that it had handed out are made once more with the first that is read.
    ///
    /// # Errors
    /// Texts that are others than then.
    ///
    /// # Panics
    /// If a row has been handed out.
    pub fn resume(&mut self, state: &DataState) -> Result<()> {
        assert!(self.taken_count == 0 && self.pending.is_empty(), "nothing has been read yet");
        self.documents.reader.seek(&state.sources)?;
        self.documents.reader.set_choice(state.choice);
        for &source_index in &state.pending {
            if source_index >= state.sources.len() {
                let problem = format!("there is no source {source_index}");
                return Err(Error::model("state of the data", problem));
            }
            let read = self.documents.reader.next_of(source_index)?.ok_or_else(texts_changed)?;
            self.documents.push(read);
        }
        self.resumed = Some(Resumed {
            owed_count: state.pending.len(),
            skipped_count: state.consumed_count as usize,
        });
        self.start = DataState { taken_count: 0, ..state.clone() };
        self.taken_count = state.taken_count;
        Ok(())
    }

    /// Where the stream stands.
    pub fn state(&self) -> DataState {
        DataState { taken_count: self.taken_count, ..self.start.clone() }
    }

    /// The same stream without its source of entropies, where it needs none: rows can then be made
    /// in another thread.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn without_entropies(self) -> RowStream<NoEntropies> {
        RowStream {
            documents: self.documents.without_entropies(),
            packer: self.packer,
            options: self.options,
            entropies: NoEntropies,
            pending: self.pending,
            consumed_count: self.consumed_count,
            resumed: self.resumed,
            block: self.block,
            is_made: self.is_made,
            block_bytes: self.block_bytes,
            start: self.start,
            taken_count: self.taken_count,
        }
    }

    /// Sentences about odd documents since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.documents.reader.take_notes()
    }

    /// The next row; `None` when the reader has ended and every row is gone.
    ///
    /// # Errors
    /// A text that cannot be read, or a device that fails.
    pub async fn next_row(&mut self) -> Result<Option<Row>> {
        while !self.advance().await? {}
        Ok(self.take_row())
    }

    /// Comes nearer to the next row, by a slice of scoring at most; whether [`Self::take_row`] now
    /// has it, or the end.
    ///
    /// # Errors
    /// As [`Self::next_row`].
    pub async fn advance(&mut self) -> Result<bool> {
        loop {
            if self.is_made && self.block.is_empty() && self.taken_count > 0 {
                self.start = self.state_between_blocks();
                (self.taken_count, self.is_made) = (0, false);
            }
            if self.is_made {
                return Ok(true);
            }
            if !self.fill().await? {
                return Ok(false);
            }
            // Rows that are gone already, where the stream goes on in the middle of a block.
            for _ in 0..self.taken_count {
                self.block.pop_front().ok_or_else(texts_changed)?;
            }
        }
    }

    /// The row that [`Self::advance`] has come to; `None` at the end.
    pub fn take_row(&mut self) -> Option<Row> {
        let row = self.block.pop_front();
        self.taken_count += u64::from(row.is_some());
        // At the end there may be more another time: nobody but a test asks.
        self.is_made &= row.is_some();
        row
    }

    /// Begins to score `byte_count` bytes more for rows to come, where that is done on the fly and
    /// the next block does not have its text scored already.
    ///
    /// # Errors
    /// As [`Self::next_row`].
    pub async fn score_ahead(&mut self, byte_count: usize) -> Result<()> {
        // A block has about as many bytes as the one before it, and a document more is begun.
        let most_waiting = self.block_bytes + self.block_bytes / 4 + byte_count;
        self.documents.begin(&mut self.entropies, byte_count, most_waiting).await
    }

    /// Waits for what [`Self::score_ahead`] has begun.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn finish_scoring(&mut self) -> Result<()> {
        self.documents.finish(&mut self.entropies).await
    }

    /// The document that is being scored.
    pub fn progress(&self) -> Option<ScoringProgress> {
        self.documents.progress()
    }

    fn state_between_blocks(&self) -> DataState {
        let first = |index: usize, next: SourcePosition| {
            let mut pending = self.pending.iter();
            let pending = pending.find(|it| it.source_index == index).map(|it| it.position);
            pending.or_else(|| self.documents.position(index)).unwrap_or(next)
        };
        let positions = self.documents.reader.positions().enumerate();
        DataState {
            sources: positions.map(|(index, next)| first(index, next)).collect(),
            pending: self.pending.iter().map(|it| it.source_index).collect(),
            consumed_count: self.consumed_count as u64,
            choice: self.documents.choice(),
            block_index: self.start.block_index + 1,
            taken_count: 0,
        }
    }

    /// Makes the block, short or empty at the end of the text; false after a slice of scoring that
    /// did not suffice for it.
    async fn fill(&mut self) -> Result<bool> {
        let mut is_ended = false;
        while self.block.len() < self.options.block_rows {
            let is_owed = self.resumed.as_ref().is_some_and(|it| it.owed_count > 0);
            let row = match is_ended {
                _ if is_owed => None,
                true => self.packer.flush(),
                false => self.packer.pop(),
            };
            match row {
                Some(row) => self.block.push_back(row),
                None if is_ended => break,
                None => match self.documents.advance(&mut self.entropies).await? {
                    None => return Ok(false),
                    Some(Some(document)) => self.push(&document)?,
                    Some(None) => is_ended = true,
                },
            }
            self.forget_consumed();
        }
        let stream = SHUFFLE_STREAM.wrapping_add(self.start.block_index);
        let rows = self.block.make_contiguous();
        Random::new(self.options.seed, stream).shuffle(rows);
        self.block_bytes = rows.iter().map(|row| row.ids.len()).sum();
        self.is_made = true;
        Ok(true)
    }

    /// Hands a document to the packer.
    fn push(&mut self, document: &Waiting) -> Result<()> {
        let Waiting { read, ids, entropies, .. } = document;
        let skipped_count = match &mut self.resumed {
            Some(resumed) if resumed.owed_count > 0 => {
                resumed.owed_count -= 1;
                std::mem::take(&mut resumed.skipped_count)
            }
            _ => 0,
        };
        if skipped_count > ids.len() {
            return Err(texts_changed());
        }
        let patch_lengths = match self.options.unit {
            RowUnit::Bytes { .. } => Vec::new(),
            RowUnit::Patches { patching, .. } => {
                let named = |error: Error| {
                    Error::input(format!("document {}", read.document.id), error.to_string())
                };
                patching.patch_lengths(ids, entropies).map_err(named)?
            }
        };
        self.packer.push_from(ids, &patch_lengths, skipped_count)?;
        self.pending.push_back(Pending {
            source_index: read.source_index,
            position: read.position,
            token_count: ids.len(),
        });
        Ok(())
    }

    /// Forgets documents of which every token has left in rows.
    fn forget_consumed(&mut self) {
        let held: usize = self.pending.iter().map(|it| it.token_count).sum();
        self.consumed_count = held - self.packer.pending_byte_count();
        while let Some(first) = self.pending.front()
            && first.token_count <= self.consumed_count
        {
            self.consumed_count -= first.token_count;
            self.pending.pop_front();
        }
    }
}

fn texts_changed() -> Error {
    let problem = "they are others than when the checkpoint was made";
    Error::input("texts of the run", problem)
        .with_hint("a run is resumed over the texts it was started with")
}
