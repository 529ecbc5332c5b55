//! Evaluation of a model directory on documents: bits per byte, and how they fall into patches.

use super::bits_per_byte::{BitsPerByte, windows};
use super::patcher::Patcher;
use super::score::{ScoreOptions, ScoredDocument, Scorer};
use crate::blt::patching::{bytes_and_patches, bytes_per_patch};
use crate::blt::{LoadedDirectory, Positions};
use crate::engine::Engine;
use crate::error::Result;
use crate::text::encode;
use std::collections::BTreeMap;

/// Positions that are scored in one replay.
const BATCH_BYTES: usize = 8192;

/// What has been scored so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Evaluation {
    pub document_count: u64,
    /// Nats of all targets: the bytes of every document and its end.
    pub score: BitsPerByte,
    /// Patches of all documents; for a lone entropy model every target is one.
    pub patch_count: u64,
}

impl Evaluation {
    /// Targets in a patch; 0 where nothing was scored.
    pub fn bytes_per_patch(&self) -> f64 {
        bytes_per_patch(self.score.target_count, self.patch_count)
    }
}

/// Scores one document after another with the model of a directory.
pub struct Evaluator<'m, E: Engine> {
    engine: &'m E,
    directory: &'m LoadedDirectory<E>,
    patcher: Option<Patcher<'m, E>>,
    /// Scorers by their context: a text in short patches needs a shorter one.
    scorers: BTreeMap<usize, Scorer<E>>,
    evaluation: Evaluation,
}

impl<'m, E: Engine> Evaluator<'m, E> {
    /// An evaluator that has scored nothing.
    ///
    /// # Errors
    /// If the model's patching means nothing.
    pub fn new(engine: &'m E, directory: &'m LoadedDirectory<E>) -> Result<Self> {
        let patcher = Patcher::of(engine, directory)?.map(Patcher::without_next_token);
        let evaluation = Evaluation::default();
        Ok(Self { engine, directory, patcher, scorers: BTreeMap::new(), evaluation })
    }

    /// Scores a document of any length, and an empty one too: its end is a target.
    ///
    /// # Errors
    /// If the device has not the memory or fails.
    pub async fn step(&mut self, text: &[u8]) -> Result<()> {
        let ids = encode(text, true, true);
        let patch_lengths = match &mut self.patcher {
            None => Vec::new(),
            Some(patcher) => patcher.cut(&ids).await?.patch_lengths,
        };
        let context = self.context(ids.len() - 1, &patch_lengths);
        let options = ScoreOptions { context, batch_bytes: BATCH_BYTES };
        let scorer = self.scorers.entry(context).or_insert_with(|| Scorer::new(options));
        let document = ScoredDocument { ids: &ids, patch_lengths: &patch_lengths };
        let score = scorer.bits_per_byte(self.engine, &self.directory.model, document).await?;
        self.evaluation.document_count += 1;
        self.evaluation.score.add(score.nats, score.target_count);
        self.evaluation.patch_count += match self.patcher {
            None => score.target_count,
            Some(_) => bytes_and_patches(ids.len(), &patch_lengths).1,
        };
        Ok(())
    }

    /// What has been scored so far.
    pub fn evaluation(&self) -> Evaluation {
        self.evaluation
    }

    /// Most positions of a window: those of the model, halved until the patches of every window
    /// fit the positions of the latent transformer.
    fn context(&self, target_count: usize, patch_lengths: &[u32]) -> usize {
        let positions = Positions::of(&self.directory.model.config);
        match positions.patches {
            None => positions.bytes,
            Some(patches) => fitting_context(target_count, patch_lengths, positions.bytes, patches),
        }
    }
}

/// The largest of `context`, `context / 2`, .. whose windows hold no more than `patch_limit`
/// patches each, the virtual token included.
fn fitting_context(
    target_count: usize,
    patch_lengths: &[u32],
    context: usize,
    patch_limit: usize,
) -> usize {
    let mut context = context.max(1);
    let mut ends = Vec::with_capacity(patch_lengths.len());
    let mut end = 0;
    for &length in patch_lengths {
        end += length as usize;
        ends.push(end);
    }
    // A window begins with up to two patches of its own, and ends with one that goes on.
    let patch_count = |start: usize, end: usize| {
        let first = ends.partition_point(|&at| at <= start);
        let last = ends.partition_point(|&at| at <= end);
        (last - first + 3).min(end - start + 1)
    };
    while context > 1
        && windows(target_count, context)
            .iter()
            .any(|window| patch_count(window.start, window.end) > patch_limit)
    {
        context /= 2;
    }
    context
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_context_shrinks_until_its_patches_fit() {
        let ones = vec![1; 1001];
        assert_eq!(fitting_context(1000, &ones, 1024, 4096), 1024);
        assert_eq!(fitting_context(1000, &ones, 1024, 300), 256);
        assert_eq!(fitting_context(1000, &ones, 1024, 1), 1);
        // One byte and then patches of ten: a hundred and a few patches.
        let tens: Vec<u32> = std::iter::once(1).chain(vec![10; 100]).collect();
        assert_eq!(fitting_context(1000, &tens, 1024, 110), 1024);
        assert_eq!(fitting_context(1000, &tens, 1024, 90), 512);
        // A short text fits whatever the limit of longer ones.
        assert_eq!(fitting_context(3, &[1, 1, 1, 1], 1024, 4), 1024);
    }

    #[test]
    fn nothing_scored_is_no_division_by_zero() {
        assert_eq!(Evaluation::default().bytes_per_patch(), 0.0);
        let score = BitsPerByte { nats: 1.0, target_count: 9 };
        let evaluation = Evaluation { document_count: 1, score, patch_count: 2 };
        assert_eq!(evaluation.bytes_per_patch(), 4.5);
    }
}
