//! A model on an engine: its configuration, and a Store with its weights.

use super::config::{BltConfig, EntropyConfig, ModelConfig, TransformerConfig, WeightType};
use super::host_embedding::{EmbeddedText, HostEmbedding};
use super::init::initialise_range;
use super::lazy_rows::{LazyTable, TABLES, TableUpdates, place_training};
use super::parameters::{PATCHER_PREFIX, ParameterSpec, Part, model_parameters};
use super::programs::{
    TRAIN_NATS, TRAIN_STATE, TRAIN_STATE_LENGTH, lazy_training_graph, training_graph,
};
use super::tables::Row;
use super::weight_types::WeightTypes;
use super::{Batch, batch, model};
use crate::engine::Engine;
use crate::error::{Error, Result};
use crate::graph::{
    CompileOptions, Graph, NewTensor, Precision, Recompute, Recording, StoreLayout, compile_for,
    half_name,
};
use crate::kernels::{Counts, Element, Tuned, embedding, optim};
use crate::nn::{rope_table, rope_table_name};
use crate::packed::{pack_rows, unpack_rows};
use rayon::prelude::*;
use std::collections::BTreeSet;

/// The class of arenas that holds the weights.
pub const WEIGHTS: &str = "weights";
/// Those of them that are no hash table.
pub(super) const DENSE_WEIGHTS: &str = "weights.dense";
/// Copies of the dense weights in f16.
pub const HALVES: &str = "halves";
/// Loss scale that mixed precision begins with; it halves when gradients overflow.
const FIRST_LOSS_SCALE: f32 = 65_536.0;
/// Elements of fresh weights that are made at a time: 128 MiB.
const FRESH_ELEMENTS: usize = 32 << 20;
/// Gradients, one for every weight.
pub const GRADIENTS: &str = "gradients";
/// First moments of AdamW.
pub const MOMENT1: &str = "moment1";
/// Second moments of AdamW.
pub const MOMENT2: &str = "moment2";

/// A model whose weights lie in a Store.
pub struct LoadedModel<E: Engine> {
    pub config: ModelConfig,
    /// Those that are in the Store.
    pub parameters: Vec<ParameterSpec>,
    pub layout: StoreLayout,
    pub store: E::Store,
    /// What its plans are compiled to.
    pub precision: Precision,
    /// What backward passes that are compiled from now on compute again; none at first.
    pub recompute: Recompute,
    /// Parameters of which backward passes that are compiled from now on make no gradients.
    pub frozen: BTreeSet<String>,
    /// Variants that its plans take where they run: those of the engine, or of the run it goes on
    /// with.
    pub tuned: Tuned,
    /// What makes embeddings where the hash tables are not in the Store.
    pub host_embedding: Option<HostEmbedding>,
}

impl<E: Engine> LoadedModel<E> {
    /// A model with zero weights and its constants in place; with `training`, room for gradients
    /// and moments too. The patcher of a BLT is a model of its own and not part of it.
    ///
    /// # Errors
    /// If the device has not the memory, or a tensor exceeds one binding.
    pub async fn create(engine: &E, config: ModelConfig, training: bool) -> Result<Self> {
        Self::create_in(engine, config, training, Precision::F32).await
    }

    /// A model to be trained in this precision, its hash tables updated in this way.
    ///
    /// # Errors
    /// As [`Self::create_in`].
    pub async fn create_to_train(
        engine: &E,
        config: ModelConfig,
        precision: Precision,
        updates: TableUpdates,
    ) -> Result<Self> {
        let weights = &WeightTypes::default();
        Self::create_for(engine, config, Some(updates), precision, weights).await
    }

    /// The same for plans of this precision. The copies in f16 are made by
    /// [`halves_recording`](super::halves_recording) once the weights are there.
    ///
    /// # Errors
    /// As [`Self::create`]; if the device has no f16 and the precision needs it.
    pub async fn create_in(
        engine: &E,
        config: ModelConfig,
        training: bool,
        precision: Precision,
    ) -> Result<Self> {
        let (updates, weights) = (TableUpdates::Dense, &WeightTypes::default());
        Self::create_for(engine, config, training.then_some(updates), precision, weights).await
    }

    /// A model that is not trained, its weights in these types.
    ///
    /// # Errors
    /// As [`Self::create`].
    pub async fn create_packed(
        engine: &E,
        config: ModelConfig,
        weights: &WeightTypes,
    ) -> Result<Self> {
        Self::create_for(engine, config, None, Precision::F32, weights).await
    }

