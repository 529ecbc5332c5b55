//! Fresh weights, spec §11: a truncated normal for matrices, ones for norms.
//!
//! Every element depends on three things alone: the seed, the name of its tensor, and its index.
//! Philox 4x32-10 is keyed by the seed and counts (pair of elements, hash of the name); each of its
//! blocks gives two uniform numbers of 53 bits, and the inverse of the normal distribution, cut at
//! three standard deviations, makes weights of them. So tensors can be made in any order, in
//! pieces, on any number of threads, and adding one to a model changes no other. Only operations
//! that IEEE 754 defines to the bit are used, so a browser makes the same weights as a desktop.

use rayon::prelude::*;

use super::parameters::{Init, ParameterSpec};
use crate::random::philox4x32_10;

/// Where the normal distribution is cut, in standard deviations.
pub const CUT: f64 = 3.0;

/// Probability of a normal number below `-CUT`.
const BELOW_CUT: f64 = 0.001_349_898_031_630_094_6;

/// Elements one thread makes at a time; even, so that pairs stay together.
const CHUNK_LENGTH: usize = 1 << 14;

/// Fills `out` with the initial value of a parameter, `[rows, cols]` row-major.
///
/// # Panics
///
/// If `out` is not as long as the parameter.
pub fn initialise(spec: &ParameterSpec, seed: u64, out: &mut [f32]) {
    assert_eq!(out.len() as u64, spec.element_count(), "one number an element of {}", spec.name);
    initialise_range(spec, seed, 0, out);
}

/// The same for the elements from `first_index` on, as many as `out` has.
///
/// # Panics
///
/// If the range leaves the parameter.
pub fn initialise_range(spec: &ParameterSpec, seed: u64, first_index: u64, out: &mut [f32]) {
    let end = first_index.checked_add(out.len() as u64);
    assert!(end.is_some_and(|end| end <= spec.element_count()), "range leaves {}", spec.name);
    out.par_chunks_mut(CHUNK_LENGTH).enumerate().for_each(|(index, chunk)| {
        fill(spec, seed, first_index + (index * CHUNK_LENGTH) as u64, chunk);
    });
}

/// Elements from `first_index` on, one after the other.
fn fill(spec: &ParameterSpec, seed: u64, first_index: u64, out: &mut [f32]) {
    match spec.init {
        Init::Ones => out.fill(1.0),
        Init::TruncatedNormal { std } => {
            let stream = name_hash(&spec.name);
            let mut pair = (u64::MAX, [0.0; 2]);
            for (offset, element) in out.iter_mut().enumerate() {
                let index = first_index + offset as u64;
                if pair.0 != index / 2 {
                    pair = (index / 2, uniform_pair(seed, stream, index / 2));
                }
                *element = (std * truncated_normal(pair.1[(index % 2) as usize])) as f32;
            }
        }
    }
}

