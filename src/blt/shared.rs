//! A model whose Store somebody else looks into: a second model over it, rows one after the other.

use super::LoadedModel;
use crate::engine::Engine;
use crate::error::Result;
use crate::graph::{Precision, Recompute};
use std::ops::Range;

impl<E: Engine> LoadedModel<E> {
    /// The same weights in the same place, to be read in f32 by whoever needs a model of its own:
    /// what is written to one of them is seen by the other.
    #[must_use]
    pub fn shared(&self, engine: &E) -> Self {
        assert!(self.host_embedding.is_none(), "tables of a model that trains are in its Store");
        Self {
            config: self.config.clone(),
            parameters: self.parameters.clone(),
            layout: self.layout.clone(),
            store: engine.join(&[&self.store]),
            precision: Precision::F32,
            recompute: Recompute::None,
            frozen: Default::default(),
            tuned: self.tuned.clone(),
            host_embedding: None,
        }
    }

    /// Reads rows of a tensor that is not packed.
    ///
    /// # Errors
    /// If there is no such tensor or row, or the device is lost.
    pub async fn read_rows(&self, engine: &E, name: &str, rows: Range<usize>) -> Result<Vec<f32>> {
        let place = self.layout.require(name)?;
        assert!(!place.weights.is_packed(), "{name} is packed, and no model that trains is");
        engine.read_rows(&self.store, place, rows).await
    }
}
