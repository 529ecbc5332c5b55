//! A batch computes for each of its rows what the row alone does: rows see nothing of each other.

mod support;

use blt_wgpu::blt::config::{ModelConfig, Semantics};
use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, PlanSlot, forward_graph};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::Engine;
use blt_wgpu::kernels::Step;
use pollster::block_on;
use proptest::prelude::*;
use support::{Session, golden_blt, golden_entropy, write_golden_weights};

/// Logits and entropies may differ by rounding alone.
const TOLERANCE: f32 = 1e-5;

/// A tiny model with its forward pass.
struct Forward<'e> {
    session: Session<'e, HostEngine<f32>>,
    plan: PlanSlot<HostEngine<f32>>,
}

impl<'e> Forward<'e> {
    fn new(engine: &'e HostEngine<f32>, config: ModelConfig) -> Self {
        let session = Session::new(engine, config);
        write_golden_weights(&session);
        Self { session, plan: PlanSlot::new("forward", forward_graph) }
    }

    /// Logits and entropies of all rows, one after the other.
    fn run(&mut self, rows: &[Row]) -> [Vec<f32>; 2] {
        let Session { engine, model } = &self.session;
        let batch = Batch::new(&model.config, rows).unwrap();
        let step = Step::of(batch.counts);
        let plan = block_on(self.plan.get(*engine, model, &batch.counts)).unwrap();
        engine.run(plan, &step, &batch.inputs).unwrap();
        ["logits", "entropies"].map(|name| block_on(engine.output(plan, name, &step)).unwrap())
    }
}

/// A row of any ids, document ends among them, in patches of any lengths.
fn row() -> impl Strategy<Value = (Vec<u32>, Vec<u32>)> {
    let id = prop_oneof![0_u32..260, 1_u32..4, 101_u32..127];
    (1_usize..40)
        .prop_flat_map(move |count| {
            let starts = proptest::collection::vec(any::<bool>(), count - 1);
            (proptest::collection::vec(id.clone(), count), starts)
        })
        .prop_map(|(ids, starts)| {
            // Positions 0 and 1 start a patch; the last patch holds the virtual token.
            let mut lengths = vec![1, 1];
            for starts_here in starts {
                if starts_here {
                    lengths.push(0);
                }
                *lengths.last_mut().unwrap() += 1;
            }
            (ids, lengths)
        })
}

fn rows_of(model: &ModelConfig, rows: &[(Vec<u32>, Vec<u32>)]) -> Vec<Row> {
    let is_blt = matches!(model, ModelConfig::Blt(_));
    rows.iter()
        .map(|(ids, lengths)| Row {
            ids: ids.clone(),
            targets: vec![4; ids.len()],
            weights: vec![1.0; ids.len()],
            patch_lengths: if is_blt { lengths.clone() } else { Vec::new() },
        })
        .collect()
}

fn models() -> [ModelConfig; 3] {
    let mut transformers = golden_blt();
    transformers.semantics = Semantics::Transformers;
    transformers.encoder.kv_head_count = 1;
    transformers.global.kv_head_count = 1;
    [
        ModelConfig::Blt(golden_blt()),
        ModelConfig::Blt(transformers),
        ModelConfig::Entropy(golden_entropy()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn a_batch_is_its_rows(rows in proptest::collection::vec(row(), 2..6)) {
        let engine = HostEngine::default();
        for config in models() {
            let rows = rows_of(&config, &rows);
            let mut forward = Forward::new(&engine, config);
            let together = forward.run(&rows);
            let mut alone = [Vec::new(), Vec::new()];
            for row in &rows {
                for (all, own) in alone.iter_mut().zip(forward.run(std::slice::from_ref(row))) {
                    all.extend(own);
                }
            }
            for (together, alone) in together.iter().zip(&alone) {
                prop_assert_eq!(together.len(), alone.len());
                for (index, (a, b)) in together.iter().zip(alone).enumerate() {
                    prop_assert!((a - b).abs() <= TOLERANCE, "[{index}]: {a} together, {b} alone");
                }
            }
        }
    }
}
