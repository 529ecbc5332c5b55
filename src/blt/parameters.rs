//! The parameters of a model, from its configuration: names, shapes, initialisation, order.
//!
//! Names are those of the Hugging Face implementation, the same in the program and on disk. All
//! matrices are `[out, in]`, and none has a bias.
//!
//! # Order
//!
//! The order of the forward pass: byte embedding, hash tables, encoder blocks, encoder patch
//! projection, encoder cross-attention, latent projection and blocks, decoder patch projection,
//! decoder cross-attention and blocks by turns, final norm, head, patcher. Inside a block: norm, q,
//! k, v, o, norm, gate, up, down. Parameters that one matmul reads together stand next to each
//! other and carry the name of their group: `..self_attn.qkv_proj`, `..mlp.gate_up_proj`, and
//! `..cross_attn_layers.N.kv_proj`. A group stacks its members' rows in this order.

mod blocks;
mod reference_names;

pub use reference_names::{
    ReferenceTensor, hf_name, reference_entropy_name, reference_layout, reference_name,
};

use std::ops::Range;

use self::blocks::{CrossAttention, Stack, StackInit};
use super::config::{
    BltConfig, EntropyConfig, InitOptions, InitStdFactor, ModelConfig, VOCABULARY_SIZE,
};

/// Name of the byte embedding of a BLT.
pub const BYTE_EMBEDDING_NAME: &str = "model.local_encoder.embed_tokens.weight";

/// Name of the fused hash table.
pub const HASH_TABLE_NAME: &str = "model.encoder_hash_tok_embedding.weight";

/// Where the parameters of a patcher stand inside a BLT model.
pub const PATCHER_PREFIX: &str = "model.patcher.";

/// How a parameter starts out, spec §11.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Every element 1.
    Ones,
    /// Normal with mean 0, cut at three standard deviations.
    TruncatedNormal {
        /// Standard deviation before the cut.
        std: f64,
    },
}

/// The part of the model a parameter belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// Local encoder with byte embedding and cross-attention.
    Encoder,
    /// Latent transformer.
    Global,
    /// Local decoder without the head.
    Decoder,
    /// Hashed n-gram tables.
    Hash,
    /// Entropy model, alone or inside a BLT.
    Patcher,
    /// The decoder's output matrix.
    Head,
}

impl Part {
    /// What the part is called.
    pub fn name(self) -> &'static str {
        match self {
            Self::Encoder => "local encoder",
            Self::Global => "latent transformer",
            Self::Decoder => "local decoder",
            Self::Hash => "hash tables",
            Self::Patcher => "entropy model",
            Self::Head => "head",
        }
    }
}

/// One parameter of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct ParameterSpec {
    /// Name on disk, with `.weight`.
    pub name: String,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns, or the length of a vector.
    pub cols: usize,
    /// Whether it is a vector, stored with one dimension.
    pub one_dimensional: bool,
    /// How it starts out.
    pub init: Init,
    /// Where it belongs.
    pub part: Part,
    /// The matrix it is part of, where several are stored as one.
    pub group: Option<String>,
}

impl ParameterSpec {
    /// Elements.
    pub fn element_count(&self) -> u64 {
        self.rows as u64 * self.cols as u64
    }

    /// Its rows in pieces of about so many elements, at least a row each.
    pub fn row_pieces(&self, element_count: usize) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.rows, (element_count / self.cols.max(1)).max(1));
        (0..rows).step_by(step).map(move |first| first..(first + step).min(rows))
    }

    /// Whether it is stored in blocks when a model is: every matrix but the byte embedding and the
    /// head, which are small, and but those of the entropy model inside a BLT, whose numbers decide
    /// where patches begin.
    pub fn may_be_blocks(&self) -> bool {
        let is_small = self.part == Part::Head
            || self.name.ends_with("embed_tokens.weight")
            || self.name == "lm_head.weight";
        !self.one_dimensional && !is_small && !self.name.starts_with(PATCHER_PREFIX)
    }

    /// The shape on disk.
    pub fn shape(&self) -> Vec<usize> {
        if self.one_dimensional { vec![self.cols] } else { vec![self.rows, self.cols] }
    }
}

/// Parameters of whichever model it is, with the default initialisation.
pub fn model_parameters(config: &ModelConfig) -> Vec<ParameterSpec> {
    match config {
        ModelConfig::Blt(config) => blt_parameters(config, &InitOptions::default()),
        ModelConfig::Entropy(config) => entropy_parameters(config, "", &InitOptions::default()),
    }
}

/// Parameters of a BLT model, in the order described above.
///
/// `options` shape the BLT model; a patcher inside it has the default initialisation.
pub fn blt_parameters(config: &BltConfig, options: &InitOptions) -> Vec<ParameterSpec> {
    let mut list = List::default();
    let local = StackInit { base_std: None, factor: options.std_factor };
    encoder(&mut list, config, local);
    global(&mut list, config, StackInit { base_std: options.base_std, ..local });
    decoder(&mut list, config, local);
    if let Some(patcher) = &config.patcher {
        list.0.extend(entropy_parameters(patcher, PATCHER_PREFIX, &InitOptions::default()));
    }
    list.0
}

