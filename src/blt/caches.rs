//! The caches of texts that are being generated: what they hold, and where (spec §14.3).
//!
//! Streams lie one after the other in every cache. What a window looks at is a [`Ring`]; latent
//! keys and values, and the byte states of open patches, have rooms that grow.

use super::config::{BltConfig, EntropyConfig, ModelConfig, TransformerConfig};
use crate::error::{Error, Result};
use crate::graph::{NewTensor, StoreLayout};
use crate::kernels::Element;
use crate::kernels::decode::cache_rows::NOWHERE;
use crate::nn::cache_name;

/// The class of their arenas.
const CACHES: &str = "caches";

/// How much the caches hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShape {
    /// Streams at the same time.
    pub streams: usize,
    /// Patches of each.
    pub patches: usize,
    /// Byte states of each: those of the open patch, and what its pooling looks at before it.
    pub states: usize,
    /// Ids that each may go back, and go on from there as if what it has read since were not.
    pub rewind: usize,
}

impl CacheShape {
    /// Nothing.
    pub const NONE: Self = Self { streams: 0, patches: 0, states: 0, rewind: 0 };

    /// The larger of the two in every respect.
    #[must_use]
    pub fn max(&self, other: &Self) -> Self {
        Self {
            streams: self.streams.max(other.streams),
            patches: self.patches.max(other.patches),
            states: self.states.max(other.states),
            rewind: self.rewind.max(other.rewind),
        }
    }

    /// Whether there is room for it in a larger one.
    pub fn fits(&self, room: &Self) -> bool {
        self.max(room) == *room
    }
}

/// What a pass over a model does with the caches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pass {
    /// Reads whole texts and fills them.
    Seed,
    /// Reads one byte of every stream, and no patch closes with it.
    Open,
    /// The same where patches of some streams close.
    Close,
}

/// The caches that a graph reads and writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Caches {
    pub shape: CacheShape,
    pub pass: Pass,
}

/// Rows of a stream by index, of which the newest `window` lie side by side in their order: each is
/// written twice, a period apart, unless there is room for every index. A period is a window and as
/// many indices as a stream may go back: then those of the window there are not overwritten.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ring {
    /// Rows of one stream.
    pub rows: usize,
    /// Indices that one sees, itself included.
    pub window: usize,
    /// How many indices on a row comes again.
    pub period: usize,
    /// How far behind a row its second copy lies; 0 where there is none.
    pub mirror: usize,
}

impl Ring {
    /// A ring for indices below `limit`, of which an index sees `window`, itself included.
    pub fn new(window: Option<usize>, limit: usize, rewind: usize) -> Self {
        let window = window.unwrap_or(limit).min(limit);
        let period = window + rewind;
        match 2 * period < limit {
            true => Self { rows: 2 * period, window, period, mirror: period },
            false => Self { rows: limit, window, period: limit, mirror: 0 },
        }
    }

    /// The ring of the keys and values of a stack.
    pub fn of(stack: &TransformerConfig, rewind: usize) -> Self {
        Self::new(stack.window, stack.max_positions, rewind)
    }

    /// The ring of the patches that bytes of the decoder look at: all vectors of a patch are one.
    pub fn of_decoder_patches(config: &BltConfig, rewind: usize) -> Self {
        let cross = config.decoder_cross_attention.as_ref();
        let window = cross.map_or(1, |cross| cross.window.unwrap_or(1));
        Self::new(Some(window), config.global.max_positions, rewind)
    }

    /// The row of an index of a stream.
    pub fn row(&self, stream: usize, index: usize) -> u32 {
        (stream * self.rows + index % self.period) as u32
    }

    /// The row of an index of a stream that has `count` of them, none where nobody looks at it any
    /// more.
    pub fn row_of(&self, stream: usize, index: usize, count: usize) -> u32 {
        if index + self.window < count { NOWHERE } else { self.row(stream, index) }
    }

    /// The first index that `last` sees of those from `first` on.
    pub fn first_seen(&self, first: usize, last: usize) -> usize {
        first.max((last + 1).saturating_sub(self.window))
    }

    /// The rows of the indices from `first` to `last`, which are in its window.
    pub fn range(&self, stream: usize, first: usize, last: usize) -> [u32; 2] {
        let end = self.row(stream, last) + self.mirror as u32 + 1;
        [end - (last + 1 - first) as u32, end]
    }
}

/// The name of the states after an encoder layer.
pub(super) fn states_name(layer: usize) -> String {
    cache_name(&format!("states.{layer}"))
}

/// The name of what a decoder without cross-attention adds to its bytes.
pub(super) fn latent_name() -> String {
    cache_name("latent")
}

/// Whether the encoder makes or refines patch vectors after this layer (spec §7).
pub(super) fn is_pooled(config: &BltConfig, layer: usize) -> bool {
    let last = layer + 1 == config.encoder.layer_count;
    let cross = config.encoder_cross_attention.as_ref();
    let every = cross.is_some_and(|cross| cross.all_layers);
    last || (every && !config.encoder_pools_at_every_layer())
}

