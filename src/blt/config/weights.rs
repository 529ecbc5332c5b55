//! The types in which the weights of a model may lie on disk.

use serde_json::{Value, json};

use super::json_section::Section;
use crate::error::{Error, Result};

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
    /// Blocks of eight-bit numbers with a scale each.
    Int8,
    /// Blocks of four-bit numbers with a scale each.
    Q4,
}

/// Neighbouring elements of a row that share a scale in [`WeightType::Int8`] and
/// [`WeightType::Q4`]; the last block of a row may be shorter.
pub const WEIGHT_BLOCK_SIZE: usize = 32;

/// The `quant_method` of a `config.json` whose weights are blocks.
const METHOD: &str = "blt_wgpu";

impl WeightType {
    /// Every type, in the order in which they are documented.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Q4];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Whether elements are blocks with a scale.
    pub fn is_blocks(self) -> bool {
        matches!(self, Self::Int8 | Self::Q4)
    }

    /// The key `dtype` of a `config.json`: what `transformers` computes in if it is not told.
    pub(super) fn torch_name(self) -> &'static str {
        match self {
            Self::F16 => "float16",
            Self::Bf16 => "bfloat16",
            Self::F32 | Self::Int8 | Self::Q4 => "float32",
        }
    }

    /// The key `quantization_config`, where there is one.
    pub(super) fn quantization(self) -> Option<Value> {
        self.is_blocks().then(|| {
            json!({
                "quant_method": METHOD,
                "format": self.name(),
                "block_size": WEIGHT_BLOCK_SIZE,
            })
        })
    }
}

/// What `quantization_config` says, where there is one.
pub(super) fn quantization(top: &Section) -> Result<Option<WeightType>> {
    if top.get("quantization_config").is_none() {
        return Ok(None);
    }
    let keys = top.child("quantization_config")?;
    if keys.text("quant_method")? != Some(METHOD) {
        let problem = format!("only weights quantised by this program are read ({METHOD:?})");
        return Err(keys
            .error("quant_method", problem)
            .with_hint("quantise the model with `blt convert --dtype int8` or `--dtype q4`"));
    }
    keys.agree("block_size", WEIGHT_BLOCK_SIZE)?;
    let name = keys.text("format")?.unwrap_or_default();
    let format = WeightType::from_name(name).filter(|format| format.is_blocks());
    let wrong = || keys.error("format", format!("expected int8 or q4, got {name:?}"));
    format.map(Some).ok_or_else(wrong)
}

/// The reason that a quantised directory is not for `transformers`.
pub(super) fn difference(weights: WeightType) -> Option<String> {
    weights.is_blocks().then(|| {
        format!("its weights are {} blocks, which transformers cannot read", weights.name())
    })
}

/// A name that is none, as an error.
impl std::str::FromStr for WeightType {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let known = Self::ALL.map(Self::name).join(", ");
        let problem = || Error::input("type of weights", format!("expected {known}, got {name:?}"));
        Self::from_name(name).ok_or_else(problem)
    }
}
