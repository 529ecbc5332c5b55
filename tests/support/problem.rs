//! A small graph with parameters, whose gradients are compared with finite differences on the
//! oracles.
//!
//! Store and results are handed over in f32, so the functional is read as its distance from a point
//! nearby: that distance is small and exact.

use super::worst;
use blt_wgpu::blt::tables::CsrRows;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{Engine, Inputs};
use blt_wgpu::graph::{Graph, StoreLayout, TensorId, compile, differentiate, gradient_name};
use blt_wgpu::kernels::{Counts, Element, Extent, Step};
use pollster::block_on;

/// What a parameter is moved by: representable, and far above the rounding of f32.
pub const STEP: f32 = 1.0 / 1024.0;
/// Largest difference from a finite difference, relative to the largest gradient of the tensor.
const TOLERANCE: f64 = 5e-4;
/// The tensor [1, 1] in which the functional adds up.
pub const FUNCTIONAL: &str = "functional";

/// Repeatable numbers within ±1 that are multiples of 2^-12, so that moving them rounds nothing.
fn numbers(seed: u64, length: usize) -> Vec<f32> {
    let values = blt_wgpu::kernels::values(seed, length).into_iter();
    values.map(|value| (value.clamp(-1.0, 1.0) * 4096.0).round() / 4096.0).collect()
}

/// A small graph with parameters, and what it is fed.
#[derive(Default)]
pub struct Problem {
    pub graph: Graph,
    inputs: Inputs,
    parameters: Vec<(String, usize, usize)>,
    constants: Vec<(String, usize, usize, Vec<f32>)>,
    seed: u64,
}

impl Problem {
    fn next_seed(&mut self) -> u64 {
        self.seed += 1;
        self.seed
    }

    /// A parameter [rows, cols] itself.
    pub fn parameter(&mut self, rows: usize, cols: usize) -> TensorId {
        let name = format!("parameter_{}", self.parameters.len());
        self.parameters.push((name.clone(), rows, cols));
        self.graph.parameter(&name, rows, cols)
    }

    /// A computed tensor [rows, cols] whose gradient flows on to a parameter.
    pub fn computed(&mut self, rows: usize, cols: usize) -> TensorId {
        let values = numbers(self.next_seed(), rows * 3);
        let mix = self.input_f(rows, 3, values);
        let parameter = self.parameter(3, cols);
        self.graph.matmul(mix, parameter, false, false).unwrap()
    }

    pub fn input_f(&mut self, rows: usize, cols: usize, values: Vec<f32>) -> TensorId {
        let name = format!("input_{}", self.next_seed());
        self.inputs.set_f(&name, values);
        self.graph.input(&name, Extent::fixed(rows), cols, Element::F32)
    }

    pub fn input_u(&mut self, rows: usize, cols: usize, values: Vec<u32>) -> TensorId {
        assert_eq!(values.len(), rows * cols);
        let name = format!("input_{}", self.next_seed());
        self.inputs.set_u(&name, values);
        self.graph.input(&name, Extent::fixed(rows), cols, Element::U32)
    }

    pub fn constant(&mut self, rows: usize, cols: usize, values: Vec<f32>) -> TensorId {
        let name = format!("constant_{}", self.constants.len());
        self.constants.push((name.clone(), rows, cols, values));
        self.graph.constant(&name, rows, cols, Element::F32)
    }

    /// What the gradient of a table needs: touched rows, ranges of entries, entries.
    pub fn lists(&mut self, rows: &CsrRows) -> [TensorId; 3] {
        let count = rows.touched_count();
        let ranges = rows.offsets.windows(2).flat_map(|pair| [pair[0], pair[1]]).collect();
        [
            self.input_u(count, 1, rows.rows.clone()),
            self.input_u(count, 2, ranges),
            self.input_u(rows.entries.len(), 1, rows.entries.clone()),
        ]
    }

    /// Key ranges [lo, hi) by query, and query ranges by key.
    pub fn ranges(&mut self, keys: &[[u32; 2]], key_count: usize) -> [TensorId; 2] {
        let sees =
            |query: usize, key: usize| (keys[query][0]..keys[query][1]).contains(&(key as u32));
        let mut queries = Vec::new();
        for key in 0..key_count {
            let all: Vec<usize> = (0..keys.len()).filter(|&query| sees(query, key)).collect();
            let low = all.first().copied().unwrap_or(0);
            assert!(all.iter().copied().eq(low..low + all.len()), "key {key} is seen by {all:?}");
            queries.extend([low as u32, (low + all.len()) as u32]);
        }
        let flat: Vec<u32> = keys.iter().flatten().copied().collect();
        [self.input_u(keys.len(), 2, flat), self.input_u(key_count, 2, queries)]
    }

