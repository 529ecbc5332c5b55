//! The Byte Latent Transformer as a graph: local encoder, latent transformer, local decoder.

use super::config::{BltConfig, Pooling, TransformerConfig};
use super::inputs;
use crate::error::Result;
use crate::graph::{Graph, PoolKind, Reach, TensorId};
use crate::kernels::{Axis, Element, Extent};
use crate::nn::{CrossAttention, SelfAttentionInputs, block, cross_attention, rope_table_name};

/// Rows of the byte embedding and columns of the logits.
const VOCABULARY_SIZE: usize = 260;

/// Words of one table in the constant `hash.powers`: group size, 2^64 mod rows, eight powers.
pub(super) const HASH_POWER_WORDS: usize = 18;

/// Logits [bytes, 260] of the id after every byte, given how the bytes fall into patches (spec
/// §10).
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn blt_logits(graph: &mut Graph, config: &BltConfig) -> Result<TensorId> {
    let embedded = embed(graph, config)?;
    let (bytes, patches) = local_encoder(graph, config, embedded)?;
    let latent = latent_transformer(graph, config, patches)?;
    local_decoder(graph, config, bytes, latent)
}

/// Byte embedding plus hashed n-grams [bytes, hidden] (spec §2).
fn embed(graph: &mut Graph, config: &BltConfig) -> Result<TensorId> {
    graph.scoped("embedding", |graph| {
        let hidden = config.encoder.hidden_size;
        let ids = inputs::ids(graph);
        let name = "model.local_encoder.embed_tokens.weight";
        let table = graph.parameter(name, VOCABULARY_SIZE, hidden);
        let lists = inputs::lists(graph, "byte_rows", Axis::ByteRows, Extent::of(Axis::Bytes));
        let embedded = graph.byte_embedding(ids, table, lists);
        let table_count = config.hash.table_count();
        if table_count == 0 {
            return Ok(embedded);
        }
        let powers = graph.constant("hash.powers", table_count, HASH_POWER_WORDS, Element::U32);
        let row_start = inputs::row_start(graph);
        let hash_ids = graph.hash_ids(ids, row_start, powers, config.hash.rows_per_table);
        let name = "model.encoder_hash_tok_embedding.weight";
        let table = graph.parameter(name, config.hash.row_count(), hidden);
        let entries = Extent::of(Axis::Bytes).times(table_count);
        let mut lists = inputs::lists(graph, "hash_rows", Axis::HashRows, entries);
        if graph.has_slots() {
            lists[0] = inputs::hash_slots(graph);
        }
        graph.hash_embedding(embedded, hash_ids, table, lists)
    })
}

/// Byte states [bytes, hidden] and patch vectors [patches, patch_vector_size] (spec §7).
fn local_encoder(
    graph: &mut Graph,
    config: &BltConfig,
    embedded: TensorId,
) -> Result<(TensorId, TensorId)> {
    let prefix = "model.local_encoder";
    let attention = byte_attention(graph, &config.encoder, "byte");
    let mut bytes = embedded;
    let mut patches = None;
    for layer in 0..config.encoder.layer_count {
        let name = format!("{prefix}.layers.{layer}");
        bytes = block(graph, bytes, &name, &config.encoder, attention)?;
        let Some(cross) = &config.encoder_cross_attention else { continue };
        let last = layer + 1 == config.encoder.layer_count;
        if !last && (!cross.all_layers || config.encoder_pools_at_every_layer()) {
            continue;
        }
        let queries = match patches {
            Some(queries) => queries,
            None => patch_queries(graph, config, bytes)?,
        };
        let [key_range, query_range] = inputs::ranges(graph, "pool", Axis::Patches, Axis::Bytes);
        let k = config.cross_attention_k;
        let ranges = CrossAttention {
            key_range,
            query_range,
            query_factor: k,
            key_factor: 1,
            reach: Reach::Shares(cross.window.unwrap_or(1)),
        };
        let index = if cross.all_layers { layer } else { 0 };
        let name = format!("{prefix}.cross_attn_layers.{index}");
        let eps = config.encoder.rms_norm_eps as f32;
        patches = Some(cross_attention(graph, queries, bytes, &name, cross, eps, ranges)?);
    }
    let vectors = match patches {
        Some(patches) => graph.reshape(patches, config.patch_vector_size())?,
        None => pooled(graph, config, bytes)?,
    };
    Ok((bytes, vectors))
}

/// The k queries of every patch [k patches, hidden]: pooled bytes, projected.
fn patch_queries(graph: &mut Graph, config: &BltConfig, bytes: TensorId) -> Result<TensorId> {
    let hidden = config.encoder.hidden_size;
    graph.scoped("model.local_encoder.patch_queries", |graph| {
        let pooled = pooled(graph, config, bytes)?;
        let name = "model.local_encoder.patch_embedding_projection.weight";
        let rows = config.cross_attention_k * hidden;
        let weight = graph.parameter(name, rows, graph.tensor(pooled).cols);
        let queries = graph.linear(pooled, weight)?;
        graph.reshape(queries, hidden)
    })
}

