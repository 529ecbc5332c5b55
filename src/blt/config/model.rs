//! The configuration structures and the sizes that follow from them.

use super::patching::PatchingConfig;
// A model is described in the terms of its layers.
pub use crate::nn::{CrossAttentionConfig, TransformerConfig};

/// Which of two implementations decides where they differ (spec §22.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Semantics {
    /// The paper's code: attention is blocked at document ends, and an encoder that cross-attends
    /// in several layers pools once.
    Reference,
    /// Hugging Face `transformers`: document ends mean nothing, and every cross-attending encoder
    /// layer pools anew.
    #[default]
    Transformers,
}

impl Semantics {
    /// The value of the key `blt_semantics`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Reference => "reference",
            Self::Transformers => "transformers",
        }
    }

    /// The semantics of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Reference, Self::Transformers].into_iter().find(|known| known.name() == name)
    }
}

/// One way to reduce the byte states of a patch to a vector, spec §7.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pooling {
    /// Their mean.
    Mean,
    /// The smallest of each channel.
    Min,
    /// The largest of each channel.
    Max,
}

impl Pooling {
    /// The word in `downsampling_by_pooling`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Min => "min",
            Self::Max => "max",
        }
    }

    /// Every pooling that `text` contains, in the order mean, min, max; `avg` is `mean`.
    pub fn from_text(text: &str) -> Vec<Self> {
        let mean = text.contains("mean") || text.contains("avg");
        let found = [
            (Self::Mean, mean),
            (Self::Min, text.contains("min")),
            (Self::Max, text.contains("max")),
        ];
        found.into_iter().filter(|(_, there)| *there).map(|(pooling, _)| pooling).collect()
    }
}

/// The hashed n-gram embedding, spec §2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HashEmbeddingConfig {
    /// Sizes of the n-grams, in table order; empty: no hashed embedding.
    pub group_sizes: Vec<usize>,
    /// Hash functions; each has a table for every group size.
    pub function_count: usize,
    /// Rows of one table.
    pub rows_per_table: usize,
}

impl HashEmbeddingConfig {
    /// Tables in all, function-major.
    pub fn table_count(&self) -> usize {
        self.function_count.saturating_mul(self.group_sizes.len())
    }

    /// Rows of the fused table.
    pub fn row_count(&self) -> usize {
        self.table_count().saturating_mul(self.rows_per_table)
    }

    /// A model without hashed n-grams.
    pub fn none() -> Self {
        Self { group_sizes: Vec::new(), function_count: 0, rows_per_table: 1 }
    }
}

/// The entropy model, a plain byte language model, spec §13.
#[derive(Debug, Clone, PartialEq)]
pub struct EntropyConfig {
    /// Its blocks; `window` is usually 512.
    pub transformer: TransformerConfig,
    /// Whether document ends block attention.
    pub semantics: Semantics,
}

/// A whole Byte Latent Transformer.
#[derive(Debug, Clone, PartialEq)]
pub struct BltConfig {
    /// Which implementation decides where two differ.
    pub semantics: Semantics,
    /// Blocks of the local encoder.
    pub encoder: TransformerConfig,
    /// From patches to their bytes; `None`: the patch vector is the pooled one.
    pub encoder_cross_attention: Option<CrossAttentionConfig>,
    /// Blocks of the latent (global) transformer.
    pub global: TransformerConfig,
    /// Blocks of the local decoder; as wide as the encoder.
    pub decoder: TransformerConfig,
    /// From bytes to patches; `None`: the patch vector is added to its bytes.
    pub decoder_cross_attention: Option<CrossAttentionConfig>,
    /// Local-width vectors that make up one patch vector, `k`.
    pub cross_attention_k: usize,
    /// How byte states become a patch vector; empty: the last `patch_size` states concatenated.
    pub pooling: Vec<Pooling>,
    /// Hashed n-grams.
    pub hash: HashEmbeddingConfig,
    /// How text is cut.
    pub patching: PatchingConfig,
    /// The entropy model that the directory carries.
    pub patcher: Option<EntropyConfig>,
}

