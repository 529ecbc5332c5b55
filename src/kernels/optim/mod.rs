//! The update: gradient norm, the decision to step, AdamW.

pub mod adamw;
pub mod grad_norm;
pub mod train_state;
pub mod update_decision;
