//! Normalisation.

pub mod rms_norm;
pub mod rms_norm_grad;
