//! Documents of weighted sources, each read over and over.

use serde::{Deserialize, Serialize};

use super::sources::{OpenTexts, SourceTexts};
use crate::error::{Error, Result};
use crate::random::Random;
use crate::text::{Document, Documents, Place, TextFormat, TextKind};

/// The stream of random numbers that chooses between sources.
const CHOICE_STREAM: u64 = 0x6368_6f69_6365;

/// Where a source is read: this document of this pass comes next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SourcePosition {
    /// Passes over the source that are finished.
    pub epoch: u64,
    /// What of this pass is behind.
    pub place: Place,
}

/// A document, and where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct ReadDocument {
    pub source_index: usize,
    pub position: SourcePosition,
    /// At least one byte, and entropies where its file has them.
    pub document: Document,
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
    /// Whether this pass was begun in its middle.
    is_resumed: bool,
    notes: Vec<String>,
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
                is_resumed: false,
                notes: Vec::new(),
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

    /// Whether every document comes with its entropies.
    pub fn has_all_entropies(&self) -> bool {
        let paths = self.sources.iter().flat_map(|source| &source.texts.paths);
        let kinds = paths.map(|path| TextFormat::of(path).map(|format| format.kind));
        kinds.into_iter().all(|kind| kind.is_ok_and(|kind| kind == TextKind::Arrow))
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
            if let Some(document) = source.next()? {
                return Ok(Some(ReadDocument { source_index, position, document }));
            }
        }
        Ok(None)
    }

    /// Sentences about odd documents since the last call, each said in the first pass only.
    pub fn take_notes(&mut self) -> Vec<String> {
        self.sources.iter_mut().flat_map(SourceReader::take_notes).collect()
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
        let SourceTexts { paths, options, .. } = &self.texts;
        Documents::open_from((self.open)(), paths, options.clone())
    }

    fn take_notes(&mut self) -> Vec<String> {
        let fresh = self.documents.as_mut().map(Documents::take_notes).unwrap_or_default();
        let notes = std::mem::take(&mut self.notes);
        if self.position.epoch > 0 { notes } else { [notes, fresh].concat() }
    }

    /// The next document of this pass; `None` at its end, in front of the next pass.
    fn next(&mut self) -> Result<Option<Document>> {
        if self.documents.is_none() {
            self.documents = Some(self.open_documents().map_err(gone)?);
        }
        let documents = self.documents.as_mut().expect("they were opened above");
        if let Some(document) = documents.next() {
            let document = document.map_err(gone)?;
            self.position.place = documents.place();
            return Ok(Some(document));
        }
        if documents.counts().document_count == 0 && !self.is_resumed {
            let mut problem = "there is no text in it".to_owned();
            if let Some(note) = documents.take_notes().first() {
                problem += &format!(" ({note})");
            }
            return Err(Error::input(self.name(), problem)
                .with_hint("every source needs at least one document with at least one byte"));
        }
        self.notes = self.take_notes();
        (self.documents, self.is_resumed) = (None, false);
        self.position = SourcePosition { epoch: self.position.epoch + 1, ..Default::default() };
        Ok(None)
    }

    fn seek(&mut self, position: SourcePosition) -> Result<()> {
        let mut documents = self.open_documents()?;
        documents.seek(position.place)?;
        self.is_resumed = position.place != Place::default();
        (self.documents, self.position) = (Some(documents), position);
        Ok(())
    }
}

/// A text that was there when the run began and is not any more.
fn gone(error: Error) -> Error {
    match error {
        Error::Io { action: "open", path, source, .. } => {
            let problem = format!("it was there before and cannot be opened now: {source}");
            Error::input(path.display().to_string(), problem)
                .with_hint("put it back and go on with `--resume`")
        }
        other => other,
    }
}
