//! The table row of every id: `out[i] = table[ids[i]]` (spec §2.1).
//!
//! ids is `[rows]` with numbers below the vocabulary, table [vocabulary, cols], out [rows, cols].
//! Its gradient is [`scatter_add`](super::scatter_add).

use super::gather_rows::copy_rows;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, packing_constants, values, wide,
};
use crate::oracle;
use crate::packed::WeightType;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `embedding/byte_embedding.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub cols: u32,
    /// [`WeightType::number`] of the table.
    pub weight_type: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

impl Params {
    pub fn new(rows: Extent, cols: u32, weights: WeightType) -> Self {
        Self { rows, cols, weight_type: weights.number() }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "byte_embedding",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("ids", Element::U32),
        Binding::read("table", Element::F32).or_packed(),
        Binding::write("out", Element::F32),
    ],
    variants: &[Variant::base(
        include_str!("../../../shaders/embedding/byte_embedding.wgsl"),
        groups,
    )],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let mut constants = vec![wide(params.cols)];
    constants.extend_from_slice(packing_constants(params.weight_type));
    constants
}

/// One workgroup a row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, cols) = (params.rows.length(counts) as u64, u64::from(params.cols));
    let row = WeightType::from_number(params.weight_type).row_length(cols as usize) as u64;
    Cost { flops: 0, read_bytes: 4 * (rows * row + rows), written_bytes: 4 * rows * cols }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let table = call.weight(1, params.weight_type);
    copy_rows(table, &call.u(0)[..rows], call.f_mut(2), params.cols as usize);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (rows, cols) = (call.length(params.rows), params.cols as usize);
    let ids = &call.u(0)[..rows];
    let table = call.weight(1, params.weight_type).all(VOCABULARY as usize, cols);
    oracle::embedding::byte_embedding(ids, &table, call.f_mut(2), cols);
}

fn cases() -> Vec<Case> {
    let shapes = [(1, 1), (5, 7), (65, 64), (300, 129), (66_000, 4)];
    let case = |(rows, cols): (usize, usize), weights: WeightType| {
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let params = Params::new(Extent::of(Axis::Bytes), cols as u32, weights);
        let mut ids = integers(rows as u64, rows, VOCABULARY);
        ids[rows / 2] = VOCABULARY - 1;
        Case::new(format!("rows {rows}, cols {cols}, {}", weights.name()), &params, step)
            .u(ids)
            .weight(values(cols as u64, VOCABULARY as usize * cols), cols, weights)
            .out(rows * cols)
    };
    let plain = shapes.map(|shape| case(shape, WeightType::F32));
    let packed = WeightType::ALL.into_iter().filter(|weights| weights.is_packed());
    let packed = packed.flat_map(|weights| [shapes[1], shapes[2]].map(|it| case(it, weights)));
    plain.into_iter().chain(packed).collect()
}

/// Ids of the byte tokenizer: four special ones and all bytes.
const VOCABULARY: u32 = 260;