impl BltConfig {
    /// Width of a patch vector as it leaves the encoder, before any projection (spec §7).
    pub fn patch_vector_size(&self) -> usize {
        let width = self.encoder.hidden_size;
        match (&self.encoder_cross_attention, self.pooling.len()) {
            (Some(_), _) => self.cross_attention_k.saturating_mul(width),
            (None, 0) => self.patching.patch_size.saturating_mul(width),
            (None, pooling_count) => pooling_count * width,
        }
    }

    /// Whether the latent transformer projects what it is given (spec §8).
    pub fn global_has_projection(&self) -> bool {
        self.patch_vector_size() != self.global.hidden_size
    }

    /// Local-width vectors that the decoder makes of one patch.
    pub fn decoder_vectors_per_patch(&self) -> usize {
        if self.decoder_cross_attention.is_some() { self.cross_attention_k } else { 1 }
    }

    /// Whether the decoder projects patch vectors (spec §9). `transformers` always does; the
    /// reference leaves the projection out when widths agree.
    pub fn decoder_has_projection(&self) -> bool {
        let always =
            self.semantics == Semantics::Transformers && self.decoder_cross_attention.is_some();
        always || self.global.hidden_size != self.decoder.hidden_size
    }

    /// Whether every cross-attending encoder layer starts from freshly pooled vectors, so that the
    /// last one alone decides; otherwise the vectors are pooled once and refined (spec §7).
    pub fn encoder_pools_at_every_layer(&self) -> bool {
        let all_layers = self.encoder_cross_attention.as_ref().is_some_and(|it| it.all_layers);
        all_layers && self.semantics == Semantics::Transformers
    }

    /// Takes an entropy model in as the patcher; it follows this model's semantics from then on.
    pub fn attach_patcher(&mut self, entropy: EntropyConfig) {
        self.patcher = Some(EntropyConfig { semantics: self.semantics, ..entropy });
    }
}

/// What a model directory holds.
// There is one of these a model: boxing the larger variant would buy nothing.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone, PartialEq)]
pub enum ModelConfig {
    /// A Byte Latent Transformer, with or without its entropy model.
    Blt(BltConfig),
    /// An entropy model by itself.
    Entropy(EntropyConfig),
}

/// Width inside the FFN of a block `width` wide, spec §5.5:
/// `int(multiplier * int(8 width / 3))` rounded up to a multiple of `multiple_of`.
pub fn ffn_width(width: usize, multiple_of: usize, multiplier: f64) -> usize {
    let hidden = (multiplier * (8 * width as u64 / 3) as f64) as usize;
    hidden.next_multiple_of(multiple_of.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ffn_widths_of_the_paper() {
        let expected = [
            (512, 1536),
            (768, 2048),
            (1024, 2816),
            (1280, 3584),
            (2048, 5632),
            (2560, 6912),
            (3072, 8192),
            (4096, 11008),
        ];
        for (width, hidden) in expected {
            assert_eq!(ffn_width(width, 256, 1.0), hidden, "width {width}");
        }
        assert_eq!(ffn_width(16, 8, 1.0), 48);
        assert_eq!(ffn_width(32, 8, 1.0), 88);
        assert_eq!(ffn_width(1024, 256, 1.3), 3584);
    }

    #[test]
    fn pooling_words_in_any_order_give_one_order() {
        assert_eq!(Pooling::from_text("max"), [Pooling::Max]);
        assert_eq!(Pooling::from_text("max_avg"), [Pooling::Mean, Pooling::Max]);
        assert_eq!(Pooling::from_text("max,min,mean"), [Pooling::Mean, Pooling::Min, Pooling::Max]);
        assert_eq!(Pooling::from_text("median"), []);
    }
}
