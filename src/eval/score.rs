//! Scoring of documents of any length: entropies of every position, nats of every target.
//!
//! Documents longer than the context are scored in windows whose first half is context only.
//! Windows of several documents share a replay; each is a row of its own. An entropy follows from
//! the ids of its window up to its position, to the last bit, and the window from the position: so
//! it stays the same when a document grows.

use super::bits_per_byte::{BitsPerByte, Window, windows};
use crate::blt::config::ModelConfig;
use crate::blt::tables::Row;
use crate::blt::{Batch, LoadedModel, PlanBytes, PlanSlot, entropies_graph, evaluation_graph};
use crate::engine::{Engine, Reading};
use crate::error::{Error, Result};
use crate::kernels::Step;

/// Plans that score documents with one model.
pub struct Scorer<E: Engine> {
    evaluate: PlanSlot<E>,
    entropies: PlanSlot<E>,
    options: ScoreOptions,
}

/// How much is run at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScoreOptions {
    /// Most positions of a window.
    pub context: usize,
    /// Windows are gathered until they hold this many positions.
    pub batch_bytes: usize,
}

/// A document as ids, BOS and EOS included, and how it falls into patches.
#[derive(Clone, Copy, Debug)]
pub struct ScoredDocument<'a> {
    pub ids: &'a [u32],
    /// Sum to the number of ids, or one more; empty for an entropy model.
    pub patch_lengths: &'a [u32],
}

/// Windows of some documents, ready for a replay; a thread of its own can make them.
#[derive(Clone, Debug)]
pub struct PreparedScore {
    batch: Batch,
    /// The document of each, by its index, and the window.
    windows: Vec<(usize, Window)>,
}

impl PreparedScore {
    /// What scores all of these documents with an entropy model.
    ///
    /// # Errors
    /// If an id is outside the vocabulary.
    pub fn of(
        config: &ModelConfig,
        documents: &[&[u32]],
        options: ScoreOptions,
    ) -> Result<Vec<Self>> {
        let all = documents.iter().enumerate().flat_map(|(index, ids)| {
            windows(ids.len(), options.context).into_iter().map(move |window| (index, window))
        });
        let mut prepared = Vec::new();
        let (mut group, mut held) = (Vec::new(), 0);
        for (index, window) in all {
            let length = window.end - window.start;
            if held + length > options.batch_bytes && held > 0 {
                prepared.push(Self::new(config, documents, std::mem::take(&mut group))?);
                held = 0;
            }
            held += length;
            group.push((index, window));
        }
        if !group.is_empty() {
            prepared.push(Self::new(config, documents, group)?);
        }
        Ok(prepared)
    }

    /// What scores these windows, each of the document with its index.
    ///
    /// # Errors
    /// If an id is outside the vocabulary.
    pub fn new(
        config: &ModelConfig,
        documents: &[&[u32]],
        windows: Vec<(usize, Window)>,
    ) -> Result<Self> {
        let row = |(index, window): &(usize, Window)| row(documents[*index], &[], *window);
        let rows: Vec<_> = windows.iter().map(row).collect();
        Ok(Self { batch: Batch::new(config, &rows)?, windows })
    }
}

/// Windows that are being scored.
pub struct Scoring<'e> {
    reading: Reading<'e>,
    windows: Vec<(usize, Window)>,
}

impl Scoring<'_> {
    /// Waits for the entropies of every window from its `score_from` on, each with the index of
    /// its document.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn finish(self) -> Result<Vec<(usize, Vec<f32>)>> {
        let outputs = self.reading.finish().await?;
        let mut rest = outputs[0].as_slice();
        let scored = self.windows.into_iter().map(|(document, window)| {
            let (own, behind) = rest.split_at(window.end - window.start);
            rest = behind;
            (document, own[window.score_from - window.start..].to_vec())
        });
        Ok(scored.collect())
    }
}

