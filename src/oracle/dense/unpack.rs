//! The numbers of packed weights, from their bits.

use crate::oracle::Real;
use crate::packed::{WEIGHT_BLOCK_SIZE, WeightType};

/// `out [rows, cols]` of `words [rows, row_length]`, see [`crate::packed`].
pub fn unpack<R: Real>(
    words: &[u32],
    out: &mut [R],
    rows: usize,
    cols: usize,
    weights: WeightType,
) {
    for row in 0..rows {
        let words = &words[row * weights.row_length(cols)..];
        for col in 0..cols {
            out[row * cols + col] = match weights {
                WeightType::F32 => R::of_f32(f32::from_bits(words[col])),
                WeightType::F16 => float(words[col / 2] >> (col % 2 * 16), 5, 10),
                WeightType::Bf16 => float(words[col / 2] >> (col % 2 * 16), 8, 7),
                WeightType::Int8 => {
                    let code = words[col / 4] >> (col % 4 * 8) & 255;
                    (number::<R>(code) - R::of(128.0)) * scale(&words[cols.div_ceil(4)..], col)
                }
                WeightType::Q4 => {
                    let code = words[col / 8] >> (col % 8 * 4) & 15;
                    (number::<R>(code) - R::of(8.0)) * scale(&words[cols.div_ceil(8)..], col)
                }
            };
        }
    }
}

/// The scale of the block that a column is in.
fn scale<R: Real>(scales: &[u32], col: usize) -> R {
    let block = col / WEIGHT_BLOCK_SIZE;
    float(scales[block / 2] >> (block % 2 * 16), 5, 10)
}

/// A finite number of 16 bits: a sign, so many bits of exponent, so many of fraction.
fn float<R: Real>(bits: u32, exponent_bits: u32, fraction_bits: u32) -> R {
    let exponent = bits >> fraction_bits & ((1 << exponent_bits) - 1);
    let fraction = bits & ((1 << fraction_bits) - 1);
    let bias = (1 << (exponent_bits - 1)) - 1;
    // The smallest numbers have no hidden one.
    let (whole, power) = match exponent {
        0 => (fraction, 1),
        _ => (fraction + (1 << fraction_bits), exponent as i32),
    };
    let size = number::<R>(whole) * R::of(2.0).powi(power - bias - fraction_bits as i32);
    if bits >> 15 & 1 == 1 { -size } else { size }
}

fn number<R: Real>(whole: u32) -> R {
    R::of(f64::from(whole))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::packed::{pack_rows, unpack_rows};
    use half::{bf16, f16};

    #[test]
    fn every_finite_half_is_itself() {
        for bits in 0..=u16::MAX {
            let [mut a, mut b] = [[0.0_f64]; 2];
            unpack(&[bits.into()], &mut a, 1, 1, WeightType::F16);
            unpack(&[bits.into()], &mut b, 1, 1, WeightType::Bf16);
            let [half, brain] = [f16::from_bits(bits).to_f64(), bf16::from_bits(bits).to_f64()];
            assert!(!half.is_finite() || a[0] == half, "f16 {bits:04x}: {} {half}", a[0]);
            assert!(!brain.is_finite() || b[0] == brain, "bf16 {bits:04x}: {} {brain}", b[0]);
        }
    }

    #[test]
    fn it_agrees_with_what_loads_weights() {
        for weights in WeightType::ALL {
            for cols in [1, 6, 33, 70] {
                let rows: Vec<f32> = (0..2 * cols).map(|i| (i * 29 % 83) as f32 - 41.0).collect();
                let mut words = vec![0; 2 * weights.row_length(cols)];
                pack_rows(weights, &rows, cols, &mut words).unwrap();
                let (mut expected, mut got) = (vec![0.0; 2 * cols], vec![0.0; 2 * cols]);
                unpack_rows(weights, &words, cols, &mut got);
                unpack(&words, &mut expected, 2, cols, weights);
                assert_eq!(got, expected, "{weights:?}, {cols} columns");
            }
        }
    }
}
