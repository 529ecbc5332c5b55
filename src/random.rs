//! Randomness that is a function of where it is used: Philox4x32-10, a counter-based generator.
//!
//! A value is `f(seed, stream, counter)`. There is no hidden state, so a run can be repeated from
//! its record, resumed at any step, or asked for its millionth draw without making the others.
//! `seed` is the run's, `stream` says what the draws are for (sampling, shuffling of epoch 3, ...),
//! `counter` counts 32-bit draws. The key of the cipher is the seed; the 128-bit block number is
//! `counter / 4` in the low half and `stream` in the high half; lane `counter % 4` is the value.
//! Only integer arithmetic is involved, so the bits are the same on every machine.
//!
//! Source: Salmon, Moraes, Dror, Shaw, "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011.

use serde::{Deserialize, Serialize};

/// How many 32-bit values one block of the cipher gives.
const LANE_COUNT: u64 = 4;
const ROUND_COUNT: usize = 10;
const MULTIPLIERS: [u32; 2] = [0xD251_1F53, 0xCD9E_8D57];
const KEY_STEPS: [u32; 2] = [0x9E37_79B9, 0xBB67_AE85];

/// A position in one stream of random values, and nothing else: save it and the draws go on.
///
/// The counter wraps after 2^64 draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Random {
    /// The seed that is written down with the run.
    pub seed: u64,
    /// What the draws are for; streams of one seed are independent.
    pub stream: u64,
    /// The number of 32-bit draws made so far.
    pub counter: u64,
}

impl Random {
    /// The start of a stream.
    pub fn new(seed: u64, stream: u64) -> Self {
        Self { seed, stream, counter: 0 }
    }

    /// A uniform 32-bit value; one draw.
    pub fn next_u32(&mut self) -> u32 {
        let value = u32_at(self.seed, self.stream, self.counter);
        self.counter = self.counter.wrapping_add(1);
        value
    }

    /// A uniform 64-bit value; two draws, the first is the low half.
    pub fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.next_u32());
        low | u64::from(self.next_u32()) << 32
    }

    /// A multiple of 2^-24, uniform in `[0, 1)`; one draw.
    pub fn next_f32(&mut self) -> f32 {
        unit_f32(self.next_u32())
    }

    /// A multiple of 2^-53, uniform in `[0, 1)`; two draws.
    pub fn next_f64(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// A whole number, uniform in `0..bound`, without bias; two draws, rarely more.
    ///
    /// # Panics
    /// If `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "random: nothing is below 0");
        // Lemire's method: the high half of a 128-bit product, rejecting the few low halves that
        // would make some results likelier than others.
        let rejected = bound.wrapping_neg() % bound;
        loop {
            let product = u128::from(self.next_u64()) * u128::from(bound);
            if product as u64 >= rejected {
                return (product >> 64) as u64;
            }
        }
    }

    /// Puts the items into a uniformly random order (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last as u64 + 1) as usize;
            items.swap(last, chosen);
        }
    }
}

/// The 32-bit value at `counter` of a stream.
pub fn u32_at(seed: u64, stream: u64, counter: u64) -> u32 {
    let block = counter / LANE_COUNT;
    let words = [low(block), high(block), low(stream), high(stream)];
    philox4x32_10(words, [low(seed), high(seed)])[(counter % LANE_COUNT) as usize]
}

/// The value at `counter` of a stream as a multiple of 2^-24 in `[0, 1)`.
pub fn f32_at(seed: u64, stream: u64, counter: u64) -> f32 {
    unit_f32(u32_at(seed, stream, counter))
}

/// The values at `counter` (low half) and `counter + 1` (high half) of a stream.
pub fn u64_at(seed: u64, stream: u64, counter: u64) -> u64 {
    Random { seed, stream, counter }.next_u64()
}

/// One block of the cipher: 128 bits of counter and 64 bits of key to 128 random bits.
pub fn philox4x32_10(counter: [u32; 4], key: [u32; 2]) -> [u32; 4] {
    let mut words = counter;
    let mut key = key;
    for _ in 0..ROUND_COUNT {
        let first = u64::from(MULTIPLIERS[0]) * u64::from(words[0]);
        let second = u64::from(MULTIPLIERS[1]) * u64::from(words[2]);
        words = [
            high(second) ^ words[1] ^ key[0],
            low(second),
            high(first) ^ words[3] ^ key[1],
            low(first),
        ];
        key = [key[0].wrapping_add(KEY_STEPS[0]), key[1].wrapping_add(KEY_STEPS[1])];
    }
    words
}

