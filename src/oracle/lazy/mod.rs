//! Lazy rows: AdamW on the touched rows of a table alone, exactly as if it ran on all of them.
//!
//! A row that no gradient reaches is not stepped; it keeps the number of the applied step that it
//! is up to. What such a step would have done with a gradient of zero follows from three numbers,
//! which are recorded, and is done when the row is read next, or when its turn comes.

pub mod adamw_rows;
pub mod catch_up_rows;
pub mod grad_norm_rows;
pub mod step_record;
pub mod sweep_rows;
mod table;

pub use adamw_rows::adamw_rows;
pub use catch_up_rows::{CatchUp, catch_up_rows};
pub use grad_norm_rows::grad_norm_rows;
pub use step_record::step_record;
pub use sweep_rows::{part_of_step, sweep_rows};
pub use table::{Shard, TouchedRows};