    /// Compiles plans from now on to a precision. Where the Store has no copies of weights in f16,
    /// replays make them: little beside the products of many rows that read them.
    ///
    /// # Errors
    /// If the device has no f16 and the precision needs it.
    pub fn compute_in(&mut self, engine: &E, precision: Precision) -> Result<()> {
        check_precision(engine, precision)?;
        self.precision = precision;
        Ok(())
    }

    async fn create_for(
        engine: &E,
        config: ModelConfig,
        training: Option<TableUpdates>,
        precision: Precision,
        weights: &WeightTypes,
    ) -> Result<Self> {
        check_precision(engine, precision)?;
        let mut parameters = own_parameters(&config);
        parameters.retain(|spec| weights.places(spec));
        let max_elements = engine.max_binding_elements();
        let layout = store_layout(&config, training, precision, weights, max_elements)?;
        let store = engine.create_store(&layout).await?;
        let (recompute, tuned) = (Recompute::None, engine.tuned());
        let host_embedding = None;
        let model = Self {
            config,
            parameters,
            layout,
            store,
            precision,
            recompute,
            frozen: BTreeSet::new(),
            tuned,
            host_embedding,
        };
        model.write_constants(engine)?;
        Ok(model)
    }

    /// Fresh weights (spec §11), the same for the same seed.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn initialise(&self, engine: &E, seed: u64) -> Result<()> {
        for spec in &self.parameters {
            self.initialise_parameter(engine, spec, seed)?;
        }
        Ok(())
    }

    /// Fresh weights of one parameter, a piece after the other.
    ///
    /// # Errors
    /// If there is no such tensor, or the device is lost.
    pub fn initialise_parameter(&self, engine: &E, spec: &ParameterSpec, seed: u64) -> Result<()> {
        let mut values = Vec::new();
        for rows in spec.row_pieces(FRESH_ELEMENTS) {
            values.resize(rows.len() * spec.cols, 0.0);
            initialise_range(spec, seed, (rows.start * spec.cols) as u64, &mut values);
            self.write_rows(engine, &spec.name, rows.start, &values)?;
        }
        Ok(())
    }

    /// Overwrites a tensor by its name, with the nearest numbers of its type.
    ///
    /// # Errors
    /// If there is no such tensor, or it has another number of elements; a number that is too large
    /// for the type.
    pub fn write(&self, engine: &E, name: &str, values: &[f32]) -> Result<()> {
        let place = self.layout.require(name)?;
        if values.len() != place.rows * place.cols {
            let problem =
                format!("expected {} x {} values, got {}", place.rows, place.cols, values.len());
            return Err(Error::input(name, problem));
        }
        self.write_rows(engine, name, 0, values)
    }

    /// Overwrites rows of a tensor from `first_row` on.
    ///
    /// # Errors
    /// If there is no such tensor, or the values are no whole rows of it; a number that is too
    /// large for its type.
    pub fn write_rows(
        &self,
        engine: &E,
        name: &str,
        first_row: usize,
        values: &[f32],
    ) -> Result<()> {
        let place = self.layout.require(name)?;
        if !place.weights.is_packed() {
            return engine.write_rows(&self.store, place, first_row, values);
        }
        let mut words = vec![0; values.len() / place.cols * place.row_length()];
        let rows = words.par_chunks_mut(place.row_length()).zip(values.par_chunks(place.cols));
        let packed = rows.map(|(words, row)| pack_rows(place.weights, row, place.cols, words));
        let packed: std::result::Result<(), String> = packed.collect();
        packed.map_err(|problem| Error::model(name, problem))?;
        engine.write_rows(&self.store, place, first_row, bytemuck::cast_slice(&words))
    }

    /// Reads a tensor by its name.
    ///
    /// # Errors
    /// If there is no such tensor or the device is lost.
    pub async fn read(&self, engine: &E, name: &str) -> Result<Vec<f32>> {
        let place = self.layout.require(name)?;
        let stored = engine.read_tensor(&self.store, place).await?;
        if !place.weights.is_packed() {
            return Ok(stored);
        }
        let mut values = vec![0.0; place.rows * place.cols];
        unpack_rows(place.weights, bytemuck::cast_slice(&stored), place.cols, &mut values);
        Ok(values)
    }

    /// Rows of text as the counts and inputs of a replay of its plans, see [`Batch::new`].
    ///
    /// # Errors
    /// If a row contradicts itself or is longer than the model's positions; a row of a hash table
    /// on the host that is not finite.
    pub fn batch(&self, rows: &[Row]) -> Result<Batch> {
        let mut batch = Batch::new(&self.config, rows)?;
        if let Some(host) = &self.host_embedding {
            let texts = rows.iter().map(|row| EmbeddedText { ids: &row.ids, count: row.ids.len() });
            host.set(&mut batch.inputs, texts)?;
        }
        Ok(batch)
    }

    fn write_constants(&self, engine: &E) -> Result<()> {
        for stack in stacks(&self.config) {
            let table = rope_table(stack, stack.max_positions);
            self.write(engine, &rope_table_name(stack), &table)?;
        }
        if let Some(words) = hash_powers(&self.config) {
            let words: Vec<_> = words.into_iter().map(f32::from_bits).collect();
            self.write(engine, "hash.powers", &words)?;
        }
        let loss_scale = match self.precision {
            Precision::F32 => 1.0,
            Precision::Mixed => FIRST_LOSS_SCALE,
        };
        self.write(engine, TRAIN_STATE, &optim::train_state::initial(loss_scale))
    }

    /// A graph of it compiled for an engine, with variants of kernels that the engine trusts.
    ///
    /// # Errors
    /// If the shapes of the configuration contradict each other, or the device is lost.
    pub async fn compile(
        &self,
        engine: &E,
        build: fn(&ModelConfig) -> Result<Graph>,
        name: &str,
        capacity: Counts,
    ) -> Result<Recording> {
        loop {
            let (graph, options) = (build(&self.config)?, self.compile_options(engine));
            let recording = compile_for(graph, name, &self.layout, capacity, &options)?;
            // Each time it does not there is one variant less to choose from.
            if engine.trusts(&recording).await? {
                return Ok(recording);
            }
        }
    }

    /// The graph of its micro-batches.
    pub fn training_graph(&self) -> fn(&ModelConfig) -> Result<Graph> {
        match LazyTable::of(&self.layout) {
            None => training_graph,
            Some(_) => lazy_training_graph,
        }
    }

    /// What its graphs are compiled for on this engine.
    pub fn compile_options(&self, engine: &E) -> CompileOptions {
        let (precision, recompute) = (self.precision, self.recompute);
        let (abilities, tuned) = (engine.abilities(), self.tuned.clone());
        let frozen = self.frozen.clone();
        CompileOptions { abilities, precision, recompute, tuned, frozen }
    }
}

