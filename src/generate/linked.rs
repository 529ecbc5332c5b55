//! Streams that a device takes several steps ahead by itself: what it is given of them, and what
//! comes back.
//!
//! What is ahead of a text is no part of it: caches hold more than the text, the stream does not.
//! Whoever pushes ids in between goes on from the text, and what was ahead is forgotten. Rings are
//! long enough for that ([`CacheShape::rewind`]).

use super::place::{Place, PlaceRules};
use super::sampling::NOTHING_FORCED;
use super::slot::{Chosen, Slot};
use super::step_tables::Next;
use super::stream_plans::Work;
use super::stream_step::{self, ChosenAtOnce, is_broken};
use super::streams::Streams;
use crate::blt::config::{BltConfig, EntropyConfig, ModelConfig, Semantics};
use crate::blt::patching::{PatchCutter, PatchingMode};
use crate::blt::{CacheShape, Ring, model_patching};
use crate::engine::{Engine, Inputs};
use crate::error::{Error, Result};
use crate::eval::bits_per_byte::window_at;
use crate::generate::caches::{entropy_config, patcher};
use crate::kernels::decode::next_step::{StepRules, layout, width};
use crate::kernels::{Axis, Counts};
use crate::text::VOCABULARY_SIZE;
use std::collections::VecDeque;

/// What to do about a device whose steps in one submission are no steps of the model.
const DISTRUST: &str = "take one byte a submission, and `blt devices --check` the device";

/// What the tables of steps follow from; where they lie is not yet said.
pub(super) fn step_rules(
    config: &BltConfig,
    entropy: Option<&EntropyConfig>,
    shape: &CacheShape,
) -> StepRules {
    let place = PlaceRules::new(&ModelConfig::Blt(config.clone()));
    let patching = model_patching(config);
    let (mode, threshold, threshold_add, patch_size) = match patching.mode {
        PatchingMode::Static { patch_size } => (layout::STATIC, 0.0, 0.0, patch_size),
        PatchingMode::Byte => (layout::BYTE, 0.0, 0.0, 0),
        PatchingMode::Space => (layout::SPACE, 0.0, 0.0, 0),
        PatchingMode::Entropy { threshold } => (layout::ENTROPY, threshold, 0.0, 0),
        PatchingMode::Monotonic { threshold } => (layout::MONOTONIC, threshold, 0.0, 0),
        PatchingMode::Combined { threshold, threshold_add } => {
            (layout::COMBINED, threshold, threshold_add, 0)
        }
        PatchingMode::BpeDelimiter => unreachable!("streams do not look ahead"),
    };
    let ring = |ring: Ring| [ring.rows, ring.period, ring.mirror, ring.window].map(|it| it as u32);
    let cross = config.decoder_cross_attention.as_ref();
    let is_reference = |it: &EntropyConfig| it.semantics == Semantics::Reference;
    StepRules {
        rings: [
            ring(Ring::of(&config.encoder, shape.rewind)),
            ring(Ring::of(&config.decoder, shape.rewind)),
            entropy.map_or([1; 4], |it| ring(Ring::of(&it.transformer, shape.rewind))),
            ring(Ring::of_decoder_patches(config, shape.rewind)),
        ],
        tables: [layout::NO_TABLE; 24],
        state: 0,
        results: 0,
        stream_states: shape.states as u32,
        stream_patches: shape.patches as u32,
        unpool_window: cross.map_or(1, |it| it.window.unwrap_or(1)) as u32,
        pool_window: place.pool_window as u32,
        concatenated: place.concatenated as u32,
        ends_documents: place.ends_documents.into(),
        next_ends_documents: entropy.is_some_and(is_reference).into(),
        hash_tables: config.hash.table_count() as u32,
        rows_per_table: config.hash.rows_per_table as u32,
        mode,
        threshold,
        threshold_add,
        patch_size,
        max_patch_length: patching.max_patch_length.unwrap_or(0),
    }
}

