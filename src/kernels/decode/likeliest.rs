//! Greedy choice: the likeliest id of every row of logits that is not banned (spec §14.1).
//!
//! logits is [rows, classes], banned [rows, ceil(classes / 32)] has a bit an id, forced `[rows]` an
//! id that is taken whatever the logits say, or a number beyond all ids. ids `[rows]` are ids
//! always: 0 where status `[rows]` says that none was chosen.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

pub use crate::oracle::decode::likeliest::{ALL_BANNED, CHOSEN, NOT_FINITE};

/// The `Params` uniform of `decode/likeliest.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    pub classes: u32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: u32,
}

const _: () = assert!(size_of::<Params>() == 16);

pub static KERNEL: Kernel = Kernel {
    name: "likeliest",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("logits", Element::F32),
        Binding::read("banned", Element::U32),
        Binding::read("forced", Element::U32),
        Binding::write("ids", Element::U32),
        Binding::write("status", Element::U32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/decode/likeliest.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// One workgroup a row.
fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.rows.length(counts))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let (rows, classes) = (params.rows.length(counts) as u64, u64::from(params.classes));
    Cost {
        flops: rows * classes,
        read_bytes: 4 * rows * (classes + classes.div_ceil(32) + 1),
        written_bytes: 8 * rows,
    }
}

/// Rows are few: the oracle's loop is fast enough.
fn cpu(call: Call<'_, f32>) {
    choose(call);
}

fn oracle(call: Call<'_, f64>) {
    choose(call);
}

fn choose<R: oracle::Real>(mut call: Call<'_, R>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (logits, banned, forced) = (call.f(0), call.u(1), call.u(2));
    let (ids, status) = (call.u_mut(3), call.u_mut(4));
    let classes = params.classes as usize;
    oracle::decode::likeliest(logits, banned, forced, ids, status, rows, classes);
}

fn cases() -> Vec<Case> {
    let case = |(rows, classes): (usize, usize)| {
        let params = Params { rows: Extent::of(Axis::Bytes), classes: classes as u32, reserved: 0 };
        let step = Step::of(Counts::default().with(Axis::Bytes, rows));
        let seed = (rows + classes) as u64;
        // Eighths, so that some are equal; bits of which every other is set.
        let logits = values(seed, rows * classes).into_iter();
        let mut logits: Vec<f32> = logits.map(|it| (it * 8.0).round() / 8.0).collect();
        let words = classes.div_ceil(32);
        let mut banned = integers(seed + 1, rows * words, u32::MAX);
        if rows > 4 {
            logits[classes + classes / 2] = f32::INFINITY;
            logits[2 * classes] = f32::NAN;
            banned[3 * words..4 * words].fill(u32::MAX);
        }
        let forced = integers(seed + 2, rows, 3 * classes as u32);
        Case::new(format!("rows {rows}, classes {classes}"), &params, step)
            .f(logits)
            .u(banned)
            .u(forced)
            .out_u(rows)
            .out_u(rows)
    };
    [(1, 33), (3, 7), (64, 260), (9, 65), (66_000, 5)].into_iter().map(case).collect()
}
