//! The update: gradient norm, the decision to step, AdamW.

pub mod adamw;
pub mod grad_norm;
pub mod train_state;
pub mod update_decision;

pub use adamw::{AdamW, adamw};
pub use grad_norm::grad_norm;
pub use train_state::TrainState;
pub use update_decision::{UpdateRule, update_decision};