impl<E: Engine> Streams<'_, E> {
    /// Whether a device can take so many steps with a stream: it has positions for all of them,
    /// the entropy model reads them in one window, every table is on the device, and the device was
    /// not found to have no room for them.
    pub(super) fn can_link(&self, stream: usize) -> bool {
        let (links, slot) = (self.bytes_a_submission, self.at(stream));
        if links < 2 || slot.takes_single_steps || self.directory.model.host_embedding.is_some() {
            return false;
        }
        if !matches!(self.directory.model.config, ModelConfig::Blt(_)) {
            return false;
        }
        let (count, last) = (slot.place.ids.len(), slot.place.ids.len() + links - 1);
        let has_one_window = patcher(self.directory).is_none_or(|patcher| {
            let context = entropy_config(patcher).transformer.max_positions;
            window_at(count, context).0 == window_at(last, context).0
        });
        let patches = slot.place.patch_count + usize::from(slot.closes) + links;
        has_one_window
            && slot.sampled_choice().is_ok()
            && self.positions.check_bytes(last).is_ok()
            && self.positions.check_patches(patches).is_ok()
    }

    /// What a stream needs for so many steps.
    pub(super) fn linked_need(&self, stream: usize) -> (usize, CacheShape) {
        let (links, place) = (self.bytes_a_submission, &self.at(stream).place);
        let patches = place.patch_count + links;
        let states = place.read + links - place.oldest_state();
        (stream, CacheShape { streams: stream + 1, patches, states, rewind: 0 })
    }

    /// What comes next of streams that [`Self::can_link`], as far as the device went: less than
    /// all where a text ends, or where something is wrong behind the first id.
    pub(super) async fn choose_linked(&mut self, streams: &[usize]) -> Result<ChosenAtOnce> {
        let (count, keeps_logits) = (self.bytes_a_submission, self.keeps_logits);
        let (mut words, mut states) = (Vec::new(), 0);
        for &stream in streams {
            words.extend(self.words(stream)?);
            states += self.linked_need(stream).1.states;
        }
        let rows = streams.len();
        let counts = Counts::default()
            .with(Axis::Bytes, rows)
            .with(Axis::Patches, rows)
            .with(Axis::SeenBytes, states);
        let mut inputs = Inputs::default();
        inputs.set_u("streams", words);
        let mut outputs = vec!["results".to_owned()];
        if keeps_logits {
            outputs.extend((0..count).map(|link| format!("logits.{link}")));
        }
        let outputs: Vec<&str> = outputs.iter().map(String::as_str).collect();
        let work = Work::Linked { count, keeps_logits };
        let read = self.plans.run(&self.caches, work, (counts, &inputs), &outputs).await?;
        let has_entropies = patcher(self.directory).is_some();
        let result = |row: usize, link: usize| -> Result<Option<(Chosen, bool)>> {
            let words = &read[0][(link * rows + row) * layout::RESULT_WORDS..];
            let [id, status, entropy, closes] = [words[0], words[1], words[2], words[3]];
            match status.to_bits() == layout::STOPPED {
                true if link > 0 => return Ok(None),
                true => return Err(self.chose_nothing()),
                false => {}
            }
            let entropy = has_entropies.then_some(entropy);
            let width = VOCABULARY_SIZE as usize;
            let logits = match keeps_logits {
                true => read[1 + link][row * width..][..width].to_vec(),
                false => Vec::new(),
            };
            let chosen = self.chosen([id, status], entropy, logits)?;
            let chosen = Chosen { is_linked: true, ..chosen };
            Ok(Some((chosen, closes.to_bits() == 1)))
        };
        let chosen = |row: usize| {
            let mut ahead = VecDeque::with_capacity(count);
            let mut cutter = self.at(streams[row]).cutter.clone();
            for link in 0..count {
                match result(row, link) {
                    Ok(Some((chosen, closes))) => {
                        let cutter = cutter.as_mut().expect("a model of patches cuts");
                        self.check_patch(cutter, &chosen, closes)?;
                        ahead.push_back(chosen);
                    }
                    Ok(None) => break,
                    // The ids in front of it are good, and the step behind them will say it again.
                    // What a device made up it may not make up again.
                    Err(error) if link > 0 && !matches!(error, Error::Device { .. }) => break,
                    Err(error) => return Err(error),
                }
            }
            Ok(ahead)
        };
        let is_broken = |row: usize| {
            let words = &read[0][row * layout::RESULT_WORDS..];
            is_broken(words[1].to_bits(), has_entropies.then_some(words[2]))
        };
        Ok(ChosenAtOnce {
            is_broken: (0..rows).any(is_broken),
            streams: (0..rows).map(chosen).collect(),
        })
    }

    /// That a device says of the first step that its stream has stopped before: nobody stopped it.
    fn chose_nothing(&self) -> Error {
        let problem = "the first of several steps on the device chose no id, and says that the \
                       text had stopped before it";
        Error::device(self.caches.engine.name(), problem).with_hint(DISTRUST)
    }

    /// That a device has closed a patch where the host closes it: what follows would be another
    /// text.
    fn check_patch(&self, cutter: &mut PatchCutter, chosen: &Chosen, closes: bool) -> Result<()> {
        let expected = cutter.push(chosen.id, chosen.entropy.unwrap_or(0.0));
        if closes == expected {
            return Ok(());
        }
        let says = |closes| if closes { "closes a patch" } else { "closes no patch" };
        let problem = format!(
            "a step on the device {} with id {}, by the rule of the model it {}",
            says(closes),
            chosen.id,
            says(expected)
        );
        Err(Error::device(self.caches.engine.name(), problem).with_hint(DISTRUST))
    }

    /// A stream as a device goes on from it.
    fn words(&self, stream: usize) -> Result<Vec<u32>> {
        let next = patcher(self.directory).map(|patcher| {
            stream_step::next(entropy_config(patcher), stream, &self.at(stream).place)
        });
        stream_words(stream, self.at(stream), next, self.bytes_a_submission)
    }
}

