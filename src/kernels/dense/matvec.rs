//! A linear layer for a few rows, with the norm in front of it and what follows it:
//! `out = norm(x) weightᵀ + residual_scale residual`, or `silu(gate) up` (spec §5.1, §5.5).
//!
//! x is [rows, depth], weight [features, depth] or, gated, [2 features, depth] with the rows of the
//! gate before those of up, gain `[depth]`, residual and out [rows, features]. Where there is no
//! norm, or no residual, any buffer may be bound in its place. The weight is what takes time: it is
//! read once for four rows, by many lanes. With `fixed_order` a row has the bits that
//! [`rms_norm`](crate::kernels::norm::rms_norm), [`matmul`](super::matmul) in fixed order and
//! [`swiglu`](super::swiglu) give it.

use super::matvec_cpu;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant, always,
    packing_constants, values, wide,
};
use crate::oracle;
use crate::packed::WeightType;
use bytemuck::{Pod, Zeroable};

/// The `Params` uniform of `dense/matvec.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    /// Columns of out.
    pub features: u32,
    /// Columns of x and of the weight.
    pub depth: u32,
    /// What is added under the root of the norm.
    pub eps: f32,
    /// How often the residual is added; zero where it is gated.
    pub residual_scale: f32,
    /// One: rows of x are normed.
    pub has_norm: u32,
    /// One: the weight is gate and up.
    pub is_gated: u32,
    /// One: in the order of sums of the other kernels in fixed order.
    pub fixed_order: u32,
    /// Of [`matvec_rope`](super::matvec_rope): the columns that are rotated, a multiple of
    /// `head_dim`, which is even.
    pub rotated_cols: u32,
    pub head_dim: u32,
    /// Of the same: the first column that is kept, even; as the number of features is.
    pub kept_from: u32,
    /// Of the same: units behind its own at which a row is kept a second time; 0: nowhere.
    pub mirror: u32,
    /// Of the same: rows that share an index and lie in its unit one behind the other.
    pub factor: u32,
    /// [`WeightType::number`] of the weight.
    pub weight_type: u32,
    /// Zero.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 64);

pub static KERNEL: Kernel = Kernel {
    name: "matvec",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("weight", Element::F32).or_packed(),
        Binding::read("gain", Element::F32),
        Binding::read("residual", Element::F32),
        Binding::write("out", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matvec.wgsl"), groups),
        Variant {
            name: "spread",
            source: include_str!("../../../shaders/dense/matvec.spread.wgsl"),
            defines: &[],
            needs: Needs::NOTHING,
            takes: always,
            suits: |situation| situation.abilities.hardware,
            keeps_bits: false,
            groups: spread_groups,
        },
    ],
    constants,
    cost,
    cpu: matvec_cpu::matvec,
    oracle,
    cases,
};

/// Rows of x and of the weight that a workgroup of the base variant takes.
const ROWS: usize = 4;
const COLS: usize = 8;
/// Rows of x and features of a workgroup of `spread`.
const SPREAD_ROWS: usize = 16;
const SPREAD_FEATURES: usize = 4;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    constants_of_layer(&params)
}

pub(super) fn constants_of_layer(params: &Params) -> Vec<(&'static str, u32)> {
    let norm = ("NORM", params.has_norm);
    let mut constants = vec![wide(params.depth), norm, ("GATED", params.is_gated)];
    constants.extend_from_slice(packing_constants(params.weight_type));
    constants
}

fn tiles(params: &Params, counts: &Counts, [rows, features]: [usize; 2]) -> [u32; 3] {
    let rows = params.rows.length(counts).div_ceil(rows).max(1);
    [(params.features as usize).div_ceil(features) as u32, rows as u32, 1]
}

pub(super) fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    tiles(&params, counts, [ROWS, if params.is_gated == 1 { COLS / 2 } else { COLS }])
}

pub(super) fn spread_groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    tiles(&bytemuck::pod_read_unaligned(params), counts, [SPREAD_ROWS, SPREAD_FEATURES])
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    cost_of_layer(&bytemuck::pod_read_unaligned(params), counts)
}

pub(super) fn cost_of_layer(params: &Params, counts: &Counts) -> Cost {
    let (features, depth) = (u64::from(params.features), u64::from(params.depth));
    let (rows, n) = (params.rows.length(counts) as u64, features * u64::from(1 + params.is_gated));
    let norm = u64::from(params.has_norm);
    let row = WeightType::from_number(params.weight_type).row_length(params.depth as usize) as u64;
    let residual = u64::from(params.residual_scale != 0.0) * rows * features;
    Cost {
        flops: 2 * rows * n * depth + 4 * norm * rows * depth,
        read_bytes: 4 * (rows * depth + n * row + norm * depth + residual),
        written_bytes: 4 * rows * features,
    }
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle::dense::MatvecShape {
        rows: call.length(params.rows),
        features: params.features as usize,
        depth: params.depth as usize,
        norm_eps: (params.has_norm == 1).then_some(f64::from(params.eps)),
        is_gated: params.is_gated == 1,
        residual_scale: f64::from(params.residual_scale),
    };
    let weight_rows = shape.features * (1 + params.is_gated as usize);
    let weight = call.weight(1, params.weight_type).all(weight_rows, shape.depth);
    let inputs = [call.f(0), &weight, call.f(2), call.f(3)];
    oracle::dense::matvec(inputs, call.f_mut(4), &shape);
}

