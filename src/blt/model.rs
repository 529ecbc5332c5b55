//! The Byte Latent Transformer as a graph: local encoder, latent transformer, local decoder.

use super::caches::{Caches, Pass, Ring, is_pooled, latent_name, states_name};
use super::config::{BltConfig, Pooling, TransformerConfig, VOCABULARY_SIZE};
use super::inputs;
use super::parameters::{BYTE_EMBEDDING_NAME, HASH_TABLE_NAME};
use crate::error::Result;
use crate::graph::{Graph, PoolKind, Reach, TensorId};
use crate::kernels::{Axis, Element, Extent};
use crate::nn::{
    CrossAttention, KvCache, SelfAttentionInputs, attend_across, block, cache_name,
    cross_attention, cross_keys_values, rope_table_name,
};

/// Words of one table in the constant `hash.powers`: group size, 2^64 mod rows, eight powers.
pub(super) const HASH_POWER_WORDS: usize = 18;

/// Logits [bytes, 260] of the id after every byte, given how the bytes fall into patches (spec
/// §10).
///
/// # Errors
/// If the shapes of the configuration contradict each other.
pub fn blt_logits(graph: &mut Graph, config: &BltConfig) -> Result<TensorId> {
    blt_pass(graph, config, None)
}

/// The same where caches stand for the texts so far: a byte of every stream, and the patches that
/// close with them (spec §14.3); or where whole texts fill the caches.
pub(super) fn blt_pass(
    graph: &mut Graph,
    config: &BltConfig,
    caches: Option<Caches>,
) -> Result<TensorId> {
    let embedded = embed(graph, config, caches)?;
    let (bytes, patches) = local_encoder(graph, config, embedded, caches)?;
    let latent = match patches {
        Some(patches) => Some(latent_transformer(graph, config, patches, caches)?),
        None => None,
    };
    local_decoder(graph, config, bytes, latent, caches)
}

/// Byte embedding plus hashed n-grams [bytes, hidden] (spec §2).
fn embed(graph: &mut Graph, config: &BltConfig, caches: Option<Caches>) -> Result<TensorId> {
    graph.scoped("embedding", |graph| {
        let hidden = config.encoder.hidden_size;
        let ids = inputs::ids(graph);
        let table = graph.parameter(BYTE_EMBEDDING_NAME, VOCABULARY_SIZE, hidden);
        let steps = is_step(caches);
        let lists = match steps {
            true => [ids; 3],
            false => inputs::lists(graph, "byte_rows", Axis::ByteRows, Extent::of(Axis::Bytes)),
        };
        let embedded = graph.byte_embedding(ids, table, lists);
        let table_count = config.hash.table_count();
        if table_count == 0 {
            return Ok(embedded);
        }
        if steps {
            let hash_ids =
                graph.input("hash_ids", Extent::of(Axis::Bytes), table_count, Element::U32);
            let table = graph.parameter(HASH_TABLE_NAME, config.hash.row_count(), hidden);
            return graph.hash_embedding(embedded, hash_ids, table, [hash_ids; 3]);
        }
        let powers = graph.constant("hash.powers", table_count, HASH_POWER_WORDS, Element::U32);
        let row_start = inputs::row_start(graph);
        let hash_ids = graph.hash_ids(ids, row_start, powers, config.hash.rows_per_table);
        let table = graph.parameter(HASH_TABLE_NAME, config.hash.row_count(), hidden);
        let entries = Extent::of(Axis::Bytes).times(table_count);
        let mut lists = inputs::lists(graph, "hash_rows", Axis::HashRows, entries);
        if graph.has_slots() {
            lists[0] = inputs::hash_slots(graph);
        }
        graph.hash_embedding(embedded, hash_ids, table, lists)
    })
}

/// Byte states [bytes, hidden] and, where patches close, patch vectors
/// [patches, patch_vector_size] (spec §7).
fn local_encoder(
    graph: &mut Graph,
    config: &BltConfig,
    embedded: TensorId,
    caches: Option<Caches>,
) -> Result<(TensorId, Option<TensorId>)> {
    let prefix = "model.local_encoder";
    let attention = byte_attention(graph, &config.encoder, "byte", "byte", caches);
    let mut bytes = embedded;
    let mut patches = None;
    for layer in 0..config.encoder.layer_count {
        let name = format!("{prefix}.layers.{layer}");
        bytes = block(graph, bytes, &name, &config.encoder, attention)?;
        if !is_pooled(config, layer) {
            continue;
        }
        let Some(states) = patch_states(graph, layer, bytes, caches)? else { continue };
        let Some(cross) = &config.encoder_cross_attention else {
            patches = Some(pooled(graph, config, states, caches)?);
            continue;
        };
        let queries = match patches {
            Some(queries) => queries,
            None => patch_queries(graph, config, states, caches)?,
        };
        let [key_range, query_range] = match is_step(caches) {
            true => [inputs::key_range(graph, "pool", Axis::Patches); 2],
            false => inputs::ranges(graph, "pool", Axis::Patches, Axis::Bytes),
        };
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
        patches = Some(cross_attention(graph, queries, states, &name, cross, eps, ranges)?);
    }
    let vectors = match patches {
        Some(patches) if config.encoder_cross_attention.is_some() => {
            Some(graph.reshape(patches, config.patch_vector_size())?)
        }
        patches => patches,
    };
    Ok((bytes, vectors))
}