fn unit_f32(bits: u32) -> f32 {
    (bits >> 8) as f32 / (1_u32 << 24) as f32
}

fn low(value: u64) -> u32 {
    value as u32
}

fn high(value: u64) -> u32 {
    (value >> 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The known-answer vectors published with the generator.
    #[test]
    fn philox_known_answers() {
        let zeros = philox4x32_10([0; 4], [0; 2]);
        assert_eq!(zeros, [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        let ones = philox4x32_10([u32::MAX; 4], [u32::MAX; 2]);
        assert_eq!(ones, [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        let pi = philox4x32_10(
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
        );
        assert_eq!(pi, [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]);
    }

    #[test]
    fn position_is_the_whole_state() {
        let mut random = Random::new(7, 3);
        let drawn: Vec<u32> = (0..50).map(|_| random.next_u32()).collect();
        for (counter, &value) in drawn.iter().enumerate() {
            assert_eq!(value, u32_at(7, 3, counter as u64));
        }
        let saved = serde_json::to_string(&random).unwrap();
        let mut resumed: Random = serde_json::from_str(&saved).unwrap();
        assert_eq!(resumed, random);
        assert_eq!(resumed.next_u64(), random.next_u64());
        assert_eq!(u64_at(7, 3, 50) as u32, u32_at(7, 3, 50));
    }

    #[test]
    fn seeds_and_streams_differ_in_every_bit_of_their_name() {
        let base = u64_at(0, 0, 0);
        for bit in 0..64 {
            assert_ne!(u64_at(1 << bit, 0, 0), base);
            assert_ne!(u64_at(0, 1 << bit, 0), base);
            assert_ne!(u64_at(0, 0, 1 << bit), base);
        }
    }

    #[test]
    fn uniform_values_stay_below_one_and_average_a_half() {
        assert!(unit_f32(u32::MAX) < 1.0);
        assert_eq!(unit_f32(0), 0.0);
        let mut random = Random::new(1, 1);
        let count = 100_000;
        let (mut sum, mut squares) = (0.0, 0.0);
        for _ in 0..count {
            let value = f64::from(random.next_f32());
            assert!((0.0..1.0).contains(&value));
            sum += value;
            squares += value * value;
        }
        // The standard errors are 0.0009 and 0.0009: five of them.
        assert!((sum / f64::from(count) - 0.5).abs() < 0.0046);
        assert!((squares / f64::from(count) - 1.0 / 3.0).abs() < 0.0047);
        assert!((0.0..1.0).contains(&random.next_f64()));
    }

    #[test]
    fn below_is_uniform() {
        let mut random = Random::new(5, 0);
        let mut counts = [0_u32; 7];
        for _ in 0..70_000 {
            counts[random.below(7) as usize] += 1;
        }
        let chi_square: f64 = counts.iter().map(|&n| (f64::from(n) - 1e4).powi(2) / 1e4).sum();
        // 6 degrees of freedom: 27.9 is passed once in ten thousand seeds.
        assert!(chi_square < 27.9, "{counts:?}");
        assert_eq!(random.below(1), 0);
        assert!(random.below(u64::MAX) < u64::MAX);
    }

    #[test]
    fn shuffle_keeps_items_and_reaches_every_order() {
        let mut items: Vec<u32> = (0..100).collect();
        Random::new(9, 0).shuffle(&mut items);
        assert_ne!(items, (0..100).collect::<Vec<_>>());
        items.sort_unstable();
        assert_eq!(items, (0..100).collect::<Vec<_>>());

        let mut random = Random::new(10, 0);
        let mut counts = std::collections::BTreeMap::new();
        for _ in 0..24_000 {
            let mut order = [0, 1, 2, 3];
            random.shuffle(&mut order);
            *counts.entry(order).or_insert(0_u32) += 1;
        }
        assert_eq!(counts.len(), 24);
        let chi_square: f64 = counts.values().map(|&n| (f64::from(n) - 1e3).powi(2) / 1e3).sum();
        // 23 degrees of freedom: 58.6 is passed less than once in ten thousand seeds.
        assert!(chi_square < 58.6, "{counts:?}");
    }
}
