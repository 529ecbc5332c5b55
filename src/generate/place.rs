//! Where a text stands that a model reads byte by byte: what the tables of a step follow from.

use crate::blt::config::{BltConfig, ModelConfig, Semantics};
use crate::text::EOS_ID;
use std::collections::VecDeque;

/// What of a model's configuration decides where its texts stand.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlaceRules {
    /// Whether an EOS ends what bytes and patches see.
    pub ends_documents: bool,
    /// Patches whose bytes a closing patch looks at, itself included.
    pub pool_window: usize,
    /// Byte states behind each other that make a patch vector; 0 where they are pooled.
    pub concatenated: usize,
}

/// Ids of which a model has read the first `read`, and what it has made of them.
#[derive(Clone, Debug)]
pub(super) struct Place {
    rules: PlaceRules,
    pub ids: Vec<u32>,
    /// Ids that the model has read: the next one is `ids[read]`.
    pub read: usize,
    /// The first id of the document of the next one.
    pub document: usize,
    /// Patches that have closed.
    pub patch_count: usize,
    /// The first patch of the document of the open one.
    pub patch_document: usize,
    /// Whether the open patch holds an EOS.
    has_ended: bool,
    /// Where the open patch starts, and those before it that it still looks at, oldest first.
    starts: VecDeque<usize>,
}

impl PlaceRules {
    pub fn new(config: &ModelConfig) -> Self {
        match config {
            ModelConfig::Entropy(config) => Self {
                ends_documents: config.semantics == Semantics::Reference,
                pool_window: 1,
                concatenated: 0,
            },
            ModelConfig::Blt(config) => Self {
                ends_documents: config.semantics == Semantics::Reference,
                pool_window: pool_window(config),
                concatenated: match config.pooling.is_empty() {
                    true => config.patching.patch_size,
                    false => 0,
                },
            },
        }
    }
}

fn pool_window(config: &BltConfig) -> usize {
    let cross = config.encoder_cross_attention.as_ref();
    cross.map_or(1, |cross| cross.window.unwrap_or(1))
}

impl Place {
    /// In front of a text.
    pub fn new(rules: PlaceRules) -> Self {
        Self {
            rules,
            ids: Vec::new(),
            read: 0,
            document: 0,
            patch_count: 0,
            patch_document: 0,
            has_ended: false,
            starts: VecDeque::from([0]),
        }
    }

    /// The first byte whose state is kept once the next id is read.
    pub fn oldest_state(&self) -> usize {
        let concatenated = match self.rules.concatenated {
            0 => self.read,
            count => (self.read + 1).saturating_sub(count),
        };
        self.starts[0].min(concatenated)
    }

    /// Where the open patch starts.
    pub fn open_start(&self) -> usize {
        self.starts[self.starts.len() - 1]
    }

    /// Where the open patch starts, and those before it that it still looks at, oldest first.
    pub fn starts(&self) -> &VecDeque<usize> {
        &self.starts
    }

    /// The most of [`Self::starts`] that there are.
    pub fn pool_window(&self) -> usize {
        self.rules.pool_window
    }

    /// Whether the open patch holds an EOS.
    pub fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Goes on behind the next id, with which its patch closes or does not.
    pub fn advance(&mut self, closes: bool) {
        let is_end = self.ids[self.read] == EOS_ID && self.rules.ends_documents;
        self.read += 1;
        self.has_ended |= is_end;
        if is_end {
            self.document = self.read;
        }
        if closes {
            self.patch_count += 1;
            if std::mem::take(&mut self.has_ended) {
                self.patch_document = self.patch_count;
            }
            self.starts.push_back(self.read);
            if self.starts.len() > self.rules.pool_window {
                self.starts.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_end_with_an_eos_and_latent_ones_with_its_patch() {
        let rules = PlaceRules { ends_documents: true, pool_window: 2, concatenated: 0 };
        let mut place = Place::new(rules);
        place.ids = vec![1, 80, EOS_ID, 1, 90, 91];
        let mut seen = Vec::new();
        for closes in [true, false, false, true, false, true] {
            seen.push([place.document, place.patch_document, place.oldest_state()]);
            place.advance(closes);
        }
        assert_eq!(seen, [[0, 0, 0], [0, 0, 0], [0, 0, 0], [3, 0, 0], [3, 2, 1], [3, 2, 1]]);
        assert_eq!((place.patch_count, place.open_start(), place.oldest_state()), (3, 6, 4));
    }
}
