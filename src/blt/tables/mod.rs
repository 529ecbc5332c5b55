//! Index tables of a batch: what every ragged kernel reads instead of padding and masks.
//!
//! The bytes of all rows of a batch lie on one flat axis, the patches on another. Every attention
//! of the model lets a query see a contiguous range `[low, high)` of keys, and a key is seen by a
//! contiguous range of queries; the forward pass walks the first kind of range, the backward pass
//! the second. All indices are `u32` and absolute on the flat axis; a range table is
//! `[count, 2]`, row-major. An empty range has `low == high`.
//!
//! The tables are made on the host, one batch ahead. [`BltTables`] and [`EntropyTables`] are all
//! of a batch; the parts can be made alone:
//!
//! | part | what |
//! |---|---|
//! | [`Row`] | one row as the data side hands it in |
//! | [`ByteTables`] | ids, targets, weights, positions, self-attention over bytes |
//! | [`PatchTables`] | patches, self-attention over patches, pooling and unpooling |
//! | [`CsrRows`] | sorted touched rows of an embedding table, for its gradient |
//! | [`PatchGather`] | the last byte states of each patch, for models without cross-attention |
//! | [`window_ranges`] | causal windows inside segments, for any axis |

mod batch;
mod bytes;
mod csr;
#[cfg(test)]
mod dense_test;
mod gather;
mod patches;
mod row;
mod segments;

pub use batch::{BltTables, EntropyTables, TableOptions};
pub use bytes::ByteTables;
pub use csr::CsrRows;
pub use gather::PatchGather;
pub use patches::PatchTables;
pub use row::Row;
pub use segments::{Documents, Ranges, Segments, window_ranges};
