//! Ranges of a Store that are read on the way of a replay, on both engines.

mod support;

use blt_wgpu::blt::tables::Row;
use blt_wgpu::blt::{Batch, GRADIENTS, LoadedModel, PlanSlot};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::engine::{EarlyRead, Engine};
use blt_wgpu::graph::ArenaWrite;
use blt_wgpu::kernels::Step;
use blt_wgpu::train::run::run_model;
use pollster::block_on;
use std::borrow::Cow;
use support::runs::{BLT, config, texts};

/// What is read on the way of a replay is what is there behind it: nothing is written any more.
fn reads_on_the_way<E: Engine>(engine: &E) {
    let dir = texts();
    let shape = ["model.n_layers_global=3", "data.batch_size=1"];
    let model = run_model(&config(BLT, dir.path(), "run", &shape)).unwrap();
    let tokens = blt_wgpu::text::encode(b"the cat sees the house.", true, true);
    let lengths = [vec![1], vec![2; (tokens.len() - 1) / 2]].concat();
    block_on(async {
        let loaded = LoadedModel::create(engine, model.config.clone(), true).await.unwrap();
        model.initialise(engine, &loaded).unwrap();
        let batch = Batch::new(&loaded.config, &[Row::from_tokens(tokens, lengths)]).unwrap();
        let mut slot = PlanSlot::new("micro", loaded.training_graph());
        let (plan, writes) = slot.get_with_writes(engine, &loaded, &batch.counts).await.unwrap();
        let dispatch_count = writes.iter().map(|write| write.dispatch + 1).max().unwrap();
        let mut reads = Vec::new();
        for arena in loaded.layout.arenas_of(GRADIENTS) {
            let end = loaded.layout.arenas()[arena.0].length;
            for offset in (0..end).step_by(512) {
                let length = 512.min(end - offset);
                let is_in = |write: &&ArenaWrite| {
                    let elements = &write.elements;
                    write.arena == arena
                        && elements.start < offset + length
                        && offset < elements.end
                };
                let last = writes.iter().filter(is_in).map(|write| write.dispatch + 1).max();
                reads.push(EarlyRead { behind: last.unwrap_or(0), arena, offset, length });
            }
        }
        reads.sort_by_key(|read| read.behind);
        assert!(reads.iter().any(|read| (1..dispatch_count).contains(&read.behind)));
        let step = Step { loss_weight: 0.1, ..Step::of(batch.counts) };
        let mut found = Vec::new();
        let mut take = |index: usize, values: Cow<'_, [f32]>| {
            assert_eq!(index, found.len());
            found.push(values.into_owned());
            Ok(())
        };
        let with = (&step, &batch.inputs);
        engine.run_reading(plan, &loaded.store, with, &reads, &mut take).await.unwrap();
        for (read, found) in reads.iter().zip(&found) {
            let EarlyRead { arena, offset, length, .. } = *read;
            let behind = engine.read(&loaded.store, arena, offset, length).await.unwrap();
            assert!(*found == behind, "{read:?}");
        }
        assert!(found.iter().flatten().filter(|value| **value != 0.0).count() > 1000);
    });
}

#[test]
fn gradients_are_read_on_the_way_on_the_cpu() {
    reads_on_the_way(&HostEngine::<f32>::default());
}

#[cfg(feature = "gpu")]
#[test]
fn gradients_are_read_on_the_way_on_a_gpu() {
    if let Some(engine) = support::gpu_engine("gradients_are_read_on_the_way_on_a_gpu") {
        reads_on_the_way(&engine);
    }
}
