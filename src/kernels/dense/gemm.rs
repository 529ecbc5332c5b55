//! The CPU engine's matrix product: strided matrices in, tiles of registers, one thread.
//!
//! Every element is one sum that starts at zero, or at what `out` holds, and takes its terms in the
//! order of k, each by one multiply-add. So its bits follow from its own row and column: not from
//! how many rows there are, how they are cut into tiles, or how wide vectors are. Nothing is
//! allocated: what must be packed lies in scratch that the thread keeps.

use super::ordered::{VECTORS, widest_panel};
use crate::kernels::scratch::with_scratch;
use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

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

    /// Rows as columns.
    fn flipped(self) -> Self {
        Self { offset: self.offset, row_stride: self.col_stride, col_stride: self.row_stride }
    }

    /// One past the last element of a matrix that lies so.
    ///
    /// # Panics
    /// If neither its rows nor its columns lie together, which the tiles take for granted, or if it
    /// has more elements than can be counted.
    fn end(&self, rows: usize, cols: usize) -> usize {
        if rows == 0 || cols == 0 {
            return 0;
        }
        let lies_together = self.row_stride == 1 || self.col_stride == 1;
        assert!(lies_together, "gemm: a matrix lies neither in rows nor in columns");
        let last_row = (rows - 1).checked_mul(self.row_stride);
        let last_col = (cols - 1).checked_mul(self.col_stride);
        let last = last_row.zip(last_col).and_then(|(row, col)| row.checked_add(col));
        let end = last.and_then(|last| last.checked_add(self.offset)?.checked_add(1));
        end.expect("gemm: a matrix has too many elements")
    }
}

/// `out[m, n] = a[m, k] b[k, n]`, or with `adds` `out += a b`.
///
/// One stride of every matrix must be 1.
pub fn gemm(
    [m, n, k]: [usize; 3],
    (out, out_layout): (&mut [f32], Layout),
    adds: bool,
    (a, a_layout): (&[f32], Layout),
    (b, b_layout): (&[f32], Layout),
) {
    assert!(out_layout.end(m, n) <= out.len(), "gemm: out [{m}, {n}] lies outside its slice");
    assert!(a_layout.end(m, k) <= a.len(), "gemm: a [{m}, {k}] lies outside its slice");
    assert!(b_layout.end(k, n) <= b.len(), "gemm: b [{k}, {n}] lies outside its slice");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        let Layout { offset, row_stride, col_stride } = out_layout;
        let places = (0..m * n).map(|at| offset + at / n * row_stride + at % n * col_stride);
        places.filter(|_| !adds).for_each(|place| out[place] = 0.0);
        return;
    }
    let flips = out_layout.col_stride != 1;
    assert!(!flips || out_layout.row_stride == 1, "gemm: out lies neither in rows nor in columns");
    let ([m, n], [a, b]) = match flips {
        false => ([m, n], [(a, a_layout), (b, b_layout)]),
        true => ([n, m], [(b, b_layout.flipped()), (a, a_layout.flipped())]),
    };
    let out_layout = if flips { out_layout.flipped() } else { out_layout };
    with_scratch(DEPTH.min(k) * widest_panel(), |room| {
        Arch::new().dispatch(Product {
            shape: [m, n, k],
            out,
            out_layout,
            adds,
            a: a.0,
            a_layout: a.1,
            b: b.0,
            b_layout: b.1,
            b_panels: None,
            room,
        });
    });
}

/// The right factor of several products, packed once.
#[derive(Clone, Copy)]
pub struct Panels<'a> {
    /// [panels, k, width], columns of zeros filling the last one.
    values: &'a [f32],
    k: usize,
    n: usize,
}

