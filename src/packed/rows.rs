//! Rows of weights, packed and unpacked.

use super::blocks::encode_block_row;
use super::weight_type::{WEIGHT_BLOCK_SIZE, WeightType};
use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use pulp::{Arch, NullaryFnOnce};

/// The nearest words of rows of `cols` numbers; `words` has [`WeightType::row_length`] a row.
///
/// # Errors
/// A sentence, if an element is too large for the type.
pub fn pack_rows(
    weights: WeightType,
    rows: &[f32],
    cols: usize,
    words: &mut [u32],
) -> Result<(), String> {
    let row_length = weights.row_length(cols);
    let rows = rows.chunks_exact(cols).zip(words.chunks_exact_mut(row_length));
    let (mut codes, mut scales) = (Vec::new(), Vec::new());
    for (row, words) in rows {
        let pair_of = |half: fn(f32) -> u16, pair: &[f32]| {
            let high = pair.get(1).map_or(0, |&high| half(high));
            u32::from(half(pair[0])) | u32::from(high) << 16
        };
        let pairs = words.iter_mut().zip(row.chunks(2));
        match weights {
            WeightType::F32 => {
                words.iter_mut().zip(row).for_each(|(word, value)| *word = value.to_bits());
            }
            WeightType::F16 => {
                let half = |value| f16::from_f32(value).to_bits();
                pairs.for_each(|(word, pair)| *word = pair_of(half, pair));
            }
            WeightType::Bf16 => {
                let half = |value| bf16::from_f32(value).to_bits();
                pairs.for_each(|(word, pair)| *word = pair_of(half, pair));
            }
            WeightType::Int8 | WeightType::Q4 => {
                codes.resize(weights.row_code_bytes(cols), 0);
                scales.resize(weights.row_scales(cols), 0.0);
                encode_block_row(weights, row, &mut codes, &mut scales);
                let (of_codes, of_scales) = words.split_at_mut(weights.code_words(cols));
                for (word, codes) in of_codes.iter_mut().zip(codes.chunks(4)) {
                    let mut bytes = [0; 4];
                    bytes[..codes.len()].copy_from_slice(codes);
                    *word = u32::from_le_bytes(bytes);
                }
                let half = |value| f16::from_f32(value).to_bits();
                let pairs = of_scales.iter_mut().zip(scales.chunks(2));
                pairs.for_each(|(word, pair)| *word = pair_of(half, pair));
            }
        }
        check(weights, row, words)?;
    }
    Ok(())
}

/// Every finite number is still finite.
fn check(weights: WeightType, row: &[f32], words: &[u32]) -> Result<(), String> {
    match words_are_finite(weights, row.len(), words) {
        true => Ok(()),
        false if row.iter().all(|value| value.is_finite()) => {
            let largest = row.iter().fold(0.0, |top: f32, value| top.max(value.abs()));
            Err(format!("an element of size {largest} is too large for {}", weights.name()))
        }
        false => Err("an element is not finite".to_owned()),
    }
}

/// Whether every element of a packed row of `cols` numbers is finite.
pub fn words_are_finite(weights: WeightType, cols: usize, words: &[u32]) -> bool {
    // Blocks without a branch inside: a pair is not finite where an exponent is all ones.
    let are_finite = |words: &[u32], mask: u32| {
        let full = |word: u32, mask: u32| u32::from(word & mask == mask);
        words.iter().fold(0, |any, &word| any | full(word, mask) | full(word, mask << 16)) == 0
    };
    const HALF: u32 = 0x7C00;
    match weights {
        WeightType::F32 => words.iter().all(|&word| f32::from_bits(word).is_finite()),
        WeightType::F16 => are_finite(words, HALF),
        WeightType::Bf16 => are_finite(words, 0x7F80),
        WeightType::Int8 | WeightType::Q4 => are_finite(&words[weights.code_words(cols)..], HALF),
    }
}

/// The numbers of packed rows of `cols` numbers: as many rows as `out` has.
pub fn unpack_rows(weights: WeightType, words: &[u32], cols: usize, out: &mut [f32]) {
    Arch::new().dispatch(Unpack { weights, words, cols, out });
}

/// A type and no closure, so that it is inlined where vectors are wide.
struct Unpack<'a> {
    weights: WeightType,
    words: &'a [u32],
    cols: usize,
    out: &'a mut [f32],
}

