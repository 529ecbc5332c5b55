//! A trainer: micro-batches, updates and evaluations over one Store.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::exchange::{Bucket, Exchange, stepped_gradients};
use super::groups::{ParameterGroup, Pieces, frozen_parameters};
use super::lazy_rows::LazyRows;
use super::ranks::Ranks;
use super::update::{AdamW, update_recording_in};
use crate::blt::config::ModelConfig;
use crate::blt::{
    Batch, HALVES, LoadedModel, Memory, PlanBytes, PlanSlot, TRAIN_NATS, TRAIN_STATE,
    evaluation_graph, halves_recording,
};
use crate::engine::{Engine, Inputs};
use crate::error::Result;
use crate::kernels::{Counts, Step};

/// Trains one model on one engine. The host waits for nothing but the figures it asks for.
pub struct Trainer<'e, E: Engine> {
    engine: &'e E,
    /// Where its table is updated lazily, rows of it may be behind: nobody outside sees it before
    /// they have been settled.
    model: LoadedModel<E>,
    micro: PlanSlot<E>,
    evaluate: PlanSlot<E>,
    update: E::Plan,
    update_bytes: PlanBytes,
    lazy: Option<LazyRows<E>>,
    /// What ranks exchange, besides the rows of a lazily updated table.
    exchanged: Vec<Bucket>,
}

impl<'e, E: Engine> Trainer<'e, E> {
    /// A trainer of a model that was created with room for training and has its weights.
    ///
    /// # Errors
    /// If the device refuses a shader.
    pub async fn new(engine: &'e E, model: LoadedModel<E>, adamw: &AdamW) -> Result<Self> {
        Self::with_groups(engine, model, adamw, &BTreeMap::new()).await
    }

    /// The same with groups of parameters that are stepped in their own way.
    ///
    /// # Errors
    /// If the device refuses a shader; as [`Pieces::of_model`].
    pub async fn with_groups(
        engine: &'e E,
        mut model: LoadedModel<E>,
        adamw: &AdamW,
        groups: &BTreeMap<String, ParameterGroup>,
    ) -> Result<Self> {
        model.frozen = frozen_parameters(&model.parameters, groups)?;
        let pieces = Pieces::of_model(&model, groups, adamw)?;
        let recording = update_recording_in(&model.layout, adamw, &pieces, &engine.abilities());
        let update_bytes = PlanBytes::of(&recording);
        let update = engine.compile(&model.store, recording).await?;
        if !model.layout.arenas_of(HALVES).is_empty() {
            let halves = engine.compile(&model.store, halves_recording(&model.layout)).await?;
            engine.run(&halves, &Step::of(Counts::default()), &Inputs::default())?;
        }
        let lazy = LazyRows::new(engine, &model, adamw).await?;
        let exchanged = stepped_gradients(&model.layout, &pieces, adamw, lazy.is_some());
        let micro = PlanSlot::new("micro", model.training_graph());
        let evaluate = PlanSlot::new("evaluate", evaluation_graph);
        Ok(Self { engine, model, micro, evaluate, update, update_bytes, lazy, exchanged })
    }

    /// What the plan of micro-batches is compiled for, or will be at the least.
    pub fn micro_capacity(&self) -> &Counts {
        self.micro.capacity()
    }

    /// Makes room for micro-batches of these counts, so that their plan need not grow to it.
    pub fn reserve_micro(&mut self, capacity: &Counts) {
        self.micro.reserve(capacity);
    }

    /// Forward and backward of one batch; its gradients, times `loss_weight`, are added to what
    /// is there. The weight is one over the targets of all batches until the next update.
    ///
    /// # Errors
    /// If the device has not the memory or is lost; if the micro-batches of an update touch more
    /// rows of a lazily updated table than it has slots.
    ///
    /// Where it is dropped before it is done, a part of the gradients may have been added.
    pub async fn micro(&mut self, batch: &Batch, loss_weight: f32) -> Result<()> {
        let plan = self.micro.get(self.engine, &self.model, &batch.counts).await?;
        let step = Step { loss_weight, ..Step::of(batch.counts) };
        let inputs = match &mut self.lazy {
            None => batch.inputs.clone(),
            Some(lazy) => lazy.before_micro(self.engine, batch)?,
        };
        self.engine.run_in_turns(plan, &step, &inputs).await
    }

