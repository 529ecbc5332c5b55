//! Held-out bits per byte while a run goes on.

use std::path::PathBuf;

use crate::blt::LoadedModel;
use crate::blt::patching::Patching;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::{BitsPerByte, windows};
use crate::eval::{ScoreOptions, ScoredDocument, Scorer};
use crate::text::{self, DocumentOptions, Documents};
use crate::train::data::{EntropySource, OpenTexts, ScoringProgress, Slice};
use crate::train::ranks::{Place, Ranks};

/// How held-out text is scored.
#[derive(Clone, Debug, PartialEq)]
pub struct HeldOutOptions {
    /// `None` for an entropy model.
    pub patching: Option<Patching>,
    pub add_bos: bool,
    pub add_eos: bool,
    /// Most positions of a window.
    pub context: usize,
    /// Most patches of a window; looked at with patching only.
    pub context_patches: usize,
    /// Positions that are run at once.
    pub batch_bytes: usize,
    /// Most bytes of text, from the beginning; the document that crosses it is cut there.
    pub max_bytes: Option<u64>,
    /// How the files are read.
    pub documents: DocumentOptions,
}

/// Held-out documents, cut into patches once and scored again and again.
pub struct HeldOut<E: Engine> {
    documents: Vec<HeldOutDocument>,
    /// Documents from the first on that are cut into patches, where they are to be.
    cut_count: usize,
    /// Plans for the context and for what is left of it after halving it again and again.
    scorers: Vec<(usize, Scorer<E>)>,
    options: HeldOutOptions,
    /// Documents, of all ranks, that are scored with the weights as they are now.
    scored_count: usize,
    /// Nats and targets of those that this rank has scored.
    scores: Vec<f64>,
    /// Sentences about odd documents.
    pub notes: Vec<String>,
}

struct HeldOutDocument {
    id: String,
    ids: Vec<u32>,
    /// What it is cut by, as far as it is known; none once it is cut.
    entropies: Vec<f32>,
    patch_lengths: Vec<u32>,
    context: usize,
}

impl<E: Engine> HeldOut<E> {
    /// Reads the documents, and cuts them where that needs no entropies.
    ///
    /// # Errors
    /// A file that cannot be read, or no text.
    pub fn read(paths: &[PathBuf], open: &OpenTexts, options: HeldOutOptions) -> Result<Self> {
        let mut left = options.max_bytes.unwrap_or(u64::MAX);
        let mut documents = Vec::new();
        let mut texts = Documents::open_from(open(), paths, options.documents.clone())?;
        for document in texts.by_ref() {
            let document = document?;
            let (id, mut bytes) = (document.id, document.text);
            let is_whole = bytes.len() as u64 <= left;
            if !is_whole {
                bytes.truncate(left as usize);
            }
            left -= bytes.len() as u64;
            let ids = text::encode(&bytes, options.add_bos, options.add_eos && is_whole);
            if ids.len() >= 2 {
                let (entropies, patch_lengths) = Default::default();
                let context = options.context;
                documents.push(HeldOutDocument { id, ids, entropies, patch_lengths, context });
            }
            if left == 0 {
                break;
            }
        }
        if documents.is_empty() {
            return Err(Error::input("data.valid", "there is no text to score in it"));
        }
        let notes = texts.take_notes();
        let (scorers, scores) = Default::default();
        let mut held_out =
            Self { documents, cut_count: 0, scorers, options, scored_count: 0, scores, notes };
        if held_out.options.patching.is_none_or(|patching| !patching.mode.needs_entropies()) {
            held_out.cut_scored()?;
        }
        Ok(held_out)
    }