impl<E: Engine> Scorer<E> {
    /// Plans that are compiled when they are first used.
    ///
    /// # Panics
    /// If the context is 0.
    pub fn new(options: ScoreOptions) -> Self {
        assert!(options.context > 0, "a context holds at least one position");
        Self {
            evaluate: PlanSlot::new("evaluate", evaluation_graph),
            entropies: PlanSlot::new("score", entropies_graph),
            options,
        }
    }

    /// Entropy in nats of the prediction after every id. Those of a prefix are a prefix of them.
    ///
    /// # Errors
    /// If an id is outside the vocabulary or the device fails.
    pub async fn entropies(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        ids: &[u32],
    ) -> Result<Vec<f32>> {
        let mut entropies = Vec::with_capacity(ids.len());
        for windows in grouped(windows(ids.len(), self.options.context), self.options.batch_bytes) {
            let windows = windows.into_iter().map(|window| (0, window)).collect();
            let prepared = PreparedScore::new(&model.config, &[ids], windows)?;
            self.run(engine, model, &prepared, std::slice::from_mut(&mut entropies)).await?;
        }
        Ok(entropies)
    }

    /// The same of windows that were made before, behind what is known of each document.
    ///
    /// # Errors
    /// If the device fails.
    ///
    /// # Panics
    /// If there are fewer documents than when they were made.
    pub async fn run(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        prepared: &PreparedScore,
        entropies: &mut [Vec<f32>],
    ) -> Result<()> {
        let scoring = self.begin(engine, model, prepared).await?;
        for (document, scored) in scoring.finish().await? {
            entropies[document].extend(scored);
        }
        Ok(())
    }

    /// Sends windows to the device, which scores them while the host goes on.
    ///
    /// # Errors
    /// If the device fails.
    pub async fn begin<'e>(
        &mut self,
        engine: &'e E,
        model: &LoadedModel<E>,
        prepared: &PreparedScore,
    ) -> Result<Scoring<'e>> {
        let batch = &prepared.batch;
        let step = Step::of(batch.counts);
        let plan = self.entropies.get(engine, model, &batch.counts).await?;
        let reading = engine.begin(plan, &step, &batch.inputs, &["entropies"]).await?;
        Ok(Scoring { reading, windows: prepared.windows.clone() })
    }

    /// What the plan of entropies adds to the Store; nothing before it is compiled.
    pub fn entropies_bytes(&self) -> PlanBytes {
        self.entropies.bytes()
    }

    /// Nats of every target of a document: all ids but the first.
    ///
    /// # Errors
    /// If the document has fewer than two ids, its lengths do not sum to its ids, or the device
    /// fails.
    pub async fn bits_per_byte(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        document: ScoredDocument<'_>,
    ) -> Result<BitsPerByte> {
        self.sample(engine, model, document, 1).await
    }

    /// Nats of the targets of one window in `every`, for an estimate while training.
    ///
    /// # Errors
    /// As [`Self::bits_per_byte`].
    ///
    /// # Panics
    /// If `every` is 0.
    pub async fn sample(
        &mut self,
        engine: &E,
        model: &LoadedModel<E>,
        document: ScoredDocument<'_>,
        every: usize,
    ) -> Result<BitsPerByte> {
        let ScoredDocument { ids, patch_lengths } = document;
        if ids.len() < 2 {
            let problem = format!("expected at least 2 ids, got {}", ids.len());
            return Err(Error::input("document", problem));
        }
        let starts = patch_starts(ids.len(), patch_lengths)?;
        let mut sum = BitsPerByte::default();
        let windows = windows(ids.len() - 1, self.options.context);
        let windows = windows.into_iter().step_by(every).collect();
        for group in grouped(windows, self.options.batch_bytes) {
            let rows: Vec<_> = group.iter().map(|window| row(ids, &starts, *window)).collect();
            let batch = model.batch(&rows)?;
            let step = Step::of(batch.counts);
            let plan = self.evaluate.get(engine, model, &batch.counts).await?;
            engine.run_in_turns(plan, &step, &batch.inputs).await?;
            let nats = engine.output(plan, "nats", &step).await?;
            let nats: f64 = nats.iter().map(|&value| f64::from(value)).sum();
            sum.add(nats, batch.target_count as u64);
        }
        Ok(sum)
    }
}

