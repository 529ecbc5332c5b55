//! What whole texts that fill the caches hand to their graphs: the tables of a batch, and where
//! everything goes.

use super::place::Place;
use crate::blt::config::{BltConfig, EntropyConfig, ModelConfig};
use crate::blt::tables::Row;
use crate::blt::{Batch, CacheShape, Ring};
use crate::error::Result;
use crate::kernels::decode::cache_rows::NOWHERE;

/// A text to be read at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seed<'a> {
    /// The number of its stream in the caches.
    pub stream: usize,
    /// Behind the text: its first `read` ids.
    pub place: &'a Place,
    /// For each of these ids whether a patch closes with it; empty for an entropy model.
    pub closes: &'a [bool],
}

/// The batch of [`seed_graph`](crate::blt::seed_graph) for a BLT.
///
/// # Errors
/// If a text is longer than the positions of the model.
pub(super) fn seed_batch(
    config: &ModelConfig,
    blt: &BltConfig,
    shape: &CacheShape,
    seeds: &[Seed<'_>],
) -> Result<Batch> {
    let rows: Vec<Row> = seeds.iter().map(|it| row(it.place, lengths(it.closes))).collect();
    let mut batch = Batch::new(config, &rows)?;
    let (encoder, decoder) =
        (Ring::of(&blt.encoder, shape.rewind), Ring::of(&blt.decoder, shape.rewind));
    set_ring(&mut batch, "byte", encoder, seeds);
    if decoder != encoder {
        set_ring(&mut batch, "decoder_byte", decoder, seeds);
    }
    let patches = Ring::of_decoder_patches(blt, shape.rewind);
    let (mut states, mut latent, mut decoder) = (Vec::new(), Vec::new(), Vec::new());
    for Seed { stream, place, .. } in seeds {
        let state = |index: usize| match index < place.oldest_state() {
            true => NOWHERE,
            false => (stream * shape.states + index % shape.states) as u32,
        };
        states.extend((0..place.read).map(state));
        let count = place.patch_count;
        let row = |patch: usize| match patch < place.patch_document {
            true => NOWHERE,
            false => (stream * shape.patches + patch) as u32,
        };
        // The last patch of the row is open: it holds the position to be read next.
        latent.extend((0..count).map(row).chain([NOWHERE]));
        decoder.extend((0..count).map(|it| patches.row_of(*stream, it, count)).chain([NOWHERE]));
    }
    batch.inputs.set_u("state_row", states);
    batch.inputs.set_u("patch_cache_row", latent);
    batch.inputs.set_u("decoder_patch_row", decoder);
    Ok(batch)
}

/// Ids that an entropy model reads at once: a whole text, or a window of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct EntropyRow<'a> {
    /// The number of its stream in the caches.
    pub stream: usize,
    pub ids: &'a [u32],
    /// Whether ids that come are read behind these, and not behind those of another window.
    pub is_last: bool,
}

/// The batch of an entropy model that reads whole texts.
///
/// # Errors
/// If a text is longer than the positions of the model.
pub(super) fn seed_entropies_batch(
    model: &ModelConfig,
    config: &EntropyConfig,
    shape: &CacheShape,
    seeds: &[EntropyRow<'_>],
) -> Result<Batch> {
    let row = |ids: &[u32]| Row {
        ids: ids.to_vec(),
        targets: vec![0; ids.len()],
        weights: vec![0.0; ids.len()],
        patch_lengths: Vec::new(),
    };
    let rows: Vec<Row> = seeds.iter().map(|seed| row(seed.ids)).collect();
    let mut batch = Batch::new(model, &rows)?;
    let ring = Ring::of(&config.transformer, shape.rewind);
    let rows = seeds.iter().flat_map(|&EntropyRow { stream, ids, is_last }| {
        (0..ids.len()).map(move |index| match is_last {
            true => ring.row_of(stream, index, ids.len()),
            false => NOWHERE,
        })
    });
    batch.inputs.set_u("byte_cache_row", rows.collect());
    Ok(batch)
}

fn row(place: &Place, patch_lengths: Vec<u32>) -> Row {
    let count = place.read;
    Row {
        ids: place.ids[..count].to_vec(),
        targets: vec![0; count],
        weights: vec![0.0; count],
        patch_lengths,
    }
}

/// Patch lengths that sum to one more than the ids.
fn lengths(closes: &[bool]) -> Vec<u32> {
    let mut lengths = vec![0];
    for &closes in closes {
        *lengths.last_mut().expect("there is always an open patch") += 1;
        if closes {
            lengths.push(0);
        }
    }
    *lengths.last_mut().expect("there is always an open patch") += 1;
    lengths
}

fn set_ring(batch: &mut Batch, name: &str, ring: Ring, seeds: &[Seed<'_>]) {
    let rows = seeds.iter().flat_map(|&Seed { stream, place, .. }| {
        (0..place.read).map(move |index| ring.row_of(stream, index, place.read))
    });
    batch.inputs.set_u(&format!("{name}_cache_row"), rows.collect());
}