/// The parameters of a model without its patcher.
pub(super) fn own_parameters(config: &ModelConfig) -> Vec<ParameterSpec> {
    let mut parameters = model_parameters(config);
    if matches!(config, ModelConfig::Blt(_)) {
        parameters.retain(|spec| !spec.name.starts_with(PATCHER_PREFIX));
    }
    parameters
}

/// What the Store holds under `hash.powers`, for a model that hashes.
pub fn hash_powers(config: &ModelConfig) -> Option<Vec<u32>> {
    let hash = batch::hash_config(&hashed(config)?.hash);
    let (sizes, powers) = (hash.table_sizes(), hash.powers());
    Some(embedding::hash_ids::power_words(&sizes, &powers, hash.wrap_remainder()))
}

fn check_precision(engine: &impl Engine, precision: Precision) -> Result<()> {
    if precision == Precision::Mixed && !engine.abilities().f16 {
        let problem = "mixed precision needs 16-bit floats in shaders, which it lacks";
        return Err(Error::device(engine.name(), problem).with_hint("use precision f32"));
    }
    Ok(())
}

/// Where everything of a model lies in its Store, on a device whose bindings hold `max_elements`;
/// with `training`, for which weights must be f32, room for gradients and moments too.
///
/// # Errors
/// If a tensor exceeds one binding.
pub fn store_layout(
    config: &ModelConfig,
    training: Option<TableUpdates>,
    precision: Precision,
    weights: &WeightTypes,
    max_elements: usize,
) -> Result<StoreLayout> {
    let mut layout = StoreLayout::default();
    let parameters = own_parameters(config).into_iter().filter(|spec| weights.places(spec));
    let (tables, dense): (Vec<_>, Vec<_>) = parameters.partition(|spec| spec.part == Part::Hash);
    for of in WeightType::ALL {
        let class = match of {
            WeightType::F32 => DENSE_WEIGHTS.to_owned(),
            _ => format!("{WEIGHTS}.{}", of.name()),
        };
        let mut own = dense.clone();
        own.retain(|spec| weights.get(&spec.name) == of);
        place_whole(&mut layout, &class, of, &groups(&own), max_elements)?;
        let mut own = tables.clone();
        own.retain(|spec| weights.get(&spec.name) == of);
        layout.place_weights(&format!("{WEIGHTS}.{TABLES}"), of, &groups(&own), max_elements)?;
    }
    if precision == Precision::Mixed {
        layout.place_like_as(HALVES, DENSE_WEIGHTS, Element::F16, half_name);
    }
    if let Some(updates) = training {
        place_training(&mut layout, tables.first(), updates, max_elements)?;
    }
    let alone = |name: &str, rows, cols| (None, vec![(name.to_owned(), rows, cols)]);
    let state = [alone(TRAIN_STATE, 1, TRAIN_STATE_LENGTH)];
    layout.place("state", Element::F32, &state, max_elements)?;
    layout.place("nats", Element::F32, &[alone(TRAIN_NATS, 1, 1)], max_elements)?;
    let tables: Vec<_> = stacks(config)
        .into_iter()
        .map(|stack| alone(&rope_table_name(stack), stack.max_positions, stack.head_dim))
        .collect();
    place_whole(&mut layout, "constants", WeightType::F32, &tables, max_elements)?;
    if let Some(config) = hashed(config) {
        let words = [alone("hash.powers", config.hash.table_count(), model::HASH_POWER_WORDS)];
        layout.place("hash", Element::U32, &words, max_elements)?;
    }
    Ok(layout)
}