/// Consecutive windows of together about `positions` positions, at least one.
fn grouped(windows: Vec<Window>, positions: usize) -> Vec<Vec<Window>> {
    let mut groups: Vec<Vec<Window>> = Vec::new();
    let mut held = usize::MAX;
    for window in windows {
        let length = window.end - window.start;
        if held.saturating_add(length) > positions {
            groups.push(Vec::new());
            held = 0;
        }
        held += length;
        groups.last_mut().expect("the first window opens a group").push(window);
    }
    groups
}

/// Whether a patch starts at each position, the one behind the last included; empty for none.
fn patch_starts(id_count: usize, patch_lengths: &[u32]) -> Result<Vec<bool>> {
    if patch_lengths.is_empty() {
        return Ok(Vec::new());
    }
    let sum: usize = patch_lengths.iter().map(|&length| length as usize).sum();
    if sum != id_count && sum != id_count + 1 {
        let problem = format!("expected lengths that sum to {id_count}, got {sum}");
        return Err(Error::input("patch lengths", problem));
    }
    let mut starts = vec![false; id_count + 2];
    let mut start = 0;
    for &length in patch_lengths {
        starts[start] = true;
        start += length as usize;
    }
    starts[start] = true;
    Ok(starts)
}

/// One window as a row; targets before `score_from`, and the one behind the last id, weigh nothing.
/// Patches start where the document's do, and at the first two positions as in every row.
fn row(ids: &[u32], starts: &[bool], window: Window) -> Row {
    let Window { start, end, score_from } = window;
    let position_ids = ids[start..end].to_vec();
    let targets: Vec<_> =
        (start..end).map(|i| ids.get(i + 1).copied().unwrap_or(crate::text::EOS_ID)).collect();
    let weight = |i: usize| if i >= score_from && i + 1 < ids.len() { 1.0 } else { 0.0 };
    let weights = (start..end).map(weight).collect();
    let mut patch_lengths = Vec::new();
    if !starts.is_empty() {
        let count = end - start;
        for offset in 0..=count {
            if offset < 2 || starts[start + offset] {
                patch_lengths.push(0);
            }
            *patch_lengths.last_mut().expect("position 0 starts a patch") += 1;
        }
    }
    Row { ids: position_ids, targets, weights, patch_lengths }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_keeps_the_cuts_of_its_document() {
        let ids: Vec<u32> = (10..20).collect();
        let starts = patch_starts(10, &[1, 1, 3, 2, 3]).unwrap();
        let window = Window { start: 3, end: 8, score_from: 5 };
        let row = row(&ids, &starts, window);
        assert_eq!(row.ids, [13, 14, 15, 16, 17]);
        assert_eq!(row.targets, [14, 15, 16, 17, 18]);
        assert_eq!(row.weights, [0.0, 0.0, 1.0, 1.0, 1.0]);
        // Starts of the document: 0 1 2 5 7 (10); of the window: 3 4 5 7, and 8 is the open end.
        assert_eq!(row.patch_lengths, [1, 1, 2, 2]);
    }

    #[test]
    fn groups_hold_about_a_batch_and_every_window_once() {
        let all = windows(1000, 64);
        let groups = grouped(all.clone(), 200);
        assert_eq!(groups.concat(), all);
        assert!(groups.iter().all(|group| group.len() <= 3));
        assert_eq!(grouped(windows(10, 64), 4).len(), 1);
    }

    #[test]
    fn lengths_that_do_not_sum_are_an_error() {
        let error = patch_starts(5, &[1, 1, 1]).unwrap_err().to_string();
        assert_eq!(error, "patch lengths: expected lengths that sum to 5, got 3");
    }
}
