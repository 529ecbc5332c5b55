//! A linear layer and the rotary embedding of what it makes: `out = rope(a bᵀ)` (spec §5.3, §5.4).
//!
//! a is [m, k], b [n, k], out [m, n]; the first `rotated_cols` columns of out are heads of
//! `head_dim` columns, turned by the angle of the row's position; `table` is that of
//! [`rope`](crate::kernels::attention::rope). Sums never lie in memory before they are turned.

use super::deep::deep;
use super::matmul::{self, Params, groups, tile_constants};
use super::matrix::{matrix, operands_are_halves};
use super::{gemm::Layout, product::product};
use crate::kernels::attention::rope::rotate_rows;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, integers,
    values,
};
use crate::oracle;

impl Params {
    /// `rope(a bᵀ)`, a of `m` rows and `k` columns, b of `n` rows.
    ///
    /// # Panics
    /// Unless k, n and both sizes of heads are multiples of four.
    pub fn rope(m: Extent, n: usize, k: usize, rotated_cols: u32, head_dim: u32) -> Self {
        let whole = [n, k, rotated_cols as usize, head_dim as usize];
        assert!(whole.iter().all(|size| size.is_multiple_of(4)), "matmul_rope: whole vectors");
        let params = Self::new(m, Extent::fixed(n), Extent::fixed(k), false, true);
        Self { rotated_cols, head_dim, ..params }
    }
}

const MATRIX: &str = include_str!("../../../shaders/dense/matmul_rope.matrix.wgsl");

pub static KERNEL: Kernel = Kernel {
    name: "matmul_rope",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("a", Element::F32).or_half(),
        Binding::read("b", Element::F32).or_half(),
        Binding::read("position", Element::U32),
        Binding::read("table", Element::F32),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matmul_rope.wgsl"), groups),
        deep(include_str!("../../../shaders/dense/matmul_rope.wgsl")),
        matrix(MATRIX, operands_are_halves),
    ],
    constants: tile_constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let Params { m, rotated_cols, head_dim, .. } = bytemuck::pod_read_unaligned(params);
    let rows = m.length(counts) as u64;
    let turns = Cost {
        flops: 3 * rows * u64::from(rotated_cols),
        read_bytes: 4 * rows * u64::from(1 + head_dim),
        written_bytes: 0,
    };
    (matmul::KERNEL.cost)(params, counts) + turns
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let (a, b, position, table) = (call.f(0), call.f(1), call.u(2), call.f(3));
    let out = &mut call.f_mut(4)[..m * n];
    if m == 0 {
        return;
    }
    let (a, b) = ((a, Layout::row_major(k)), (b, Layout::transposed(k)));
    product([m, n, k], out, false, false, None, a, b);
    let (rotated, head_dim) = (params.rotated_cols as usize, params.head_dim as usize);
    rotate_rows(out, n, &position[..m], table, rotated, head_dim);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let [m, n, k] = [params.m, params.n, params.k].map(|extent| call.length(extent));
    let shape = oracle::attention::RopeShape {
        rows: m,
        cols: n,
        rotated_cols: params.rotated_cols as usize,
        head_dim: params.head_dim as usize,
    };
    let product = (call.f(0), call.f(1), k);
    oracle::dense::matmul_rope(product, call.u(2), call.f(3), call.f_mut(4), &shape);
}

/// Shapes with one tile and several, whole steps and others, columns that are not turned.
fn cases() -> Vec<Case> {
    // Rows, columns, depth, columns that are turned, size of a head.
    let shapes = [
        [1, 8, 4, 8, 4],
        [67, 96, 40, 64, 32],
        [130, 192, 64, 128, 64],
        [257, 264, 96, 176, 88],
        [128, 136, 72, 0, 8],
    ];
    let both = |(index, [m, n, k, rotated, head_dim]): (usize, [usize; 5])| {
        let step = Step::of(Counts::default().with(Axis::Bytes, m));
        let (rotated_cols, head) = (rotated as u32, head_dim as u32);
        let mut params = Params::rope(Extent::of(Axis::Bytes), n, k, rotated_cols, head);
        params.some_rows = (k == 64).into();
        let seed = 4000 + index as u64;
        let positions = 50;
        let case = || {
            Case::new(format!("{m}x{n}x{k}, {rotated} turned"), &params, step)
                .f(values(seed, m * k))
                .f(values(seed + 100, n * k))
                .u(integers(seed + 200, m, positions))
                .f(values(seed + 300, positions as usize * head_dim))
                .out(m * n)
        };
        [case(), case().halves(&[0, 1, 4])]
    };
    shapes.into_iter().enumerate().flat_map(both).collect()
}
