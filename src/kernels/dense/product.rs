//! A product on all cores, with what is added to it: what the CPU variant of
//! [`matmul`](super::matmul) runs.

use super::gemm::{Layout, gemm, gemm_panels, with_panels};
use crate::kernels::scratch::with_scratch;
use rayon::prelude::*;

/// `out = a b (+ out) (+ scale * residual)`.
///
/// Every element is a sum in the order of k; where a small result has long sums and they need not
/// be `whole`, in pieces that depend on the shape alone.
pub(super) fn product(
    shape: [usize; 3],
    out: &mut [f32],
    whole: bool,
    accumulate: bool,
    residual: Option<(&[f32], f32)>,
    a: (&[f32], Layout),
    b: (&[f32], Layout),
) {
    let [m, n, k] = shape;
    if !whole && k > 2 * DEPTH_PER_PIECE && m * n <= LARGEST_SPLIT {
        sum_in_pieces(shape, out, accumulate, residual, a, b);
    } else {
        sum_whole(shape, out, accumulate, residual, a, b);
    }
}

/// Some rows of the result at a time.
fn sum_whole(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    accumulate: bool,
    residual: Option<(&[f32], f32)>,
    a: (&[f32], Layout),
    b: (&[f32], Layout),
) {
    let rows = |index: usize, out: &mut [f32]| {
        let first = index * ROWS_PER_PIECE;
        let residual = residual.map(|(values, scale)| (&values[first * n..], scale));
        let adds = prepare(out, accumulate, residual);
        (adds, out.len() / n, (a.0, a.1.at(first * a.1.row_stride)))
    };
    let pieces = out[..m * n].par_chunks_mut(ROWS_PER_PIECE * n).enumerate();
    if b.1.col_stride == 1 {
        pieces.for_each(|(index, out)| {
            let (adds, m, a) = rows(index, out);
            gemm([m, n, k], (out, Layout::row_major(n)), adds, a, b);
        });
        return;
    }
    with_panels([k, n], b, |panels| {
        pieces.for_each(|(index, out)| {
            let (adds, m, a) = rows(index, out);
            gemm_panels(m, out, adds, a, panels);
        });
    });
}

/// A weight gradient: pieces of the sums side by side, added up in their order.
fn sum_in_pieces(
    [m, n, k]: [usize; 3],
    out: &mut [f32],
    accumulate: bool,
    residual: Option<(&[f32], f32)>,
    a: (&[f32], Layout),
    b: (&[f32], Layout),
) {
    let piece_count = k.div_ceil(DEPTH_PER_PIECE);
    with_scratch(piece_count * m * n, |sums| {
        sums.par_chunks_mut(m * n).enumerate().for_each(|(index, sum)| {
            let first = index * DEPTH_PER_PIECE;
            let depth = DEPTH_PER_PIECE.min(k - first);
            let a = (a.0, a.1.at(first * a.1.col_stride));
            let b = (b.0, b.1.at(first * b.1.row_stride));
            gemm([m, n, depth], (sum, Layout::row_major(n)), false, a, b);
        });
        let sums = &*sums;
        out.par_chunks_mut(CHUNK).enumerate().for_each(|(index, out)| {
            let place = index * CHUNK..index * CHUNK + out.len();
            let residual = residual.map(|(values, scale)| (&values[place.clone()], scale));
            if !prepare(out, accumulate, residual) {
                out.fill(0.0);
            }
            for sum in sums.chunks_exact(m * n) {
                out.iter_mut().zip(&sum[place.clone()]).for_each(|(out, sum)| *out += sum);
            }
        });
    });
}

/// Puts into `out` what the product is added to; returns whether there is anything.
fn prepare(out: &mut [f32], accumulate: bool, residual: Option<(&[f32], f32)>) -> bool {
    match residual {
        None => accumulate,
        Some((values, scale)) => {
            for (out, value) in out.iter_mut().zip(values) {
                *out = if accumulate { *out } else { 0.0 } + scale * value;
            }
            true
        }
    }
}

/// Rows of the result that one thread computes at a time.
const ROWS_PER_PIECE: usize = 64;
/// Products that one thread adds up where the result is small and the sums are long: a weight
/// gradient.
const DEPTH_PER_PIECE: usize = 512;
/// Elements of a result that is split along its sums.
const LARGEST_SPLIT: usize = 1 << 16;
/// Elements of such a result whose pieces one thread adds up at a time.
const CHUNK: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    /// Small integers, so that every order of adding them gives the same bits.
    fn whole(seed: usize, length: usize) -> Vec<f32> {
        (0..length).map(|index| ((index * 7 + seed) % 11) as f32 - 5.0).collect()
    }

    #[test]
    fn long_sums_split_over_threads_are_complete() {
        let [m, n, k] = [30, 80, 2 * DEPTH_PER_PIECE + 76];
        assert!(m * n > CHUNK && !(m * n).is_multiple_of(CHUNK), "more than one chunk");
        let (a, b, residual) = (whole(1, m * k), whole(2, k * n), whole(3, m * n));
        for (accumulate, scale) in [(false, 0.0), (true, 0.0), (false, 2.0), (true, 2.0)] {
            let before = whole(4, m * n);
            let mut out = before.clone();
            let a = (&a[..], Layout::transposed(m));
            let b = (&b[..], Layout::row_major(n));
            let added = (scale != 0.0).then_some((&residual[..], scale));
            product([m, n, k], &mut out, false, accumulate, added, a, b);
            for (at, out) in out.iter().enumerate() {
                let terms = (0..k).map(|i| a.0[i * m + at / n] * b.0[i * n + at % n]);
                let kept = if accumulate { before[at] } else { 0.0 };
                assert_eq!(*out, terms.sum::<f32>() + scale * residual[at] + kept, "at {at}");
            }
        }
    }
}
