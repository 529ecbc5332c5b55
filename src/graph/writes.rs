//! Which dispatches of a Recording write where in the Store.

use std::ops::Range;

use super::recording::{BufferId, Dispatch, Recording};
use super::store::ArenaId;
use crate::kernels::Access;
use crate::kernels::reduce::sum_rows;

/// Elements of an arena that a dispatch may change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArenaWrite {
    /// The index of the dispatch.
    pub dispatch: usize,
    pub arena: ArenaId,
    pub elements: Range<usize>,
}

impl Recording {
    /// Every write to the Store, in the order of the dispatches.
    pub fn arena_writes(&self) -> Vec<ArenaWrite> {
        let dispatches = self.dispatches.iter().enumerate();
        dispatches.flat_map(|(index, dispatch)| writes(index, dispatch)).collect()
    }
}

fn writes(index: usize, dispatch: &Dispatch) -> Vec<ArenaWrite> {
    let mut found = Vec::new();
    for (binding, region) in dispatch.kernel.bindings.iter().zip(&dispatch.regions) {
        let BufferId::Arena(arena) = region.buffer else { continue };
        if binding.access == Access::Read {
            continue;
        }
        let mut push = |elements| found.push(ArenaWrite { dispatch: index, arena, elements });
        if dispatch.kernel.name == sum_rows::KERNEL.name {
            // It binds all of the arena and leaves most of it alone.
            let params: &sum_rows::Params = bytemuck::from_bytes(&dispatch.params);
            params.parts().iter().for_each(|part| push(part.places()));
        } else {
            push(region.offset..region.offset + region.length);
        }
    }
    found
}
