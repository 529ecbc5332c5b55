//! Groups of parameters: what is frozen stays, what has rates of its own has them, on both engines.

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use blt_wgpu::Error;
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, LoadedModel, TableUpdates};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::graph::{Precision, gradient_name};
use blt_wgpu::kernels::optim::train_state::TrainState;
use blt_wgpu::text;
use blt_wgpu::train::run::run_model;
use blt_wgpu::train::{AdamW, ParameterGroup, Trainer};
use pollster::block_on;
use support::runs::{BLT, config, sentences};

type Groups = BTreeMap<String, ParameterGroup>;

fn group(tensors: &[&str], lr_scale: f64, weight_decay: Option<f64>) -> ParameterGroup {
    let tensors = tensors.iter().map(|&name| name.to_owned()).collect();
    ParameterGroup { tensors, lr_scale, weight_decay, freeze: false }
}

fn frozen(tensors: &[&str]) -> ParameterGroup {
    ParameterGroup { freeze: true, ..group(tensors, 1.0, None) }
}

fn groups<const N: usize>(of: [(&str, ParameterGroup); N]) -> Groups {
    of.map(|(name, group)| (name.to_owned(), group)).into()
}

/// A tiny BLT, in front of its first update.
async fn trainer<'e, E: Engine>(
    engine: &'e E,
    updates: TableUpdates,
    groups: &Groups,
) -> Result<Trainer<'e, E>, Error> {
    let model = run_model(&config(BLT, Path::new("nowhere"), "run", &[])).unwrap();
    let config = model.config.clone();
    let loaded = LoadedModel::create_to_train(engine, config, Precision::F32, updates).await?;
    model.initialise(engine, &loaded)?;
    Trainer::with_groups(engine, loaded, &AdamW::default(), groups).await
}

fn batch(config: &ModelConfig, seed: u64) -> Batch {
    let tokens = text::encode(sentences(seed, 1)[0].as_bytes(), true, true);
    let mut lengths = vec![1];
    let mut left = tokens.len() as u32 - 1;
    while left > 0 {
        lengths.push(left.min(4));
        left -= left.min(4);
    }
    Batch::new(config, &[Row::from_tokens(tokens, lengths)]).unwrap()
}

/// Every weight by its name, before and after three updates, and the norm of the first gradient.
type Trained = (BTreeMap<String, [Vec<f32>; 2]>, f32);

fn trained<E: Engine>(engine: &E, updates: TableUpdates, groups: &Groups, rate: f32) -> Trained {
    block_on(async {
        let mut trainer = trainer(engine, updates, groups).await.unwrap();
        let mut weights = BTreeMap::new();
        let names: Vec<_> =
            trainer.settled().unwrap().parameters.iter().map(|spec| spec.name.clone()).collect();
        for name in &names {
            let values = trainer.settled().unwrap().read(engine, name).await.unwrap();
            weights.insert(name.clone(), [values, Vec::new()]);
        }
        let config = trainer.config().clone();
        let mut norm = None;
        for seed in 0..3 {
            trainer.micro(&batch(&config, seed), 0.02).await.unwrap();
            trainer.update(rate).unwrap();
            let state = TrainState::read(&trainer.train_state().await.unwrap());
            norm.get_or_insert(state.grad_norm);
        }
        let model = trainer.settled().unwrap();
        for name in &names {
            weights.get_mut(name).unwrap()[1] = model.read(engine, name).await.unwrap();
        }
        (weights, norm.unwrap())
    })
}

fn what_is_frozen_stays<E: Engine>(engine: &E) {
    let patterns = ["model.global_transformer.*", "*embed_tokens.weight"];
    let (all, whole_norm) = trained(engine, TableUpdates::Dense, &Groups::new(), 0.01);
    let (some, norm) =
        trained(engine, TableUpdates::Dense, &groups([("still", frozen(&patterns))]), 0.01);
    let mut frozen_count = 0;
    for (name, [before, after]) in &some {
        let is_frozen =
            name.starts_with("model.global_transformer.") || name.ends_with("embed_tokens.weight");
        frozen_count += usize::from(is_frozen);
        assert_eq!(before == after, is_frozen, "{name}");
        assert!(all[name][0] == *before && all[name][1] != *before, "{name} learns otherwise");
    }
    assert!(frozen_count > 5 && frozen_count < some.len(), "{frozen_count}");
    assert!(norm > 0.0 && norm < whole_norm, "{norm} of {whole_norm}: what is frozen has no part");
}

#[test]
fn what_is_frozen_stays_and_is_not_normed() {
    what_is_frozen_stays(&HostEngine::<f32>::default());
}

#[cfg(feature = "gpu")]
#[test]
fn what_is_frozen_stays_and_is_not_normed_on_a_gpu() {
    let test = "what_is_frozen_stays_and_is_not_normed_on_a_gpu";
    if let Some(engine) = support::gpu_engine(test) {
        what_is_frozen_stays(&engine);
    }
}

/// Dispatches of a micro-batch, and the gradients that one leaves, by their parameters.
fn gradients<E: Engine>(engine: &E, groups: &Groups) -> (Vec<String>, BTreeMap<String, Vec<f32>>) {
    block_on(async {
        let mut trainer = trainer(engine, TableUpdates::Dense, groups).await.unwrap();
        let batch = batch(&trainer.config().clone(), 1);
        trainer.micro(&batch, 0.02).await.unwrap();
        let model = trainer.settled().unwrap();
        let micro = model.compile(engine, model.training_graph(), "micro", batch.counts).await;
        let dispatches = micro.unwrap().dispatches;
        let mut gradients = BTreeMap::new();
        for spec in &model.parameters {
            let gradient = model.read(engine, &gradient_name(&spec.name)).await.unwrap();
            gradients.insert(spec.name.clone(), gradient);
        }
        (dispatches.iter().map(|it| it.variant_name()).collect(), gradients)
    })
}

