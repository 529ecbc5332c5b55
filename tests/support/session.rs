//! A model on an engine, and graphs run over it one at a time.

use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::{Batch, LoadedModel, TRAIN_NATS, training_graph};
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Graph, Precision, compile_for, gradient_name};
use blt_wgpu::kernels::Step;
use pollster::block_on;

/// An engine with a model that has room for gradients and moments.
pub struct Session<'e, E: Engine> {
    pub engine: &'e E,
    pub model: LoadedModel<E>,
}

impl<'e, E: Engine> Session<'e, E> {
    /// The model with zero weights.
    pub fn new(engine: &'e E, config: ModelConfig) -> Self {
        Self::new_in(engine, config, Precision::F32)
    }

    /// The same in another precision.
    pub fn new_in(engine: &'e E, config: ModelConfig, precision: Precision) -> Self {
        let model = block_on(LoadedModel::create_in(engine, config, true, precision)).unwrap();
        Self { engine, model }
    }

    /// Overwrites a tensor of the Store.
    pub fn write(&self, name: &str, values: &[f32]) {
        self.model.write(self.engine, name, values).unwrap();
    }

    /// Reads a tensor of the Store.
    pub fn read(&self, name: &str) -> Vec<f32> {
        block_on(self.model.read(self.engine, name)).unwrap()
    }

    /// Reads the gradient of a parameter.
    pub fn gradient(&self, name: &str) -> Vec<f32> {
        self.read(&gradient_name(name))
    }

    /// Compiles a graph for a batch, a little larger than it needs to be.
    pub fn compile(&self, graph: Graph, batch: &Batch) -> E::Plan {
        let (layout, options) = (&self.model.layout, self.model.compile_options(self.engine));
        let recording = compile_for(graph, "test", layout, batch.counts.bucketed(), &options);
        block_on(self.engine.compile(&self.model.store, recording.unwrap())).unwrap()
    }

    /// Runs a plan once.
    pub fn run(&self, plan: &E::Plan, batch: &Batch, loss_weight: f32) {
        let step = Step { loss_weight, ..Step::of(batch.counts) };
        self.engine.run(plan, &step, &batch.inputs).unwrap();
    }

    /// Runs a graph once and reads the outputs of these names.
    pub fn outputs(&self, graph: Graph, batch: &Batch, names: &[&str]) -> Vec<Vec<f32>> {
        let plan = self.compile(graph, batch);
        self.run(&plan, batch, 1.0);
        let step = Step::of(batch.counts);
        let read = |name: &&str| block_on(self.engine.output(&plan, name, &step)).unwrap();
        names.iter().map(read).collect()
    }

    /// Forward and backward once: the mean nats, with the gradients left in the Store.
    pub fn train_once(&self, batch: &Batch) -> f64 {
        self.write(TRAIN_NATS, &[0.0]);
        let plan = self.compile(training_graph(&self.model.config).unwrap(), batch);
        self.run(&plan, batch, (1.0 / batch.target_count) as f32);
        f64::from(self.read(TRAIN_NATS)[0]) / batch.target_count
    }
}