    /// The last micro-batch of this rank before an update: afterwards gradients are the sums of
    /// those of all ranks, so that the update is that of all. They are exchanged while the backward
    /// pass goes on; gives the seconds, by `clock`, from the moment at which the last of
    /// it is seen to be there to the end of the exchange.
    ///
    /// # Errors
    /// As [`Self::micro`], where the rows are those that all ranks touch; if a rank is gone.
    pub async fn last_micro(
        &mut self,
        batch: &Batch,
        loss_weight: f32,
        ranks: &Ranks,
        clock: impl Fn() -> f64,
    ) -> Result<f64> {
        if ranks.is_alone() {
            self.micro(batch, loss_weight).await?;
            return Ok(0.0);
        }
        let Self { engine, model, micro, lazy, exchanged, .. } = self;
        let (plan, writes) = micro.get_with_writes(*engine, model, &batch.counts).await?;
        let step = Step { loss_weight, ..Step::of(batch.counts) };
        let inputs = match lazy {
            None => batch.inputs.clone(),
            Some(lazy) => lazy.before_micro(*engine, batch)?,
        };
        let mut exchange = Exchange::new(exchanged, ranks);
        let reads = exchange.reads(writes);
        // Behind the last write nothing is left to compute: whoever waits then waits for others.
        let end = writes.iter().map(|write| write.dispatch + 1).max().unwrap_or(0);
        let mut computed = None;
        let mut take = |index: usize, values: Cow<'_, [f32]>| {
            if reads[index].behind >= end {
                computed.get_or_insert_with(&clock);
            }
            exchange.take(*engine, model, index, values)
        };
        engine.run_reading(plan, &model.store, (&step, &inputs), &reads, &mut take).await?;
        let computed = computed.unwrap_or_else(&clock);
        if let Some(lazy) = lazy {
            let sums = lazy.begin_exchange(*engine, model, ranks).await?.wait()?;
            lazy.end_exchange(*engine, model, sums)?;
        }
        exchange.finish(*engine, model)?;
        Ok(clock() - computed)
    }

    /// One step of the optimiser with what has been added up.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn update(&mut self, learning_rate: f32) -> Result<()> {
        let (counts, inputs) = match &mut self.lazy {
            None => Default::default(),
            Some(lazy) => lazy.before_update(),
        };
        self.engine.run(&self.update, &Step { learning_rate, ..Step::of(counts) }, &inputs)
    }

    /// The model, with every weight and moment up to the last update, which rows of a lazily
    /// updated table are behind otherwise. It costs a pass over such a table.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn settled(&self) -> Result<&LoadedModel<E>> {
        self.settle()?;
        Ok(&self.model)
    }

    /// The same at the end of training.
    ///
    /// # Errors
    /// If the device is lost.
    pub fn into_model(self) -> Result<LoadedModel<E>> {
        self.settle()?;
        Ok(self.model)
    }

    fn settle(&self) -> Result<()> {
        self.lazy.as_ref().map_or(Ok(()), |lazy| lazy.settle(self.engine))
    }

    /// What its Store and its plans take of the device.
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::of(&self.model.layout, []);
        for plan in [self.micro.bytes(), self.evaluate.bytes(), self.update_bytes] {
            memory.add(plan);
        }
        memory
    }

    /// What the model is.
    pub fn config(&self) -> &ModelConfig {
        &self.model.config
    }

    /// The words of the device's state, which are never behind. Waits for the device.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn train_state(&self) -> Result<Vec<f32>> {
        self.model.read(self.engine, TRAIN_STATE).await
    }

    /// Nats of all training targets since the last call. Waits for the device.
    ///
    /// # Errors
    /// If the device is lost.
    pub async fn take_nats(&self) -> Result<f64> {
        let nats = self.model.read(self.engine, TRAIN_NATS).await?;
        self.model.write(self.engine, TRAIN_NATS, &[0.0])?;
        Ok(f64::from(nats[0]))
    }

    /// Weighted nats of every target of a batch, with the weights as they are now.
    ///
    /// # Errors
    /// If the device has not the memory or is lost.
    pub async fn evaluate(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        self.settle()?;
        let plan = self.evaluate.get(self.engine, &self.model, &batch.counts).await?;
        let step = Step::of(batch.counts);
        self.engine.run_in_turns(plan, &step, &batch.inputs).await?;
        self.engine.output(plan, "nats", &step).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::TableUpdates;
    use crate::blt::config::{
        BltConfig, CrossAttentionConfig, HashEmbeddingConfig, PatchingConfig, Pooling, Semantics,
        TransformerConfig,
    };
    use crate::blt::parameters::HASH_TABLE_NAME;
    use crate::blt::tables::Row;
    use crate::cpu::HostEngine;
    use crate::graph::Precision;
    use crate::text;
    use pollster::block_on;

    fn model() -> ModelConfig {
        let stack = TransformerConfig {
            hidden_size: 16,
            layer_count: 1,
            head_count: 1,
            kv_head_count: 1,
            head_dim: 16,
            intermediate_size: 32,
            rms_norm_eps: 1e-5,
            rope_theta: 500_000.0,
            max_positions: 64,
            window: None,
        };
        let cross = CrossAttentionConfig {
            head_count: 1,
            kv_head_count: 1,
            head_dim: 16,
            all_layers: true,
            window: None,
        };
        ModelConfig::Blt(BltConfig {
            semantics: Semantics::Transformers,
            encoder: stack.clone(),
            encoder_cross_attention: Some(cross.clone()),
            global: stack.clone(),
            decoder: stack,
            decoder_cross_attention: Some(cross),
            cross_attention_k: 1,
            pooling: vec![Pooling::Max],
            hash: HashEmbeddingConfig {
                group_sizes: vec![3],
                function_count: 1,
                rows_per_table: 512,
            },
            patching: PatchingConfig::default(),
            patcher: None,
        })
    }

    #[test]
    fn rows_that_are_behind_are_seen_by_nobody() {
        let (engine, updates) =
            (HostEngine::<f32>::default(), TableUpdates::Lazy { slot_count: 40 });
        block_on(async {
            let model =
                LoadedModel::create_to_train(&engine, model(), Precision::F32, updates).await;
            let model = model.unwrap();
            model.initialise(&engine, 3).unwrap();
            let mut trainer = Trainer::new(&engine, model, &AdamW::default()).await.unwrap();
            for words in ["one and two", "rivers flow", "other words"] {
                let tokens = text::encode(words.as_bytes(), true, true);
                let lengths = vec![1; tokens.len()];
                let batch =
                    Batch::new(trainer.config(), &[Row::from_tokens(tokens, lengths)]).unwrap();
                trainer.micro(&batch, 0.1).await.unwrap();
                trainer.update(0.01).unwrap();
            }
            let behind = trainer.model.read(&engine, HASH_TABLE_NAME).await.unwrap();
            let settled = trainer.settled().unwrap().read(&engine, HASH_TABLE_NAME).await.unwrap();
            assert_ne!(behind, settled, "no row was behind");
            let taken = trainer.into_model().unwrap();
            assert_eq!(taken.read(&engine, HASH_TABLE_NAME).await.unwrap(), settled);
        });
    }
}
