//! What a patch of a text pools, and which patches it sees.

use crate::cutting::PatchOptions;
use crate::surroundings::Surroundings;
use crate::text_limit;
use crate::{Failure, Kind, Model, Result};
use blt_wgpu::blt::config::ModelConfig;
use blt_wgpu::blt::patching::first_patch_of_one;
use blt_wgpu::blt::table_options;
use blt_wgpu::blt::tables::{BltTables, Row};
use blt_wgpu::text::{EOS_ID, encode};
use serde::Serialize;

/// What a patch sees. Patches are those of [`Patches::starts`](crate::cutting::Patches), counted
/// from 0: the patch that BOS is by itself has no number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Sight {
    /// Bytes `[first, end)` whose states the encoder pools into the patch.
    pub bytes: [usize; 2],
    /// Patches `[first, end)` that it sees in the latent transformer, itself included.
    pub patches: [usize; 2],
    /// Bytes `[first, end)` that the decoder predicts with what comes of the patch.
    pub predicts: [usize; 2],
}

impl Model<'_> {
    /// What one patch of a text sees.
    ///
    /// # Errors
    /// A text without such a patch, a model without patches, and as [`Model::patches`].
    pub async fn attention(
        &mut self,
        text: &[u8],
        patch: usize,
        options: &PatchOptions,
        surroundings: &impl Surroundings,
    ) -> Result<Sight> {
        text_limit::check(text)?;
        let ids = encode(text, true, false);
        let patching = self.patching(options)?;
        let entropies = match patching.mode.needs_entropies() {
            true => self.entropies(&ids, surroundings).await?,
            false => Vec::new(),
        };
        let ModelConfig::Blt(config) = &self.loaded.model.config else {
            let message = "the model is a lone entropy model, it reads no patches";
            return Err(Failure::new(Kind::Input, message));
        };
        let patch_lengths = first_patch_of_one(&patching.patch_lengths(&ids, &entropies)?);
        let count = ids.len();
        let (targets, weights) = (vec![EOS_ID; count], vec![0.0; count]);
        let row = Row { ids, targets, weights, patch_lengths };
        let tables = BltTables::new(std::slice::from_ref(&row), &table_options(config))?.patches;
        // BOS is patch 0 of the model and position 0 of the row.
        let patch_count = tables.patch_count() - 1;
        if patch >= patch_count {
            let message = format!("patch: expected one in 0..{patch_count}, got {patch}");
            return Err(Failure::new(Kind::Input, message));
        }
        let pair = |table: &[u32]| {
            let at = 2 * (patch + 1);
            [table[at] as usize, table[at + 1] as usize]
        };
        let without_bos = |range: [usize; 2]| range.map(|it| it.saturating_sub(1));
        // A byte is predicted at the position before it, which is its number in the text.
        let predicts = pair(&tables.unpool_query_range);
        Ok(Sight {
            bytes: without_bos(pair(&tables.pool_key_range)),
            patches: without_bos(pair(&tables.patch_key_range)),
            predicts,
        })
    }
}