/// Byte states of every patch pooled, or its last `patch_size` states side by side.
fn pooled(graph: &mut Graph, config: &BltConfig, bytes: TensorId) -> Result<TensorId> {
    if config.pooling.is_empty() {
        let slots = Extent::of(Axis::Patches).times(config.patching.patch_size);
        let index = graph.input("patch_last_bytes", slots, 1, Element::U32);
        let lists = inputs::lists(graph, "seen_bytes", Axis::SeenBytes, slots);
        let states = graph.gather_rows(bytes, index, lists);
        let width = config.patching.patch_size * config.encoder.hidden_size;
        return graph.reshape(states, width);
    }
    let kind = |pooling: &Pooling| match pooling {
        Pooling::Max => PoolKind::Max,
        Pooling::Mean => PoolKind::Mean,
        Pooling::Min => PoolKind::Min,
    };
    let kinds: Vec<_> = config.pooling.iter().map(kind).collect();
    let range = inputs::patch_byte_range(graph);
    Ok(graph.patch_pool(bytes, range, &kinds))
}

/// Patch vectors [patches, global hidden] (spec §8); there is no norm at the end.
fn latent_transformer(
    graph: &mut Graph,
    config: &BltConfig,
    vectors: TensorId,
) -> Result<TensorId> {
    let prefix = "model.global_transformer";
    let global = &config.global;
    let mut x = vectors;
    if config.global_has_projection() {
        let name = format!("{prefix}.token_embedding_projection.weight");
        let weight = graph.parameter(&name, global.hidden_size, config.patch_vector_size());
        x = graph.scoped(prefix, |graph| graph.linear(x, weight))?;
    }
    let [key_range, query_range] = inputs::ranges(graph, "patch", Axis::Patches, Axis::Patches);
    let attention = SelfAttentionInputs {
        position: inputs::patch_position(graph),
        key_range,
        query_range,
        rope_table: rope_constant(graph, global),
    };
    for layer in 0..global.layer_count {
        x = block(graph, x, &format!("{prefix}.layers.{layer}"), global, attention)?;
    }
    Ok(x)
}

/// Logits from byte states and latent patch vectors (spec §9).
fn local_decoder(
    graph: &mut Graph,
    config: &BltConfig,
    bytes: TensorId,
    latent: TensorId,
) -> Result<TensorId> {
    let prefix = "model.local_decoder";
    let decoder = &config.decoder;
    let hidden = decoder.hidden_size;
    let vector_count = config.decoder_vectors_per_patch();
    let mut patches = latent;
    if config.decoder_has_projection() {
        let name = format!("{prefix}.patch_embedding_projection.weight");
        let weight = graph.parameter(&name, vector_count * hidden, config.global.hidden_size);
        patches = graph.scoped(prefix, |graph| graph.linear(latent, weight))?;
    }
    let patches = graph.reshape(patches, hidden)?;
    let own_window = config.decoder.window != config.encoder.window;
    let ranges = if own_window { "decoder_byte" } else { "byte" };
    let attention = byte_attention(graph, decoder, ranges);
    let mut x = bytes;
    if config.decoder_cross_attention.is_none() {
        let index = graph.input("byte_decoder_patch", Extent::of(Axis::Bytes), 1, Element::U32);
        let entries = Extent::of(Axis::Bytes);
        let lists = inputs::lists(graph, "seen_patches", Axis::SeenPatches, entries);
        let own = graph.gather_rows(patches, index, lists);
        x = graph.add(x, 1.0, own, 1.0)?;
    }
    for layer in 0..decoder.layer_count {
        if let Some(cross) = &config.decoder_cross_attention
            && (cross.all_layers || layer == 0)
        {
            let [key_range, query_range] =
                inputs::ranges(graph, "unpool", Axis::Bytes, Axis::Patches);
            let ranges = CrossAttention {
                key_range,
                query_range,
                query_factor: 1,
                key_factor: vector_count,
                reach: Reach::Keys(Some(cross.window.unwrap_or(1) * vector_count)),
            };
            let name = format!("{prefix}.cross_attn_layers.{layer}");
            let eps = decoder.rms_norm_eps as f32;
            x = cross_attention(graph, x, patches, &name, cross, eps, ranges)?;
        }
        x = block(graph, x, &format!("{prefix}.layers.{layer}"), decoder, attention)?;
    }
    graph.scoped("lm_head", |graph| {
        let gain = graph.parameter(&format!("{prefix}.norm.weight"), 1, hidden);
        let normed = graph.rms_norm(x, gain, decoder.rms_norm_eps as f32)?;
        let head = graph.parameter("lm_head.weight", VOCABULARY_SIZE, hidden);
        graph.linear(normed, head)
    })
}

/// Inputs of a windowed self-attention over bytes whose ranges are named `ranges`.
fn byte_attention(
    graph: &mut Graph,
    config: &TransformerConfig,
    ranges: &str,
) -> SelfAttentionInputs {
    let [key_range, query_range] = inputs::ranges(graph, ranges, Axis::Bytes, Axis::Bytes);
    SelfAttentionInputs {
        position: inputs::byte_position(graph),
        key_range,
        query_range,
        rope_table: rope_constant(graph, config),
    }
}

fn rope_constant(graph: &mut Graph, config: &TransformerConfig) -> TensorId {
    let name = rope_table_name(config);
    graph.constant(&name, config.max_positions, config.head_dim, Element::F32)
}