/// The layout of a Store of caches for a model and its entropy model, whose tensors have names with
/// `prefix`.
///
/// # Errors
/// [`Error::Limit`] if one of them exceeds a binding.
pub fn cache_layout(
    config: &ModelConfig,
    patcher: Option<(&EntropyConfig, &str)>,
    shape: &CacheShape,
    max_elements: usize,
) -> Result<StoreLayout> {
    let mut tensors = Vec::new();
    match config {
        ModelConfig::Entropy(config) => entropy_caches(&mut tensors, config, "", shape),
        ModelConfig::Blt(config) => blt_caches(&mut tensors, config, shape),
    }
    if let Some((config, prefix)) = patcher {
        entropy_caches(&mut tensors, config, prefix, shape);
    }
    if let Some((name, rows, cols)) = tensors.iter().find(|(_, r, c)| r * c > max_elements) {
        return Err(Error::Limit {
            limit: format!("elements of one storage binding, for {name}"),
            needed: (rows * cols) as u64,
            available: max_elements as u64,
            hint: "generate fewer texts at a time, or shorter ones".into(),
        });
    }
    let groups: Vec<_> = tensors.into_iter().map(|tensor| (None, vec![tensor])).collect();
    let mut layout = StoreLayout::default();
    layout.place(CACHES, Element::F32, &groups, max_elements)?;
    Ok(layout)
}

fn stack_caches(
    tensors: &mut Vec<NewTensor>,
    stack: &TransformerConfig,
    prefix: &str,
    rows: usize,
) {
    let layers = 0..stack.layer_count;
    let name = |layer: usize| cache_name(&format!("{prefix}layers.{layer}"));
    tensors.extend(layers.map(|layer| (name(layer), rows, 2 * stack.kv_size())));
}

fn entropy_caches(
    tensors: &mut Vec<NewTensor>,
    config: &EntropyConfig,
    prefix: &str,
    shape: &CacheShape,
) {
    let stack = &config.transformer;
    stack_caches(tensors, stack, prefix, shape.streams * Ring::of(stack, shape.rewind).rows);
}

fn blt_caches(tensors: &mut Vec<NewTensor>, config: &BltConfig, shape: &CacheShape) {
    let streams = shape.streams;
    let (encoder, decoder) = (&config.encoder, &config.decoder);
    stack_caches(
        tensors,
        encoder,
        "model.local_encoder.",
        streams * Ring::of(encoder, shape.rewind).rows,
    );
    let pooled = (0..encoder.layer_count).filter(|&layer| is_pooled(config, layer));
    let rows = streams * shape.states;
    tensors.extend(pooled.map(|layer| (states_name(layer), rows, encoder.hidden_size)));
    let rows = streams * shape.patches;
    stack_caches(tensors, &config.global, "model.global_transformer.", rows);
    let rows = streams * Ring::of_decoder_patches(config, shape.rewind).rows;
    match &config.decoder_cross_attention {
        None => tensors.push((latent_name(), rows, decoder.hidden_size)),
        Some(cross) => {
            let rows = rows * config.decoder_vectors_per_patch();
            let modules = 0..cross.module_count(decoder.layer_count);
            let name = |index: usize| {
                cache_name(&format!("model.local_decoder.cross_attn_layers.{index}"))
            };
            tensors.extend(modules.map(|index| (name(index), rows, 2 * cross.kv_size())));
        }
    }
    stack_caches(
        tensors,
        decoder,
        "model.local_decoder.",
        streams * Ring::of(decoder, shape.rewind).rows,
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every window of a ring holds the newest indices in their order, each as it was written last.
    #[test]
    fn windows_of_a_ring_are_side_by_side() {
        for (window, limit) in [(1, 40), (3, 40), (8, 40), (25, 40), (40, 40)] {
            let ring = Ring::new(Some(window), limit, 0);
            assert!(ring.rows <= limit);
            let mut rows = vec![usize::MAX; 3 * ring.rows];
            for index in 0..limit {
                let row = ring.row(2, index) as usize;
                rows[row] = index;
                rows[row + ring.mirror] = index;
                assert_eq!(ring.first_seen(0, index), (index + 1).saturating_sub(window));
                for first in (index + 1).saturating_sub(window)..=index {
                    let [low, high] = ring.range(2, first, index).map(|row| row as usize);
                    let expected: Vec<usize> = (first..=index).collect();
                    assert_eq!(rows[low..high], expected, "window {window}, index {index}");
                }
            }
            assert!(rows[..2 * ring.rows].iter().all(|&index| index == usize::MAX));
        }
    }

    /// The window of an index is whole however many of the `rewind` indices behind it were written.
    #[test]
    fn windows_are_whole_where_a_stream_went_ahead() {
        for (window, rewind) in [(1, 1), (1, 7), (3, 2), (8, 5), (8, 15), (15, 9)] {
            let ring = Ring::new(Some(window), 50, rewind);
            let mut rows = vec![usize::MAX; ring.rows];
            for ahead in 0..50 {
                let row = ring.row(0, ahead) as usize;
                rows[row] = ahead;
                rows[row + ring.mirror] = ahead;
                for last in ahead.saturating_sub(rewind)..=ahead {
                    let first = ring.first_seen(0, last);
                    let [low, high] = ring.range(0, first, last).map(|row| row as usize);
                    let expected: Vec<usize> = (first..=last).collect();
                    assert_eq!(rows[low..high], expected, "window {window}, {last} of {ahead}");
                }
            }
        }
    }
}
