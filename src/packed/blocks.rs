//! Blocks: small whole numbers times a scale that neighbours of a row share.

use super::weight_type::{WEIGHT_BLOCK_SIZE, WeightType};
use half::f16;

/// Codes and scales of a row. Of the former there are [`WeightType::row_code_bytes`], a byte each
/// or, with four bits, half a byte, the even column in the low half; of the latter
/// [`WeightType::row_scales`], numbers of f16, infinite where an element is too large for one.
pub fn encode_block_row(weights: WeightType, row: &[f32], codes: &mut [u8], scales: &mut [f32]) {
    let mut block_codes = [0; WEIGHT_BLOCK_SIZE];
    for (index, block) in row.chunks(WEIGHT_BLOCK_SIZE).enumerate() {
        let block_codes = &mut block_codes[..block.len()];
        scales[index] = encode_block(weights, block, block_codes);
        let first = index * WEIGHT_BLOCK_SIZE;
        match weights {
            // A block begins at an even column.
            WeightType::Q4 => {
                for (byte, pair) in codes[first / 2..].iter_mut().zip(block_codes.chunks(2)) {
                    *byte = pair[0] | pair.get(1).map_or(0, |high| high << 4);
                }
            }
            _ => codes[first..first + block.len()].copy_from_slice(block_codes),
        }
    }
}

/// The scale of a block; its codes go into `codes`.
fn encode_block(weights: WeightType, block: &[f32], codes: &mut [u8]) -> f32 {
    let largest = block.iter().fold(0.0f32, |top, it| if it.abs() > top.abs() { *it } else { top });
    // With four bits the largest element takes the end of the range that has one more.
    let (lowest, highest, scale) = match weights {
        WeightType::Q4 => (-8, 7, largest / -8.0),
        _ => (-127, 127, largest.abs() / 127.0),
    };
    let scale = f16::from_f32(scale).to_f32();
    let number = |element: f32| match scale {
        0.0 => 0,
        _ => ((element / scale).round() as i32).clamp(lowest, highest),
    };
    let (mut products, mut squares) = (0.0, 0.0);
    for (code, element) in codes.iter_mut().zip(block) {
        let number = number(*element);
        products += element * number as f32;
        squares += (number * number) as f32;
        *code = (number + weights.zero_code()) as u8;
    }
    match weights {
        // The scale with the least squared error for these codes. With eight bits what f16
        // makes of it is worth more than that.
        WeightType::Q4 if squares > 0.0 => f16::from_f32(products / squares).to_f32(),
        _ => scale,
    }
}
