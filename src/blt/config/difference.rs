//! Whether `transformers` computes what this model means.
//!
//! The answer decides the `model_type` on disk: `blt` where the two agree, `blt_wgpu` where
//! `from_pretrained` must refuse because it would be silently wrong.

use super::model::{BltConfig, CrossAttentionConfig, Pooling, Semantics, TransformerConfig};
use super::patching::PatchingMode;

impl BltConfig {
    /// Why `transformers` would compute something else, in a sentence; `None` where it agrees.
    pub fn transformers_difference(&self) -> Option<String> {
        self.semantic_difference()
            .or_else(|| self.patch_difference())
            .or_else(|| self.module_difference())
            .or_else(|| self.head_difference())
    }

    /// All that `blt_semantics: reference` means for this model (spec §22.4, §7, §9).
    pub(super) fn semantic_difference(&self) -> Option<String> {
        if self.semantics == Semantics::Transformers {
            return None;
        }
        let mut difference = "blt_semantics is \"reference\": attention stops at document ends, \
                              which transformers ignores"
            .to_owned();
        let crosses = self.encoder_cross_attention.as_ref();
        if crosses.is_some_and(|it| it.module_count(self.encoder.layer_count) > 1) {
            difference += "; patches are pooled once and refined by every encoder layer, where \
                           transformers pools them anew in each";
        }
        if self.decoder_cross_attention.is_some() && !self.decoder_has_projection() {
            difference += "; the decoder has no patch_embedding_projection, which transformers \
                           always has";
        }
        Some(difference)
    }

    fn patch_difference(&self) -> Option<String> {
        match self.patching.mode {
            PatchingMode::Entropy
                if self.patcher.is_some() && self.patching.max_patch_length.is_some() =>
            {
                // It splits lengths that sum to the ids, and the virtual token joins what is last.
                Some(
                    "with max_patch_length the last patch is closed where the next byte begins \
                     another; transformers leaves it open, so its last row of logits differs"
                        .into(),
                )
            }
            PatchingMode::Entropy | PatchingMode::Byte => None,
            mode => Some(format!(
                "patching mode \"{}\" is unknown to transformers, which would make every byte a \
                 patch",
                mode.name()
            )),
        }
    }

    fn module_difference(&self) -> Option<String> {
        let Some(encoder) = &self.encoder_cross_attention else {
            return Some(
                "the encoder has no cross-attention; in transformers it always has".into(),
            );
        };
        let Some(decoder) = &self.decoder_cross_attention else {
            return Some(
                "the decoder has no cross-attention; in transformers it always has".into(),
            );
        };
        if self.pooling != [Pooling::Max] {
            return Some("patches are not pooled by their maximum alone".into());
        }
        if encoder.window.is_some() || decoder.window.is_some() {
            return Some("cross-attention has a window; in transformers it sees one patch".into());
        }
        if self.hash.group_sizes.is_empty() {
            return Some(
                "there is no hashed n-gram embedding; in transformers there always is".into(),
            );
        }
        None
    }

    fn head_difference(&self) -> Option<String> {
        let crosses = [
            ("encoder", &self.encoder, &self.encoder_cross_attention),
            ("decoder", &self.decoder, &self.decoder_cross_attention),
        ];
        for (part, own, cross) in crosses {
            if cross.as_ref().is_some_and(|cross| !heads_agree(own, cross)) {
                return Some(format!(
                    "the {part}'s cross-attention has other heads than its self-attention"
                ));
            }
        }
        let patcher = self.patcher.as_ref().map(|patcher| &patcher.transformer);
        let stacks = [
            ("local encoder", Some(&self.encoder)),
            ("latent transformer", Some(&self.global)),
            ("local decoder", Some(&self.decoder)),
            ("entropy model", patcher),
        ];
        stacks.into_iter().find_map(|(part, stack)| {
            let stack = stack?;
            (stack.head_dim != stack.hidden_size / stack.head_count).then(|| {
                format!(
                    "heads of the {part} are {} wide instead of hidden size / heads = {}",
                    stack.head_dim,
                    stack.hidden_size / stack.head_count
                )
            })
        })
    }
}

/// `transformers` gives cross-attention the head counts of self-attention.
pub(super) fn heads_agree(own: &TransformerConfig, cross: &CrossAttentionConfig) -> bool {
    cross.head_count == own.head_count && cross.kv_head_count == own.kv_head_count
}