impl NullaryFnOnce for Unpack<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { weights, words, cols, out } = self;
        let row_length = weights.row_length(cols);
        if cols.is_multiple_of(2) && !weights.is_blocks() {
            // No word lies in two rows.
            return unpack_row(weights, &words[..out.len() / cols * row_length], out);
        }
        // A loop: what is called from a closure would not be compiled for wide vectors.
        for (out, words) in out.chunks_exact_mut(cols).zip(words.chunks_exact(row_length)) {
            unpack_row(weights, words, out);
        }
    }
}

#[inline(always)]
fn unpack_row(weights: WeightType, words: &[u32], out: &mut [f32]) {
    let cols = out.len();
    match weights {
        WeightType::F32 => out.copy_from_slice(bytemuck::cast_slice(&words[..cols])),
        WeightType::F16 if cfg!(target_endian = "little") => {
            let halves: &[f16] = bytemuck::cast_slice(words);
            halves[..cols].convert_to_f32_slice(out);
        }
        WeightType::F16 => unpack_pairs(words, out, |half| f16::from_bits(half as u16).to_f32()),
        WeightType::Bf16 if cfg!(target_endian = "little") => {
            let halves: &[u16] = bytemuck::cast_slice(words);
            for (out, half) in out.iter_mut().zip(halves) {
                *out = f32::from_bits(u32::from(*half) << 16);
            }
        }
        WeightType::Bf16 => unpack_pairs(words, out, |half| f32::from_bits(half << 16)),
        WeightType::Int8 | WeightType::Q4 => {
            let (codes, scales) = words.split_at(weights.code_words(cols));
            let block_words = WEIGHT_BLOCK_SIZE * weights.row_code_bytes(8) / 8 / 4;
            let blocks = out.chunks_mut(WEIGHT_BLOCK_SIZE).zip(codes.chunks(block_words));
            for (index, (out, codes)) in blocks.enumerate() {
                let scale = half_number(scales[index / 2] >> (index % 2 * 16));
                match weights {
                    WeightType::Q4 => unpack_block::<4, 4>(codes, scale, 8, out),
                    _ => unpack_block::<8, 8>(codes, scale, 128, out),
                }
            }
        }
    }
}

