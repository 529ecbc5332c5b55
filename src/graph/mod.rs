//! The graph runtime: ops and shapes, autodiff, fusion, lifetimes, and what comes out of them, a
//! [`Recording`] as plain data.

mod recording;
mod store;

pub use recording::{BufferId, Dispatch, Input, Output, Recording, Region, Transient};
pub use store::{ALIGNMENT, Arena, ArenaId, NewTensor, Placement, Shard, StoreLayout};
