//! Weights that a kernel reads as they are stored, see [`crate::packed`].
//!
//! A binding says so with [`Binding::or_packed`](super::Binding::or_packed), the parameters have
//! the number of the type, and the shader imports `shared/packed`.

use super::scratch::with_scratch;
use crate::oracle;
use crate::oracle::Real;
use crate::packed::{WeightType, unpack_rows};
use std::borrow::Cow;
use std::ops::Range;

/// Injected constants for weights of the type with this number; none for f32.
pub fn packing_constants(weight_type: u32) -> &'static [(&'static str, u32)] {
    match WeightType::from_number(weight_type) {
        WeightType::F32 => &[],
        WeightType::F16 => &[("HALF_PAIRS", 1)],
        WeightType::Bf16 => &[("HALF_PAIRS", 1), ("BF16", 1)],
        WeightType::Int8 => &[("BLOCKS", 1)],
        WeightType::Q4 => &[("BLOCKS", 1), ("Q4", 1)],
    }
}

/// A matrix behind a binding, on the host.
#[derive(Clone, Copy, Debug)]
pub enum Weight<'a, R> {
    Numbers(&'a [R]),
    Packed(WeightType, &'a [u32]),
}

impl Weight<'_, f32> {
    /// Calls `work` with some rows of `cols` numbers.
    pub fn with_rows<T>(
        self,
        rows: Range<usize>,
        cols: usize,
        work: impl FnOnce(&[f32]) -> T,
    ) -> T {
        match self {
            Self::Numbers(values) => work(&values[rows.start * cols..rows.end * cols]),
            Self::Packed(..) => with_scratch(rows.len() * cols, |unpacked| {
                self.read_rows(rows.start, cols, unpacked);
                work(unpacked)
            }),
        }
    }

    /// Rows of `cols` numbers from `first` on into `out`.
    pub fn read_rows(self, first: usize, cols: usize, out: &mut [f32]) {
        match self {
            Self::Numbers(values) => out.copy_from_slice(&values[first * cols..][..out.len()]),
            Self::Packed(weights, words) => {
                unpack_rows(weights, &words[first * weights.row_length(cols)..], cols, out);
            }
        }
    }
}

impl<'a, R: Real> Weight<'a, R> {
    /// All `rows` of it, as the oracle says.
    pub fn all(self, rows: usize, cols: usize) -> Cow<'a, [R]> {
        match self {
            Self::Numbers(values) => Cow::Borrowed(&values[..rows * cols]),
            Self::Packed(weights, words) => {
                let mut out = vec![R::zero(); rows * cols];
                oracle::dense::unpack(words, &mut out, rows, cols, weights);
                Cow::Owned(out)
            }
        }
    }
}
