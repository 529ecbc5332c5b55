//! How a step of running streams is computed: in one go, in which the device chooses the ids, or
//! several steps in one, see [`linked`](super::linked).

use super::caches::{entropy_config, patcher};
use super::parts::Parts;
use super::place::Place;
use super::sampling::{ChoiceRow, EXPECTED_LOGITS};
use super::slot::{Chosen, Slot, check_finite};
use super::step_tables::{Next, Reader, set_next, step_inputs};
use super::stream_plans::Work;
use super::streams::Streams;
use crate::blt::config::{EntropyConfig, ModelConfig, Semantics};
use crate::blt::hash::MAX_GROUP_SIZE;
use crate::blt::{EmbeddedText, Pass};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::{Window, window_at};
use crate::kernels::decode::choose;
use crate::kernels::{Axis, Counts};
use crate::text::{EOS_ID, VOCABULARY_SIZE};
use std::collections::VecDeque;
use std::ops::Range;

impl<E: Engine> Streams<'_, E> {
    /// What comes next of these streams, one id or as many as the device takes by itself, or why
    /// nothing does. It changes nothing about them: who gets an answer adds it. One id each unless
    /// `may_link`.
    pub(super) async fn choose_next(
        &mut self,
        mut readers: Vec<usize>,
        may_link: bool,
    ) -> Result<Vec<(usize, Result<VecDeque<Chosen>>)>> {
        let need = |&index: &usize| {
            let Slot { place, closes, .. } = self.at(index);
            place.need(index, *closes)
        };
        let needs: Vec<_> = readers.iter().map(need).collect();
        let mut refused = self.make_room(&needs).await?;
        readers.retain(|index| refused.iter().all(|(other, _)| other != index));
        self.move_windows(&readers, &mut refused).await?;
        readers.retain(|index| refused.iter().all(|(other, _)| other != index));
        let mut choices = Vec::with_capacity(readers.len());
        for &index in &readers {
            match self.at(index).choice() {
                Ok(choice) => choices.push((index, choice)),
                Err(error) => refused.push((index, error)),
            }
        }
        let mut all = Vec::new();
        readers = choices.iter().map(|(index, _)| *index).collect();
        if may_link && self.can_link_all(&readers).await? {
            let mut parts = Parts::new(readers, usize::MAX, |_| 1);
            while let Some(part) = parts.next() {
                match self.choose_linked(&part).await {
                    Ok(chosen) if chosen.is_suspect() => drop(parts.split(part)),
                    Ok(chosen) => all.extend(part.into_iter().zip(chosen.streams)),
                    Err(error) => {
                        let alone = parts.halve(part, error)?;
                        // Who is too much for one plan takes single steps.
                        alone.into_iter().for_each(|(stream, _)| self.no_room_to_link(stream));
                    }
                }
            }
            choices.retain(|(reader, _)| all.iter().all(|(other, _)| other != reader));
        }
        let mut parts = Parts::new(choices, usize::MAX, |_| 1);
        while let Some(part) = parts.next() {
            match self.choose(&part).await {
                Ok(chosen) if chosen.is_suspect() => drop(parts.split(part)),
                Ok(chosen) => all.extend(part.iter().map(|(index, _)| *index).zip(chosen.streams)),
                Err(error) => {
                    let alone = parts.halve(part, error)?;
                    refused.extend(alone.map(|((index, _), error)| (index, error)));
                }
            }
        }
        all.extend(refused.into_iter().map(|(index, error)| (index, Err(error))));
        Ok(all)
    }

    /// Whether all of these take several steps at once, with room for them in the caches: a run for
    /// some of them and a step for the others would read all weights twice.
    async fn can_link_all(&mut self, readers: &[usize]) -> Result<bool> {
        if readers.is_empty() || !readers.iter().all(|&stream| self.can_link(stream)) {
            return Ok(false);
        }
        let needs: Vec<_> = readers.iter().map(|&stream| self.linked_need(stream)).collect();
        let refused = self.make_room(&needs).await?;
        // There is room for single steps, which is less.
        refused.iter().for_each(|(stream, _)| self.no_room_to_link(*stream));
        Ok(refused.is_empty())
    }

    /// Remembers that the device has no room for several steps of a stream at once.
    fn no_room_to_link(&mut self, stream: usize) {
        self.at_mut(stream).takes_single_steps = true;
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

    /// Ids that the device chooses, with the entropies behind them.
    async fn choose(&mut self, readers: &[(usize, ChoiceRow)]) -> Result<ChosenAtOnce> {
        let (counts, inputs) = self.tables(readers)?;
        let mut outputs = vec!["chosen", "status"];
        let has_entropies = patcher(self.directory).is_some();
        if has_entropies {
            outputs.push("entropies");
        }
        if self.keeps_logits {
            outputs.push("logits");
        }
        let closes = |&(index, _): &(usize, ChoiceRow)| self.at(index).closes;
        let pass = if readers.iter().any(closes) { Pass::Close } else { Pass::Open };
        let work = Work::Step(pass);
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &outputs).await?;
        let entropy = |row: usize| has_entropies.then(|| read[2][row]);
        let chosen = |row: usize| {
            let logits = match self.keeps_logits {
                true => row_of(&read[outputs.len() - 1], row).to_vec(),
                false => Vec::new(),
            };
            let chosen = self.chosen([read[0][row], read[1][row]], entropy(row), logits)?;
            Ok(VecDeque::from([chosen]))
        };
        let is_broken = |row: usize| is_broken(read[1][row].to_bits(), entropy(row));
        let rows = 0..readers.len();
        Ok(ChosenAtOnce {
            is_broken: rows.clone().any(is_broken),
            streams: rows.map(chosen).collect(),
        })
    }

    /// What words of a device say comes next of a stream: id and status, which are bits of
    /// integers, and numbers.
    ///
    /// # Errors
    /// What was wrong with the logits; an entropy that is not finite; an id that is none, which
    /// would be read as a row of a table.
    pub(super) fn chosen(
        &self,
        [id, status]: [f32; 2],
        entropy: Option<f32>,
        logits: Vec<f32>,
    ) -> Result<Chosen> {
        check_status(status.to_bits())?;
        check_finite(entropy.as_slice())?;
        let id = id.to_bits();
        if id >= VOCABULARY_SIZE {
            let problem = format!("it chose id {id}, expected less than {VOCABULARY_SIZE}");
            let hint = "do not generate on it: `blt devices --check` says more";
            return Err(Error::device(self.caches.engine.name(), problem).with_hint(hint));
        }
        Ok(Chosen { id, entropy, logits, is_linked: false })
    }

    /// Counts and inputs of a step for the last ids of these streams.
    fn tables(&self, readers: &[(usize, ChoiceRow)]) -> Result<(Counts, Inputs)> {
        let choices = readers.iter().flat_map(|(_, choice)| *choice).collect();
        let reader = |&(stream, _): &(usize, ChoiceRow)| {
            let Slot { place, closes, .. } = self.at(stream);
            Reader { stream, place, closes: *closes }
        };
        let readers: Vec<Reader<'_>> = readers.iter().map(reader).collect();
        let (counts, mut inputs) = match &self.directory.model.config {
            ModelConfig::Blt(config) => {
                let (counts, mut inputs) = step_inputs(config, &self.caches.shape, &readers);
                let newest = readers.iter().map(|it| (it.place, it.place.read..it.place.read + 1));
                self.embed_on_host(&mut inputs, newest)?;
                (counts, inputs)
            }
            ModelConfig::Entropy(config) => {
                let mut inputs = Inputs::default();
                let last = |it: &Reader<'_>| Next {
                    stream: it.stream,
                    index: it.place.read,
                    document: it.place.document,
                };
                set_next(&mut inputs, config, &self.caches.shape, readers.iter().map(last));
                let ids = readers.iter().map(|it| it.place.ids[it.place.read]);
                inputs.set_u("next_ids", ids.collect());
                (Counts::default().with(Axis::Bytes, readers.len()), inputs)
            }
        };
        inputs.set_u("choice", choices);
        if let Some(patcher) = patcher(self.directory) {
            let config = entropy_config(patcher);
            let nexts = readers.iter().map(|it| next(config, it.stream, it.place));
            set_next(&mut inputs, config, &self.caches.shape, nexts);
        }
        Ok((counts, inputs))
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
}

