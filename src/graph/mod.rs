//! The graph runtime: ops and shapes, autodiff, fusion, lifetimes, and what comes out of them, a
//! [`Recording`] as plain data.

mod autodiff;
mod compile;
mod decode;
mod epilogues;
mod few_rows;
mod frozen;
#[allow(clippy::module_inception, reason = "the file is named after its one type")]
mod graph;
mod host_embedding;
mod lifetimes;
mod links;
mod lower;
mod mixed;
mod op;
mod packed;
mod passes;
mod recompute;
mod recording;
mod store;
mod writes;

pub use autodiff::{Seed, differentiate, gradient_name};
pub use compile::{CompileOptions, compile, compile_for};
pub use epilogues::fuse_epilogues;
pub use graph::{Graph, Node, Phase, RowCount, Source, Tensor, TensorId};
pub use host_embedding::{EMBEDDED, take_embedding_from_host};
pub use links::{Links, link_steps};
pub use mixed::{Precision, half_name};
pub use op::{AttentionShape, Op, PoolKind, Reach};
pub use packed::unpack_weights;
pub use passes::{fuse_casts, fuse_residuals, remove_dead_code};
pub use recompute::{Recompute, recompute};
pub use recording::{BufferId, Dispatch, Input, Output, Recording, Region, Transient};
pub use store::{ALIGNMENT, Arena, ArenaId, NewTensor, Placement, Shard, StoreLayout};
pub use writes::ArenaWrite;
