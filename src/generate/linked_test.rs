//! What a device makes of streams by itself is what the host makes of them: tables, counts, patches
//! that close, and the words behind the last step. The WGSL is held to the same oracle by the cases
//! of `next_step`.

use super::linked::{step_rules, stream_words};
use super::place::{Place, PlaceRules};
use super::sampling::{Sampler, SamplingOptions};
use super::self_check::CheckForm;
use super::self_check_texts::{blt, entropy};
use super::slot::{Chosen, Slot};
use super::step_tables::{Reader, set_next, step_inputs};
use super::stream_step::next;
use crate::blt::config::{BltConfig, ModelConfig, PatchingMode, Semantics};
use crate::blt::patching::PatchCutter;
use crate::blt::{CacheShape, hash_powers, model_patching};
use crate::engine::InputValues;
use crate::kernels::Axis;
use crate::kernels::decode::choose::CHOSEN;
use crate::kernels::decode::next_step::{StepRules, layout};
use crate::random::Random;
use crate::text::{BOS_ID, BYTE_OFFSET, EOS_ID};

const LINKS: usize = 3;
const STREAMS: usize = 3;
/// Numbers of streams in the caches need not be those of rows.
const FIRST_STREAM: usize = 2;
const SHAPE: CacheShape =
    CacheShape { streams: FIRST_STREAM + STREAMS, patches: 256, states: 256, rewind: LINKS - 1 };
/// Words of the arena for each table: more than any has.
const TABLE_WORDS: usize = 1024;

/// Streams that both go on with.
struct Both {
    config: BltConfig,
    rules: StepRules,
    powers: Vec<u32>,
    /// Those of the host.
    slots: Vec<Slot>,
    /// What the device has of them.
    arena: Vec<u32>,
    counts: [u32; 8],
    random: Random,
    closed_count: usize,
}

impl Both {
    fn new(config: BltConfig) -> Self {
        let model = ModelConfig::Blt(config.clone());
        let mut rules = step_rules(&config, Some(&entropy()), &SHAPE);
        for index in 0..layout::TABLES.len() {
            rules.tables[index] = (index * TABLE_WORDS) as u32;
        }
        rules.state = (layout::TABLES.len() * TABLE_WORDS) as u32;
        rules.results = rules.state + (STREAMS * rules.width(LINKS)) as u32;
        let length = rules.results as usize + STREAMS * LINKS * layout::RESULT_WORDS;
        let slot = |seed: u64| {
            let mut place = Place::new(PlaceRules::new(&model));
            place.ids = vec![BOS_ID];
            let options = SamplingOptions { temperature: 0.5, top_k: 9, ..Default::default() };
            let cutter = PatchCutter::new(&model_patching(&config)).unwrap();
            let sampler = Sampler::new(options, seed).unwrap();
            let mut slot = Slot::new(seed, place, sampler, Some(cutter));
            slot.cut(&[0.3]).unwrap();
            // The first id is a patch.
            slot.closes = true;
            slot
        };
        Self {
            slots: (0..STREAMS as u64).map(slot).collect(),
            arena: vec![0xDEAD; length],
            counts: [0xDEAD; 8],
            powers: hash_powers(&model).unwrap_or_default(),
            random: Random::new(3, 0),
            closed_count: 0,
            config,
            rules,
        }
    }

    /// The steps of a submission, compared one by one.
    fn submission(&mut self) {
        let start = self.words().concat();
        let (mut ids, mut entropies) = (vec![0; STREAMS], vec![0.0; STREAMS]);
        for link in 0..=LINKS {
            let chosen =
                layout::Chosen { ids: &ids, status: &[CHOSEN; STREAMS], entropies: &entropies };
            let sizes = [link, LINKS, STREAMS];
            let (arena, counts) = (&mut self.arena, &mut self.counts);
            layout::next_step(&self.rules, sizes, &start, &self.powers, chosen, arena, counts);
            if link > 0 {
                self.compare_patches(link - 1);
            }
            if link == LINKS {
                return self.compare_words();
            }
            self.compare_tables();
            for (row, slot) in self.slots.iter_mut().enumerate() {
                let letter = b"ab \xe6\x97.7Z"[self.random.below(8) as usize];
                let letter = BYTE_OFFSET + u32::from(letter);
                ids[row] = slot.pushed.front().copied().unwrap_or(letter);
                entropies[row] = self.random.next_f32();
                let (id, entropy) = (ids[row], Some(entropies[row]));
                slot.add(Chosen { id, entropy, logits: Vec::new(), is_linked: true });
            }
        }
    }

