//! Lazy rows: AdamW on the touched rows of a table alone, with the bits that it has on all of them.
//!
//! A row that no gradient reaches is not stepped; it keeps the number of the applied step that it
//! is up to. [`step_record`] keeps what such a step does with a gradient of zero, the same three
//! numbers for every element, and a row that has missed steps replays them: when it is read next
//! ([`catch_up_rows`]), or when its turn comes ([`sweep_rows`]), so that few records are enough.

pub mod adamw_rows;
pub mod catch_up_rows;
pub mod grad_norm_rows;
mod replay;
mod row_slices;
pub mod step_record;
pub mod sweep_rows;