/// Packs `b` [k, n] on all cores and calls `work` with it.
pub fn with_panels<T>(
    [k, n]: [usize; 2],
    (b, layout): (&[f32], Layout),
    work: impl FnOnce(Panels<'_>) -> T,
) -> T {
    assert!(layout.end(k, n) <= b.len(), "gemm: b [{k}, {n}] lies outside its slice");
    let width = widest_panel();
    with_scratch(n.div_ceil(width) * k * width, |values| {
        values.par_chunks_mut((k * width).max(1)).enumerate().for_each(|(index, panel)| {
            let col = index * width;
            let b = &b[layout.offset + col * layout.col_stride..];
            let cols = width.min(n - col);
            #[rustfmt::skip] // it would drop the attribute of the closure
            Arch::new().dispatch(#[inline(always)] || pack(panel, width, b, cols, layout));
        });
        work(Panels { values, k, n })
    })
}

/// `out[m, n] = a[m, k] b[k, n]`, or with `adds` `out += a b`; out is row-major.
pub fn gemm_panels(
    m: usize,
    out: &mut [f32],
    adds: bool,
    (a, a_layout): (&[f32], Layout),
    b: Panels<'_>,
) {
    let Panels { values, k, n } = b;
    assert!(m * n <= out.len(), "gemm: out [{m}, {n}] lies outside its slice");
    assert!(a_layout.end(m, k) <= a.len(), "gemm: a [{m}, {k}] lies outside its slice");
    if m == 0 || n == 0 {
        return;
    }
    if k == 0 {
        if !adds {
            out[..m * n].fill(0.0);
        }
        return;
    }
    let width = widest_panel();
    Arch::new().dispatch(Product {
        shape: [m, n, k],
        out,
        out_layout: Layout::row_major(n),
        adds,
        a,
        a_layout,
        b: values,
        b_layout: Layout::row_major(width),
        b_panels: Some(k * width),
        room: &mut [],
    });
}

/// A product with `out` in rows; a type, so that it is compiled for every width of vectors.
struct Product<'a> {
    shape: [usize; 3],
    out: &'a mut [f32],
    out_layout: Layout,
    adds: bool,
    a: &'a [f32],
    a_layout: Layout,
    b: &'a [f32],
    b_layout: Layout,
    /// Elements from one panel to the next where `b` is packed.
    b_panels: Option<usize>,
    /// For one panel of `DEPTH` terms.
    room: &'a mut [f32],
}

/// Most rows of a tile: with two vectors each, their sums and what is multiplied fill most of the
/// 32 registers of wide machines; others have 16.
const fn most_rows<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { 8 } else { 4 }
}

/// Terms that are added up before the next columns: as many rows of a panel fit the nearest cache.
const DEPTH: usize = 256;

impl WithSimd for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        let [_, n, k] = self.shape;
        let width = VECTORS * S::F32_LANES;
        for first in (0..k).step_by(DEPTH) {
            let depth = DEPTH.min(k - first);
            for col in (0..n).step_by(width) {
                self.panel(simd, first, depth, col, width.min(n - col));
            }
            self.adds = true;
        }
    }
}

impl Product<'_> {
    /// All rows of `cols` columns from `col` on: `depth` terms from `first` on.
    #[inline(always)]
    fn panel<S: Simd>(&mut self, simd: S, first: usize, depth: usize, col: usize, cols: usize) {
        let width = VECTORS * S::F32_LANES;
        let Layout { offset, row_stride, col_stride } = self.b_layout;
        let start = match self.b_panels {
            Some(stride) => col / width * stride + first * width,
            None => offset + first * row_stride + col * col_stride,
        };
        let (terms, stride) = if self.b_panels.is_some() {
            (&self.b[start..], width)
        } else if col_stride == 1 && cols == width {
            (&self.b[start..], row_stride)
        } else {
            let panel = &mut self.room[..depth * width];
            pack(panel, width, &self.b[start..], cols, self.b_layout);
            (&*panel, width)
        };
        let [m, ..] = self.shape;
        let a = &self.a[self.a_layout.offset + first * self.a_layout.col_stride..];
        let mut row = 0;
        while row < m {
            let count = (m - row).min(most_rows::<S>());
            let count = if count.is_power_of_two() { count } else { count.next_power_of_two() / 2 };
            let tile = Tile {
                depth,
                a: a[row * self.a_layout.row_stride..].as_ptr(),
                a_layout: self.a_layout,
                b: terms.as_ptr(),
                b_stride: stride,
                out: self.out[self.out_layout.offset + row * self.out_layout.row_stride + col..]
                    .as_mut_ptr(),
                out_stride: self.out_layout.row_stride,
                cols,
                adds: self.adds,
            };
            // SAFETY: `gemm` has asserted that all elements of the matrices lie in their slices,
            // and `row`, `col`, `first` and what is counted from them stay inside the shape; packed
            // terms are whole lines of `width`.
            unsafe {
                match (count, self.a_layout.col_stride == 1) {
                    (8, true) => tile.run::<S, 8, true>(simd),
                    (8, false) => tile.run::<S, 8, false>(simd),
                    (4, true) => tile.run::<S, 4, true>(simd),
                    (4, false) => tile.run::<S, 4, false>(simd),
                    (2, true) => tile.run::<S, 2, true>(simd),
                    (2, false) => tile.run::<S, 2, false>(simd),
                    (_, true) => tile.run::<S, 1, true>(simd),
                    (_, false) => tile.run::<S, 1, false>(simd),
                }
            }
            row += count;
        }
    }
}