/// The byte states that patches are made of: all of a batch, or those of the patches that close,
/// none if none does.
fn patch_states(
    graph: &mut Graph,
    layer: usize,
    bytes: TensorId,
    caches: Option<Caches>,
) -> Result<Option<TensorId>> {
    let Some(Caches { shape, pass }) = caches else { return Ok(Some(bytes)) };
    let (rows, cols) = (shape.streams * shape.states, graph.tensor(bytes).cols);
    let cache = graph.cache(&states_name(layer), rows, cols);
    let row = inputs::integers(graph, "state_row", Axis::Bytes, 1);
    let cache = graph.cache_rows(bytes, 0, row, 1, cache, 0)?;
    Ok(match pass {
        Pass::Seed => Some(bytes),
        Pass::Open => None,
        Pass::Close => {
            let index = inputs::integers(graph, "closing_states", Axis::SeenBytes, 1);
            Some(graph.gather_rows(cache, index, [index; 3]))
        }
    })
}

/// The k queries of every patch [k patches, hidden]: pooled bytes, projected.
fn patch_queries(
    graph: &mut Graph,
    config: &BltConfig,
    bytes: TensorId,
    caches: Option<Caches>,
) -> Result<TensorId> {
    let hidden = config.encoder.hidden_size;
    graph.scoped("model.local_encoder.patch_queries", |graph| {
        let pooled = pooled(graph, config, bytes, caches)?;
        let name = "model.local_encoder.patch_embedding_projection.weight";
        let rows = config.cross_attention_k * hidden;
        let weight = graph.parameter(name, rows, graph.tensor(pooled).cols);
        let queries = graph.linear(pooled, weight)?;
        graph.reshape(queries, hidden)
    })
}

