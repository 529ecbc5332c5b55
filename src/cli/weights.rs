//! `--weights`, `--tables`, `--precision`: in which types weights lie on the device, which of them
//! do, and what is computed with them.

use blt_wgpu::blt::config::WeightType;
use blt_wgpu::checkpoint::{LoadOptions, LoadedTypes};
use blt_wgpu::graph::Precision;

/// The argument of commands that read models.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
pub struct WeightsArgument {
    /// Type of the matrices on the device: f32, f16, bf16, int8, q4; without it as they are stored
    ///
    /// Sums are f32 in every type. Blocks leave byte embedding, head and entropy model as stored.
    #[arg(long, value_name = "TYPE")]
    pub weights: Option<WeightType>,
    /// Where hash tables are: on the device, or on the host, in the mapped file, which makes the
    /// embeddings and takes no memory of the device for them
    #[arg(long, value_name = "WHERE", default_value = "device")]
    pub tables: Tables,
    /// f32, or mixed: f16 operands with f32 sums, on matrix units where there are some, for prompts
    /// and whole texts; single bytes and entropies are f32 in either
    #[arg(long, value_name = "PRECISION", default_value = "f32")]
    pub precision: PrecisionName,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum PrecisionName {
    #[default]
    F32,
    Mixed,
}

impl From<PrecisionName> for Precision {
    fn from(name: PrecisionName) -> Self {
        match name {
            PrecisionName::F32 => Self::F32,
            PrecisionName::Mixed => Self::Mixed,
        }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Tables {
    #[default]
    Device,
    Host,
}

impl WeightsArgument {
    /// What it says.
    pub fn options(self) -> LoadOptions {
        LoadOptions {
            types: self.weights.map_or(LoadedTypes::Stored, LoadedTypes::Of),
            tables_on_host: self.tables == Tables::Host,
            precision: self.precision.into(),
        }
    }
}