/// The words of a stream, see [`layout`].
pub(super) fn stream_words(
    stream: usize,
    slot: &Slot,
    next: Option<Next>,
    links: usize,
) -> Result<Vec<u32>> {
    let Slot { place, closes, pushed, .. } = slot;
    let mut words = vec![0; width(links, place.pool_window())];
    words[layout::STREAM] = stream as u32;
    words[layout::IS_LIVE] = 1;
    words[layout::CLOSES] = u32::from(*closes);
    set_place(&mut words, place, links);
    if let Some(cutter) = &slot.cutter {
        let (id_count, start, last_id, last_entropy) = cutter.state();
        words[layout::ID_COUNT] = id_count as u32;
        words[layout::PATCH_START] = start as u32;
        words[layout::LAST_ID] = last_id;
        words[layout::LAST_ENTROPY] = last_entropy.to_bits();
    }
    if let Some(Next { index, document, .. }) = next {
        words[layout::NEXT_INDEX] = index as u32;
        words[layout::NEXT_DOCUMENT] = document as u32;
    }
    words[layout::CHOICE..layout::PLANNED].copy_from_slice(&slot.sampled_choice()?);
    for link in 0..links {
        words[layout::PLANNED + link] = pushed.get(link).copied().unwrap_or(NOTHING_FORCED);
        words[layout::PLANNED + links + link] = slot.uniform(link).to_bits();
    }
    Ok(words)
}

fn set_place(words: &mut [u32], place: &Place, links: usize) {
    words[layout::READ] = place.read as u32;
    words[layout::DOCUMENT] = place.document as u32;
    words[layout::PATCH_COUNT] = place.patch_count as u32;
    words[layout::PATCH_DOCUMENT] = place.patch_document as u32;
    words[layout::HAS_ENDED] = place.has_ended().into();
    let ids = &place.ids[..=place.read];
    let ids = &ids[ids.len().saturating_sub(layout::ID_WINDOW)..];
    words[layout::CHOICE - ids.len()..layout::CHOICE].copy_from_slice(ids);
    words[layout::START_COUNT] = place.starts().len() as u32;
    for (word, &start) in words[layout::PLANNED + 2 * links..].iter_mut().zip(place.starts()) {
        *word = start as u32;
    }
}
