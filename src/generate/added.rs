//! What a step adds to a text, and what of it is worth telling.

/// What a step has added to a text.
#[derive(Clone, Debug, PartialEq)]
pub struct Added {
    pub id: u32,
    /// Whether it was pushed, not chosen.
    pub was_pushed: bool,
    /// Whether a patch starts with it; never in a model without patches.
    pub starts_patch: bool,
    /// Entropy in nats of what the entropy model expected there, where entropies cut the text.
    pub entropy: Option<f32>,
    /// What the id was chosen by \[260\]; none where [`Streams`](super::Streams) were not asked to
    /// keep them.
    pub logits: Vec<f32>,
}

/// An id that was generated, and how it was predicted.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ByteEvent {
    pub id: u32,
    /// Of the id, by the model alone: temperature and filters have no part in it. None where no
    /// logits were kept.
    pub probability: Option<f32>,
    /// Of that prediction, in nats.
    pub entropy: Option<f32>,
    /// What the entropy model made of the same place, in nats, where entropies cut the text.
    pub patch_entropy: Option<f32>,
    /// Whether a patch starts with the id.
    pub starts_patch: bool,
}

impl ByteEvent {
    /// Probability and entropy by softmax over the logits as they are, where there are some.
    pub fn of(added: &Added) -> Self {
        let (probability, entropy) = softmax_of(added).unzip();
        Self {
            id: added.id,
            probability,
            entropy,
            patch_entropy: added.entropy,
            starts_patch: added.starts_patch,
        }
    }
}

/// The probability of an id by softmax over its logits, and their entropy in nats.
fn softmax_of(added: &Added) -> Option<(f32, f32)> {
    let own = f64::from(*added.logits.get(added.id as usize)?);
    let wide = || added.logits.iter().map(|&logit| f64::from(logit));
    let largest = wide().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = wide().map(|logit| (logit - largest).exp()).sum();
    let log_total = largest + total.ln();
    let entropy: f64 = wide().map(|logit| logit - log_total).map(|it| -it * it.exp()).sum();
    let probability = (own - log_total).exp();
    Some((probability as f32, entropy.max(0.0) as f32))
}

/// How these ids fall into patches; the first may have begun before them.
pub fn patch_lengths(events: &[ByteEvent]) -> Vec<u32> {
    let mut lengths = Vec::new();
    for event in events {
        if event.starts_patch || lengths.is_empty() {
            lengths.push(0);
        }
        *lengths.last_mut().expect("the first id opened a patch") += 1;
    }
    lengths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(id: u32, logits: Vec<f32>) -> ByteEvent {
        let (was_pushed, starts_patch) = (false, false);
        ByteEvent::of(&Added { id, was_pushed, starts_patch, entropy: None, logits })
    }

    /// What `Streams` give unless asked for more.
    #[test]
    fn without_logits_there_are_no_measures() {
        let bare = event(9, Vec::new());
        assert_eq!((bare.id, bare.probability, bare.entropy), (9, None, None));
    }

    #[test]
    fn measures_are_those_of_softmax() {
        let flat = event(9, vec![-7.0; 260]);
        assert!((flat.probability.unwrap() - 1.0 / 260.0).abs() < 1e-9);
        assert!((flat.entropy.unwrap() - 260_f32.ln()).abs() < 1e-6);
        // Two ids of three quarters and a quarter; the others are out of reach.
        let mut logits = vec![-1e30; 260];
        logits[10] = 3_f32.ln() + 500.0;
        logits[20] = 500.0;
        let sharp = event(10, logits.clone());
        assert!((sharp.probability.unwrap() - 0.75).abs() < 1e-4);
        assert!((sharp.entropy.unwrap() - 0.562_335).abs() < 1e-4);
        assert_eq!(event(30, logits).probability, Some(0.0));
    }
}