/// Copies `cols` columns of `b` into a panel [depth, width] and fills the others with zeros.
#[inline(always)]
pub(super) fn pack(panel: &mut [f32], width: usize, b: &[f32], cols: usize, layout: Layout) {
    let Layout { row_stride, col_stride, .. } = layout;
    if cols < width {
        panel.fill(0.0);
    }
    if col_stride == 1 {
        for (index, line) in panel.chunks_exact_mut(width).enumerate() {
            line[..cols].copy_from_slice(&b[index * row_stride..][..cols]);
        }
        return;
    }
    let depth = panel.len() / width;
    for lane in 0..cols {
        let column = &b[lane * col_stride..][..depth];
        for (line, value) in panel.chunks_exact_mut(width).zip(column) {
            line[lane] = *value;
        }
    }
}

/// Some rows of one panel.
struct Tile {
    depth: usize,
    a: *const f32,
    a_layout: Layout,
    b: *const f32,
    b_stride: usize,
    out: *mut f32,
    out_stride: usize,
    cols: usize,
    adds: bool,
}

impl Tile {
    /// ROWS rows.
    ///
    /// # Safety
    /// `a` has ROWS rows of `depth` elements by its layout, in which rows are contiguous if
    /// `A_ROWS`; `b` has `depth` whole lines; `out` has ROWS rows of `cols` elements.
    // SAFETY: the caller keeps the promise above; nothing else is touched.
    #[inline(always)]
    unsafe fn run<S: Simd, const ROWS: usize, const A_ROWS: bool>(self, simd: S) {
        let Layout { row_stride, col_stride, .. } = self.a_layout;
        let (row_stride, col_stride) = if A_ROWS { (row_stride, 1) } else { (1, col_stride) };
        let whole = self.cols == VECTORS * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); VECTORS]; ROWS];
        // SAFETY: the caller's promise; `rest` holds a whole line.
        unsafe {
            if self.adds && whole {
                for (row, sums) in sums.iter_mut().enumerate() {
                    for (index, sum) in sums.iter_mut().enumerate() {
                        let out = self.out.add(row * self.out_stride + index * S::F32_LANES);
                        *sum = out.cast::<S::f32s>().read_unaligned();
                    }
                }
            } else if self.adds {
                for (row, sums) in sums.iter_mut().enumerate() {
                    let mut line = [simd.splat_f32s(0.0); VECTORS];
                    let place = bytemuck::cast_slice_mut::<_, f32>(&mut line).as_mut_ptr();
                    let out = self.out.add(row * self.out_stride);
                    place.copy_from_nonoverlapping(out, self.cols);
                    *sums = line;
                }
            }
            let mut rows: [*const f32; ROWS] =
                std::array::from_fn(|row| self.a.add(row * row_stride));
            if A_ROWS {
                // Else they are computed from each other again for every term, one by one.
                rows = std::hint::black_box(rows);
            }
            for term in 0..self.depth {
                let line = self.b.add(term * self.b_stride);
                let terms: [S::f32s; VECTORS] = std::array::from_fn(|index| {
                    line.add(index * S::F32_LANES).cast::<S::f32s>().read_unaligned()
                });
                for (sums, row) in sums.iter_mut().zip(&rows) {
                    let factor = simd.splat_f32s(*row.add(term * col_stride));
                    for (sum, term) in sums.iter_mut().zip(&terms) {
                        *sum = simd.mul_add_e_f32s(factor, *term, *sum);
                    }
                }
            }
            for (row, sums) in sums.iter().enumerate() {
                let out = self.out.add(row * self.out_stride);
                if whole {
                    for (index, sum) in sums.iter().enumerate() {
                        out.add(index * S::F32_LANES).cast::<S::f32s>().write_unaligned(*sum);
                    }
                } else {
                    let line = *sums;
                    let place = bytemuck::cast_slice::<_, f32>(&line).as_ptr();
                    out.copy_from_nonoverlapping(place, self.cols);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::values;

    /// One multiply-add after the other, as this machine does them, from `sum` on.
    fn sum_in_order(sum: f32, terms: impl Iterator<Item = [f32; 2]>) -> f32 {
        struct Sum<I>(f32, I);
        impl<I: Iterator<Item = [f32; 2]>> WithSimd for Sum<I> {
            type Output = f32;
            fn with_simd<S: Simd>(self, simd: S) -> f32 {
                let mut sum = simd.splat_f32s(self.0);
                for [a, b] in self.1 {
                    sum = simd.mul_add_e_f32s(simd.splat_f32s(a), simd.splat_f32s(b), sum);
                }
                bytemuck::cast_slice::<_, f32>(&[sum])[0]
            }
        }
        Arch::new().dispatch(Sum(sum, terms))
    }

    /// A matrix of a wider one, by rows or by columns, and how long its slice is.
    fn inside([rows, cols]: [usize; 2], transposed: bool) -> (Layout, usize) {
        let (row_stride, col_stride) = if transposed { (1, rows + 3) } else { (cols + 2, 1) };
        let layout = Layout { offset: 5, row_stride, col_stride };
        (layout, layout.end(rows, cols).max(5) + 4)
    }

    #[test]
    fn every_element_is_one_sum_in_order() {
        let shapes = [
            [1, 1, 1],
            [3, 70, 19],
            [5, 31, 64],
            [7, 33, 5],
            [29, 64, 300],
            [16, 260, 7],
            [4, 9, 0],
        ];
        for (shape, layouts) in
            shapes.into_iter().flat_map(|shape| (0..16).map(move |l| (shape, l)))
        {
            let [m, n, k] = shape;
            let (a_layout, a_length) = inside([m, k], layouts & 1 == 1);
            let (b_layout, b_length) = inside([k, n], layouts & 2 == 2);
            let (out_layout, out_length) = inside([m, n], layouts & 4 == 4);
            let adds = layouts & 8 == 8;
            let (a, b) = (values(1, a_length), values(2, b_length));
            let before = values(3, out_length);
            let at = |layout: Layout, row: usize, col: usize| {
                layout.offset + row * layout.row_stride + col * layout.col_stride
            };
            let mut expected = before.clone();
            for (row, col) in (0..m).flat_map(|row| (0..n).map(move |col| (row, col))) {
                let out = &mut expected[at(out_layout, row, col)];
                let terms = (0..k).map(|i| [a[at(a_layout, row, i)], b[at(b_layout, i, col)]]);
                *out = sum_in_order(if adds { *out } else { 0.0 }, terms);
            }
            let mut out = before;
            gemm(shape, (&mut out, out_layout), adds, (&a, a_layout), (&b, b_layout));
            let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&out), bits(&expected), "{shape:?}, layouts {layouts:04b}");
        }
    }

    #[test]
    fn panels_change_no_bit() {
        for [m, n, k] in [[1, 1, 1], [19, 70, 300], [40, 64, 33], [3, 5, 0]] {
            let (a, b) = (values(1, m * k), values(2, n * k));
            let (a, b) = ((&a[..], Layout::row_major(k)), (&b[..], Layout::transposed(k)));
            let mut expected = values(3, m * n);
            let mut out = expected.clone();
            gemm([m, n, k], (&mut expected, Layout::row_major(n)), true, a, b);
            with_panels([k, n], b, |panels| gemm_panels(m, &mut out, true, a, panels));
            assert_eq!(out, expected, "{m}x{n}x{k}");
        }
    }

    #[test]
    #[should_panic(expected = "neither in rows nor in columns")]
    fn scattered_elements_are_refused() {
        let scattered = Layout { offset: 0, row_stride: 4, col_stride: 2 };
        let row_major = Layout::row_major(2);
        let (a, b) = ((&[1.0; 16][..], scattered), (&[1.0; 4][..], row_major));
        gemm([2, 2, 2], (&mut [0.0; 4], row_major), false, a, b);
    }
}
