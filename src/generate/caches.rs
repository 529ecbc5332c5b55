//! The caches of running streams on an engine, beside the weights that their plans read.

use super::place::Place;
use crate::blt::config::{EntropyConfig, ModelConfig};
use crate::blt::parameters::PATCHER_PREFIX;
use crate::blt::{CacheShape, LoadedDirectory, LoadedModel, cache_layout, model_patching};
use crate::engine::{Engine, StoreCopy};
use crate::error::{Error, Result};
use crate::graph::{
    BufferId, CompileOptions, Graph, Placement, Precision, Recording, Region, Shard, StoreLayout,
    compile_for,
};
use crate::kernels::Counts;
use std::ops::Range;

/// A Store of both models and of the caches, and plans over it.
pub(super) struct StreamCaches<'m, E: Engine> {
    pub engine: &'m E,
    pub directory: &'m LoadedDirectory<E>,
    pub shape: CacheShape,
    caches: E::Store,
    cache_layout: StoreLayout,
    store: E::Store,
    layout: StoreLayout,
}

impl<'m, E: Engine> StreamCaches<'m, E> {
    /// Empty caches of this shape.
    ///
    /// # Errors
    /// If the device has not the memory, or one cache exceeds a binding.
    pub async fn new(
        engine: &'m E,
        directory: &'m LoadedDirectory<E>,
        shape: CacheShape,
    ) -> Result<Self> {
        let (model, patcher) = (&directory.model, patcher(directory));
        let cache_layout = layout_of(engine, directory, &shape)?;
        let caches = engine.create_store(&cache_layout).await?;
        let mut layout = model.layout.clone();
        let mut stores = vec![&model.store];
        if let Some(patcher) = patcher {
            layout.append(PATCHER_PREFIX, &patcher.layout);
            stores.push(&patcher.store);
        }
        layout.append("", &cache_layout);
        stores.push(&caches);
        let store = engine.join(&stores);
        Ok(Self { engine, directory, shape, caches, cache_layout, store, layout })
    }

    /// Larger caches with the same contents, copied on the device, streams at the same numbers.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub async fn grown(&self, shape: CacheShape, places: &[Option<&Place>]) -> Result<Self> {
        let larger = Self::new(self.engine, self.directory, shape).await?;
        let mut copies = Vec::new();
        for (name, old) in self.cache_layout.tensors() {
            let new = larger.cache_layout.require(name)?;
            let (from, to) = (only_shard(old), only_shard(new));
            let [old_rows, new_rows] = [old.rows / self.shape.streams, new.rows / shape.streams];
            let is_ring_of_states = name.starts_with("cache.states.");
            for (stream, place) in places.iter().enumerate() {
                let Some(place) = place else { continue };
                let kept = match is_ring_of_states {
                    true => place.oldest_state()..place.read,
                    false => 0..old_rows.min(new_rows),
                };
                for rows in unbroken(kept, old_rows, new_rows) {
                    let element = |shard: &Shard, rows_each: usize| {
                        let row = stream * rows_each + rows.start % rows_each;
                        (shard.arena, shard.offset + row * old.cols)
                    };
                    copies.push(StoreCopy {
                        from: element(from, old_rows),
                        to: element(to, new_rows),
                        length: rows.len() * old.cols,
                    });
                }
            }
        }
        self.engine.copy(&self.caches, &larger.caches, &copies)?;
        Ok(larger)
    }

    /// That no cache of this shape exceeds a binding.
    ///
    /// # Errors
    /// [`Error::Limit`].
    pub fn check(&self, shape: &CacheShape) -> Result<()> {
        layout_of(self.engine, self.directory, shape).map(|_| ())
    }

    /// A Recording over models and caches in a precision, with variants of kernels that the engine
    /// trusts.
    ///
    /// # Errors
    /// [`Error::Limit`] if a tensor exceeds a binding; if the device is lost.
    pub async fn record(
        &self,
        (name, precision): (&str, Precision),
        capacity: Counts,
        build: impl Fn() -> Result<Graph>,
    ) -> Result<Recording> {
        loop {
            let options = self.directory.model.compile_options(self.engine);
            let options = CompileOptions { precision, ..options };
            let recording = compile_for(build()?, name, &self.layout, capacity, &options)?;
            check_bindings(&recording, self.engine.max_binding_elements())?;
            if self.engine.trusts(&recording).await? {
                return Ok(recording);
            }
        }
    }

    /// Where a tensor lies that is in one piece, if it is there.
    pub fn region(&self, name: &str) -> Option<Region> {
        let place = self.layout.get(name)?;
        let Shard { arena, offset, .. } = *only_shard(place);
        Some(Region { buffer: BufferId::Arena(arena), offset, length: place.length() })
    }

    /// A plan of a Recording.
    ///
    /// # Errors
    /// If the device has not the memory or refuses a shader.
    pub async fn compile(&self, recording: Recording) -> Result<E::Plan> {
        self.engine.compile(&self.store, recording).await
    }
}