fn cases() -> Vec<Case> {
    // Rows, features, depth.
    let shapes = [
        [1, 1, 1],
        [1, 512, 512],
        [2, 37, 20],
        [3, 24, 33],
        [4, 260, 128],
        [7, 40, 300],
        [64, 48, 64],
        [70, 9, 7],
    ];
    let mut cases = Vec::new();
    for (index, [rows, features, depth]) in shapes.into_iter().enumerate() {
        for kind in 0..5_u32 {
            let [has_norm, is_gated] = [kind & 1, u32::from(kind >= 3)];
            let residual_scale = if kind == 1 || kind == 2 { kind as f32 } else { 0.0 };
            let params = Params {
                rows: Extent::of(Axis::Bytes),
                features: features as u32,
                depth: depth as u32,
                eps: 1e-5,
                residual_scale,
                has_norm,
                is_gated,
                fixed_order: (index % 2) as u32,
                ..Zeroable::zeroed()
            };
            let step = Step::of(Counts::default().with(Axis::Bytes, rows));
            let n = features * (1 + is_gated as usize);
            let seed = (10 * index) as u64 + u64::from(kind);
            let name = format!("{rows}x{features}x{depth}, kind {kind}");
            // An outlier of twelve in a small row makes sums of hundreds, and two are multiplied.
            let tolerance = if is_gated == 1 { 4e-4 } else { 4e-5 };
            for weights in types_of_weights(index) {
                let params = Params { weight_type: weights.number(), ..params };
                cases.push(
                    Case::new(format!("{name}, {}", weights.name()), &params, step)
                        .f(values(seed, rows * depth))
                        .weight(values(seed + 100, n * depth), depth, weights)
                        .f(values(seed + 200, depth))
                        .f(values(seed + 300, rows * features))
                        .out(rows * features)
                        .tolerance(tolerance),
                );
            }
        }
    }
    cases
}

/// f32, and for some of the cases, whose rows are whole vectors or not, every other type.
pub(super) fn types_of_weights(index: usize) -> impl Iterator<Item = WeightType> {
    let all = [1, 2, 3, 5].contains(&index);
    WeightType::ALL.into_iter().filter(move |weights| all || !weights.is_packed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::HostBuffer;
    use crate::kernels::dense::{matmul, swiglu};
    use crate::kernels::norm::rms_norm;

    fn numbers(buffer: &HostBuffer<f32>) -> Vec<f32> {
        match buffer {
            HostBuffer::F(values) => values.clone(),
            HostBuffer::U(_) => panic!("numbers were expected"),
        }
    }

    /// In fixed order a row has the bits of the kernels that it stands for.
    #[test]
    fn fixed_order_is_that_of_the_other_kernels() {
        let mut seen = 0;
        for case in cases() {
            let params: Params = bytemuck::pod_read_unaligned(&case.params);
            if params.fixed_order == 0 || params.weight_type != 0 {
                continue;
            }
            let (rows, features, depth) =
                (params.rows, params.features as usize, params.depth as usize);
            let count = case.step.length(rows);
            let inputs: Vec<Vec<f32>> = case.buffers.iter().map(numbers).collect();
            let mut x = inputs[0].clone();
            if params.has_norm == 1 {
                let params = rms_norm::Params { rows, cols: depth as u32, eps: params.eps };
                let case = Case::new("norm", &params, case.step).f(x).f(inputs[2].clone());
                x = numbers(&case.out(count * depth).out(count).on_cpu(&rms_norm::KERNEL)[2]);
            }
            let n = features * (1 + params.is_gated as usize);
            let product = matmul::Params {
                fixed_order: 1,
                residual_scale: params.residual_scale,
                ..matmul::Params::new(rows, Extent::fixed(n), Extent::fixed(depth), false, true)
            };
            let product = Case::new("product", &product, case.step)
                .f(x)
                .f(inputs[1].clone())
                .f(inputs[3].clone())
                .out(count * n);
            let mut expected = numbers(&product.on_cpu(&matmul::KERNEL)[3]);
            if params.is_gated == 1 {
                let params = swiglu::Params::new(rows, features as u32);
                let case = Case::new("swiglu", &params, case.step).f(expected);
                expected = numbers(&case.out(count * features).on_cpu(&swiglu::KERNEL)[1]);
            }
            let bits = |values: &[f32]| values.iter().map(|it| it.to_bits()).collect::<Vec<_>>();
            let got = numbers(&case.on_cpu(&KERNEL)[4]);
            assert_eq!(bits(&got), bits(&expected), "{}", case.name);
            seen += 1;
        }
        assert!(seen > 10, "{seen} cases are in fixed order");
    }
}
