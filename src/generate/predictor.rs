//! What generation asks of a model: to read a text and say what comes next.

use crate::error::Result;

/// A model with the text that it has read.
///
/// What it says follows from the ids since [`Self::clear`] alone, not from how they were handed in.
#[allow(async_fn_in_trait, reason = "jobs need no `Send` futures")]
pub trait Predictor {
    /// Most ids that it can have read.
    fn position_limit(&self) -> usize;

    /// Forgets the text.
    fn clear(&mut self);

    /// Hands in what follows; it may be read later.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    fn push(&mut self, ids: &[u32]) -> Result<()>;

    /// What comes after the ids that were handed in. Where the future is dropped before it is done,
    /// it can be asked again.
    ///
    /// # Errors
    /// No ids; [`Limit`](crate::Error::Limit) where the text has more positions or patches than the
    /// model; a device that fails.
    async fn predict(&mut self) -> Result<Prediction>;
}

/// The prediction of an id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Prediction {
    /// One for each id of the vocabulary, in nats up to a constant.
    pub logits: Vec<f32>,
    /// What the entropy model makes of the same place, in nats, where it decides about patches.
    pub patch_entropy: Option<f32>,
    /// Whether a patch starts with the id.
    pub starts_patch: bool,
}

impl Prediction {
    /// Probability of an id and entropy in nats of all, by softmax over the logits as they are.
    pub fn measure(&self, id: u32) -> (f32, f32) {
        let wide = || self.logits.iter().map(|&logit| f64::from(logit));
        let largest = wide().fold(f64::NEG_INFINITY, f64::max);
        let total: f64 = wide().map(|logit| (logit - largest).exp()).sum();
        let log_total = largest + total.ln();
        let log_probability = |logit: f64| logit - log_total;
        let entropy: f64 = wide().map(log_probability).map(|it| -it * it.exp()).sum();
        let probability = log_probability(f64::from(self.logits[id as usize])).exp();
        (probability as f32, entropy.max(0.0) as f32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measures_are_those_of_softmax() {
        let flat = Prediction { logits: vec![-7.0; 260], ..Prediction::default() };
        let (probability, entropy) = flat.measure(9);
        assert!((probability - 1.0 / 260.0).abs() < 1e-9);
        assert!((entropy - 260_f32.ln()).abs() < 1e-6);
        // Two ids of three quarters and a quarter; the others are out of reach.
        let mut logits = vec![-1e30; 260];
        logits[10] = 3_f32.ln() + 500.0;
        logits[20] = 500.0;
        let sharp = Prediction { logits, ..Prediction::default() };
        let (probability, entropy) = sharp.measure(10);
        assert!((probability - 0.75).abs() < 1e-4);
        assert!((entropy - 0.562_335).abs() < 1e-4);
        assert_eq!(sharp.measure(30).0, 0.0);
    }
}
