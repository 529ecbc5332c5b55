//! Names of the reference implementation (spec §22.2) for parameters that go by Hugging Face names
//! here, and back.

use super::{HASH_TABLE_NAME, PATCHER_PREFIX, ParameterSpec};

/// `(Hugging Face, reference)` for the pieces of a name between the dots.
const PIECES: &[(&str, &str)] = &[
    ("self_attn.q_proj", "attention.wq"),
    ("self_attn.k_proj", "attention.wk"),
    ("self_attn.v_proj", "attention.wv"),
    ("self_attn.o_proj", "attention.wo"),
    ("input_layernorm", "attention_norm"),
    ("post_attention_layernorm", "ffn_norm"),
    ("mlp.gate_proj", "feed_forward.w1"),
    ("mlp.up_proj", "feed_forward.w3"),
    ("mlp.down_proj", "feed_forward.w2"),
];

/// The same for what stands behind `cross_attn_layers.N.`.
const CROSS_PIECES: &[(&str, &str)] = &[
    ("q_proj", "wq"),
    ("k_proj", "wk"),
    ("v_proj", "wv"),
    ("o_proj", "wo"),
    ("q_norm", "cross_attn_norm_q"),
    ("k_norm", "cross_attn_norm_kv"),
];

/// Names that have no layer in them.
const LONE: &[(&str, &str)] = &[
    ("model.local_encoder.embed_tokens.weight", "local_encoder.tok_embeddings.weight"),
    (
        "model.local_encoder.patch_embedding_projection.weight",
        "local_encoder.patch_embedding_projection.weight",
    ),
    (
        "model.global_transformer.token_embedding_projection.weight",
        "global_transformer.token_embedding_projection.weight",
    ),
    (
        "model.local_decoder.patch_embedding_projection.weight",
        "local_decoder.patch_embedding_projection.weight",
    ),
    ("model.local_decoder.norm.weight", "local_decoder.norm.weight"),
    ("lm_head.weight", "local_decoder.output.weight"),
];

const ENTROPY_LONE: &[(&str, &str)] = &[
    ("embed_tokens.weight", "tok_embeddings.weight"),
    ("norm.weight", "norm.weight"),
    ("lm_head.weight", "output.weight"),
];

/// The reference's name of a BLT parameter.
///
/// `None` for a name that is not one, for the patcher's parameters (the reference keeps them in a
/// model of their own: [`reference_entropy_name`]) and for the fused hash table
/// ([`reference_layout`] has its tables).
pub fn reference_name(hf_name: &str) -> Option<String> {
    if let Some((_, reference)) = LONE.iter().find(|(hf, _)| *hf == hf_name) {
        return Some((*reference).into());
    }
    let rest = hf_name.strip_prefix("model.")?;
    let (part, rest) = rest.split_once('.')?;
    matches!(part, "local_encoder" | "global_transformer" | "local_decoder").then_some(())?;
    Some(format!("{part}.{}", layer_name(rest, |pair| *pair)?))
}

/// The reference's name of an entropy model's parameter, be it alone or inside a BLT.
pub fn reference_entropy_name(hf_name: &str) -> Option<String> {
    let name = hf_name.strip_prefix(PATCHER_PREFIX).unwrap_or(hf_name);
    if let Some((_, reference)) = ENTROPY_LONE.iter().find(|(hf, _)| *hf == name) {
        return Some((*reference).into());
    }
    layer_name(name, |pair| *pair)
}

/// The Hugging Face name of a reference parameter, with the index of its table where it is a hash
/// table. Names of an entropy model give names of a lone one.
pub fn hf_name(reference: &str) -> Option<(String, Option<usize>)> {
    if let Some(table) = reference.strip_prefix("encoder_hash_tok_embedding.") {
        let index = table.strip_suffix(".weight")?.parse().ok()?;
        return Some((HASH_TABLE_NAME.into(), Some(index)));
    }
    let lone = LONE.iter().chain(ENTROPY_LONE).find(|(_, name)| *name == reference);
    if let Some((hf, _)) = lone {
        return Some(((*hf).into(), None));
    }
    let back = |pair: &(&'static str, &'static str)| (pair.1, pair.0);
    if let Some(name) = layer_name(reference, back) {
        return Some((name, None));
    }
    let (part, rest) = reference.split_once('.')?;
    matches!(part, "local_encoder" | "global_transformer" | "local_decoder").then_some(())?;
    Some((format!("model.{part}.{}", layer_name(rest, back)?), None))
}

/// `layers.3.self_attn.q_proj.weight` and `cross_attn_layers.3.q_proj.weight`, translated.
fn layer_name(
    name: &str,
    direction: impl Fn(&(&'static str, &'static str)) -> (&'static str, &'static str),
) -> Option<String> {
    let (kind, rest) = name.split_once('.')?;
    let (index, rest) = rest.split_once('.')?;
    index.parse::<usize>().ok()?;
    let piece = rest.strip_suffix(".weight")?;
    let pieces = match kind {
        "layers" => PIECES,
        "cross_attn_layers" => CROSS_PIECES,
        _ => return None,
    };
    let (_, translated) = pieces.iter().map(direction).find(|(from, _)| *from == piece)?;
    Some(format!("{kind}.{index}.{translated}.weight"))
}

/// One tensor of the reference, as rows of a tensor here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceTensor {
    /// The reference's name.
    pub reference_name: String,
    /// Name of the tensor here.
    pub name: String,
    /// Its first row there; not 0 only for hash tables.
    pub first_row: usize,
    /// Rows; 1 for a vector.
    pub rows: usize,
    /// Columns, or the length of a vector.
    pub cols: usize,
    /// Whether it is a vector.
    pub one_dimensional: bool,
}

/// The tensors of the reference that these parameters hold, sorted by the reference's name, byte by
/// byte: the order of the golden weights of spec §25.5.
///
/// `rows_per_table` is the row count of one hash table. A patcher inside a BLT is left out; the
/// parameters of a lone entropy model are all there.
pub fn reference_layout(
    parameters: &[ParameterSpec],
    rows_per_table: usize,
) -> Vec<ReferenceTensor> {
    let is_entropy = parameters.iter().any(|parameter| parameter.name == "norm.weight");
    let mut tensors = Vec::new();
    for parameter in parameters {
        let tensor = |reference_name: String, first_row: usize, rows: usize| ReferenceTensor {
            reference_name,
            name: parameter.name.clone(),
            first_row,
            rows,
            cols: parameter.cols,
            one_dimensional: parameter.one_dimensional,
        };
        if parameter.name == HASH_TABLE_NAME {
            assert!(parameter.rows.is_multiple_of(rows_per_table), "tables are equally long");
            tensors.extend((0..parameter.rows / rows_per_table).map(|index| {
                let name = format!("encoder_hash_tok_embedding.{index}.weight");
                tensor(name, index * rows_per_table, rows_per_table)
            }));
            continue;
        }
        let translate = if is_entropy { reference_entropy_name } else { reference_name };
        if let Some(name) = translate(&parameter.name) {
            tensors.push(tensor(name, 0, parameter.rows));
        }
    }
    tensors.sort_by(|left, right| left.reference_name.cmp(&right.reference_name));
    tensors
}