    /// Compares gradients of a random linear function of `out` [rows, cols].
    pub fn check(mut self, name: &str, out: TensorId) {
        let (rows, cols) = (self.graph.tensor(out).rows, self.graph.tensor(out).cols);
        let length = rows.constant().expect("problems have fixed shapes") * cols;
        let direction = numbers(self.next_seed(), length);
        let direction = self.input_f(length, 1, direction);
        let flat = self.graph.reshape(out, length).unwrap();
        let functional = self.graph.matmul(flat, direction, false, false).unwrap();
        self.graph.accumulate_sum(functional, FUNCTIONAL);
        let one = self.input_f(1, 1, vec![1.0]);
        let forward = self.graph.clone();
        differentiate(&mut self.graph, &[(functional, one)], &[]).unwrap();
        self.compare(name, forward, 1.0);
    }

    /// Compares the gradients that the graph leaves in the Store, over `scale`, with finite
    /// differences of what `forward` adds up.
    pub fn compare(self, name: &str, forward: Graph, scale: f64) {
        let engine = HostEngine::<f64>::default();
        let layout = self.layout();
        let store = block_on(engine.create_store(&layout)).unwrap();
        let write = |name: &str, values: &[f32]| {
            engine.write_tensor(&store, layout.require(name).unwrap(), values).unwrap();
        };
        let read = |name: &str| {
            block_on(engine.read_tensor(&store, layout.require(name).unwrap())).unwrap()
        };
        for (name, _, _, values) in &self.constants {
            write(name, values);
        }
        let start: Vec<Vec<f32>> = self
            .parameters
            .iter()
            .zip(1000..)
            .map(|((_, rows, cols), seed)| numbers(seed, rows * cols))
            .collect();
        for ((name, ..), values) in self.parameters.iter().zip(&start) {
            write(name, values);
        }
        let step = Step::of(Counts::default());
        let plan = |graph| {
            let recording = compile(graph, "problem", &layout, Counts::default()).unwrap();
            block_on(engine.compile(&store, recording)).unwrap()
        };
        let (forward, backward) = (plan(forward), plan(self.graph));
        let functional = |base: f32| {
            write(FUNCTIONAL, &[-base]);
            engine.run(&forward, &step, &self.inputs).unwrap();
            read(FUNCTIONAL)[0]
        };
        let base = functional(0.0);
        engine.run(&backward, &step, &self.inputs).unwrap();
        let gradients = |(name, ..): &(String, usize, usize)| read(&gradient_name(name));
        let once: Vec<_> = self.parameters.iter().map(gradients).collect();
        engine.run(&backward, &step, &self.inputs).unwrap();
        let twice: Vec<_> = self.parameters.iter().map(gradients).collect();

        for (index, (parameter, ..)) in self.parameters.iter().enumerate() {
            let mut values = start[index].clone();
            let mut differences = Vec::new();
            for element in 0..values.len() {
                let mut moved = |by: f32| {
                    values[element] = start[index][element] + by;
                    write(parameter, &values);
                    f64::from(functional(base))
                };
                let slope = (moved(STEP) - moved(-STEP)) / f64::from(2.0 * STEP);
                moved(0.0);
                differences.push((slope * scale) as f32);
            }
            let size = differences.iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(size > 1e-3, "{name}: {parameter} does not matter");
            let (at, off) = worst(&differences, &once[index]);
            assert!(
                off <= TOLERANCE * f64::from(size),
                "{name}: {parameter}[{at}] has the slope {}, but the gradient {}",
                differences[at],
                once[index][at]
            );
            let doubled: Vec<f32> = once[index].iter().map(|value| 2.0 * value).collect();
            let (at, off) = worst(&doubled, &twice[index]);
            assert!(off <= 1e-6 * f64::from(size), "{name}: {parameter}[{at}] does not add up");
        }
    }

    fn layout(&self) -> StoreLayout {
        let max = 1 << 20;
        let mut layout = StoreLayout::default();
        let groups: Vec<_> = self.parameters.iter().map(|it| (None, vec![it.clone()])).collect();
        layout.place("weights", Element::F32, &groups, max).unwrap();
        layout.place_like("gradients", "weights", gradient_name);
        let functional = [(None, vec![(FUNCTIONAL.to_owned(), 1, 1)])];
        layout.place("functional", Element::F32, &functional, max).unwrap();
        let constants = self.constants.iter();
        let constants: Vec<_> = constants
            .map(|(name, rows, cols, _)| (None, vec![(name.clone(), *rows, *cols)]))
            .collect();
        layout.place("constants", Element::F32, &constants, max).unwrap();
        layout
    }
}
