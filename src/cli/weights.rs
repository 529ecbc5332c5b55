//! `--weights`: the type that weights have on the device.

use blt_wgpu::blt::config::WeightType;
use blt_wgpu::checkpoint::LoadedTypes;

/// The argument of commands that read models.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct WeightsArgument {
    /// Type of the matrices on the device: f32, f16, bf16, int8, q4; without it as they are stored
    ///
    /// Sums are f32 in every type. Blocks leave byte embedding, head and entropy model as stored.
    #[arg(long, value_name = "TYPE")]
    pub weights: Option<WeightType>,
}

impl WeightsArgument {
    /// What it says.
    pub fn types(self) -> LoadedTypes {
        self.weights.map_or(LoadedTypes::Stored, LoadedTypes::Of)
    }
}
