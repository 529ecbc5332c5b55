//! Options of the initialisation, spec §11. They shape fresh weights and are not kept with a model.

use serde::{Deserialize, Serialize};

/// How standard deviations are chosen when a model is made.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct InitOptions {
    /// Replaces `width^-1/2 / factor` in the latent transformer, or in a lone entropy model.
    pub base_std: Option<f64>,
    /// Divides the standard deviation of attention and FFN matrices.
    pub std_factor: InitStdFactor,
}

/// The divisor of a standard deviation, `init_std_factor` in the reference implementation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InitStdFactor {
    /// 1.
    #[default]
    Disabled,
    /// `sqrt(2 (layer_count + 1))`.
    GlobalDepth,
    /// `sqrt(2 (layer_index + 1))`.
    CurrentDepth,
    /// `width / 4096`.
    DimRatio,
}

impl InitStdFactor {
    /// The divisor for one layer of a transformer `width` wide and `layer_count` deep.
    pub fn value(self, width: usize, layer_index: usize, layer_count: usize) -> f64 {
        match self {
            Self::Disabled => 1.0,
            Self::GlobalDepth => (2.0 * (layer_count as f64 + 1.0)).sqrt(),
            Self::CurrentDepth => (2.0 * (layer_index as f64 + 1.0)).sqrt(),
            Self::DimRatio => width as f64 / 4096.0,
        }
    }
}