/// What comes next of streams that were read together.
pub(super) struct ChosenAtOnce {
    /// Of each stream.
    pub streams: Vec<Result<VecDeque<Chosen>>>,
    /// Whether a stream got a number that is none where others got their first id.
    pub is_broken: bool,
}

impl ChosenAtOnce {
    /// Whether streams have to be read alone to tell whose numbers are none: a kernel may multiply
    /// those of another row by zero.
    fn is_suspect(&self) -> bool {
        self.is_broken && self.streams.len() > 1
    }
}

/// Whether a step gave a stream a logit or an entropy that is not finite.
pub(super) fn is_broken(status: u32, entropy: Option<f32>) -> bool {
    status == choose::NOT_FINITE || entropy.is_some_and(|entropy| !entropy.is_finite())
}

/// That an id was chosen.
///
/// # Errors
/// What was wrong with the logits.
fn check_status(status: u32) -> Result<()> {
    match status {
        choose::CHOSEN => Ok(()),
        choose::ALL_BANNED => {
            Err(Error::input("logits", "every id is banned, expected at least one choice"))
        }
        _ => {
            let error = Error::input("logits", EXPECTED_LOGITS);
            Err(error.with_hint("are the weights finite?"))
        }
    }
}

/// Where the entropy model reads next of a stream, in the window that scores it.
pub(super) fn next(config: &EntropyConfig, stream: usize, place: &Place) -> Next {
    let ids = &place.ids;
    let (start, _) = window_at(ids.len(), config.transformer.max_positions);
    let ends = |&id: &u32| id == EOS_ID && config.semantics == Semantics::Reference;
    let document = ids[start..].iter().rposition(ends).map_or(0, |end| end + 1);
    Next { stream, index: ids.len() - start, document }
}

/// A row of logits.
fn row_of(logits: &[f32], row: usize) -> &[f32] {
    let width = VOCABULARY_SIZE as usize;
    &logits[row * width..][..width]
}
