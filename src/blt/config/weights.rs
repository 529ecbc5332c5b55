//! What `config.json` says of the types in which weights lie.

use serde_json::{Value, json};

use super::json_section::Section;
use crate::error::{Error, Result};

pub use crate::packed::{WEIGHT_BLOCK_SIZE, WeightType};

/// The `quant_method` of a `config.json` whose weights are blocks.
const METHOD: &str = "blt_wgpu";

impl WeightType {
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