/// Parameters of an entropy model; `prefix` is empty for a lone one and [`PATCHER_PREFIX`] inside
/// a BLT.
pub fn entropy_parameters(
    config: &EntropyConfig,
    prefix: &str,
    options: &InitOptions,
) -> Vec<ParameterSpec> {
    let mut list = List::default();
    let stack = &config.transformer;
    let width = stack.hidden_size;
    let init = StackInit { base_std: options.base_std, factor: options.std_factor };
    let blocks = Stack { prefix, part: Part::Patcher, config: stack, init };
    let vocabulary = [VOCABULARY_SIZE, width];
    list.matrix(format!("{prefix}embed_tokens"), vocabulary, inverse_root(width), Part::Patcher);
    for layer_index in 0..stack.layer_count {
        blocks.push_layer(layer_index, &mut list);
    }
    list.vector(format!("{prefix}norm"), width, Part::Patcher);
    list.matrix(format!("{prefix}lm_head"), vocabulary, inverse_root(width), Part::Patcher);
    list.0
}

fn encoder(list: &mut List, config: &BltConfig, init: StackInit) {
    let prefix = "model.local_encoder.";
    let (part, stack) = (Part::Encoder, &config.encoder);
    let width = stack.hidden_size;
    let std = inverse_root(width);
    list.matrix(format!("{prefix}embed_tokens"), [VOCABULARY_SIZE, width], std, part);
    if config.hash.table_count() > 0 {
        let name = HASH_TABLE_NAME.trim_end_matches(".weight").to_owned();
        list.matrix(name, [config.hash.row_count(), width], std, Part::Hash);
    }
    let blocks = Stack { prefix, part, config: stack, init };
    for layer_index in 0..stack.layer_count {
        blocks.push_layer(layer_index, list);
    }
    if let Some(cross) = &config.encoder_cross_attention {
        let name = format!("{prefix}patch_embedding_projection");
        list.matrix(name, [config.cross_attention_k * width, width], std, part);
        let modules = CrossAttention { prefix, part, width, config: cross, init };
        let module_count = cross.module_count(stack.layer_count);
        for layer_index in 0..module_count {
            modules.push_layer(layer_index, module_count, list);
        }
    }
}

fn global(list: &mut List, config: &BltConfig, init: StackInit) {
    let prefix = "model.global_transformer.";
    let (part, stack) = (Part::Global, &config.global);
    if config.global_has_projection() {
        let patch_width = config.patch_vector_size();
        let name = format!("{prefix}token_embedding_projection");
        list.matrix(name, [stack.hidden_size, patch_width], inverse_root(patch_width), part);
    }
    let blocks = Stack { prefix, part, config: stack, init };
    for layer_index in 0..stack.layer_count {
        blocks.push_layer(layer_index, list);
    }
}

fn decoder(list: &mut List, config: &BltConfig, init: StackInit) {
    let prefix = "model.local_decoder.";
    let (part, stack) = (Part::Decoder, &config.decoder);
    let (width, patch_width) = (stack.hidden_size, config.global.hidden_size);
    if config.decoder_has_projection() {
        let rows = config.decoder_vectors_per_patch() * width;
        let name = format!("{prefix}patch_embedding_projection");
        list.matrix(name, [rows, patch_width], inverse_root(patch_width), part);
    }
    let blocks = Stack { prefix, part, config: stack, init };
    for layer_index in 0..stack.layer_count {
        if let Some(cross) = &config.decoder_cross_attention {
            let module_count = cross.module_count(stack.layer_count);
            if layer_index < module_count {
                let modules = CrossAttention { prefix, part, width, config: cross, init };
                modules.push_layer(layer_index, module_count, list);
            }
        }
        blocks.push_layer(layer_index, list);
    }
    list.vector(format!("{prefix}norm"), width, part);
    list.matrix("lm_head".into(), [VOCABULARY_SIZE, width], inverse_root(width), Part::Head);
}

/// The list as it grows.
#[derive(Default)]
struct List(Vec<ParameterSpec>);

impl List {
    fn matrix(&mut self, name: String, [rows, cols]: [usize; 2], std: f64, part: Part) {
        self.0.push(ParameterSpec {
            name: name + ".weight",
            rows,
            cols,
            one_dimensional: false,
            init: Init::TruncatedNormal { std },
            part,
            group: None,
        });
    }

    /// Matrices that are stored as one: `(name, rows)` under `prefix`, all `cols` wide.
    fn group(
        &mut self,
        prefix: &str,
        group: &str,
        members: &[(&str, usize)],
        cols: usize,
        std: f64,
        part: Part,
    ) {
        for (name, rows) in members {
            self.matrix(format!("{prefix}{name}"), [*rows, cols], std, part);
            let last = self.0.last_mut().expect("it was pushed in the line above");
            last.group = Some(format!("{prefix}{group}"));
        }
    }

    fn vector(&mut self, name: String, length: usize, part: Part) {
        self.0.push(ParameterSpec {
            name: name + ".weight",
            rows: 1,
            cols: length,
            one_dimensional: true,
            init: Init::Ones,
            part,
            group: None,
        });
    }
}

fn inverse_root(width: usize) -> f64 {
    (width as f64).sqrt().recip()
}

#[cfg(test)]
mod tests;
