//! What a model is compared with: an order-2 byte count model and `zstd`.
//!
//! Both are scored by the project's definition (see `bits_per_byte`): targets are the bytes of
//! each document and its end.
//!
//! The count model is Witten-Bell interpolation, the probability estimate behind PPM's escape
//! method C (Witten and Bell 1991): with `n` occurrences of a context, `t` different symbols seen
//! after it and `c` of them `s`,
//!
//! `p(s | context) = (c + t * p(s | shorter context)) / (n + t)`
//!
//! down from two bytes of context to none, where the shorter context is the uniform distribution
//! over 257 symbols (256 bytes and the end). Counts come from the training text alone; nothing is
//! learned from the text that is scored.

use std::collections::HashMap;

use crate::eval::bits_per_byte::BitsPerByte;

/// The symbol after a document's last byte.
const END: u32 = 256;
/// Stands before a document's first byte in a context; never a target.
const BEGIN: u32 = 257;
/// Bytes and [`END`].
const SYMBOL_COUNT: u32 = 257;
/// Bytes of context.
const ORDER: usize = 2;

/// Counts of bytes after zero, one and two bytes.
#[derive(Clone, Debug, Default)]
pub struct ByteCounts {
    /// For each order, by context: how often it occurred, and with how many different successors.
    contexts: [HashMap<u32, ContextCount>; ORDER + 1],
    /// For each order, by context and successor: how often.
    successors: [HashMap<(u32, u32), u32>; ORDER + 1],
}

#[derive(Clone, Copy, Debug, Default)]
struct ContextCount {
    occurrences: u32,
    distinct: u32,
}

impl ByteCounts {
    /// Counts a training document; documents know nothing of each other.
    pub fn add_document(&mut self, document: &[u8]) {
        for_each_target(document, |context, symbol| {
            for order in 0..=ORDER {
                let key = context_key(context, order);
                let count = self.successors[order].entry((key, symbol)).or_insert(0);
                let entry = self.contexts[order].entry(key).or_default();
                entry.distinct += u32::from(*count == 0);
                entry.occurrences += 1;
                *count += 1;
            }
        });
    }

    /// The score of a held-out document.
    pub fn score(&self, document: &[u8]) -> BitsPerByte {
        let mut score = BitsPerByte::default();
        for_each_target(document, |context, symbol| {
            score.add(-self.probability(context, symbol).ln(), 1);
        });
        score
    }

    /// The probability of a symbol (a byte or [`END`]) after two symbols of context.
    fn probability(&self, context: [u32; ORDER], symbol: u32) -> f64 {
        let mut probability = 1.0 / f64::from(SYMBOL_COUNT);
        for order in 0..=ORDER {
            let key = context_key(context, order);
            let Some(seen) = self.contexts[order].get(&key) else { break };
            let count = self.successors[order].get(&(key, symbol)).copied().unwrap_or(0);
            let distinct = f64::from(seen.distinct);
            probability = (f64::from(count) + distinct * probability)
                / (f64::from(seen.occurrences) + distinct);
        }
        probability
    }
}

/// The score of `zstd` on documents laid end to end, and of nothing else: no document boundaries
/// are stored, though their ends count as targets.
///
/// `level` is zstd's, 19 for the usual comparison. With `training` that text is its dictionary.
///
/// # Errors
/// `Input` when the compressor refuses the level or fails.
#[cfg(feature = "zstd")]
pub fn zstd_score(
    documents: &[&[u8]],
    level: i32,
    training: Option<&[u8]>,
) -> crate::error::Result<BitsPerByte> {
    let text = documents.concat();
    let compressed = match training {
        Some(training) => zstd::bulk::Compressor::with_dictionary(level, training)
            .and_then(|mut compressor| compressor.compress(&text)),
        None => zstd::bulk::compress(&text, level),
    };
    let compressed =
        compressed.map_err(|error| crate::error::Error::input("zstd", error.to_string()))?;
    let mut score = BitsPerByte::default();
    let bits = compressed.len() as f64 * 8.0;
    score.add(bits * std::f64::consts::LN_2, (text.len() + documents.len()) as u64);
    Ok(score)
}

