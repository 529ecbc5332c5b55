//! Gradients of all ranks added up, between the last micro-batch of an update and the update.
//!
//! Arenas are read back bucket by bucket, and written when their sums are there; while a bucket is
//! summed over the ranks the next ones are read. Gradients of a lazily updated table are summed row
//! by row, see [`LazyRows::begin_exchange`](super::lazy_rows::LazyRows::begin_exchange).

use std::collections::VecDeque;

use super::ranks::{Coming, Ranks};
use crate::blt::{GRADIENTS, LoadedModel};
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::ArenaId;

/// Elements of a bucket: 16 MiB.
const BUCKET_ELEMENTS: usize = 4 << 20;

/// Buckets that are on their way at once.
const MOST_ON_THE_WAY: usize = 4;

/// Replaces all gradients but those of a lazily updated table by their sums over the ranks.
///
/// # Errors
/// If the device is lost or a rank is gone.
pub(super) async fn exchange_dense<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    ranks: &Ranks,
    has_lazy_table: bool,
) -> Result<()> {
    let layout = &model.layout;
    let arenas = match has_lazy_table {
        true => layout.arenas_of(&format!("{GRADIENTS}.dense")),
        false => layout.arenas_of(GRADIENTS),
    };
    let mut on_the_way = VecDeque::new();
    for arena in arenas {
        let length = layout.arenas()[arena.0].length;
        for offset in (0..length).step_by(BUCKET_ELEMENTS) {
            if on_the_way.len() == MOST_ON_THE_WAY
                && let Some((arena, offset, sums)) = on_the_way.pop_front()
            {
                write(engine, model, arena, offset, sums)?;
            }
            let count = BUCKET_ELEMENTS.min(length - offset);
            let values = engine.read(&model.store, arena, offset, count).await?;
            on_the_way.push_back((arena, offset, ranks.begin_sum(values)));
        }
    }
    for (arena, offset, sums) in on_the_way {
        write(engine, model, arena, offset, sums)?;
    }
    Ok(())
}

fn write<E: Engine>(
    engine: &E,
    model: &LoadedModel<E>,
    arena: ArenaId,
    offset: usize,
    sums: Coming<Vec<f32>>,
) -> Result<()> {
    engine.write(&model.store, arena, offset, &sums.wait()?)
}
