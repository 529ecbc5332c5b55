//! Documents of weighted sources, each read over and over.

use serde::{Deserialize, Serialize};

use super::sources::{OpenTexts, SourceTexts};
use crate::error::{Error, Result};
use crate::random::Random;
use crate::text::{DocumentOptions, Documents};

/// The stream of random numbers that chooses between sources.
const CHOICE_STREAM: u64 = 0x6368_6f69_6365;

/// Where a source is read: this document of this pass comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePosition {
    /// Passes over the source that are finished.
    pub epoch: u64,
    /// Documents of this pass that are behind.
    pub document_index: u64,
}

/// A document, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadDocument {
    pub source_index: usize,
    pub position: SourcePosition,
    /// At least one byte.
    pub text: Vec<u8>,
}

/// Reads sources in turns, by weight, each from its start again when it ends.
pub struct DocumentReader {
    sources: Vec<SourceReader>,
    choice: Random,
    /// Passes over every source; `None` never ends.
    pass_count: Option<u64>,
}

struct SourceReader {
    texts: SourceTexts,
    open: OpenTexts,
    documents: Option<Documents>,
    position: SourcePosition,
}

impl DocumentReader {
    /// A reader in front of the first documents. With a `pass_count` every source is read that
    /// often and the reader then ends.
    ///
    /// # Errors
    /// No sources, a weight that is no number above 0, or a file that cannot be opened or has a
    /// name of no known format.
    pub fn new(
        sources: Vec<SourceTexts>,
        open: OpenTexts,
        seed: u64,
        pass_count: Option<u64>,
    ) -> Result<Self> {
        if sources.is_empty() {
            return Err(Error::input("sources of text", "expected at least one, got none"));
        }
        let reader = |texts: SourceTexts| {
            let mut reader = SourceReader {
                texts,
                open: OpenTexts::clone(&open),
                documents: None,
                position: SourcePosition::default(),
            };
            let weight = reader.texts.weight;
            if !(weight.is_finite() && weight > 0.0) {
                let problem = format!("expected a weight above 0, got {weight}");
                return Err(Error::input(reader.name(), problem));
            }
            reader.documents = Some(reader.open_documents()?);
            Ok(reader)
        };
        let sources = sources.into_iter().map(reader).collect::<Result<_>>()?;
        Ok(Self { sources, choice: Random::new(seed, CHOICE_STREAM), pass_count })
    }

    /// The next document; `None` when every pass is finished.
    ///
    /// # Errors
    /// A file that cannot be read, a line that holds no document, or a source without a byte.
    pub fn next_document(&mut self) -> Result<Option<ReadDocument>> {
        while let Some(index) = self.choose() {
            if let Some(document) = self.next_of(index)? {
                return Ok(Some(document));
            }
        }
        Ok(None)
    }

    /// The next document of one source, whatever the weights; `None` when its passes are finished.
    ///
    /// # Errors
    /// As [`Self::next_document`].
    pub fn next_of(&mut self, source_index: usize) -> Result<Option<ReadDocument>> {
        let pass_count = self.pass_count;
        let source = &mut self.sources[source_index];
        while pass_count.is_none_or(|count| source.position.epoch < count) {
            let position = source.position;
            if let Some(text) = source.next()? {
                return Ok(Some(ReadDocument { source_index, position, text }));
            }
        }
        Ok(None)
    }

    /// What comes next of every source.
    pub fn positions(&self) -> impl Iterator<Item = SourcePosition> {
        self.sources.iter().map(|source| source.position)
    }

    /// The state of the choice between sources.
    pub fn choice(&self) -> Random {
        self.choice
    }

    /// Sets the choice between sources.
    pub fn set_choice(&mut self, choice: Random) {
        self.choice = choice;
    }

    /// Goes to these positions, one a source.
    ///
    /// # Errors
    /// Another number of positions than of sources, or a source that ends before its position.
    pub fn seek(&mut self, positions: &[SourcePosition]) -> Result<()> {
        if positions.len() != self.sources.len() {
            let (got, expected) = (self.sources.len(), positions.len());
            let problem = format!("expected {expected} as in the checkpoint, got {got}");
            return Err(Error::input("sources of text", problem));
        }
        for (source, position) in self.sources.iter_mut().zip(positions) {
            source.seek(*position)?;
        }
        Ok(())
    }

    /// Draws a source whose passes are not finished.
    fn choose(&mut self) -> Option<usize> {
        let pass_count = self.pass_count;
        let sources = self.sources.iter().enumerate();
        let open: Vec<_> = sources
            .filter(|(_, source)| pass_count.is_none_or(|count| source.position.epoch < count))
            .map(|(index, source)| (index, source.texts.weight))
            .collect();
        let total: f64 = open.iter().map(|(_, weight)| weight).sum();
        let (last, _) = *open.last()?;
        let mut left = self.choice.next_f64() * total;
        let chosen = open.iter().find(|(_, weight)| {
            left -= weight;
            left < 0.0
        });
        Some(chosen.map_or(last, |(index, _)| *index))
    }
}

impl SourceReader {
    fn name(&self) -> String {
        let more = self.texts.paths.len().saturating_sub(1);
        let first = self.texts.paths.first().map_or_else(String::new, |p| p.display().to_string());
        if more == 0 { first } else { format!("{first} and {more} more") }
    }

    fn open_documents(&self) -> Result<Documents> {
        let options = DocumentOptions { part: self.texts.part.clone(), ..Default::default() };
        Documents::open_from((self.open)(), &self.texts.paths, options)
    }

    /// The next document of this pass; `None` at its end, in front of the next pass.
    fn next(&mut self) -> Result<Option<Vec<u8>>> {
        if self.documents.is_none() {
            self.documents = Some(self.open_documents()?);
        }
        let documents = self.documents.as_mut().expect("they were opened above");
        if let Some(document) = documents.next() {
            self.position.document_index += 1;
            return Ok(Some(document?.text));
        }
        if self.position.document_index == 0 {
            return Err(Error::input(self.name(), "there is no text in it")
                .with_hint("every source needs at least one document with at least one byte"));
        }
        self.documents = None;
        self.position = SourcePosition { epoch: self.position.epoch + 1, document_index: 0 };
        Ok(None)
    }

    fn seek(&mut self, position: SourcePosition) -> Result<()> {
        self.documents = None;
        self.position = SourcePosition { document_index: 0, ..position };
        while self.position.document_index < position.document_index {
            if self.next()?.is_none() {
                let problem = format!(
                    "expected more than {} documents as when the checkpoint was made",
                    position.document_index
                );
                return Err(Error::input(self.name(), problem)
                    .with_hint("a run is resumed over the texts it was started with"));
            }
        }
        Ok(())
    }
}
