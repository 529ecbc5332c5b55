//! A batch: rows of text as the counts and inputs of one replay.

use super::config::{BltConfig, CrossAttentionConfig, HashEmbeddingConfig, ModelConfig, Semantics};
use super::hash::HashConfig;
use super::inputs::{blt_inputs, entropy_inputs};
use super::positions::Positions;
use super::tables::{BltTables, Documents, EntropyTables, Row, TableOptions};
use crate::engine::Inputs;
use crate::error::Result;
use crate::kernels::Counts;

/// Rows ready for a replay of any plan of their model.
#[derive(Clone, Debug)]
pub struct Batch {
    pub counts: Counts,
    pub inputs: Inputs,
    /// Sum of the weights of all targets: what their nats are divided by.
    pub target_count: f64,
}

impl Batch {
    /// The tables of `rows` for a model. A row of a BLT carries patch lengths that sum to its
    /// number of ids plus one; a row of an entropy model carries none.
    ///
    /// # Errors
    /// If a row contradicts itself, or has more bytes or patches than the model [`Positions`].
    pub fn new(config: &ModelConfig, rows: &[Row]) -> Result<Self> {
        let positions = Positions::of(config);
        for row in rows {
            positions.check_bytes(row.ids.len())?;
            positions.check_patches(row.patch_lengths.len())?;
        }
        let (counts, inputs) = match config {
            ModelConfig::Entropy(config) => {
                let window = window(config.transformer.window);
                let tables = EntropyTables::new(rows, documents(config.semantics), window)?;
                entropy_inputs(&tables)
            }
            ModelConfig::Blt(config) => blt_inputs(&BltTables::new(rows, &table_options(config))?),
        };
        Ok(Self { counts, inputs, target_count: Self::target_count_of(rows) })
    }

    /// [`Self::target_count`] of a batch of these rows.
    pub fn target_count_of(rows: &[Row]) -> f64 {
        let weights = rows.iter().flat_map(|row| &row.weights);
        weights.map(|&weight| f64::from(weight)).sum()
    }
}

fn documents(semantics: Semantics) -> Documents {
    match semantics {
        Semantics::Reference => Documents::Reference,
        Semantics::Transformers => Documents::Ignored,
    }
}

fn window(window: Option<usize>) -> Option<u32> {
    window.map(|window| u32::try_from(window).unwrap_or(u32::MAX))
}

/// What the tables of this model's batches depend on.
pub fn table_options(config: &BltConfig) -> TableOptions {
    let cross_window = |cross: &Option<CrossAttentionConfig>| match cross {
        Some(cross) => window(cross.window),
        None => None,
    };
    TableOptions {
        documents: documents(config.semantics),
        encoder_window: window(config.encoder.window),
        decoder_window: window(config.decoder.window),
        pool_window: cross_window(&config.encoder_cross_attention),
        unpool_window: cross_window(&config.decoder_cross_attention),
        hash: (config.hash.table_count() > 0).then(|| hash_config(&config.hash)),
        concat_patch_size: config.pooling.is_empty().then_some(config.patching.patch_size as u32),
    }
}

/// The hashed n-grams of a model as the hash itself sees them.
pub fn hash_config(config: &HashEmbeddingConfig) -> HashConfig {
    HashConfig {
        group_sizes: config.group_sizes.iter().map(|&size| size as u32).collect(),
        function_count: config.function_count as u32,
        rows_per_table: config.rows_per_table as u32,
    }
}