/// Places tensors of which none may be cut into shards, as hash tables are.
fn place_whole(
    layout: &mut StoreLayout,
    class: &str,
    weights: WeightType,
    groups: &[(Option<String>, Vec<NewTensor>)],
    max_elements: usize,
) -> Result<()> {
    for (name, rows, cols) in groups.iter().flat_map(|(_, tensors)| tensors) {
        let needed = rows.saturating_mul(weights.row_length(*cols));
        if needed > max_elements {
            return Err(Error::Limit {
                limit: format!("elements of one storage binding, for {name}"),
                needed: needed as u64,
                available: max_elements as u64,
                hint: "use a device with larger bindings, or a smaller model".into(),
            });
        }
    }
    layout.place_weights(class, weights, groups, max_elements)
}

/// Parameters that lie side by side, as groups under the group's name.
fn groups(parameters: &[ParameterSpec]) -> Vec<(Option<String>, Vec<NewTensor>)> {
    let mut groups: Vec<(Option<String>, Vec<NewTensor>)> = Vec::new();
    for spec in parameters {
        let tensor = (spec.name.clone(), spec.rows, spec.cols);
        match groups.last_mut() {
            Some((Some(group), tensors)) if Some(&*group) == spec.group.as_ref() => {
                tensors.push(tensor);
            }
            _ => groups.push((spec.group.clone(), vec![tensor])),
        }
    }
    groups
}

/// The stacks of a model that need a rotary table, each table once.
fn stacks(config: &ModelConfig) -> Vec<&TransformerConfig> {
    let all = match config {
        ModelConfig::Entropy(EntropyConfig { transformer, .. }) => vec![transformer],
        ModelConfig::Blt(config) => vec![&config.encoder, &config.global, &config.decoder],
    };
    let mut stacks: Vec<&TransformerConfig> = Vec::new();
    for stack in all {
        if !stacks.iter().any(|known| rope_table_name(known) == rope_table_name(stack)) {
            stacks.push(stack);
        }
    }
    stacks
}

fn hashed(config: &ModelConfig) -> Option<&BltConfig> {
    match config {
        ModelConfig::Blt(config) if config.hash.table_count() > 0 => Some(config),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::config::Semantics;

    /// Only hash tables may be cut into shards: other tensors that no binding holds are an error.
    #[test]
    fn what_cannot_be_cut_must_fit_a_binding() {
        let transformer = TransformerConfig {
            hidden_size: 16,
            layer_count: 1,
            head_count: 2,
            kv_head_count: 2,
            head_dim: 8,
            intermediate_size: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            max_positions: 1000,
            window: None,
        };
        let config = EntropyConfig { transformer, semantics: Semantics::Reference };
        let (config, weights) = (ModelConfig::Entropy(config), WeightTypes::default());
        let layout = |most| store_layout(&config, None, Precision::F32, &weights, most);
        assert!(layout(8000).is_ok());
        let error = layout(7999).unwrap_err().to_string();
        assert!(error.contains("for rope.10000.8.1000: 8000 needed, 7999 available"), "{error}");
        let error = layout(4159).unwrap_err().to_string();
        assert!(error.contains("for embed_tokens.weight: 4160 needed"), "{error}");
    }
}
