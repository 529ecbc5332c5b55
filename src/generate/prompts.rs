//! How streams read their prompts: entropies, where patches end, the caches of the model. Many are
//! read at once, in as many passes as it takes, and one that cannot be read is no other's concern.
//! Of a prompt that is too much for a pass its begin is read so, and the rest an id a step.

use super::caches::{entropy_config, patcher};
use super::parts::Parts;
use super::place::Place;
use super::room::Need;
use super::seed_tables::{EntropyRow, Seed, seed_batch, seed_entropies_batch};
use super::slot::{Progress, Slot, check_finite};
use super::stream_plans::Work;
use super::streams::{StreamId, Streams};
use crate::blt::CacheShape;
use crate::blt::config::ModelConfig;
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::{Window, windows};

/// Positions that a pass holds, unless one prompt alone has more.
const PASS_POSITIONS: usize = 16_384;

/// Streams whose prompts were not read, and why.
#[derive(Default)]
struct Refused {
    /// By what a shorter pass would not change.
    for_good: Vec<(usize, Error)>,
    /// By a pass over the prompt alone that was too much for the device.
    at_once: Vec<(usize, Error)>,
}

/// A prompt on its way into the caches of the model.
struct Prompt {
    stream: usize,
    /// Behind all its ids but the last, which the first step reads.
    place: Place,
    /// For each of its ids whether a patch closes with it.
    closes: Vec<bool>,
}

