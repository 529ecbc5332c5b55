//! How a step of running streams is computed: in one go where the device can choose the ids, else
//! logits first, then ids here, then entropies.

use super::caches::{entropy_config, patcher};
use super::parts::Parts;
use super::place::Place;
use super::slot::{Chosen, Slot, check_finite};
use super::step_tables::{Next, Reader, next_inputs, set_next, step_inputs};
use super::stream_plans::Work;
use super::streams::Streams;
use crate::blt::config::{EntropyConfig, ModelConfig, Semantics};
use crate::blt::hash::MAX_GROUP_SIZE;
use crate::blt::{EmbeddedText, Pass};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::{Window, window_at};
use crate::kernels::Counts;
use crate::kernels::decode::likeliest;
use crate::text::{BOS_ID, EOS_ID, VOCABULARY_SIZE};
use std::ops::Range;

impl<E: Engine> Streams<'_, E> {
    /// What comes next of these streams, or why nothing does. It changes nothing about them: who
    /// gets an answer adds it.
    pub(super) async fn choose_next(
        &mut self,
        mut readers: Vec<usize>,
    ) -> Result<Vec<(usize, Result<Chosen>)>> {
        let need = |&index: &usize| {
            let Slot { place, closes, .. } = self.at(index);
            place.need(index, *closes)
        };
        let needs: Vec<_> = readers.iter().map(need).collect();
        let mut refused = self.make_room(&needs).await?;
        self.move_windows(&readers, &mut refused).await?;
        readers.retain(|index| refused.iter().all(|(other, _)| other != index));
        let mut parts = Parts::new(readers, usize::MAX, |_| 1);
        let mut all = Vec::new();
        while let Some(part) = parts.next() {
            let chosen = match self.greedy_tables(&part)? {
                Some(tables) => self.choose_greedily(&part, tables).await,
                None => self.choose_by_logits(&part).await,
            };
            match chosen {
                Ok(chosen) => all.extend(part.into_iter().zip(chosen)),
                Err(error) => refused.extend(parts.halve(part, error)?),
            }
        }
        all.extend(refused.into_iter().map(|(index, error)| (index, Err(error))));
        Ok(all)
    }

    /// Lets the entropy model read the begin of the next window of streams that are there, so that
    /// its caches stand behind the ids that the id to come is scored with, from position 0 on.
    async fn move_windows(
        &mut self,
        readers: &[usize],
        refused: &mut Vec<(usize, Error)>,
    ) -> Result<()> {
        let Some(patcher) = patcher(self.directory) else { return Ok(()) };
        let context = entropy_config(patcher).transformer.max_positions;
        let window = |&stream: &usize| {
            let end = self.at(stream).place.ids.len();
            let (start, is_first) = window_at(end, context);
            let window = Window { start, end, score_from: end };
            (is_first && start < end).then_some((stream, window))
        };
        let windows: Vec<_> = readers.iter().filter_map(window).collect();
        self.read_windows(windows, refused).await.map(|_| ())
    }

    /// Ids that the device chooses, with the entropies behind them, in one go.
    async fn choose_greedily(
        &mut self,
        readers: &[usize],
        (counts, inputs): (Counts, Inputs),
    ) -> Result<Vec<Result<Chosen>>> {
        let mut outputs = vec!["chosen", "status"];
        let has_entropies = patcher(self.directory).is_some();
        if has_entropies {
            outputs.push("entropies");
        }
        if self.keeps_logits {
            outputs.push("logits");
        }
        let work = Work::GreedyStep(self.pass(readers));
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &outputs).await?;
        let chosen = |row: usize| match read[1][row].to_bits() {
            likeliest::CHOSEN => {
                let entropy = has_entropies.then(|| read[2][row]);
                check_finite(entropy.as_slice())?;
                let logits = match self.keeps_logits {
                    true => row_of(&read[outputs.len() - 1], row).to_vec(),
                    false => Vec::new(),
                };
                Ok(Chosen { id: read[0][row].to_bits(), entropy, logits })
            }
            likeliest::ALL_BANNED => {
                Err(Error::input("logits", "every id is banned, expected at least one choice"))
            }
            _ => Err(Error::input("logits", "expected finite values")
                .with_hint("are the weights finite?")),
        };
        Ok((0..readers.len()).map(chosen).collect())
    }

    /// Ids that are chosen here.
    async fn choose_by_logits(&mut self, readers: &[usize]) -> Result<Vec<Result<Chosen>>> {
        let (counts, inputs) = self.step_tables(readers)?;
        let work = Work::Step(self.pass(readers));
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &["logits"]).await?;
        let mut all: Vec<Result<Chosen>> = Vec::with_capacity(readers.len());
        for (row, &index) in readers.iter().enumerate() {
            let logits = row_of(&read[0], row);
            let chosen = self.at_mut(index).choose(logits);
            let logits = if self.keeps_logits { logits.to_vec() } else { Vec::new() };
            all.push(chosen.map(|id| Chosen { id, entropy: None, logits }));
        }
        let Some(patcher) = patcher(self.directory) else { return Ok(all) };
        let config = entropy_config(patcher);
        let rows = readers.iter().zip(&all);
        let next = rows.filter_map(|(&index, chosen)| {
            chosen.as_ref().ok().map(|chosen| self.next(config, index, chosen.id))
        });
        let nexts: Vec<Next> = next.collect();
        if nexts.is_empty() {
            return Ok(all);
        }
        let (counts, inputs) = next_inputs(config, &nexts);
        let (work, outputs) = (Work::NextEntropies, ["entropies"]);
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &outputs).await?.remove(0);
        for (place, entropy) in all.iter_mut().filter(|chosen| chosen.is_ok()).zip(read) {
            match (check_finite(&[entropy]), place) {
                (Ok(()), Ok(chosen)) => chosen.entropy = Some(entropy),
                (Err(error), place) => *place = Err(error),
                (Ok(()), Err(_)) => unreachable!("only what was chosen is read"),
            }
        }
        Ok(all)
    }

    fn pass(&self, readers: &[usize]) -> Pass {
        match readers.iter().any(|&index| self.at(index).closes) {
            true => Pass::Close,
            false => Pass::Open,
        }
    }

    /// Counts and inputs of a step for the last ids of these streams.
    fn step_tables(&self, readers: &[usize]) -> Result<(Counts, Inputs)> {
        let reader = |&stream: &usize| {
            let Slot { place, closes, .. } = self.at(stream);
            Reader { stream, place, closes: *closes }
        };
        let readers: Vec<Reader<'_>> = readers.iter().map(reader).collect();
        match &self.directory.model.config {
            ModelConfig::Blt(config) => {
                let (counts, mut inputs) = step_inputs(config, &self.caches.shape, &readers);
                let newest = readers.iter().map(|it| (it.place, it.place.read..it.place.read + 1));
                self.embed_on_host(&mut inputs, newest)?;
                Ok((counts, inputs))
            }
            ModelConfig::Entropy(config) => {
                let next = |it: &Reader<'_>| Next {
                    stream: it.stream,
                    id: it.place.ids[it.place.read],
                    index: it.place.read,
                    document: it.place.document,
                };
                Ok(next_inputs(config, &readers.iter().map(next).collect::<Vec<_>>()))
            }
        }
    }

    /// Embeddings of ids of these texts, where the hash tables are on the host.
    pub(super) fn embed_on_host<'p>(
        &self,
        inputs: &mut Inputs,
        texts: impl Iterator<Item = (&'p Place, Range<usize>)>,
    ) -> Result<()> {
        let Some(host) = &self.directory.model.host_embedding else { return Ok(()) };
        let texts = texts.map(|(place, range)| {
            // No hash looks further back.
            let first = (range.start + 1).saturating_sub(MAX_GROUP_SIZE as usize);
            EmbeddedText { ids: &place.ids[first..range.end], count: range.len() }
        });
        host.set(inputs, texts)
    }

    /// The same for a step that the device can do alone: every stream is greedy.
    fn greedy_tables(&self, readers: &[usize]) -> Result<Option<(Counts, Inputs)>> {
        let (mut banned, mut forced) = (Vec::new(), Vec::new());
        for &index in readers {
            let Some((bans, id)) = self.at(index).greedy() else { return Ok(None) };
            banned.extend(bans);
            forced.push(id);
        }
        let (counts, mut inputs) = self.step_tables(readers)?;
        inputs.set_u("banned", banned);
        inputs.set_u("forced", forced);
        if let Some(patcher) = patcher(self.directory) {
            let config = entropy_config(patcher);
            let nexts: Vec<Next> =
                readers.iter().map(|&index| self.next(config, index, BOS_ID)).collect();
            set_next(&mut inputs, config, &nexts);
        }
        Ok(Some((counts, inputs)))
    }

    /// What the entropy model reads next of a stream, if it is this id: in the window that scores
    /// it.
    fn next(&self, config: &EntropyConfig, stream: usize, id: u32) -> Next {
        let ids = &self.at(stream).place.ids;
        let (start, _) = window_at(ids.len(), config.transformer.max_positions);
        let ends = |&id: &u32| id == EOS_ID && config.semantics == Semantics::Reference;
        let document = ids[start..].iter().rposition(ends).map_or(0, |end| end + 1);
        Next { stream, id, index: ids.len() - start, document }
    }
}

/// A row of logits.
fn row_of(logits: &[f32], row: usize) -> &[f32] {
    let width = VOCABULARY_SIZE as usize;
    &logits[row * width..][..width]
}