    /// The streams as they are handed over.
    fn words(&self) -> Vec<Vec<u32>> {
        let words = |(stream, slot): (usize, &Slot)| {
            let next = next(&entropy(), stream, &slot.place);
            stream_words(stream, slot, Some(next), LINKS).unwrap()
        };
        (FIRST_STREAM..).zip(&self.slots).map(words).collect()
    }

    /// Tables and counts of the step that follows.
    fn compare_tables(&self) {
        let mut readers = Vec::new();
        for (stream, slot) in (FIRST_STREAM..).zip(&self.slots) {
            readers.push(Reader { stream, place: &slot.place, closes: slot.closes });
        }
        let (counts, mut inputs) = step_inputs(&self.config, &SHAPE, &readers);
        let nexts = readers.iter().map(|it| next(&entropy(), it.stream, it.place));
        set_next(&mut inputs, &entropy(), &SHAPE, nexts);
        let choices = self.slots.iter().flat_map(|slot| {
            let mut choice = slot.sampled_choice().unwrap();
            choice[0] = slot.pushed.front().copied().unwrap_or(u32::MAX);
            choice
        });
        inputs.set_u("choice", choices.collect());
        let mut compared = 0;
        for (index, name) in layout::TABLES.iter().enumerate() {
            let Some(InputValues::U(expected)) = inputs.get(name) else { continue };
            let got = &self.arena[index * TABLE_WORDS..][..expected.len()];
            assert_eq!(got, expected, "{name}");
            compared += 1;
        }
        assert!(compared >= layout::TABLES.len() - 4, "{compared} tables");
        let [_, bytes, patches, .., states] = self.counts;
        let axes = [Axis::Bytes, Axis::Patches, Axis::SeenBytes];
        assert_eq!([bytes, patches, states], axes.map(|axis| counts.get(axis) as u32));
    }

    /// Whether patches close with the ids that were added last.
    fn compare_patches(&mut self, link: usize) {
        for (row, slot) in self.slots.iter().enumerate() {
            let at = self.rules.results as usize + (link * STREAMS + row) * layout::RESULT_WORDS;
            assert_eq!(self.arena[at + 3], u32::from(slot.closes), "row {row}");
            self.closed_count += usize::from(slot.closes);
        }
    }

    /// What the device keeps of the streams behind the last step.
    fn compare_words(&self) {
        let width = self.rules.width(LINKS);
        for (row, expected) in self.words().iter().enumerate() {
            let got = &self.arena[self.rules.state as usize + row * width..][..width];
            assert_eq!(got[..layout::CHOICE], expected[..layout::CHOICE], "row {row}");
            let held = expected[layout::START_COUNT] as usize;
            let starts = layout::PLANNED + 2 * LINKS..layout::PLANNED + 2 * LINKS + held;
            assert_eq!(got[starts.clone()], expected[starts], "row {row}");
        }
    }
}

/// A model with entropies around its threshold.
fn config(mode: PatchingMode, change: impl Fn(&mut BltConfig)) -> BltConfig {
    let mut config = blt(CheckForm::Short);
    config.patching.mode = mode;
    config.patching.threshold = if mode == PatchingMode::Monotonic { 0.3 } else { 0.7 };
    config.patching.threshold_add = (mode == PatchingMode::Combined).then_some(0.1);
    config.patching.patch_size = 4;
    change(&mut config);
    config
}

#[test]
fn a_device_goes_on_as_the_host_does() {
    let changes: [fn(&mut BltConfig); 4] = [
        |_| {},
        |it| {
            it.encoder_cross_attention.as_mut().unwrap().window = Some(3);
            it.decoder_cross_attention.as_mut().unwrap().window = Some(2);
            it.decoder.window = Some(11);
        },
        |it| {
            (it.encoder_cross_attention, it.decoder_cross_attention) = (None, None);
            it.pooling = Vec::new();
            it.patching.max_patch_length = Some(6);
        },
        |it| it.semantics = Semantics::Transformers,
    ];
    for mode in PatchingMode::ALL.into_iter().filter(|&mode| mode != PatchingMode::Bpe) {
        for change in changes {
            let mut both = Both::new(config(mode, change));
            for round in 0..40 {
                if round % 7 == 3 {
                    // A document ends in the middle of a submission.
                    let slot = &mut both.slots[round % STREAMS];
                    slot.pushed.extend([BYTE_OFFSET + 99, EOS_ID, BOS_ID, BYTE_OFFSET]);
                }
                both.submission();
            }
            let most = 40 * LINKS * STREAMS;
            let closed = both.closed_count;
            assert!(closed > most / 10, "{}: {closed} of {most}", mode.name());
            assert!(closed < most || mode == PatchingMode::Byte, "{}", mode.name());
        }
    }
}