impl<E: Engine> Streams<'_, E> {
    /// Reads prompts that have not been read: [`Self::step`] does so itself, apart it can be timed.
    /// Gives the streams whose prompt cannot be read, and why; others are not held up by them.
    /// Dropped before it is done, it goes on where it was, but for the pass or step that it was in.
    ///
    /// # Errors
    /// A device that fails.
    pub async fn prefill(&mut self) -> Result<Vec<(StreamId, Error)>> {
        let mut refused = loop {
            let Refused { mut for_good, mut at_once } = self.read_prompts().await?;
            let mut is_shorter = false;
            // A stream may have several windows that are too much.
            at_once.sort_by_key(|(stream, _)| *stream);
            at_once.dedup_by_key(|(stream, _)| *stream);
            for (stream, error) in at_once {
                let slot = self.at_mut(stream);
                match slot.shorten() {
                    true => is_shorter = true,
                    false => {
                        let (read, all) = (slot.place.ids.len(), slot.ids().len());
                        let hint = format!(
                            "not even the first {read} of {all} ids of the prompt can be read at \
                             once: shorten the prompt, generate fewer texts at once, or keep \
                             smaller weights on the device"
                        );
                        for_good.push((stream, error.with_hint(hint)));
                    }
                }
            }
            // Those that were refused are tried again with the ones that are shorter.
            if !is_shorter {
                break for_good;
            }
        };
        self.read_rests(&mut refused).await?;
        Ok(refused.into_iter().map(|(stream, error)| (self.id_of(stream), error)).collect())
    }

    /// Reads prompts in passes, those that were shortened as short as they are.
    async fn read_prompts(&mut self) -> Result<Refused> {
        let mut refused = self.cut_prompts().await?;
        let mut prompts = Vec::new();
        for stream in 0..self.slots.len() {
            let Some(Slot { progress: Progress::Cut(closes), place, .. }) = &self.slots[stream]
            else {
                continue;
            };
            let patch_count = closes.iter().filter(|closes| **closes).count();
            match self.positions.check_patches(patch_count + 1) {
                Ok(()) => prompts.push(Prompt::new(stream, place, closes)),
                Err(error) => refused.for_good.push((stream, error)),
            }
        }
        let needs: Vec<Need> = prompts.iter().map(Prompt::need).collect();
        let homeless = self.make_room(&needs).await?;
        prompts.retain(|prompt| homeless.iter().all(|(stream, _)| *stream != prompt.stream));
        refused.for_good.extend(homeless);
        let mut parts = Parts::new(prompts, PASS_POSITIONS, |prompt| prompt.place.read);
        while let Some(part) = parts.next() {
            match self.seed(&part).await {
                Ok(()) => part.into_iter().for_each(|prompt| self.begin(prompt)),
                Err(error) => {
                    let alone = parts.halve(part, error)?;
                    refused.at_once.extend(alone.map(|(prompt, error)| (prompt.stream, error)));
                }
            }
        }
        Ok(refused)
    }

    /// Reads what no pass could hold of prompts, an id of each a step.
    async fn read_rests(&mut self, refused: &mut Vec<(usize, Error)>) -> Result<()> {
        loop {
            let mut readers = Vec::new();
            for stream in 0..self.slots.len() {
                let Some(slot) = &self.slots[stream] else { continue };
                if !matches!(slot.progress, Progress::Begun) || is_among(refused, stream) {
                    continue;
                }
                match self.check_positions(slot) {
                    Ok(()) => readers.push(stream),
                    Err(error) => refused.push((stream, error)),
                }
            }
            if readers.is_empty() {
                return Ok(());
            }
            for (stream, next) in self.choose_next(readers, true).await? {
                match next {
                    Ok(next) => self.at_mut(stream).add_to_prompt(next),
                    Err(error) => refused.push((stream, error)),
                }
            }
        }
    }

    /// Finds out where the patches of prompts end, and leaves cutters and entropy model behind
    /// them.
    async fn cut_prompts(&mut self) -> Result<Refused> {
        let is_unread = |slot: &Option<Slot>| match slot {
            Some(slot) => matches!(slot.progress, Progress::Unread),
            None => false,
        };
        let all = 0..self.slots.len();
        let mut unread: Vec<usize> = all.filter(|&stream| is_unread(&self.slots[stream])).collect();
        let mut entropies = vec![Vec::new(); self.slots.len()];
        let mut refused = Refused::default();
        if let (Some(patcher), false) = (patcher(self.directory), unread.is_empty()) {
            let context = entropy_config(patcher).transformer.max_positions;
            let need =
                |&stream: &usize| (stream, CacheShape { streams: stream + 1, ..CacheShape::NONE });
            let needs: Vec<Need> = unread.iter().map(need).collect();
            refused.for_good = self.make_room(&needs).await?;
            unread.retain(|stream| !is_among(&refused.for_good, *stream));
            let all = unread.iter().flat_map(|&stream| {
                let own = windows(self.at(stream).place.ids.len(), context);
                own.into_iter().map(move |window| (stream, window))
            });
            let all: Vec<_> = all.collect();
            for (stream, values) in self.read_windows(all, &mut refused.at_once).await? {
                entropies[stream].extend(values);
            }
        }
        unread.retain(|stream| !is_among(&refused.at_once, *stream));
        for stream in unread {
            if let Err(error) = self.at_mut(stream).cut(&entropies[stream]) {
                refused.for_good.push((stream, error));
            }
        }
        Ok(refused)
    }

    /// Lets the entropy model read windows of streams, the last of each into its caches: the
    /// entropies after the ids that each window scores.
    ///
    /// # Errors
    /// A device that fails.
    pub(super) async fn read_windows(
        &mut self,
        windows: Vec<(usize, Window)>,
        refused: &mut Vec<(usize, Error)>,
    ) -> Result<Vec<(usize, Vec<f32>)>> {
        let length = |(_, window): &(usize, Window)| window.end - window.start;
        let mut parts = Parts::new(windows, PASS_POSITIONS, length);
        let mut read = Vec::new();
        while let Some(part) = parts.next() {
            match self.read_part(&part).await {
                // Where something is not finite it may be in the rows beside it too: a kernel may
                // multiply it by zero.
                Ok(values) if part.len() > 1 && check_finite(&values).is_err() => {
                    parts.split(part);
                }
                Ok(values) => {
                    let mut rest = &values[..];
                    for (stream, window) in part {
                        let (own, behind) = rest.split_at(window.end - window.start);
                        read.push((stream, own[window.score_from - window.start..].to_vec()));
                        rest = behind;
                    }
                }
                Err(error) => {
                    let alone = parts.halve(part, error)?;
                    refused.extend(alone.map(|((stream, _), error)| (stream, error)));
                }
            }
        }
        Ok(read)
    }

    async fn read_part(&mut self, part: &[(usize, Window)]) -> Result<Vec<f32>> {
        let patcher = patcher(self.directory).expect("somebody cuts by entropies");
        let row = |&(stream, window): &(usize, Window)| {
            let ids = &self.at(stream).place.ids;
            let is_last = window.end == ids.len();
            EntropyRow { stream, ids: &ids[window.start..window.end], is_last }
        };
        let rows: Vec<EntropyRow<'_>> = part.iter().map(row).collect();
        let batch = seed_entropies_batch(
            &patcher.config,
            entropy_config(patcher),
            &self.caches.shape,
            &rows,
        )?;
        let (tables, outputs) = ((batch.counts, &batch.inputs), ["entropies"]);
        let read = self.plans.run(&self.caches, Work::SeedEntropies, tables, &outputs).await;
        read.map(|mut outputs| outputs.remove(0))
    }

    /// Fills the caches of the model.
    async fn seed(&mut self, prompts: &[Prompt]) -> Result<()> {
        let seeds: Vec<Seed<'_>> =
            prompts.iter().filter(|prompt| prompt.place.read > 0).map(Prompt::seed).collect();
        if seeds.is_empty() {
            return Ok(());
        }
        let config = &self.directory.model.config;
        let batch = match config {
            ModelConfig::Blt(blt) => {
                let mut batch = seed_batch(config, blt, &self.caches.shape, &seeds)?;
                let texts = seeds.iter().map(|seed| (seed.place, 0..seed.place.read));
                self.embed_on_host(&mut batch.inputs, texts)?;
                batch
            }
            ModelConfig::Entropy(entropy) => {
                let rows = seeds.iter().map(|&Seed { stream, place, .. }| EntropyRow {
                    stream,
                    ids: &place.ids[..place.read],
                    is_last: true,
                });
                let rows: Vec<EntropyRow<'_>> = rows.collect();
                seed_entropies_batch(config, entropy, &self.caches.shape, &rows)?
            }
        };
        self.plans.run(&self.caches, Work::Seed, (batch.counts, &batch.inputs), &[]).await?;
        Ok(())
    }

    /// Lets a stream begin behind its prompt.
    fn begin(&mut self, prompt: Prompt) {
        let slot = self.at_mut(prompt.stream);
        slot.closes = prompt.closes_last();
        slot.place = prompt.place;
        slot.progress = Progress::Begun;
        slot.end_prompt();
    }
}

impl Prompt {
    fn new(stream: usize, place: &Place, closes: &[bool]) -> Self {
        let mut place = place.clone();
        for &closes in &closes[..closes.len() - 1] {
            place.advance(closes);
        }
        Self { stream, place, closes: closes.to_vec() }
    }

    fn closes_last(&self) -> bool {
        *self.closes.last().expect("a prompt has ids")
    }

    fn need(&self) -> Need {
        self.place.need(self.stream, self.closes_last())
    }

    fn seed(&self) -> Seed<'_> {
        let (stream, place) = (self.stream, &self.place);
        Seed { stream, place, closes: &self.closes[..place.read] }
    }
}

fn is_among(refused: &[(usize, Error)], stream: usize) -> bool {
    refused.iter().any(|(other, _)| *other == stream)
}
