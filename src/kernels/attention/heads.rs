//! Heads as columns of a row-major buffer, and the loops over one head of one row.

use crate::kernels::dense::gemm::Layout;

/// Some columns of a row-major buffer: row `row`, head `head` start at
/// `offset + row * stride + head * head_dim`.
#[derive(Clone, Copy)]
pub(super) struct Heads<'a> {
    pub data: &'a [f32],
    /// Elements from one row to the next.
    pub stride: usize,
    /// The first column.
    pub offset: usize,
    pub head_dim: usize,
}

impl<'a> Heads<'a> {
    /// Heads that fill their rows.
    pub fn packed(data: &'a [f32], head_count: usize, head_dim: usize) -> Self {
        Self { data, stride: head_count * head_dim, offset: 0, head_dim }
    }

    /// One head of one row.
    #[inline(always)]
    pub fn row(&self, row: usize, head: usize) -> &'a [f32] {
        &self.data[self.offset + row * self.stride + head * self.head_dim..][..self.head_dim]
    }

    /// One head of the rows from `row` on as a matrix [rows, head_dim].
    pub fn matrix(&self, row: usize, head: usize) -> (&'a [f32], Layout) {
        let offset = self.offset + row * self.stride + head * self.head_dim;
        (self.data, Layout { offset, row_stride: self.stride, col_stride: 1 })
    }

    /// The same as a matrix [head_dim, rows].
    pub fn transposed(&self, row: usize, head: usize) -> (&'a [f32], Layout) {
        let (data, layout) = self.matrix(row, head);
        let Layout { offset, row_stride, col_stride } = layout;
        (data, Layout { offset, row_stride: col_stride, col_stride: row_stride })
    }
}

/// Lanes of a sum: enough for one 512-bit vector, in one order on every machine.
const LANES: usize = 16;

/// Σ a b.
#[inline(always)]
pub(super) fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let mut rest = 0.0;
    for (a, b) in a_chunks.remainder().iter().zip(b_chunks.remainder()) {
        rest += a * b;
    }
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    rest + sum_of_lanes(lanes)
}

/// `out += factor * x`.
#[inline(always)]
pub(super) fn add_scaled(out: &mut [f32], factor: f32, x: &[f32]) {
    for (out, x) in out.iter_mut().zip(x) {
        *out += factor * x;
    }
}

/// The largest of some values, -1e30 if there is none.
#[inline(always)]
pub(super) fn largest(values: &[f32]) -> f32 {
    let mut lanes = [-1e30_f32; LANES];
    let chunks = values.chunks_exact(LANES);
    let mut largest = -1e30;
    for &value in chunks.remainder() {
        largest = if value > largest { value } else { largest };
    }
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    lanes.into_iter().fold(largest, f32::max)
}

/// Applies `change` to every value and returns their sum afterwards.
#[inline(always)]
pub(super) fn change_and_sum(values: &mut [f32], change: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut chunks = values.chunks_exact_mut(LANES);
    for chunk in &mut chunks {
        for lane in 0..LANES {
            chunk[lane] = change(chunk[lane]);
            lanes[lane] += chunk[lane];
        }
    }
    let mut rest = 0.0;
    for value in chunks.into_remainder() {
        *value = change(*value);
        rest += *value;
    }
    rest + sum_of_lanes(lanes)
}

/// Adds halves, then quarters: a tree of one fixed shape.
#[inline(always)]
fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_and_rests_agree_with_plain_loops() {
        for length in [0, 1, 15, 16, 17, 50] {
            let a: Vec<f32> = (0..length).map(|i| i as f32 - 7.0).collect();
            let b: Vec<f32> = (0..length).map(|i| (i % 5) as f32).collect();
            let expected: f32 = a.iter().zip(&b).map(|(a, b)| a * b).sum();
            assert_eq!(dot(&a, &b), expected);
            assert_eq!(largest(&a), a.iter().copied().fold(-1e30, f32::max));
            let mut changed = a.clone();
            assert_eq!(change_and_sum(&mut changed, |x| 2.0 * x), a.iter().sum::<f32>() * 2.0);
            assert!(changed.iter().zip(&a).all(|(changed, a)| *changed == 2.0 * a));
        }
    }
}
