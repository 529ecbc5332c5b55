//! Documents that wait to become rows, with their entropies: scored in slices, of which some may
//! still be on the device.

use std::collections::VecDeque;

use super::patcher::EntropySource;
#[cfg(not(target_arch = "wasm32"))]
use super::patcher::NoEntropies;
use super::reader::{DocumentReader, ReadDocument, SourcePosition};
use super::slice::Slice;
use crate::error::Result;
use crate::random::Random;
use crate::text;

/// A document that is ready to be packed.
pub(super) struct Waiting {
    /// Without its text.
    pub read: ReadDocument,
    /// Its text, with BOS and EOS where they are wanted.
    pub ids: Vec<u32>,
    /// One an id; empty where none are needed.
    pub entropies: Vec<f32>,
    /// The choice between sources before this document was drawn.
    choice: Random,
    /// Ids of which the entropies are here or on their way.
    begun_count: usize,
    /// Whether its file had the entropies; whether as many as ids, is looked at where it is cut.
    is_stored: bool,
}

impl Waiting {
    fn is_scored(&self) -> bool {
        self.is_stored || self.entropies.len() == self.ids.len()
    }
}

/// How far the scoring of a document is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScoringProgress {
    /// The id of the document.
    pub document: String,
    /// Bytes of it that are scored.
    pub scored_bytes: usize,
    /// All of its bytes.
    pub bytes: usize,
}

/// Documents in the order in which they were read.
pub(super) struct DocumentQueue<S: EntropySource> {
    pub reader: DocumentReader,
    add_bos: bool,
    add_eos: bool,
    needs_entropies: bool,
    documents: VecDeque<Waiting>,
    /// Documents that have left.
    left_count: usize,
    /// What the device scores, with the documents that had left when it was begun.
    begun: VecDeque<(usize, S::Scoring)>,
}

impl<S: EntropySource> DocumentQueue<S> {
    pub fn new(
        reader: DocumentReader,
        add_bos: bool,
        add_eos: bool,
        needs_entropies: bool,
    ) -> Self {
        let (documents, begun) = (VecDeque::new(), VecDeque::new());
        Self { reader, add_bos, add_eos, needs_entropies, documents, left_count: 0, begun }
    }

    /// The next document if it is ready. Otherwise one slice of scoring is waited for; `None` says
    /// that there is more to do before one is ready, and `Some(None)` that none comes any more.
    ///
    /// # Errors
    /// A text that cannot be read, or a device that fails.
    pub async fn advance(&mut self, entropies: &mut S) -> Result<Option<Option<Waiting>>> {
        if self.documents.is_empty() && !self.read()? {
            return Ok(Some(None));
        }
        let is_ready = |it: &Waiting| it.is_scored() || !self.needs_entropies;
        if self.documents.front().is_some_and(is_ready) {
            self.left_count += 1;
            return Ok(Some(self.documents.pop_front()));
        }
        if self.begun.is_empty() {
            self.begin_slice(entropies).await?;
        }
        self.finish_one(entropies).await?;
        Ok(None)
    }

    /// Begins to score until so many more bytes are on their way, unless documents of
    /// `most_waiting` bytes are, each to its end.
    ///
    /// # Errors
    /// A text that cannot be read, or a device that fails.
    pub async fn begin(
        &mut self,
        entropies: &mut S,
        byte_count: usize,
        most_waiting: usize,
    ) -> Result<()> {
        let mut begun = 0;
        while self.needs_entropies && begun < byte_count && self.whole_bytes() < most_waiting {
            match self.begin_slice(entropies).await? {
                0 => break,
                count => begun += count,
            }
        }
        Ok(())
    }

