//! Where patches begin: a flag for every byte of all rows (spec §3.2-3.6, §3.8; paper §2).
//!
//! ids, entropies (nats), position (index of the byte in its row) and flags are `[bytes]`. The
//! first two bytes of a row always start a patch; whether byte i > 1 does is decided by the entropy
//! after byte i - 1 (comparisons are strict), or, by spaces, by bytes i - 1 and i - 2. Rows lie
//! back to back and a position of zero begins each. What a mode does not look at may be any buffer.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, MAX_GROUPS_PER_DIMENSION,
    Step, Variant, fold_groups, integers, no_constants, values,
};
use crate::oracle::patch::{EntropyRule, patch_boundary, patch_boundary_space};
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// The `Params` uniform of `patch/patch_boundary.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub bytes: Extent,
    /// [`GLOBAL`], [`MONOTONIC`], [`COMBINED`] or [`SPACE`].
    pub mode: u32,
    /// In nats: of the entropy, or, in monotonic mode, of its rise.
    pub threshold: f32,
    /// In nats: of the rise in combined mode.
    pub threshold_add: f32,
    /// Keeps the size a multiple of 16 bytes.
    pub reserved: [u32; 3],
}

const _: () = assert!(size_of::<Params>() == 32);

/// A patch starts after a byte with an entropy above the threshold (spec §3.4).
pub const GLOBAL: u32 = 0;
/// A patch starts where the entropy rises by more than the threshold (spec §3.5).
pub const MONOTONIC: u32 = 1;
/// Both at once (spec §3.6).
pub const COMBINED: u32 = 2;
/// A patch starts after a space-like byte or a special id (spec §3.8).
pub const SPACE: u32 = 3;

impl Params {
    pub fn new(bytes: Extent, mode: u32, threshold: f32, threshold_add: f32) -> Self {
        Self { bytes, mode, threshold, threshold_add, reserved: [0; 3] }
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "patch_boundary",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("ids", Element::U32),
        Binding::read("entropies", Element::F32),
        Binding::read("position", Element::U32),
        Binding::write("flags", Element::U32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/patch/patch_boundary.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Bytes of one workgroup.
const WIDTH: usize = 64;

/// Bytes that one task of the CPU engine takes.
const BYTES_PER_TASK: usize = 4096;

/// The first id that is a byte; those below are special.
const BYTE_OFFSET: u32 = 4;

fn groups(params: &[u8], counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    fold_groups(params.bytes.length(counts).div_ceil(WIDTH))
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let bytes = params.bytes.length(counts) as u64;
    Cost { flops: 2 * bytes, read_bytes: 8 * bytes, written_bytes: 4 * bytes }
}

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let bytes = call.length(params.bytes);
    let (ids, entropies, position) = (call.u(0), call.f(1), call.u(2));
    let tasks = call.u_mut(3)[..bytes].par_chunks_mut(BYTES_PER_TASK).enumerate();
    tasks.for_each(|(task, flags)| {
        for (byte, flag) in (task * BYTES_PER_TASK..).zip(flags) {
            let position = position[byte];
            let starts = position < 2
                || match params.mode {
                    SPACE => starts_after_space(ids[byte - 2], ids[byte - 1]),
                    _ => starts_by_entropy(&params, entropies, byte, position),
                };
            *flag = starts.into();
        }
    });
}

fn starts_by_entropy(params: &Params, entropies: &[f32], byte: usize, position: u32) -> bool {
    let high = || entropies[byte - 1] > params.threshold;
    let rise = || entropies[byte - 1] - entropies[byte - 2];
    match params.mode {
        GLOBAL => high(),
        MONOTONIC => position == 2 || rise() > params.threshold,
        COMBINED => position == 2 || (position > 3 && rise() > params.threshold_add && high()),
        mode => panic!("patch_boundary: mode {mode} is unknown"),
    }
}

fn starts_after_space(before_last: u32, last: u32) -> bool {
    last < BYTE_OFFSET || (space_like(last) && !space_like(before_last))
}

/// Neither an ASCII letter or digit nor a continuation byte of UTF-8.
fn space_like(id: u32) -> bool {
    let Some(byte) = id.checked_sub(BYTE_OFFSET) else { return true };
    !matches!(byte, 0x30..=0x39 | 0x41..=0x5A | 0x61..=0x7A | 0x80..=0xBF)
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let bytes = call.length(params.bytes);
    let (ids, entropies, flags) = (call.u(0), call.f(1), call.u_mut(3));
    let threshold = f64::from(params.threshold);
    let add = f64::from(params.threshold_add);
    let starts = (0..bytes).filter(|&byte| call.u(2)[byte] == 0).chain([bytes]);
    let starts: Vec<usize> = starts.collect();
    for row in starts.windows(2).map(|pair| pair[0]..pair[1]) {
        let flags = &mut flags[row.clone()];
        let rule = match params.mode {
            GLOBAL => EntropyRule::Global { threshold },
            MONOTONIC => EntropyRule::Monotonic { threshold },
            COMBINED => EntropyRule::Combined { threshold, add },
            _ => {
                patch_boundary_space(&ids[row], flags);
                continue;
            }
        };
        patch_boundary(&entropies[row], rule, flags);
    }
}

fn cases() -> Vec<Case> {
    let rows: [&[u32]; 5] = [&[1], &[2, 1, 3], &[4, 5, 61, 63], &[1000], &[500, 1, 2, 1300]];
    let modes = [(GLOBAL, "global"), (MONOTONIC, "monotonic"), (COMBINED, "combined")];
    let mut cases = Vec::new();
    for (mode, mode_name) in modes.into_iter().chain([(SPACE, "space")]) {
        for (index, rows) in rows.into_iter().enumerate() {
            let bytes = rows.iter().sum::<u32>() as usize;
            let seed = (10 * index) as u64;
            // Entropies in eighths: the thresholds below are met exactly, and strictness is seen.
            let entropies = values(seed, bytes).into_iter();
            let entropies = entropies.map(|value| ((value + 1.0) * 8.0).round() / 8.0).collect();
            let params = Params::new(Extent::of(Axis::Bytes), mode, 0.75, 0.125);
            let step = Step::of(Counts::default().with(Axis::Bytes, bytes));
            cases.push(
                Case::new(format!("{mode_name}, rows {rows:?}"), &params, step)
                    .u(integers(seed + 1, bytes, 260))
                    .f(entropies)
                    .u(rows.iter().flat_map(|&row| 0..row).collect())
                    .out_u(bytes),
            );
        }
    }
    // Every pair of neighbours that may matter to space patching.
    let ids: Vec<u32> = (0..260).flat_map(|id| [id, 101, id, 36, id]).collect();
    let entropies = vec![0.0; ids.len()];
    cases.push(one_row("space, all ids", SPACE, ids, entropies));
    let bytes = MAX_GROUPS_PER_DIMENSION as usize * WIDTH + 100;
    let name = "global, more groups than a dimension holds";
    cases.push(one_row(name, GLOBAL, vec![101; bytes], values(7, bytes)));
    cases
}

fn one_row(name: &str, mode: u32, ids: Vec<u32>, entropies: Vec<f32>) -> Case {
    let bytes = ids.len();
    let step = Step::of(Counts::default().with(Axis::Bytes, bytes));
    Case::new(name, &Params::new(Extent::of(Axis::Bytes), mode, 0.75, 0.0), step)
        .u(ids)
        .f(entropies)
        .u((0..bytes as u32).collect())
        .out_u(bytes)
}