/// Where the caches of a shape lie.
fn layout_of<E: Engine>(
    engine: &E,
    directory: &LoadedDirectory<E>,
    shape: &CacheShape,
) -> Result<StoreLayout> {
    let entropy = patcher(directory).map(|it| (entropy_config(it), PATCHER_PREFIX));
    cache_layout(&directory.model.config, entropy, shape, engine.max_binding_elements())
}

fn check_bindings(recording: &Recording, most: usize) -> Result<()> {
    for dispatch in &recording.dispatches {
        for (binding, region) in dispatch.kernel.bindings.iter().zip(&dispatch.regions) {
            if region.length > most {
                let place = format!("{} of {}", binding.name, dispatch.label);
                return Err(Error::Limit {
                    limit: format!("elements of one storage binding, for {place}"),
                    needed: region.length as u64,
                    available: most as u64,
                    hint: "shorten the text, or use a device with larger bindings".into(),
                });
            }
        }
    }
    Ok(())
}

/// A cache lies in one piece: none is larger than a binding.
fn only_shard(place: &Placement) -> &Shard {
    let [shard] = &place.shards[..] else { unreachable!("a cache fits one binding") };
    shard
}

/// The parts of a range of indices that neither of two rings, of so many rows, breaks.
fn unbroken(range: Range<usize>, old_rows: usize, new_rows: usize) -> Vec<Range<usize>> {
    let mut parts = Vec::new();
    let mut start = range.start;
    while start < range.end {
        let ends = [old_rows, new_rows].map(|rows| (start / rows + 1) * rows);
        let end = range.end.min(ends[0]).min(ends[1]);
        parts.push(start..end);
        start = end;
    }
    parts
}

/// The entropy model that cuts the texts of a model, if entropies do.
pub(super) fn patcher<E: Engine>(directory: &LoadedDirectory<E>) -> Option<&LoadedModel<E>> {
    let ModelConfig::Blt(config) = &directory.model.config else { return None };
    directory.patcher.as_ref().filter(|_| model_patching(config).mode.needs_entropies())
}

/// The configuration of an entropy model.
pub(super) fn entropy_config<E: Engine>(model: &LoadedModel<E>) -> &EntropyConfig {
    match &model.config {
        ModelConfig::Entropy(config) => config,
        ModelConfig::Blt(_) => unreachable!("a patcher is an entropy model"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rings_break_ranges_where_they_begin_again() {
        assert_eq!(unbroken(0..0, 4, 8), []);
        assert_eq!(unbroken(1..7, 4, 8), [1..4, 4..7]);
        assert_eq!(unbroken(2..6, 4, 8), [2..4, 4..6]);
        assert_eq!(unbroken(6..10, 4, 8), [6..8, 8..10]);
        assert_eq!(unbroken(5..13, 4, 16), [5..8, 8..12, 12..13]);
    }
}
