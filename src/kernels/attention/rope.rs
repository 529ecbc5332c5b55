//! Rotary position embedding of interleaved pairs (spec §5.4).
//!
//! x and out are [rows, cols]; the first `rotated_cols` columns are heads of `head_dim` columns,
//! the rest is copied. `table` is [positions, head_dim]: for every pair the cosine, then the sine.

use crate::kernels::eights::{are_eights, chunk_groups, lanes_eights};
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Halves, Kernel, Step, Variant, WIDE,
    fold_groups, integers, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `attention/rope.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// The columns that are rotated, a multiple of `head_dim`.
    pub rotated_cols: u32,
    /// Even.
    pub head_dim: u32,
    /// 1 forward, -1 for the gradient.
    pub sign: f32,
    pub reserved_0: u32,
    pub reserved_1: u32,
}

const _: () = assert!(size_of::<Params>() == 32);

impl Params {
    /// A rotation by `sign` times the angle of each row's position.
    pub fn new(rows: Extent, cols: u32, rotated_cols: u32, head_dim: u32, sign: f32) -> Self {
        Self { rows, cols, rotated_cols, head_dim, sign, ..Self::zeroed() }
    }

    /// Whether all heads are whole vectors of four.
    fn are_vectors(&self) -> bool {
        [self.cols, self.rotated_cols, self.head_dim].iter().all(|cols| cols.is_multiple_of(4))
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "rope",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32).or_half(),
        Binding::read("position", Element::U32),
        Binding::read("table", Element::F32),
        Binding::write("out", Element::F32).or_half(),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/attention/rope.wgsl"), groups),
        lanes_eights(
            include_str!("../../../shaders/attention/rope.lanes_eights.wgsl"),
            takes_eights,
            eights_groups,
        ),
    ],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Invocations of one workgroup.
const WIDTH: usize = 64;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![(WIDE, params.are_vectors().into())]
}

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts), params.cols as usize);
    // An invocation takes two vectors, or one pair.
    let invocations =
        if params.are_vectors() { (rows * cols / 4).div_ceil(2) } else { rows * cols.div_ceil(2) };
    fold_groups(invocations.div_ceil(WIDTH))
}

fn takes_eights(params: &[u8], halves: Halves) -> bool {
    let params: Params = bytemuck::pod_read_unaligned(params);
    halves == Halves::NONE && are_eights(&[params.cols, params.rotated_cols, params.head_dim])
}

fn eights_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    chunk_groups(params.rows.length(counts) * params.cols as usize)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let rows = params.rows.length(counts) as u64;
    let elements = rows * u64::from(params.cols);
    Cost {
        flops: 3 * rows * u64::from(params.rotated_cols),
        read_bytes: 4 * (elements + rows * u64::from(1 + params.head_dim)),
        written_bytes: 4 * elements,
    }
}

/// Rows that one task rotates.
const ROWS_PER_TASK: usize = 32;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let (head_dim, rotated) = (params.head_dim as usize, params.rotated_cols as usize);
    let (x, position, table, out) = (call.f(0), call.u(1), call.f(2), call.f_mut(3));
    let tasks = out[..rows * cols]
        .par_chunks_mut(ROWS_PER_TASK * cols)
        .zip(x[..rows * cols].par_chunks(ROWS_PER_TASK * cols))
        .zip(position[..rows].par_chunks(ROWS_PER_TASK));
    tasks.for_each(|((out, x), position)| {
        for ((out, x), position) in out.chunks_mut(cols).zip(x.chunks(cols)).zip(position) {
            let angles = &table[*position as usize * head_dim..][..head_dim];
            let heads = out[..rotated].chunks_exact_mut(head_dim);
            for (out, x) in heads.zip(x[..rotated].chunks_exact(head_dim)) {
                rotate(out, x, angles, params.sign);
            }
            out[rotated..].copy_from_slice(&x[rotated..]);
        }
    });
}

fn rotate(out: &mut [f32], x: &[f32], angles: &[f32], sign: f32) {
    let pairs = out.chunks_exact_mut(2).zip(x.chunks_exact(2)).zip(angles.chunks_exact(2));
    for ((out, x), angle) in pairs {
        let (cosine, sine) = (angle[0], sign * angle[1]);
        out[0] = x[0] * cosine - x[1] * sine;
        out[1] = x[0] * sine + x[1] * cosine;
    }
}

/// Turns the first `rotated` columns of rows of `cols` where they are, forward.
pub(in crate::kernels) fn rotate_rows(
    rows: &mut [f32],
    cols: usize,
    position: &[u32],
    table: &[f32],
    rotated: usize,
    head_dim: usize,
) {
    let tasks = rows.par_chunks_mut(ROWS_PER_TASK * cols).zip(position.par_chunks(ROWS_PER_TASK));
    tasks.for_each(|(rows, position)| {
        for (row, position) in rows.chunks_mut(cols).zip(position) {
            let angles = &table[*position as usize * head_dim..][..head_dim];
            for head in row[..rotated].chunks_exact_mut(head_dim) {
                let pairs = head.chunks_exact_mut(2).zip(angles.chunks_exact(2));
                for (pair, angle) in pairs {
                    let (left, right) = (pair[0], pair[1]);
                    pair[0] = left * angle[0] - right * angle[1];
                    pair[1] = left * angle[1] + right * angle[0];
                }
            }
        }
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle::attention::RopeShape {
        rows: call.length(params.rows),
        cols: params.cols as usize,
        rotated_cols: params.rotated_cols as usize,
        head_dim: params.head_dim as usize,
    };
    let (x, position, table, out) = (call.f(0), call.u(1), call.f(2), call.f_mut(3));
    oracle::attention::rope(x, position, table, out, &shape, params.sign.into());
}

fn cases() -> Vec<Case> {
    // Rows, columns, rotated columns, head_dim.
    let shapes = [
        (1, 2, 2, 2),
        (3, 11, 8, 4),
        (7, 36, 24, 12),
        (33, 64, 0, 8),
        (1_400_000, 6, 2, 2),
        (67, 96, 64, 32),
        (70, 64, 64, 16),
    ];
    let mut cases = Vec::new();
    for (index, (rows, cols, rotated_cols, head_dim)) in shapes.into_iter().enumerate() {
        let sign = [1.0, -1.0][index % 2];
        let params = Params::new(Extent::of(Axis::Bytes), cols, rotated_cols, head_dim, sign);
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let name = format!("rows {rows}, cols {cols}, rotated {rotated_cols}, sign {sign}");
        let (seed, elements) = (index as u64, rows * cols as usize);
        let case = || {
            Case::new(name.clone(), &params, step)
                .f(values(seed, elements))
                .u(integers(seed + 100, rows, 50))
                .f(values(seed + 200, 50 * head_dim as usize))
                .out(elements)
        };
        cases.push(case());
        if [3, 7].contains(&rows) {
            cases.push(case().halves(&[0, 3]));
        }
    }
    cases
}
