//! What a step of running streams hands to its graph: one byte of every stream, and the patches
//! that close with them.

use super::place::Place;
use crate::blt::config::{BltConfig, EntropyConfig};
use crate::blt::hash::{HashConfig, MAX_GROUP_SIZE, hash_ids};
use crate::blt::{CacheShape, Ring, hash_config};
use crate::engine::Inputs;
use crate::kernels::{Axis, Counts};

/// A stream that reads its next id.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    /// Its number in the caches.
    pub stream: usize,
    pub place: &'a Place,
    /// Whether its patch closes with the id.
    pub closes: bool,
}

/// Counts and inputs of [`step_graph`](crate::blt::step_graph) for a BLT: its `Close` pass where
/// somebody closes a patch.
pub(super) fn step_inputs(
    config: &BltConfig,
    shape: &CacheShape,
    readers: &[Reader<'_>],
) -> (Counts, Inputs) {
    let mut inputs = Inputs::default();
    set(&mut inputs, "ids", readers, |it| [it.place.ids[it.place.read]]);
    set(&mut inputs, "byte_position", readers, |it| [it.place.read as u32]);
    let (encoder, decoder) =
        (Ring::of(&config.encoder, shape.rewind), Ring::of(&config.decoder, shape.rewind));
    set_ring(&mut inputs, "byte", encoder, readers);
    if decoder != encoder {
        set_ring(&mut inputs, "decoder_byte", decoder, readers);
    }
    if config.hash.table_count() > 0 {
        let hash = hash_config(&config.hash);
        let hashes = readers.iter().flat_map(|it| newest_hashes(&hash, it.place));
        inputs.set_u("hash_ids", hashes.collect());
    }
    let state_row =
        |it: &Reader<'_>, index: usize| (it.stream * shape.states + index % shape.states) as u32;
    set(&mut inputs, "state_row", readers, |it| [state_row(it, it.place.read)]);
    let patches = Ring::of_decoder_patches(config, shape.rewind);
    let window = config.decoder_cross_attention.as_ref().map_or(1, |it| it.window.unwrap_or(1));
    let newest = |it: &Reader<'_>| it.place.patch_count + usize::from(it.closes) - 1;
    set(&mut inputs, "unpool_key_range", readers, |it| {
        patches.range(it.stream, (newest(it) + 1).saturating_sub(window), newest(it))
    });
    set(&mut inputs, "byte_decoder_patch", readers, |it| [patches.row(it.stream, newest(it))]);

    let closing: Vec<Reader<'_>> = readers.iter().filter(|it| it.closes).copied().collect();
    let place = |it: &Reader<'_>| it.place.patch_count as u32;
    set(&mut inputs, "patch_position", &closing, |it| [place(it)]);
    let latent_row = |it: &Reader<'_>, patch: usize| (it.stream * shape.patches + patch) as u32;
    set(&mut inputs, "patch_cache_row", &closing, |it| [latent_row(it, it.place.patch_count)]);
    set(&mut inputs, "patch_key_range", &closing, |it| {
        let [first, last] = [it.place.patch_document, it.place.patch_count];
        [latent_row(it, first), latent_row(it, last) + 1]
    });
    set(&mut inputs, "decoder_patch_row", &closing, |it| {
        [patches.row(it.stream, it.place.patch_count)]
    });
    let mut states = Vec::new();
    let (mut seen, mut own, mut last_bytes) = (Vec::new(), Vec::new(), Vec::new());
    for it in &closing {
        let (place, first) = (it.place, states.len());
        let oldest = place.oldest_state();
        let at = |index: usize| (first + index - oldest) as u32;
        states.extend((oldest..=place.read).map(|index| state_row(it, index)));
        let end = states.len() as u32;
        seen.extend([first as u32, end]);
        own.extend([at(place.open_start()), end]);
        let slots = (0..config.patching.patch_size).rev();
        last_bytes.extend(slots.map(|back| at(place.read.saturating_sub(back).max(oldest))));
    }
    let counts = Counts::default()
        .with(Axis::Bytes, readers.len())
        .with(Axis::Patches, closing.len())
        .with(Axis::SeenBytes, states.len());
    inputs.set_u("closing_states", states);
    inputs.set_u("pool_key_range", seen);
    inputs.set_u("patch_byte_range", own);
    if config.pooling.is_empty() {
        inputs.set_u("patch_last_bytes", last_bytes);
    }
    (counts, inputs)
}

/// Where an entropy model reads the next id of a stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Next {
    /// The number of its stream in the caches.
    pub stream: usize,
    /// In the window that scores it.
    pub index: usize,
    /// The first index of its document in the window.
    pub document: usize,
}

/// The inputs of an entropy model for a byte of every stream, but the ids.
pub(super) fn set_next(
    inputs: &mut Inputs,
    config: &EntropyConfig,
    shape: &CacheShape,
    nexts: impl Iterator<Item = Next>,
) {
    let ring = Ring::of(&config.transformer, shape.rewind);
    let (mut positions, mut rows, mut ranges) = (Vec::new(), Vec::new(), Vec::new());
    for Next { stream, index, document } in nexts {
        positions.push(index as u32);
        rows.push(ring.row(stream, index));
        ranges.extend(ring.range(stream, ring.first_seen(document, index), index));
    }
    inputs.set_u("next_position", positions);
    inputs.set_u("next_cache_row", rows);
    inputs.set_u("next_key_range", ranges);
}

/// Rows of the cache of a ring, and what of it each reader sees.
fn set_ring(inputs: &mut Inputs, name: &str, ring: Ring, readers: &[Reader<'_>]) {
    let row = format!("{name}_cache_row");
    set(inputs, &row, readers, |it| [ring.row(it.stream, it.place.read)]);
    set(inputs, &format!("{name}_key_range"), readers, |it| {
        let Place { read, document, .. } = *it.place;
        ring.range(it.stream, ring.first_seen(document, read), read)
    });
}

fn set<const N: usize>(
    inputs: &mut Inputs,
    name: &str,
    readers: &[Reader<'_>],
    of: impl Fn(&Reader<'_>) -> [u32; N],
) {
    inputs.set_u(name, readers.iter().flat_map(of).collect());
}

/// Hashed n-grams that end with the next id, one a table.
fn newest_hashes(hash: &HashConfig, place: &Place) -> Vec<u32> {
    let end = place.read + 1;
    let first = end.saturating_sub(MAX_GROUP_SIZE as usize);
    let hashes = hash_ids(&place.ids[first..end], hash);
    hashes[hashes.len() - hash.table_count()..].to_vec()
}