    /// Scores a slice of what has to be scored before the documents can be cut; where it is, or
    /// nothing once all are cut.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn cut(
        &mut self,
        entropies: &mut impl EntropySource,
    ) -> Result<Option<ScoringProgress>> {
        let mut slice = Slice::of(entropies);
        for (index, document) in self.documents.iter().enumerate().skip(self.cut_count) {
            if slice.is_full() {
                break;
            }
            slice.add(index, document.ids.len(), document.entropies.len());
        }
        if !slice.windows.is_empty() {
            let ids: Vec<_> = self.documents.iter().map(|it| it.ids.as_slice()).collect();
            let scoring = entropies.begin(&ids, slice.windows).await?;
            for (index, scored) in entropies.finish(scoring).await? {
                self.documents[index].entropies.extend(scored);
            }
        }
        self.cut_scored()?;
        Ok(self.documents.get(self.cut_count).map(|document| ScoringProgress {
            document: document.id.clone(),
            scored_bytes: document.entropies.len(),
            bytes: document.ids.len(),
        }))
    }

    /// Cuts every document of which all is known.
    fn cut_scored(&mut self) -> Result<()> {
        while let Some(document) = self.documents.get_mut(self.cut_count) {
            if let Some(patching) = self.options.patching {
                let needed = patching.mode.needs_entropies();
                if needed && document.entropies.len() < document.ids.len() {
                    break;
                }
                document.cut(patching, self.options.context_patches)?;
            }
            self.cut_count += 1;
        }
        Ok(())
    }

    /// Scores a document on every rank, with the weights as they are now. Behind the last it gives
    /// the score of all, the same on all ranks, and the same however many there are; before it
    /// nothing. The weights stay until then.
    ///
    /// # Errors
    /// If the device has not the memory or is lost, or a rank is gone.
    ///
    /// # Panics
    /// If [`Self::cut`] has something to do.
    pub async fn score(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        ranks: &Ranks,
    ) -> Result<Option<BitsPerByte>> {
        assert_eq!(self.cut_count, self.documents.len(), "documents are scored once they are cut");
        let Place { rank, count, .. } = ranks.place();
        if let Some(document) = self.documents.get(self.scored_count + rank) {
            let known = self.scorers.iter().position(|(context, _)| *context == document.context);
            let index = known.unwrap_or_else(|| {
                let batch_bytes = self.options.batch_bytes;
                let options = ScoreOptions { context: document.context, batch_bytes };
                self.scorers.push((document.context, Scorer::new(options)));
                self.scorers.len() - 1
            });
            let HeldOutDocument { ids, patch_lengths, .. } = document;
            let scored = ScoredDocument { ids, patch_lengths };
            let score = self.scorers[index].1.bits_per_byte(engine, model, scored).await?;
            self.scores.extend([score.nats, score.target_count as f64]);
        }
        self.scored_count = self.documents.len().min(self.scored_count + count);
        if self.scored_count < self.documents.len() {
            return Ok(None);
        }
        self.scored_count = 0;
        let scores = ranks.gather_numbers(&std::mem::take(&mut self.scores))?;
        let mut sum = BitsPerByte::default();
        for index in 0..self.documents.len() {
            let score = &scores[index % count][2 * (index / count)..];
            sum.add(score[0], score[1] as u64);
        }
        Ok(Some(sum))
    }

    /// How many documents are scored, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.scored_count, self.documents.len())
    }
}

impl HeldOutDocument {
    fn cut(&mut self, patching: Patching, context_patches: usize) -> Result<()> {
        let entropies = std::mem::take(&mut self.entropies);
        self.patch_lengths = patching.patch_lengths(&self.ids, &entropies)?;
        while self.context > 1 && most_patches(&self.patch_lengths, self.context) > context_patches
        {
            self.context /= 2;
        }
        Ok(())
    }
}

/// Most patches that a window of this document has.
fn most_patches(patch_lengths: &[u32], context: usize) -> usize {
    let token_count: u32 = patch_lengths.iter().sum();
    // `starts[i]`: patches that start before position i.
    let mut starts = Vec::with_capacity(token_count as usize + 1);
    for (index, &length) in patch_lengths.iter().enumerate() {
        starts.push(index);
        starts.extend(std::iter::repeat_n(index + 1, length as usize - 1));
    }
    starts.push(patch_lengths.len());
    let windows = windows(token_count as usize - 1, context).into_iter();
    // The first two positions of a window start patches whatever the document says; so may the one
    // behind its end.
    let patches = windows.map(|window| {
        let inner = (window.start + 2).min(window.end + 1);
        2 + starts[window.end + 1] - starts[inner]
    });
    patches.max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patches_of_the_fullest_window_are_counted() {
        // Starts at 0 1 2 3 4 of 12 tokens: 11 positions.
        let lengths = [1, 1, 1, 1, 8];
        assert_eq!(most_patches(&lengths, 100), 5);
        assert_eq!(most_patches(&lengths, 3), 4);
        assert_eq!(most_patches(&[1, 11], 4), 2);
        // The second window is 2..6, and 4 and 6 start patches.
        assert_eq!(most_patches(&[1, 3, 2, 3, 3], 4), 4);
    }
}