/// Calls `visit(context, target)` for every byte of a document and its end.
fn for_each_target(document: &[u8], mut visit: impl FnMut([u32; ORDER], u32)) {
    let mut context = [BEGIN; ORDER];
    for symbol in document.iter().map(|&byte| u32::from(byte)).chain([END]) {
        visit(context, symbol);
        context = [context[1], symbol];
    }
}

/// The last `order` symbols of a context as one number.
fn context_key(context: [u32; ORDER], order: usize) -> u32 {
    context[ORDER - order..].iter().fold(0, |key, symbol| key * (SYMBOL_COUNT + 1) + symbol)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_of_every_context_sum_to_one() {
        let mut counts = ByteCounts::default();
        counts.add_document(b"to be or not to be");
        counts.add_document(b"");
        for context in [[BEGIN; 2], [BEGIN, 116], [116, 111], [122, 111], [122, 122]] {
            let sum: f64 = (0..SYMBOL_COUNT).map(|s| counts.probability(context, s)).sum();
            assert!((sum - 1.0).abs() < 1e-12, "{context:?}: {sum}");
        }
    }

    #[test]
    fn an_untrained_model_is_uniform() {
        let score = ByteCounts::default().score(b"abc");
        assert_eq!(score.target_count, 4);
        assert!((score.bits_per_byte() - 257_f64.log2()).abs() < 1e-12);
    }

    /// Worked by hand: training "aa" gives, for order 0, a a END; for order 1, BEGIN -> a, a -> a,
    /// a -> END; for order 2, one successor each.
    #[test]
    fn witten_bell_by_hand() {
        let mut counts = ByteCounts::default();
        counts.add_document(b"aa");
        let uniform = 1.0 / 257.0;
        let none = (2.0 + 2.0 * uniform) / (3.0 + 2.0);
        let one = (1.0 + 2.0 * none) / (2.0 + 2.0);
        let two = (1.0 + 1.0 * one) / (1.0 + 1.0);
        let a = u32::from(b'a');
        assert!((counts.probability([BEGIN, a], a) - two).abs() < 1e-15);
        // A context of order 2 that never occurred leaves the estimate of order 1.
        assert!((counts.probability([98, a], a) - one).abs() < 1e-15);
        // One of order 1 that never occurred, that of order 0.
        assert!((counts.probability([98, 99], a) - none).abs() < 1e-15);
    }

    #[test]
    fn documents_do_not_run_into_each_other() {
        let (mut apart, mut joined) = (ByteCounts::default(), ByteCounts::default());
        apart.add_document(b"ab");
        apart.add_document(b"cd");
        joined.add_document(b"abcd");
        let c = u32::from(b'c');
        let b = [u32::from(b'a'), u32::from(b'b')];
        assert!(apart.probability(b, END) > 0.5 && apart.probability(b, c) < 0.1);
        assert!(joined.probability(b, c) > 0.5);
    }

    /// Of the 50 bytes of a period only those after "e " (c m r h, 2 bits each) and after "t "
    /// (s o a s o t, 11.51 bits together) are open given two bytes: 0.390 bits a byte at best.
    #[test]
    fn a_trained_model_comes_near_the_entropy_of_its_source() {
        let text = b"the cat sat on the mat and the rat sat on the hat ".repeat(20);
        let (training, held_out) = text.split_at(700);
        let mut counts = ByteCounts::default();
        counts.add_document(training);
        let bits = counts.score(held_out).bits_per_byte();
        assert!(bits > 0.390 && bits < 0.45, "{bits}");
    }

    #[cfg(feature = "zstd")]
    #[test]
    fn zstd_is_measured_in_bits_per_target() {
        let noise: Vec<u8> =
            (0..10_000).map(|i| crate::random::u32_at(1, 2, i).to_le_bytes()[0]).collect();
        let bits = zstd_score(&[&noise], 19, None).unwrap().bits_per_byte();
        assert!((bits - 8.0).abs() < 0.02, "{bits}");
        let with_itself = zstd_score(&[&noise], 19, Some(&noise)).unwrap().bits_per_byte();
        assert!(with_itself < 0.1, "{with_itself}");
        let two = zstd_score(&[b"abc", b"abc"], 19, None).unwrap();
        assert_eq!(two.target_count, 8);
    }
}
