//! Matrices whose elements are small whole numbers times a scale that a block of neighbours shares.
//!
//! A matrix [rows, cols] is stored as two tensors. `NAME` of type U8 has the codes: [rows, cols]
//! with eight bits, [rows, ceil(cols / 2)] with four, the even column in the low half of its byte.
//! `NAME.scale` of type F16 has [rows, ceil(cols / 32)] scales. An element is
//! `(code - 128) * scale` or `(code - 8) * scale`. Blocks do not reach over the end of a row.

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use crate::packed::{WEIGHT_BLOCK_SIZE, WeightType, encode_block_row};

/// Bits of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockFormat {
    Int8,
    Q4,
}

/// A matrix as it is stored.
#[derive(Debug, Clone, Copy)]
pub struct BlockMatrix<'a> {
    pub format: BlockFormat,
    pub rows: usize,
    pub cols: usize,
    /// Row by row, [`BlockFormat::row_bytes`] each.
    pub codes: &'a [u8],
    /// Row by row, [`BlockFormat::row_scales`] each, f16, little-endian.
    pub scales: &'a [u8],
}

impl BlockFormat {
    /// The blocks of a type of weights that has some.
    pub fn of(weights: WeightType) -> Option<Self> {
        match weights {
            WeightType::Int8 => Some(Self::Int8),
            WeightType::Q4 => Some(Self::Q4),
            WeightType::F32 | WeightType::F16 | WeightType::Bf16 => None,
        }
    }

    /// The type of weights that they are.
    pub fn weights(self) -> WeightType {
        match self {
            Self::Int8 => WeightType::Int8,
            Self::Q4 => WeightType::Q4,
        }
    }

    /// Bytes of the codes of a row.
    pub fn row_bytes(self, cols: usize) -> usize {
        self.weights().row_code_bytes(cols)
    }

    /// Scales of a row.
    pub fn row_scales(self, cols: usize) -> usize {
        self.weights().row_scales(cols)
    }

    /// The code of zero.
    fn zero(self) -> i32 {
        match self {
            Self::Int8 => 128,
            Self::Q4 => 8,
        }
    }

    /// Codes and scales of whole rows.
    ///
    /// # Errors
    ///
    /// A sentence, if an element is too large for a scale in f16.
    pub(super) fn encode(
        self,
        rows: &[f32],
        cols: usize,
    ) -> std::result::Result<(Vec<u8>, Vec<f32>), String> {
        let row_count = rows.len() / cols;
        assert_eq!(row_count * cols, rows.len(), "whole rows are encoded");
        let mut codes = vec![0; row_count * self.row_bytes(cols)];
        let mut scales = vec![0.0; row_count * self.row_scales(cols)];
        let jobs = rows
            .par_chunks(cols)
            .zip(codes.par_chunks_mut(self.row_bytes(cols)))
            .zip(scales.par_chunks_mut(self.row_scales(cols)));
        let weights = self.weights();
        jobs.for_each(|((row, codes), scales)| encode_block_row(weights, row, codes, scales));
        match scales.iter().find(|scale| !scale.is_finite()) {
            None => Ok((codes, scales)),
            Some(_) => Err(format!("an element is too large for {self:?} blocks")),
        }
    }
}

