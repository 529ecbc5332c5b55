//! The processes of one training run, each with a device and a part of every update.
//!
//! ```text
//! Run -> Ranks -> a thread that holds the Link -> MPI, or channels between threads of one process
//! ```
//!
//! A [`Link`] moves words between ranks, and does nothing else. What is added up is added in the
//! order of the ranks by one of them and handed to all: every rank has the same bits, whatever the
//! network does. [`Ranks`] is what a run holds of it; a run of one process has [`Ranks::alone`],
//! which moves nothing.

mod group;
mod link;
#[cfg(all(feature = "mpi", not(target_arch = "wasm32")))]
mod mpi_link;
mod sums;
#[cfg(not(target_arch = "wasm32"))]
mod thread_link;
mod threads;

pub use group::{Coming, Ranks};
pub use link::{Link, Place};
#[cfg(all(feature = "mpi", not(target_arch = "wasm32")))]
pub use mpi_link::MpiLink;
pub use sums::{RowSums, Scratch, sum, sum_rows};
#[cfg(not(target_arch = "wasm32"))]
pub use thread_link::ThreadLink;
