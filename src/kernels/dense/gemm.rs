//! The CPU engine's matrix product: a safe face of the `gemm` crate.

/// A matrix inside a slice: element (row, col) is at `offset + row * row_stride + col *
/// col_stride`.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    pub offset: usize,
    pub row_stride: usize,
    pub col_stride: usize,
}

impl Layout {
    /// A row-major matrix of `cols` columns at the start of the slice.
    pub fn row_major(cols: usize) -> Self {
        Self { offset: 0, row_stride: cols, col_stride: 1 }
    }

    /// The transpose of a row-major matrix of `cols` columns.
    pub fn transposed(cols: usize) -> Self {
        Self { offset: 0, row_stride: 1, col_stride: cols }
    }

    /// The same layout starting further on.
    #[must_use]
    pub fn at(self, offset: usize) -> Self {
        Self { offset: self.offset + offset, ..self }
    }

    fn end(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 {
            return 0;
        }
        self.offset + (rows - 1) * self.row_stride + (cols - 1) * self.col_stride + 1
    }
}

/// `out[m, n] = scale * out + a[m, k] b[k, n]`; a `scale` of zero does not read `out`.
///
/// The result does not depend on the number of threads: k is never split between them.
pub fn gemm(
    [m, n, k]: [usize; 3],
    (out, out_layout): (&mut [f32], Layout),
    scale: f32,
    (a, a_layout): (&[f32], Layout),
    (b, b_layout): (&[f32], Layout),
    threads: Threads,
) {
    assert!(out_layout.end(m, n) <= out.len(), "gemm: out [{m}, {n}] lies outside its slice");
    assert!(a_layout.end(m, k) <= a.len(), "gemm: a [{m}, {k}] lies outside its slice");
    assert!(b_layout.end(k, n) <= b.len(), "gemm: b [{k}, {n}] lies outside its slice");
    if m == 0 || n == 0 {
        return;
    }
    let parallelism = match threads {
        Threads::One => gemm::Parallelism::None,
        Threads::All if m * n * k < SMALL_PRODUCT => gemm::Parallelism::None,
        Threads::All => gemm::Parallelism::Rayon(0),
    };
    let stride = |stride: usize| stride as isize;
    // SAFETY: the three asserts above keep every element that the strides reach inside its slice,
    // and `out` is borrowed mutably, so it overlaps neither `a` nor `b`.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            out.as_mut_ptr().add(out_layout.offset),
            stride(out_layout.col_stride),
            stride(out_layout.row_stride),
            scale != 0.0,
            a.as_ptr().add(a_layout.offset),
            stride(a_layout.col_stride),
            stride(a_layout.row_stride),
            b.as_ptr().add(b_layout.offset),
            stride(b_layout.col_stride),
            stride(b_layout.row_stride),
            scale,
            1.0,
            false,
            false,
            false,
            parallelism,
        );
    }
}

/// Whether a product may use all threads, or runs inside a parallel loop already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Threads {
    One,
    All,
}

/// Multiply-adds below which starting threads costs more than it brings.
const SMALL_PRODUCT: usize = 1 << 16;
