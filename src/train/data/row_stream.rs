//! Rows of training text, in an order that can be taken up again.
//!
//! Rows are made in blocks of `block_rows` and every block is shuffled with random numbers of its
//! own (the reference shuffles so too, spec §15.4). What has to be kept is therefore where the
//! block began and how many of its rows are gone: the block is made again, without its first rows.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::patcher::EntropySource;
#[cfg(not(target_arch = "wasm32"))]
use super::patcher::NoEntropies;
use super::reader::{DocumentReader, ReadDocument, SourcePosition};
use super::row_packer::RowPacker;
use crate::blt::patching::Patching;
use crate::blt::tables::Row;
use crate::error::{Error, Result};
use crate::random::Random;
use crate::text;
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
pub struct RowStream<S> {
    reader: DocumentReader,
    packer: RowPacker,
    options: RowOptions,
    /// Where patching by entropy gets its entropies.
    pub entropies: S,
    /// Documents of which tokens are in the packer.
    pending: VecDeque<Pending>,
    /// Tokens of the first of them that have left in rows.
    consumed_count: usize,
    block: VecDeque<Row>,
    /// The state at the beginning of the block.
    start: DataState,
    taken_count: u64,
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
        Ok(Self {
            reader,
            packer,
            options,
            entropies,
            pending: VecDeque::new(),
            consumed_count: 0,
            block: VecDeque::new(),
            start,
            taken_count: 0,
        })
    }

    /// Goes to where another stream over the same texts stood; a stream that has been read from
    /// cannot.
    ///
    /// # Errors
    /// Texts that are others than then, or a device that fails while patches are found again.
    ///
    /// # Panics
    /// If a row has been handed out.
    pub async fn resume(&mut self, state: &DataState) -> Result<()> {
        assert!(self.taken_count == 0 && self.pending.is_empty(), "nothing has been read yet");
        self.reader.seek(&state.sources)?;
        let mut documents = Vec::with_capacity(state.pending.len());
        for &source_index in &state.pending {
            if source_index >= state.sources.len() {
                let problem = format!("there is no source {source_index}");
                return Err(Error::model("state of the data", problem));
            }
            documents.push(self.reader.next_of(source_index)?.ok_or_else(texts_changed)?);
        }
        self.push(&documents, state.consumed_count as usize).await?;
        self.reader.set_choice(state.choice);
        self.consumed_count = state.consumed_count as usize;
        self.start = DataState { taken_count: 0, ..state.clone() };
        // A state at the very end of a block has nothing of it left to make.
        if state.taken_count == 0 {
            return Ok(());
        }
        self.fill().await?;
        for _ in 0..state.taken_count {
            self.block.pop_front().ok_or_else(texts_changed)?;
        }
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
            reader: self.reader,
            packer: self.packer,
            options: self.options,
            entropies: NoEntropies,
            pending: self.pending,
            consumed_count: self.consumed_count,
            block: self.block,
            start: self.start,
            taken_count: self.taken_count,
        }
    }

    /// Sentences about odd documents since the last call.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.reader.take_notes()
    }

    /// The next row; `None` when the reader has ended and every row is gone.
    ///
    /// # Errors
    /// A text that cannot be read, or a device that fails.
    pub async fn next_row(&mut self) -> Result<Option<Row>> {
        if self.block.is_empty() {
            if self.taken_count > 0 {
                self.start = self.state_between_blocks();
                self.taken_count = 0;
            }
            self.fill().await?;
        }
        let row = self.block.pop_front();
        self.taken_count += u64::from(row.is_some());
        Ok(row)
    }

    fn state_between_blocks(&self) -> DataState {
        let first_pending = |index: usize, next: SourcePosition| {
            let mut pending = self.pending.iter();
            pending.find(|it| it.source_index == index).map_or(next, |it| it.position)
        };
        let positions = self.reader.positions().enumerate();
        DataState {
            sources: positions.map(|(index, next)| first_pending(index, next)).collect(),
            pending: self.pending.iter().map(|it| it.source_index).collect(),
            consumed_count: self.consumed_count as u64,
            choice: self.reader.choice(),
            block_index: self.start.block_index + 1,
            taken_count: 0,
        }
    }

    /// Makes the next block, short or empty at the end of the text.
    async fn fill(&mut self) -> Result<()> {
        let mut rows = Vec::with_capacity(self.options.block_rows);
        let mut is_ended = false;
        while rows.len() < self.options.block_rows {
            let row = if is_ended { self.packer.flush() } else { self.packer.pop() };
            match row {
                Some(row) => rows.push(row),
                None if is_ended => break,
                None => is_ended = !self.read_more().await?,
            }
            self.forget_consumed();
        }
        let stream = SHUFFLE_STREAM.wrapping_add(self.start.block_index);
        Random::new(self.options.seed, stream).shuffle(&mut rows);
        self.block = rows.into();
        Ok(())
    }

    /// Reads the next document, or as many as are best scored together; false at the end.
    async fn read_more(&mut self) -> Result<bool> {
        let group_ids = match self.needs_entropies() {
            true => self.entropies.group_ids(),
            false => 0,
        };
        let (mut documents, mut held) = (Vec::new(), 0);
        while documents.is_empty() || held < group_ids {
            let Some(read) = self.reader.next_document()? else { break };
            held += read.document.text.len();
            documents.push(read);
        }
        self.push(&documents, 0).await?;
        Ok(!documents.is_empty())
    }

    fn needs_entropies(&self) -> bool {
        match self.options.unit {
            RowUnit::Bytes { .. } => false,
            RowUnit::Patches { patching, .. } => patching.mode.needs_entropies(),
        }
    }

    /// Hands documents to the packer, the first without its first tokens.
    async fn push(&mut self, documents: &[ReadDocument], skipped_count: usize) -> Result<()> {
        let RowOptions { add_bos, add_eos, .. } = self.options;
        let encode = |read: &ReadDocument| text::encode(&read.document.text, add_bos, add_eos);
        let ids: Vec<_> = documents.iter().map(encode).collect();
        let mut entropies: Vec<Vec<f32>> = vec![Vec::new(); documents.len()];
        if self.needs_entropies() {
            let mut wanted = Vec::new();
            for (index, read) in documents.iter().enumerate() {
                let stored = read.document.entropies.iter();
                entropies[index] = stored.map(|entropy| entropy.to_f32()).collect();
                if entropies[index].is_empty() {
                    wanted.push(index);
                }
            }
            let unknown: Vec<_> = wanted.iter().map(|&index| ids[index].as_slice()).collect();
            if !unknown.is_empty() {
                let scored = self.entropies.entropies_of(&unknown).await?;
                for (index, scored) in wanted.into_iter().zip(scored) {
                    entropies[index] = scored;
                }
            }
        }
        for (index, read) in documents.iter().enumerate() {
            let skipped_count = if index == 0 { skipped_count } else { 0 };
            self.push_one(read, &ids[index], &entropies[index], skipped_count)?;
        }
        Ok(())
    }

    fn push_one(
        &mut self,
        read: &ReadDocument,
        ids: &[u32],
        entropies: &[f32],
        skipped_count: usize,
    ) -> Result<()> {
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
