//! Normalisation.

pub mod rms_norm;

pub use rms_norm::{rms_norm, rms_norm_gain_grad, rms_norm_grad};
