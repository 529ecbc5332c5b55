//! Kernels: one name each for WGSL variants, a CPU variant, parameters, cost and test cases.
//!
//! [`REGISTRY`] lists them. From a line there follow, without further code, the comparison of
//! every variant with its oracle on every engine, the reflection and translation tests, and a row
//! in the benchmark.

pub mod attention;
pub mod bench;
mod call;
mod case;
pub mod decode;
pub mod dense;
mod eights;
pub mod embedding;
mod extent;
mod fingerprint;
mod kernel;
pub mod lazy;
pub mod loss;
pub mod norm;
pub mod optim;
mod packed;
pub mod patch;
pub mod reduce;
mod registry;
mod row_lanes;
pub(crate) mod scratch;
mod step;
mod tuned;
mod wgsl;
mod wide;

pub use call::{Call, HostBuffer, MAX_BINDINGS, Slot};
pub use case::{Case, POISON, element_of, integers, values};
pub use extent::{AXIS_COUNT, Axis, Counts, Extent};
pub use fingerprint::{Hash, fingerprint};
pub use kernel::{
    Abilities, Access, Binding, Cost, Distrusted, Element, Halves, Kernel,
    MAX_GROUPS_PER_DIMENSION, Needs, Situation, Variant, always, fold_groups, no_constants,
};
pub use packed::{Weight, packing_constants};
pub use registry::{REGISTRY, find};
pub use step::Step;
pub use tuned::{Tuned, shape_class};
pub use wide::{WIDE, lane_count, wide};
