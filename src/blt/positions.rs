//! How long a text a model reads at once: the one rule, for batches and for generation.
//!
//! `n` ids take `n` positions of the local models. Their patches take as many of the latent
//! transformer as there are, the open one included: that is the patch of the id behind them, and a
//! full pass makes its vector too. What the entropy model has limits nothing: longer texts are
//! scored in windows.

use super::config::ModelConfig;
use crate::error::{Error, Result};

/// The positions of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Positions {
    /// Of its byte transformers: the fewest of them.
    pub bytes: usize,
    /// Of its latent transformer, if it has one.
    pub patches: Option<usize>,
}

impl Positions {
    /// Those of a model.
    pub fn of(config: &ModelConfig) -> Self {
        match config {
            ModelConfig::Entropy(config) => {
                Self { bytes: config.transformer.max_positions, patches: None }
            }
            ModelConfig::Blt(config) => Self {
                bytes: config.encoder.max_positions.min(config.decoder.max_positions),
                patches: Some(config.global.max_positions),
            },
        }
    }

    /// That so many ids fit.
    ///
    /// # Errors
    /// [`Error::Positions`].
    pub fn check_bytes(&self, count: usize) -> Result<()> {
        check("bytes", count, self.bytes)
    }

    /// That so many patches fit, the open one included.
    ///
    /// # Errors
    /// [`Error::Positions`].
    pub fn check_patches(&self, count: usize) -> Result<()> {
        check("patches", count, self.patches.unwrap_or(usize::MAX))
    }

    /// So many ids fit however they fall into patches: each of them may be one, and another is
    /// open behind them.
    pub fn certain(&self) -> usize {
        self.bytes.min(self.patches.map_or(usize::MAX, |count| count.saturating_sub(1)))
    }
}

fn check(axis: &'static str, needed: usize, available: usize) -> Result<()> {
    if needed <= available {
        return Ok(());
    }
    let hint = "cut the text, or use a model with more positions".into();
    let [needed, available] = [needed as u64, available as u64];
    Err(Error::Positions { axis, needed, available, hint })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_patches_have_positions_of_their_own() {
        let positions = Positions { bytes: 24, patches: Some(9) };
        assert!(positions.check_bytes(24).is_ok() && positions.check_patches(9).is_ok());
        let message = |result: Result<()>| result.unwrap_err().to_string();
        let text = "positions of the model, in bytes: 25 needed, 24 available";
        assert_eq!(message(positions.check_bytes(25)), text);
        let text = "positions of the model, in patches: 10 needed, 9 available";
        assert_eq!(message(positions.check_patches(10)), text);
        assert_eq!(positions.certain(), 8);
        assert_eq!(Positions { bytes: 24, patches: None }.certain(), 24);
        assert_eq!(Positions { bytes: 24, patches: Some(99) }.certain(), 24);
    }
}
