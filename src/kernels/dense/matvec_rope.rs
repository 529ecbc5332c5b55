//! The layer that makes queries, keys and values of a step of generation: the norm in front of it,
//! the rotary embedding behind it, and the cache that keys and values go into (spec §5.3, §14.3).
//!
//! x is [rows, depth], weight [features, depth], gain `[depth]`, position `[rows]`, index
//! [rows / factor], table [positions, head_dim], out [rows, features], cache
//! [cache_rows, features - kept_from]. It is what [`matvec`](super::matvec) and
//! [`rope_cache`](crate::kernels::decode::rope_cache) do one after the other, to the bit in fixed
//! order; or [`cache_rows`](crate::kernels::decode::cache_rows), where no columns are rotated.

use super::matvec::{
    Params, constants_of_layer, cost_of_layer, groups, spread_groups, types_of_weights,
};
use super::matvec_cpu::multiply;
use crate::kernels::attention::rope::rotate_rows;
use crate::kernels::decode::cache_rows::NOWHERE;
use crate::kernels::decode::rope_cache::keep_rows;
use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Needs, Step, Variant, always,
    integers, values,
};
use crate::oracle;
use crate::packed::WeightType;

pub static KERNEL: Kernel = Kernel {
    name: "matvec_rope",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("x", Element::F32),
        Binding::read("weight", Element::F32).or_packed(),
        Binding::read("gain", Element::F32),
        Binding::read("position", Element::U32),
        Binding::read("table", Element::F32),
        Binding::read("index", Element::U32),
        Binding::write("out", Element::F32),
        Binding::update("cache", Element::F32),
    ],
    variants: &[
        Variant::base(include_str!("../../../shaders/dense/matvec_rope.wgsl"), groups),
        Variant {
            name: "spread",
            source: include_str!("../../../shaders/dense/matvec_rope.spread.wgsl"),
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
    cpu,
    oracle,
    cases,
};

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    constants_of_layer(&params)
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let rows = params.rows.length(counts) as u64;
    let kept = rows * u64::from(params.features - params.kept_from);
    let layer = cost_of_layer(&params, counts);
    Cost {
        flops: layer.flops + 3 * rows * u64::from(params.rotated_cols),
        read_bytes: layer.read_bytes + 4 * rows * u64::from(2 + params.head_dim),
        written_bytes: layer.written_bytes + 4 * (1 + u64::from(params.mirror > 0)) * kept,
    }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (rows, features) = (call.length(params.rows), params.features as usize);
    let (position, table, index) = (call.u(3), call.f(4), call.u(5));
    let (out, cache) = (&mut call.f_mut(6)[..rows * features], call.f_mut(7));
    let weight = call.weight(1, params.weight_type);
    multiply(&params, rows, weight, [call.f(0), call.f(2), &[]], out);
    let (rotated, head_dim) = (params.rotated_cols as usize, params.head_dim as usize);
    if rotated > 0 {
        rotate_rows(out, features, &position[..rows], table, rotated, head_dim);
    }
    let (kept_from, mirror) = (params.kept_from as usize, params.mirror as usize);
    let factor = params.factor as usize;
    keep_rows(out, features, (&index[..rows / factor], factor), kept_from, mirror, cache);
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let shape = oracle::dense::MatvecShape {
        rows: call.length(params.rows),
        features: params.features as usize,
        depth: params.depth as usize,
        norm_eps: (params.has_norm == 1).then_some(f64::from(params.eps)),
        is_gated: false,
        residual_scale: 0.0,
    };
    let keeps = oracle::dense::Keeps {
        rotated_cols: params.rotated_cols as usize,
        head_dim: params.head_dim as usize,
        kept_from: params.kept_from as usize,
        mirror: params.mirror as usize,
        factor: params.factor as usize,
    };
    let weight = call.weight(1, params.weight_type).all(shape.features, shape.depth);
    let inputs = [call.f(0), &weight, call.f(2), call.f(4)];
    let indices = [call.u(3), call.u(5)];
    let outputs = [call.f_mut(6), call.f_mut(7)];
    oracle::dense::matvec_rope(inputs, indices, outputs, &shape, &keeps);
}

fn cases() -> Vec<Case> {
    // Rows, features, depth, rotated columns, head_dim, first column kept, mirror, factor.
    let shapes = [
        [1, 2, 1, 2, 2, 0, 0, 1],
        [1, 192, 64, 128, 32, 64, 1, 1],
        [3, 26, 20, 16, 4, 8, 5, 1],
        [5, 36, 300, 24, 12, 12, 8, 1],
        [64, 24, 33, 16, 8, 8, 64, 1],
        [70, 10, 7, 0, 2, 4, 0, 1],
        [10, 12, 40, 0, 2, 0, 5, 2],
    ];
    let case = |number: usize, shape: [usize; 8], weights: WeightType| {
        let [rows, features, depth, rotated_cols, head_dim, kept_from, mirror, factor] = shape;
        let params = Params {
            rows: Extent::of(Axis::Bytes),
            features: features as u32,
            depth: depth as u32,
            eps: 1e-5,
            residual_scale: 0.0,
            has_norm: (!number.is_multiple_of(3)).into(),
            is_gated: 0,
            fixed_order: (number % 2) as u32,
            rotated_cols: rotated_cols as u32,
            head_dim: head_dim as u32,
            kept_from: kept_from as u32,
            mirror: mirror as u32,
            factor: factor as u32,
            weight_type: weights.number(),
            reserved: 0,
        };
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        // From the last unit to the first, every fifth but the first nowhere.
        let units = (rows / factor) as u32;
        let index = (0..units).map(|unit| match unit % 5 {
            4 => NOWHERE,
            _ => units - 1 - unit,
        });
        let seed = 7000 + 10 * number as u64;
        let name = format!("{rows}x{features}x{depth}, mirror {mirror}, {}", weights.name());
        Case::new(name, &params, step)
            .f(values(seed, rows * depth))
            .weight(values(seed + 1, features * depth), depth, weights)
            .f(values(seed + 2, depth))
            .u(integers(seed + 3, rows, 50))
            .f(values(seed + 4, 50 * head_dim))
            .u(index.collect())
            .out(rows * features)
            .f(values(seed + 5, (rows + mirror * factor) * (features - kept_from)))
            // Outliers of twelve turn sums of hundreds.
            .tolerance(2e-4)
    };
    let mut cases = Vec::new();
    for (number, shape) in shapes.into_iter().enumerate() {
        cases.extend(types_of_weights(number).map(|weights| case(number, shape, weights)));
    }
    cases
}
