//! How a step of running streams is computed: in one go where the device can choose the ids, else
//! logits first, then ids here, then entropies.

use super::added::Added;
use super::caches::{entropy_config, patcher};
use super::place::Place;
use super::slot::Slot;
use super::step_tables::{Next, Reader, next_inputs, set_next, step_inputs};
use super::stream_plans::Work;
use super::streams::{StreamId, Streams};
use crate::blt::config::{EntropyConfig, ModelConfig, Semantics};
use crate::blt::hash::MAX_GROUP_SIZE;
use crate::blt::{EmbeddedText, Pass};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::kernels::Counts;
use crate::kernels::decode::likeliest;
use crate::text::{BOS_ID, EOS_ID, VOCABULARY_SIZE};
use std::ops::Range;

impl<E: Engine> Streams<'_, E> {
    /// A step whose ids the device chooses, with the entropies behind them, in one go.
    pub(super) async fn step_greedily(
        &mut self,
        readers: &[usize],
        (counts, inputs): (Counts, Inputs),
        done: &mut Vec<(StreamId, Result<Added>)>,
    ) -> Result<()> {
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
        for (row, &index) in readers.iter().enumerate() {
            let added = match read[1][row].to_bits() {
                likeliest::CHOSEN => {
                    let id = read[0][row].to_bits();
                    let entropy = has_entropies.then(|| read[2][row]);
                    check_finite(entropy.as_slice())?;
                    let logits = match self.keeps_logits {
                        true => row_of(&read[outputs.len() - 1], row).to_vec(),
                        false => Vec::new(),
                    };
                    Ok(self.at_mut(index).add(id, entropy, logits))
                }
                likeliest::ALL_BANNED => {
                    let problem = "every id is banned, expected at least one choice";
                    Err(Error::input("logits", problem))
                }
                _ => Err(Error::input("logits", "expected finite values")
                    .with_hint("are the weights finite?")),
            };
            done.push((self.id_of(index), added));
        }
        Ok(())
    }

    /// A step whose ids are chosen here.
    pub(super) async fn step_by_logits(
        &mut self,
        readers: &[usize],
        done: &mut Vec<(StreamId, Result<Added>)>,
    ) -> Result<()> {
        let (counts, inputs) = self.step_tables(readers)?;
        let work = Work::Step(self.pass(readers));
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &["logits"]).await?;
        let mut chosen = Vec::new();
        for (row, &index) in readers.iter().enumerate() {
            let logits = row_of(&read[0], row);
            match self.at_mut(index).choose(logits) {
                Ok(id) => chosen.push((index, id, logits)),
                Err(error) => done.push((self.id_of(index), Err(error))),
            }
        }
        let entropies = self.next_entropies(&chosen).await?;
        for ((index, id, logits), entropy) in chosen.into_iter().zip(entropies) {
            let logits = if self.keeps_logits { logits.to_vec() } else { Vec::new() };
            let added = self.at_mut(index).add(id, entropy, logits);
            done.push((self.id_of(index), Ok(added)));
        }
        Ok(())
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

    /// The same for a step that the device can do alone: every stream is greedy, and the entropy
    /// model has a position for what it chooses.
    pub(super) fn greedy_tables(&self, readers: &[usize]) -> Result<Option<(Counts, Inputs)>> {
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
            let limit = config.transformer.max_positions;
            if nexts.iter().any(|next| next.index >= limit) {
                return Ok(None);
            }
            set_next(&mut inputs, config, &nexts);
        }
        Ok(Some((counts, inputs)))
    }

    /// What the entropy model reads next of a stream, if it is this id.
    fn next(&self, config: &EntropyConfig, stream: usize, id: u32) -> Next {
        let ids = &self.at(stream).place.ids;
        let ends = |&id: &u32| id == EOS_ID && config.semantics == Semantics::Reference;
        let document = ids.iter().rposition(ends).map_or(0, |end| end + 1);
        Next { stream, id, index: ids.len(), document }
    }

    /// The entropy after each of these ids of streams, which stand behind the last.
    async fn next_entropies(
        &mut self,
        chosen: &[(usize, u32, &[f32])],
    ) -> Result<Vec<Option<f32>>> {
        let Some(patcher) = patcher(self.directory) else { return Ok(vec![None; chosen.len()]) };
        let config = entropy_config(patcher);
        // At the last position there is no next one to be read.
        let limit = config.transformer.max_positions;
        let nexts = chosen.iter().map(|&(stream, id, _)| self.next(config, stream, id));
        let nexts: Vec<Next> = nexts.filter(|next| next.index < limit).collect();
        if nexts.is_empty() {
            return Ok(vec![None; chosen.len()]);
        }
        let (counts, inputs) = next_inputs(config, &nexts);
        let (work, outputs) = (Work::NextEntropies, ["entropies"]);
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &outputs).await?.remove(0);
        check_finite(&read)?;
        let find = |&(stream, ..): &(usize, u32, &[f32])| {
            nexts.iter().position(|next| next.stream == stream).map(|at| read[at])
        };
        Ok(chosen.iter().map(find).collect())
    }
}

pub(super) fn check_finite(entropies: &[f32]) -> Result<()> {
    match entropies.iter().find(|entropy| !entropy.is_finite()) {
        None => Ok(()),
        Some(entropy) => {
            let problem = format!("expected finite numbers of nats, got {entropy}");
            Err(Error::input("entropies", problem).with_hint("are the weights finite?"))
        }
    }
}

/// A row of logits.
fn row_of(logits: &[f32], row: usize) -> &[f32] {
    let width = VOCABULARY_SIZE as usize;
    &logits[row * width..][..width]
}