/// The f16 in the low half of a word: its bits read as an f32 are too small by 2^112, exactly. What
/// is infinite or no number stays that.
#[inline(always)]
fn half_number(bits: u32) -> f32 {
    let size = f32::from_bits((bits & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    let endless = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(size.to_bits() | endless | (bits & 0x8000) << 16)
}

/// A block: of a whole one, `WORDS` long, codes become bytes first, and those numbers, many at a
/// time.
#[inline(always)]
fn unpack_block<const BITS: u32, const WORDS: usize>(
    words: &[u32],
    scale: f32,
    zero: i32,
    out: &mut [f32],
) {
    let Ok(whole) = <&mut [f32; WEIGHT_BLOCK_SIZE]>::try_from(&mut *out) else {
        return unpack_codes::<BITS>(words, scale, zero, out);
    };
    let words: &[u32; WORDS] = words.try_into().expect("a whole block has so many words");
    let mut codes = [0; WEIGHT_BLOCK_SIZE];
    let (quads, _) = codes.as_chunks_mut::<4>();
    if BITS == 8 {
        for (quad, word) in quads.iter_mut().zip(words) {
            *quad = word.to_le_bytes();
        }
    } else {
        for (eight, word) in quads.chunks_exact_mut(2).zip(words) {
            let (low, high) = (word & 0x0F0F_0F0F, word >> 4 & 0x0F0F_0F0F);
            let (low, high) = (low.to_le_bytes(), high.to_le_bytes());
            eight[0] = [low[0], high[0], low[1], high[1]];
            eight[1] = [low[2], high[2], low[3], high[3]];
        }
    }
    for (out, code) in whole.iter_mut().zip(codes) {
        *out = (i32::from(code) - zero) as f32 * scale;
    }
}

fn unpack_pairs(words: &[u32], out: &mut [f32], number: impl Fn(u32) -> f32) {
    let (pairs, rest) = out.as_chunks_mut::<2>();
    for (pair, word) in pairs.iter_mut().zip(words) {
        *pair = [number(word & 0xFFFF), number(word >> 16)];
    }
    if let [last] = rest {
        *last = number(words[pairs.len()] & 0xFFFF);
    }
}

/// Codes of so many bits of a block, less `zero`, times its scale.
#[inline(always)]
fn unpack_codes<const BITS: u32>(words: &[u32], scale: f32, zero: i32, out: &mut [f32]) {
    let mask = (1 << BITS) - 1;
    for (out, word) in out.chunks_mut(32 / BITS as usize).zip(words) {
        for (index, out) in out.iter_mut().enumerate() {
            let code = (word >> (index as u32 * BITS)) & mask;
            *out = (code as i32 - zero) as f32 * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(length: usize) -> Vec<f32> {
        (0..length).map(|index| ((index * 37 + 11) % 101) as f32 / 101.0 - 0.5).collect()
    }

    fn there_and_back(weights: WeightType, rows: &[f32], cols: usize) -> Vec<f32> {
        let mut words = vec![0; rows.len() / cols * weights.row_length(cols)];
        pack_rows(weights, rows, cols, &mut words).unwrap();
        let mut back = vec![f32::NAN; rows.len()];
        unpack_rows(weights, &words, cols, &mut back);
        // What fits is kept.
        let mut again = vec![0; words.len()];
        pack_rows(weights, &back, cols, &mut again).unwrap();
        if !weights.is_blocks() {
            assert_eq!(again, words, "{weights:?}, {cols} columns");
        }
        back
    }

    #[test]
    fn rows_survive_their_types() {
        for cols in [1, 2, 7, 8, 31, 32, 33, 70, 128] {
            let rows = numbers(3 * cols);
            for (weights, bound) in WeightType::ALL.into_iter().zip([0.0, 3e-4, 2e-3, 3e-3, 7e-2]) {
                let back = there_and_back(weights, &rows, cols);
                for (value, back) in rows.iter().zip(&back) {
                    let problem = format!("{weights:?}, {cols} columns: {value} {back}");
                    assert!((value - back).abs() <= bound, "{problem}");
                }
            }
        }
    }

    /// By hand: the first number in the low half, the first code in the lowest bits.
    #[test]
    fn words_are_what_the_files_hold() {
        let mut out = [0.0; 3];
        unpack_rows(WeightType::F16, &[0xC000_3C00, 0x0001], 3, &mut out);
        assert_eq!(out, [1.0, -2.0, 2.0_f32.powi(-24)]);
        unpack_rows(WeightType::Bf16, &[0xC000_3F80, 0x3F00], 3, &mut out);
        assert_eq!(out, [1.0, -2.0, 0.5]);
        unpack_rows(WeightType::Int8, &[0x00_7E_80_83, 0x3800], 3, &mut out);
        assert_eq!(out, [1.5, 0.0, -1.0]);
        unpack_rows(WeightType::Q4, &[0x0F08, 0x3C00], 3, &mut out);
        assert_eq!(out, [0.0, -8.0, 7.0]);
    }

    #[test]
    fn every_half_is_itself() {
        for bits in 0..=u16::MAX {
            let (half, got) = (f16::from_bits(bits).to_f32(), half_number(bits.into()));
            let same = got.to_bits() == half.to_bits();
            assert!(same || (got.is_nan() && half.is_nan()), "{bits:04x}");
        }
    }

    #[test]
    fn what_is_too_large_or_no_number_is_seen() {
        let pack = |weights: WeightType, value| {
            let mut words = vec![0; weights.row_length(3)];
            pack_rows(weights, &[0.0, value, 1.0], 3, &mut words)
        };
        assert!(pack(WeightType::F16, 7e4).unwrap_err().contains("70000 is too large for f16"));
        assert!(pack(WeightType::Bf16, f32::MAX).unwrap_err().contains("bf16"));
        assert!(pack(WeightType::Q4, 1e30).unwrap_err().contains("q4"));
        for weights in [WeightType::F32, WeightType::F16, WeightType::Bf16] {
            assert!(pack(weights, f32::NAN).unwrap_err().contains("not finite"), "{weights:?}");
        }
        assert!(pack(WeightType::F16, 6e4).is_ok());
    }
}
