//! Training: packing, schedules, the optimiser's step, metrics and the configuration of a run.

pub mod config;
pub mod data;
#[cfg(all(feature = "arrow", not(target_arch = "wasm32")))]
pub mod entropies;
mod event_records;
mod exchange;
pub mod flops;
mod groups;
mod lazy_rows;
mod lazy_update;
pub mod metrics;
pub mod packing;
pub mod ranks;
pub mod run;
pub mod schedule;
mod slots;
mod table_updates;
mod trainer;
mod update;

pub use groups::{ParameterGroup, Piece, Pieces, Rates, table_is_frozen};
pub use lazy_update::{TOUCHED_ROWS, TOUCHED_SLOTS, catch_up_recording, settle_recording};
pub use slots::Slots;
pub use table_updates::{LEAST_ROWS_PER_TOUCHED, TableUpdateRule, UpdateSituation};
pub use trainer::Trainer;
pub use update::{AdamW, update_recording, update_recording_in};
