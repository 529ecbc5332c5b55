//! Ids that devices choose are those of the host's sampler: on the CPU engine every one, on a GPU
//! all but those where the rounding of f32 decides, which are few.

mod support;

use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::generate::sampling::SamplingOptions;
use blt_wgpu::graph::{CompileOptions, Graph, StoreLayout, compile_for};
use blt_wgpu::kernels::decode::choose::{CHOSEN, ChoiceRule, choice_words, is_firm};
use blt_wgpu::kernels::{Axis, Counts, Element, Extent, Step};
use blt_wgpu::random::Random;
use blt_wgpu::text::VOCABULARY_SIZE;
use pollster::block_on;

const CLASSES: usize = VOCABULARY_SIZE as usize;
const ROWS: usize = 6000;

/// Rows of logits, the rules they are chosen by, as rows of `choice`, and what the host chooses.
struct Draws {
    logits: Vec<f32>,
    choice: Vec<u32>,
    expected: Vec<u32>,
}

impl Draws {
    /// Rows like those of a model, from flat to sure of one id, and every combination of rules.
    fn new() -> Self {
        let mut random = Random::new(4, 0);
        let mut draws = Self { logits: Vec::new(), choice: Vec::new(), expected: Vec::new() };
        for row in 0..ROWS {
            let spread = 1.0 + 11.0 * random.next_f32();
            let logits: Vec<f32> =
                (0..CLASSES).map(|_| spread * (random.next_f32() + random.next_f32())).collect();
            let set = |bit: usize| row >> bit & 1 == 1;
            let options = SamplingOptions {
                temperature: if row % 9 == 0 { 0.0 } else { 0.2 + 1.5 * random.next_f32() },
                top_k: if set(0) { 1 + random.below(100) as usize } else { 0 },
                top_p: if set(1) { random.next_f32() } else { 0.0 },
                min_p: if set(2) { 0.3 * random.next_f32() } else { 0.0 },
                repetition_penalty: if set(3) { 0.7 + random.next_f32() } else { 1.0 },
                allow_special: set(4),
                banned_ids: (0..random.below(20)).map(|_| random.below(260) as u32).collect(),
            };
            let history: Vec<u32> =
                (0..random.below(80)).map(|_| random.below(260) as u32).collect();
            let uniform = random.next_f32();
            draws.expected.push(options.choose(&logits, &history, uniform).unwrap());
            let rule = ChoiceRule {
                temperature: options.temperature,
                repetition_penalty: options.repetition_penalty,
                top_k: options.top_k as u32,
                top_p: options.top_p,
                min_p: options.min_p,
                uniform,
            };
            let special = [0, 1, 3].into_iter().filter(|_| !options.allow_special);
            let banned = bits(options.banned_ids.iter().copied().chain(special));
            draws.choice.extend(rule.words(u32::MAX).iter().chain(&banned));
            draws.choice.extend(bits(history.into_iter()));
            draws.logits.extend(logits);
        }
        draws
    }

    /// What an engine chooses.
    fn on<E: Engine>(&self, engine: &E) -> Vec<u32> {
        let mut graph = Graph::default();
        let rows = Extent::of(Axis::Bytes);
        let logits = graph.input("logits", rows, CLASSES, Element::F32);
        let choice = graph.input("choice", rows, choice_words(CLASSES), Element::U32);
        let [chosen, status] = graph.choose(logits, choice);
        graph.output("chosen", chosen);
        graph.output("status", status);
        let counts = Counts::default().with(Axis::Bytes, ROWS);
        let layout = StoreLayout::default();
        let recording =
            compile_for(graph, "choose", &layout, counts, &CompileOptions::BASE).unwrap();
        let store = block_on(engine.create_store(&layout)).unwrap();
        let plan = block_on(engine.compile(&store, recording)).unwrap();
        let mut inputs = Inputs::default();
        inputs.set_f("logits", self.logits.clone());
        inputs.set_u("choice", self.choice.clone());
        let (step, names) = (Step::of(counts), ["chosen", "status"]);
        let read = block_on(engine.run_for(&plan, &step, &inputs, &names)).unwrap();
        assert!(read[1].iter().all(|status| status.to_bits() == CHOSEN));
        read[0].iter().map(|id| id.to_bits()).collect()
    }

    /// The rows where ids are not those of the host.
    fn differing(&self, ids: &[u32]) -> Vec<usize> {
        (0..ROWS).filter(|&row| ids[row] != self.expected[row]).collect()
    }

    fn is_firm(&self, row: usize, margin: f32) -> bool {
        let width = choice_words(CLASSES);
        let logits = &self.logits[row * CLASSES..][..CLASSES];
        is_firm(logits, &self.choice[row * width..][..width], margin)
    }
}

fn bits(ids: impl Iterator<Item = u32>) -> [u32; CLASSES.div_ceil(32)] {
    let mut bits = [0; CLASSES.div_ceil(32)];
    ids.for_each(|id| bits[id as usize / 32] |= 1 << (id % 32));
    bits
}

/// The rows tell choices apart: many ids, few of them the first or the likeliest.
#[test]
fn draws_are_many_different_ids() {
    let draws = Draws::new();
    let different: std::collections::BTreeSet<u32> = draws.expected.iter().copied().collect();
    assert!(different.len() > 250, "{} ids", different.len());
    assert!(draws.differing(&[0; ROWS]).len() > ROWS * 9 / 10);
    let likeliest: Vec<u32> = draws
        .logits
        .chunks_exact(CLASSES)
        .map(|row| (0..CLASSES).max_by(|&a, &b| row[a].total_cmp(&row[b])).unwrap() as u32)
        .collect();
    assert!(draws.differing(&likeliest).len() > ROWS / 2);
}

#[test]
fn the_cpu_engine_draws_what_the_host_draws() {
    let draws = Draws::new();
    assert_eq!(draws.on(&HostEngine::<f32>::default()), draws.expected);
    assert_eq!(draws.on(&HostEngine::<f64>::default()), draws.expected);
}

/// Sums of 260 shares in f32 err by some 1e-6, so at most a row in a thousand can differ: 6000
/// draws at a distance of 1e-6 from one of up to 260 boundaries.
#[cfg(feature = "gpu")]
#[test]
fn a_gpu_draws_what_the_host_draws_but_where_rounding_decides() {
    let Some(engine) = support::gpu_engine("choice") else { return };
    let draws = Draws::new();
    let differing = draws.differing(&draws.on(&engine));
    println!("{} of {ROWS} draws differ: {differing:?}", differing.len());
    assert!(differing.len() <= ROWS / 1000, "{differing:?}");
    for row in differing {
        assert!(!draws.is_firm(row, 1e-5), "row {row} differs without need");
    }
}