/// Byte states of every patch pooled, or its last `patch_size` states side by side.
fn pooled(
    graph: &mut Graph,
    config: &BltConfig,
    bytes: TensorId,
    caches: Option<Caches>,
) -> Result<TensorId> {
    if config.pooling.is_empty() {
        let slots = Extent::of(Axis::Patches).times(config.patching.patch_size);
        let index = graph.input("patch_last_bytes", slots, 1, Element::U32);
        let lists = match is_step(caches) {
            true => [index; 3],
            false => inputs::lists(graph, "seen_bytes", Axis::SeenBytes, slots),
        };
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
    caches: Option<Caches>,
) -> Result<TensorId> {
    let prefix = "model.global_transformer";
    let global = &config.global;
    let mut x = vectors;
    if config.global_has_projection() {
        let name = format!("{prefix}.token_embedding_projection.weight");
        let weight = graph.parameter(&name, global.hidden_size, config.patch_vector_size());
        x = graph.scoped(prefix, |graph| graph.linear(x, weight))?;
    }
    let [key_range, query_range] = match is_step(caches) {
        true => [inputs::key_range(graph, "patch", Axis::Patches); 2],
        false => inputs::ranges(graph, "patch", Axis::Patches, Axis::Patches),
    };
    let cache = caches.map(|caches| KvCache {
        rows: caches.shape.streams * caches.shape.patches,
        row: inputs::integers(graph, "patch_cache_row", Axis::Patches, 1),
        mirror: 0,
        is_read: is_step(Some(caches)),
    });
    let attention = SelfAttentionInputs {
        position: inputs::patch_position(graph),
        key_range,
        query_range,
        rope_table: rope_constant(graph, global),
        cache,
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
    latent: Option<TensorId>,
    caches: Option<Caches>,
) -> Result<TensorId> {
    let prefix = "model.local_decoder";
    let decoder = &config.decoder;
    let hidden = decoder.hidden_size;
    let vector_count = config.decoder_vectors_per_patch();
    let patches = match latent {
        None => None,
        Some(latent) if config.decoder_has_projection() => {
            let name = format!("{prefix}.patch_embedding_projection.weight");
            let weight = graph.parameter(&name, vector_count * hidden, config.global.hidden_size);
            let projected = graph.scoped(prefix, |graph| graph.linear(latent, weight))?;
            Some(graph.reshape(projected, hidden)?)
        }
        Some(latent) => Some(graph.reshape(latent, hidden)?),
    };
    let name = |is_own: bool| if is_own { "decoder_byte" } else { "byte" };
    let rewind = caches.map_or(0, |caches| caches.shape.rewind);
    let rows = name(Ring::of(decoder, rewind) != Ring::of(&config.encoder, rewind));
    let ranges = match is_step(caches) {
        true => rows,
        false => name(decoder.window != config.encoder.window),
    };
    let attention = byte_attention(graph, decoder, ranges, rows, caches);
    let mut x = bytes;
    if config.decoder_cross_attention.is_none() {
        let patches = cached_patches(graph, config, &latent_name(), patches, 1, hidden, caches)?;
        let index = graph.input("byte_decoder_patch", Extent::of(Axis::Bytes), 1, Element::U32);
        let entries = Extent::of(Axis::Bytes);
        let lists = match is_step(caches) {
            true => [index; 3],
            false => inputs::lists(graph, "seen_patches", Axis::SeenPatches, entries),
        };
        let own = graph.gather_rows(patches, index, lists);
        x = graph.add(x, 1.0, own, 1.0)?;
    }
    for layer in 0..decoder.layer_count {
        if let Some(cross) = &config.decoder_cross_attention
            && (cross.all_layers || layer == 0)
        {
            let [key_range, query_range] = match is_step(caches) {
                true => [inputs::key_range(graph, "unpool", Axis::Bytes); 2],
                false => inputs::ranges(graph, "unpool", Axis::Bytes, Axis::Patches),
            };
            let ranges = CrossAttention {
                key_range,
                query_range,
                query_factor: 1,
                key_factor: vector_count,
                reach: Reach::Keys(Some(cross.window.unwrap_or(1) * vector_count)),
            };
            let name = format!("{prefix}.cross_attn_layers.{layer}");
            let eps = decoder.rms_norm_eps as f32;
            x = graph.block(|graph| {
                let keys_values = match patches {
                    Some(patches) => Some(cross_keys_values(graph, patches, &name, cross, eps)?),
                    None => None,
                };
                let (cache, cols) = (cache_name(&name), 2 * cross.kv_size());
                let keys_values =
                    cached_patches(graph, config, &cache, keys_values, vector_count, cols, caches)?;
                attend_across(graph, x, keys_values, &name, cross, eps, ranges)
            })?;
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

/// What the bytes of the decoder read of patches, `factor` rows each: that of a batch, or of the
/// cache, into which that of the patches that close goes first.
fn cached_patches(
    graph: &mut Graph,
    config: &BltConfig,
    name: &str,
    own: Option<TensorId>,
    factor: usize,
    cols: usize,
    caches: Option<Caches>,
) -> Result<TensorId> {
    let Some(Caches { shape, .. }) = caches else {
        return Ok(own.expect("without caches there are patches"));
    };
    let ring = Ring::of_decoder_patches(config, shape.rewind);
    let rows = shape.streams * ring.rows * factor;
    let mut cache = graph.cache(name, rows, cols);
    if let Some(own) = own {
        let row = inputs::integers(graph, "decoder_patch_row", Axis::Patches, 1);
        cache = graph.cache_rows(own, 0, row, factor, cache, ring.mirror)?;
    }
    Ok(if is_step(caches) { cache } else { own.expect("whole texts have patches") })
}

/// Whether a pass reads a byte of every stream.
fn is_step(caches: Option<Caches>) -> bool {
    caches.is_some_and(|caches| caches.pass != Pass::Seed)
}

/// Inputs of a windowed self-attention over bytes whose ranges are named `ranges`, and the rows of
/// whose caches `rows`.
fn byte_attention(
    graph: &mut Graph,
    config: &TransformerConfig,
    ranges: &str,
    rows: &str,
    caches: Option<Caches>,
) -> SelfAttentionInputs {
    let [key_range, query_range] = match is_step(caches) {
        true => [inputs::key_range(graph, ranges, Axis::Bytes); 2],
        false => inputs::ranges(graph, ranges, Axis::Bytes, Axis::Bytes),
    };
    let position = inputs::byte_position(graph);
    let cache = caches.map(|caches| {
        let row = inputs::integers(graph, &format!("{rows}_cache_row"), Axis::Bytes, 1);
        byte_cache(config, row, caches)
    });
    SelfAttentionInputs {
        position,
        key_range,
        query_range,
        rope_table: rope_constant(graph, config),
        cache,
    }
}

/// The caches of a stack over bytes.
pub(super) fn byte_cache(config: &TransformerConfig, row: TensorId, caches: Caches) -> KvCache {
    let ring = Ring::of(config, caches.shape.rewind);
    KvCache {
        rows: caches.shape.streams * ring.rows,
        row,
        mirror: ring.mirror,
        is_read: is_step(Some(caches)),
    }
}

fn rope_constant(graph: &mut Graph, config: &TransformerConfig) -> TensorId {
    let name = rope_table_name(config);
    graph.constant(&name, config.max_positions, config.head_dim, Element::F32)
}