    /// Waits for all that has been begun.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn finish(&mut self, entropies: &mut S) -> Result<()> {
        while !self.begun.is_empty() {
            self.finish_one(entropies).await?;
        }
        Ok(())
    }

    /// The document that is scored first; `None` where none is.
    pub fn progress(&self) -> Option<ScoringProgress> {
        let first = self.documents.front().filter(|_| self.needs_entropies)?;
        Some(ScoringProgress {
            document: first.read.document.id.clone(),
            scored_bytes: first.entropies.len(),
            bytes: first.ids.len(),
        })
    }

    /// Puts a document at the end that was read before, in a stream that this one goes on with.
    pub fn push(&mut self, read: ReadDocument) {
        let choice = self.reader.choice();
        self.push_chosen(read, choice);
    }

    /// The document that comes first of a source.
    pub fn position(&self, source_index: usize) -> Option<SourcePosition> {
        let mut documents = self.documents.iter().map(|it| &it.read);
        documents.find(|it| it.source_index == source_index).map(|it| it.position)
    }

    /// The choice between sources before the first document here was drawn.
    pub fn choice(&self) -> Random {
        self.documents.front().map_or(self.reader.choice(), |it| it.choice)
    }

    fn whole_bytes(&self) -> usize {
        let lengths = self.documents.iter().map(|it| it.ids.len());
        let begun = self.documents.iter().map(|it| it.begun_count);
        begun.zip(lengths).filter(|(begun, length)| begun == length).map(|(begun, _)| begun).sum()
    }

    /// Reads a document; false at the end of the text.
    fn read(&mut self) -> Result<bool> {
        let choice = self.reader.choice();
        let Some(read) = self.reader.next_document()? else { return Ok(false) };
        self.push_chosen(read, choice);
        Ok(true)
    }

    fn push_chosen(&mut self, mut read: ReadDocument, choice: Random) {
        let bytes = std::mem::take(&mut read.document.text);
        let ids = text::encode(&bytes, self.add_bos, self.add_eos);
        let stored = read.document.entropies.iter().filter(|_| self.needs_entropies);
        let entropies: Vec<_> = stored.map(|entropy| entropy.to_f32()).collect();
        let is_stored = !entropies.is_empty();
        let begun_count = if is_stored { ids.len() } else { 0 };
        self.documents.push_back(Waiting { read, ids, entropies, choice, begun_count, is_stored });
    }

    /// Begins to score the next windows; how many positions they score, or are scored already in
    /// what was read for them. 0 at the end of the text.
    async fn begin_slice(&mut self, entropies: &mut S) -> Result<usize> {
        let (mut slice, mut scored) = (Slice::of(entropies), 0);
        let is_open = |it: &Waiting| it.begun_count < it.ids.len();
        let first = self.documents.iter().position(is_open);
        let mut index = first.unwrap_or(self.documents.len());
        while !slice.is_full() {
            if index == self.documents.len() {
                if !self.read()? {
                    break;
                }
                if self.documents[index].is_stored {
                    slice.pass(self.documents[index].ids.len());
                    scored += self.documents[index].ids.len();
                }
            }
            let document = &mut self.documents[index];
            let begun = slice.add(index, document.ids.len(), document.begun_count);
            scored += begun - document.begun_count;
            document.begun_count = begun;
            index += 1;
        }
        if !slice.windows.is_empty() {
            let documents: Vec<_> = self.documents.iter().map(|it| it.ids.as_slice()).collect();
            let scoring = entropies.begin(&documents, slice.windows).await?;
            self.begun.push_back((self.left_count, scoring));
        }
        Ok(scored)
    }

    async fn finish_one(&mut self, entropies: &mut S) -> Result<()> {
        let Some((left_before, scoring)) = self.begun.pop_front() else { return Ok(()) };
        let left_since = self.left_count - left_before;
        for (index, scored) in entropies.finish(scoring).await? {
            self.documents[index - left_since].entropies.extend(scored);
        }
        Ok(())
    }

    /// The same queue for a thread without a device.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn without_entropies(self) -> DocumentQueue<NoEntropies> {
        DocumentQueue {
            reader: self.reader,
            add_bos: self.add_bos,
            add_eos: self.add_eos,
            needs_entropies: self.needs_entropies,
            documents: self.documents,
            left_count: self.left_count,
            begun: VecDeque::new(),
        }
    }
}