impl BlockMatrix<'_> {
    /// Some rows as they lie on a device, see [`crate::packed`], into `words`.
    ///
    /// # Panics
    ///
    /// If there are no such rows, or `words` has no room for exactly them.
    pub(super) fn copy_rows(&self, rows: Range<usize>, words: &mut [u32]) {
        let weights = self.format.weights();
        let row_length = weights.row_length(self.cols);
        let (row_bytes, scale_bytes) =
            (self.format.row_bytes(self.cols), 2 * self.format.row_scales(self.cols));
        assert!(rows.end <= self.rows && words.len() == rows.len() * row_length, "rows fit");
        let jobs = words.par_chunks_mut(row_length).zip(rows.into_par_iter());
        jobs.for_each(|(words, row)| {
            words.fill(0);
            let bytes: &mut [u8] = bytemuck::cast_slice_mut(words);
            let scales_at = row_bytes.next_multiple_of(4);
            bytes[..row_bytes].copy_from_slice(&self.codes[row * row_bytes..][..row_bytes]);
            bytes[scales_at..][..scale_bytes]
                .copy_from_slice(&self.scales[row * scale_bytes..][..scale_bytes]);
        });
    }

    /// The elements from `first_index` on, row-major, as many as `out` has.
    ///
    /// # Panics
    ///
    /// If the range leaves the matrix.
    pub fn decode(&self, first_index: usize, out: &mut [f32]) {
        assert!(first_index + out.len() <= self.rows * self.cols, "the range leaves the matrix");
        let mut rest = out;
        let (mut row, mut first) = (first_index / self.cols, first_index % self.cols);
        while !rest.is_empty() {
            let length = rest.len().min(self.cols - first);
            let (piece, behind) = rest.split_at_mut(length);
            self.decode_in_row(row, first, piece);
            (rest, row, first) = (behind, row + 1, 0);
        }
    }

    fn decode_in_row(&self, row: usize, first: usize, out: &mut [f32]) {
        let (row_bytes, row_scales) =
            (self.format.row_bytes(self.cols), self.format.row_scales(self.cols));
        let codes = &self.codes[row * row_bytes..][..row_bytes];
        let (scales, _) = self.scales[row * row_scales * 2..][..row_scales * 2].as_chunks::<2>();
        for (offset, element) in out.iter_mut().enumerate() {
            let col = first + offset;
            let code = match self.format {
                BlockFormat::Int8 => codes[col],
                BlockFormat::Q4 => codes[col / 2] >> (col % 2 * 4) & 15,
            };
            let scale = f16::from_le_bytes(scales[col / WEIGHT_BLOCK_SIZE]).to_f32();
            *element = (i32::from(code) - self.format.zero()) as f32 * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(format: BlockFormat, rows: &[f32], cols: usize) -> Vec<f32> {
        let (codes, scales) = format.encode(rows, cols).unwrap();
        let scales: Vec<u8> =
            scales.iter().flat_map(|it| f16::from_f32(*it).to_le_bytes()).collect();
        let count = rows.len() / cols;
        let matrix = BlockMatrix { format, rows: count, cols, codes: &codes, scales: &scales };
        let mut out = vec![f32::NAN; rows.len()];
        matrix.decode(0, &mut out);
        // Any range gives the same.
        let mut piece = vec![0.0; rows.len() - 2];
        matrix.decode(1, &mut piece);
        assert_eq!(piece, out[1..rows.len() - 1]);
        out
    }

    #[test]
    fn blocks_are_as_close_as_their_bits_allow() {
        let mut state = 1u32;
        let mut noise = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (f64::from(state) / f64::from(u32::MAX) - 0.5) as f32 * 0.04
        };
        for cols in [1, 31, 32, 33, 70] {
            let rows: Vec<f32> = (0..3 * cols).map(|_| noise()).collect();
            // Half a step of the largest scale there can be, and what the rounding of 127 scales
            // to f16 makes of it; with four bits a whole step, where the range is shorter.
            for (format, bound) in
                [(BlockFormat::Int8, 0.57 / 127.0), (BlockFormat::Q4, 1.01 / 8.0)]
            {
                let back = there_and_back(format, &rows, cols);
                for (element, back) in rows.iter().zip(&back) {
                    assert!((element - back).abs() <= bound * 0.02, "{format:?}: {element} {back}");
                }
            }
        }
    }

    #[test]
    fn small_whole_numbers_are_exact() {
        let rows: Vec<f32> = (0..64).map(|index| (index % 16 - 8) as f32).collect();
        assert_eq!(there_and_back(BlockFormat::Q4, &rows, 32), rows);
        let rows: Vec<f32> = (0..256).map(|index| (index % 255 - 127) as f32).collect();
        let back = there_and_back(BlockFormat::Int8, &rows, 256);
        assert!(rows.iter().zip(back).all(|(a, b)| (a - b).abs() <= 0.5), "a step of one");
        assert_eq!(there_and_back(BlockFormat::Q4, &[0.0; 5], 5), [0.0; 5]);
        assert_eq!(there_and_back(BlockFormat::Int8, &[1e-12; 40], 40), [0.0; 40]);
        assert!(BlockFormat::Q4.encode(&[1e30], 1).is_err());
    }
}