/// FNV-1a of the name, 64 bits.
fn name_hash(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// Two numbers strictly between 0 and 1.
fn uniform_pair(seed: u64, stream: u64, counter: u64) -> [f64; 2] {
    let words = |value: u64| [value as u32, (value >> 32) as u32];
    let ([c0, c1], [c2, c3]) = (words(counter), words(stream));
    let block = philox4x32_10([c0, c1, c2, c3], words(seed));
    [[block[0], block[1]], [block[2], block[3]]].map(|[low, high]| {
        let bits = u64::from(high) << 32 | u64::from(low);
        // The half keeps the number off 0, and off 1 as well.
        ((bits >> 12) as f64 + 0.5) * (1.0 / (1u64 << 52) as f64)
    })
}

/// A standard normal number within `[-CUT, CUT]` from a uniform one in (0, 1).
fn truncated_normal(uniform: f64) -> f64 {
    let probability = BELOW_CUT + uniform * (1.0 - 2.0 * BELOW_CUT);
    inverse_normal(probability).clamp(-CUT, CUT)
}

/// Inverse of the standard normal distribution: Wichura's AS 241, good to 1e-16 in relative terms,
/// without its branch for probabilities under 1e-11, which the cut never asks for.
fn inverse_normal(probability: f64) -> f64 {
    let centred = probability - 0.5;
    if centred.abs() <= 0.425 {
        let r = 0.180625 - centred * centred;
        return centred * polynomial(&CENTRE_TOP, r) / polynomial(&CENTRE_BOTTOM, r);
    }
    let tail = probability.min(1.0 - probability);
    let r = (-logarithm(tail)).sqrt() - 1.6;
    let value = polynomial(&TAIL_TOP, r) / polynomial(&TAIL_BOTTOM, r);
    if centred < 0.0 { -value } else { value }
}

fn polynomial(coefficients: &[f64; 8], x: f64) -> f64 {
    coefficients.iter().rev().fold(0.0, |sum, coefficient| sum * x + coefficient)
}

/// Natural logarithm of a positive normal number. The platform's own differs in the last bit from
/// one system to the next; this one does not.
fn logarithm(x: f64) -> f64 {
    let bits = x.to_bits();
    let mut exponent = (bits >> 52) as i64 - 1023;
    let mut mantissa = f64::from_bits(bits & 0x000F_FFFF_FFFF_FFFF | 0x3FF0_0000_0000_0000);
    if mantissa > std::f64::consts::SQRT_2 {
        mantissa *= 0.5;
        exponent += 1;
    }
    // ln m = 2 artanh((m - 1) / (m + 1)), a series in a square of at most 0.0295.
    let s = (mantissa - 1.0) / (mantissa + 1.0);
    let square = s * s;
    let series = (0..12).rev().fold(0.0, |sum, k| sum * square + 1.0 / f64::from(2 * k + 1));
    exponent as f64 * std::f64::consts::LN_2 + 2.0 * s * series
}

const CENTRE_TOP: [f64; 8] = [
    3.387_132_872_796_366_5,
    133.141_667_891_784_38,
    1_971.590_950_306_551_3,
    13_731.693_765_509_46,
    45_921.953_931_549_87,
    67_265.770_927_008_7,
    33_430.575_583_588_13,
    2_509.080_928_730_122_7,
];
const CENTRE_BOTTOM: [f64; 8] = [
    1.0,
    42.313_330_701_600_91,
    687.187_007_492_057_9,
    5_394.196_021_424_751,
    21_213.794_301_586_597,
    39_307.895_800_092_71,
    28_729.085_735_721_943,
    5_226.495_278_852_854,
];
const TAIL_TOP: [f64; 8] = [
    1.423_437_110_749_683_5,
    4.630_337_846_156_546,
    5.769_497_221_460_691,
    3.647_848_324_763_204_5,
    1.270_458_252_452_368_4,
    0.241_780_725_177_450_6,
    0.022_723_844_989_269_184,
    0.000_774_545_014_278_341_4,
];
const TAIL_BOTTOM: [f64; 8] = [
    1.0,
    2.053_191_626_637_759,
    1.676_384_830_183_803_8,
    0.689_767_334_985_1,
    0.148_103_976_427_480_08,
    0.015_198_666_563_616_457,
    0.000_547_593_808_499_534_5,
    1.050_750_071_644_416_9e-9,
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blt::parameters::Part;

    fn spec(name: &str, rows: usize, cols: usize, init: Init) -> ParameterSpec {
        ParameterSpec {
            name: name.into(),
            rows,
            cols,
            one_dimensional: false,
            init,
            part: Part::Global,
            group: None,
        }
    }

    fn weights(name: &str, seed: u64, rows: usize, cols: usize, std: f64) -> Vec<f32> {
        let mut out = vec![f32::NAN; rows * cols];
        initialise(&spec(name, rows, cols, Init::TruncatedNormal { std }), seed, &mut out);
        out
    }

    #[test]
    fn quantiles_of_the_normal_distribution() {
        let table = [
            (0.5, 0.0),
            (0.841_344_746_068_542_9, 1.0),
            (0.977_249_868_051_820_8, 2.0),
            (0.998_650_101_968_369_9, 3.0),
            (0.975, 1.959_963_984_540_054),
            (0.01, -2.326_347_874_040_840_8),
        ];
        for (probability, quantile) in table {
            let got = inverse_normal(probability);
            assert!((got - quantile).abs() < 2e-14, "{probability}: {got}, expected {quantile}");
        }
        for x in [1e-3, 0.07, 0.3, 0.5, 0.75, 1.0, 3.0, 1e9] {
            assert!((logarithm(x) - x.ln()).abs() <= 4e-16 * x.ln().abs().max(1.0), "ln {x}");
        }
        assert!((inverse_normal(BELOW_CUT) + CUT).abs() < 1e-13);
    }

    #[test]
    fn moments_and_cut_are_those_of_the_distribution() {
        let (std, count) = (0.125, 400_000);
        let out = weights("moments", 42, 400, 1000, std);
        let z: Vec<f64> = out.iter().map(|w| f64::from(*w) / std).collect();
        let moment = |power: i32| z.iter().map(|z| z.powi(power)).sum::<f64>() / f64::from(count);
        // With p the density at 3 and Z the mass inside: v = 1 - 6 p / Z, fourth 3 v - 54 p / Z.
        assert!(moment(1).abs() < 5e-3, "{}", moment(1));
        assert!((moment(2) - 0.973_337).abs() < 1e-2, "{}", moment(2));
        assert!(moment(3).abs() < 2e-2, "{}", moment(3));
        assert!((moment(4) - 2.680_04).abs() < 5e-2, "{}", moment(4));
        let largest = z.iter().fold(0.0f64, |top, z| top.max(z.abs()));
        assert!((2.95..=3.000_001).contains(&largest), "{largest}");
        let beyond_two = z.iter().filter(|z| z.abs() > 2.0).count() as f64 / f64::from(count);
        assert!((beyond_two - 0.042_916).abs() < 2e-3, "{beyond_two}");
    }

    #[test]
    fn neighbours_names_and_seeds_are_independent() {
        let correlation = |left: &[f32], right: &[f32]| {
            let sum = |it: &mut dyn Iterator<Item = f32>| it.map(f64::from).sum::<f64>();
            let product = sum(&mut left.iter().zip(right).map(|(a, b)| a * b));
            let squares = |it: &[f32]| sum(&mut it.iter().map(|a| a * a));
            product / (squares(left) * squares(right)).sqrt()
        };
        let base = weights("one", 1, 100, 1000, 1.0);
        assert!(correlation(&base[1..], &base[..base.len() - 1]).abs() < 0.02);
        assert!(correlation(&base[2..], &base[..base.len() - 2]).abs() < 0.02);
        assert!(correlation(&base, &weights("two", 1, 100, 1000, 1.0)).abs() < 0.02);
        assert!(correlation(&base, &weights("one", 2, 100, 1000, 1.0)).abs() < 0.02);
        assert!(correlation(&base, &weights("one", 1 << 32 | 1, 100, 1000, 1.0)).abs() < 0.02);
    }

    #[test]
    fn pieces_equal_the_whole() {
        let whole = weights("pieces", 7, 37, 1001, 0.02);
        let spec = spec("pieces", 37, 1001, Init::TruncatedNormal { std: 0.02 });
        for (first, length) in [(0, 1), (1, 2), (16_383, 5), (37_036, 1), (5, 20_000)] {
            let mut piece = vec![0.0; length];
            initialise_range(&spec, 7, first as u64, &mut piece);
            assert_eq!(piece, whole[first..first + length]);
        }
    }

    #[test]
    fn norms_are_one_and_values_are_pinned() {
        let mut out = [0.0; 3];
        initialise(&spec("norm", 1, 3, Init::Ones), 5, &mut out);
        assert_eq!(out, [1.0; 3]);
        // A change here changes every recorded run.
        let first = weights("lm_head.weight", 42, 1, 4, 1.0);
        let bits: Vec<u32> = first.iter().map(|weight| weight.to_bits()).collect();
        assert_eq!(bits, [3_213_727_603, 1_054_566_009, 1_025_895_670, 1_043_168_819]);
    }
}
