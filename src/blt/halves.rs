//! Copies in f16 of the weights that matrix products read in mixed precision.

use super::loaded::{DENSE_WEIGHTS, HALVES};
use crate::graph::{ArenaId, BufferId, Dispatch, Recording, Region, StoreLayout};
use crate::kernels::dense::copy;
use crate::kernels::{Counts, Extent, Halves};

/// The Recording that makes every copy anew from its weight; nothing where the layout has none.
pub fn halves_recording(layout: &StoreLayout) -> Recording {
    let mut recording = Recording::new("halves", Counts::default());
    recording.dispatches = halve(layout);
    recording.check();
    recording
}

/// One cast an arena of weights.
pub fn halve(layout: &StoreLayout) -> Vec<Dispatch> {
    let arenas = layout.arenas_of(DENSE_WEIGHTS).into_iter().zip(layout.arenas_of(HALVES));
    let casts = arenas.map(|(weights, halves)| {
        let length = layout.arenas()[weights.0].length;
        let whole = |id: ArenaId| Region { buffer: BufferId::Arena(id), offset: 0, length };
        let cols = u32::try_from(length).expect("arenas are counted in 32 bits");
        let params = copy::Params::new(Extent::fixed(1), cols);
        Dispatch {
            kernel: &copy::KERNEL,
            variant: 0,
            fixed_order: false,
            halves: Halves::of(&[1]),
            params: bytemuck::bytes_of(&params).to_vec(),
            regions: vec![whole(weights), whole(halves)],
            label: "halves".into(),
        }
    });
    casts.collect()
}