fn what_is_frozen_has_no_gradients<E: Engine>(engine: &E) {
    let (all, expected) = gradients(engine, &Groups::new());
    let is_below = |name: &str| {
        name.starts_with("model.local_encoder.") || name.contains("encoder_hash_tok_embedding")
    };
    let below = ["model.local_encoder.*", "model.encoder_hash_tok_embedding*"];
    let (some, got) = gradients(engine, &groups([("below", frozen(&below))]));
    let mut frozen_count = 0;
    for (name, gradient) in &got {
        let is_nothing = gradient.iter().all(|value| *value == 0.0);
        assert_eq!(is_nothing, is_below(name), "{name}");
        assert!(is_nothing || gradient == &expected[name], "{name}: the same bits");
        frozen_count += usize::from(is_below(name));
    }
    assert!(frozen_count > 5, "{frozen_count}");
    // Nothing flows into what is frozen as a whole: its attention has no backward pass.
    let count = |of: &[String], part: &str| of.iter().filter(|it| it.contains(part)).count();
    assert!(some.len() < all.len(), "{} of {}", some.len(), all.len());
    assert_eq!(count(&some, "scatter_add"), 0);
    assert!(count(&all, "scatter_add") > 0);
    let attention = "attention_query_grad";
    assert!(count(&some, attention) < count(&all, attention));

    // Of what one matmul reads a part is stepped: its gradient is whole.
    let (_, got) = gradients(engine, &groups([("keys", frozen(&["*.k_proj.weight"]))]));
    assert!(got == expected);
}

#[test]
fn what_is_frozen_has_no_gradients_and_the_rest_keeps_its_bits() {
    what_is_frozen_has_no_gradients(&HostEngine::<f32>::default());
}

#[cfg(feature = "gpu")]
#[test]
fn what_is_frozen_has_no_gradients_on_a_gpu() {
    if let Some(engine) = support::gpu_engine("what_is_frozen_has_no_gradients_on_a_gpu") {
        what_is_frozen_has_no_gradients(&engine);
    }
}

#[test]
fn half_the_rate_twice_is_the_rate() {
    let engine = HostEngine::<f32>::default();
    let table = "model.encoder_hash_tok_embedding.weight";
    for updates in [TableUpdates::Dense, TableUpdates::Lazy { slot_count: 122 }] {
        let (expected, _) = trained(&engine, updates, &Groups::new(), 0.01);
        // Halving is exact, so that every bit must be the same.
        let half = groups([("all", group(&["*"], 0.5, None))]);
        let (got, _) = trained(&engine, updates, &half, 0.02);
        assert!(got == expected, "{updates:?}");
        let one = groups([("table", group(&[table], 0.5, None))]);
        let (got, _) = trained(&engine, updates, &one, 0.02);
        let (fast, _) = trained(&engine, updates, &Groups::new(), 0.02);
        assert!(got[table] != fast[table], "the table has another rate");
    }
}

#[test]
fn lazy_and_dense_tables_have_the_same_rates() {
    let engine = HostEngine::<f32>::default();
    let table = ["model.encoder_hash_tok_embedding.weight"];
    let of = groups([("table", group(&table, 0.25, Some(0.5)))]);
    let (dense, _) = trained(&engine, TableUpdates::Dense, &of, 0.01);
    let (lazy, _) = trained(&engine, TableUpdates::Lazy { slot_count: 122 }, &of, 0.01);
    assert!(dense == lazy);
    assert!(dense[table[0]][0] != dense[table[0]][1]);
}

#[test]
fn decay_is_that_of_the_group() {
    let engine = HostEngine::<f32>::default();
    let of = groups([("norms", group(&["*norm*"], 1.0, Some(0.0)))]);
    block_on(async {
        // Without a gradient decay alone moves a weight.
        let mut trainer = trainer(&engine, TableUpdates::Dense, &of).await.unwrap();
        let names: Vec<_> =
            trainer.settled().unwrap().parameters.iter().map(|spec| spec.name.clone()).collect();
        let mut before = Vec::new();
        for name in &names {
            before.push(trainer.settled().unwrap().read(&engine, name).await.unwrap());
        }
        trainer.update(0.1).unwrap();
        for (name, before) in names.iter().zip(before) {
            let after = trainer.settled().unwrap().read(&engine, name).await.unwrap();
            let kept = if name.contains("norm") { 1.0 } else { 1.0 - 0.1 * 0.1 };
            let expected: Vec<f32> = before.iter().map(|weight| weight * kept).collect();
            assert_eq!(after, expected, "{name}");
        }
    });
}

#[test]
fn groups_that_say_nothing_clear_are_refused() {
    let engine = HostEngine::<f32>::default();
    let refused = |of: Groups| {
        let error = block_on(trainer(&engine, TableUpdates::Dense, &of));
        error.map(|_| ()).unwrap_err().to_string()
    };
    let none = refused(groups([("a", group(&["model.glbal.*"], 1.0, None))]));
    assert!(none.contains("optim.groups.a.tensors: no tensor of the model is called"), "{none}");
    let both = [
        ("a", group(&["*norm*"], 1.0, None)),
        ("b", group(&["lm_head.weight", "*norm.*"], 1.0, None)),
    ];
    let twice = refused(groups(both));
    assert!(
        twice.contains("optim.groups.b.tensors") && twice.contains("group \"a\" too"),
        "{twice}"
    );
    let all = refused(groups([("a", frozen(&["*"]))]));
    assert!(all.contains("everything is frozen"), "{all}");
}
