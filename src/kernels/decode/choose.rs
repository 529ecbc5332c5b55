//! The id that follows each row of logits: the likeliest, or one that is drawn (spec §14.1).
//!
//! logits is [rows, classes]; a row of choice [rows, 8 + 2 x ceil(classes / 32)] is
//! [`ChoiceRule::words`], then a bit an id that is banned, then a bit an id that was seen. ids
//! `[rows]` are ids always: 0 where status `[rows]` says that none was chosen.
//!
//! The CPU variant is the oracle, whose sums are f64. WGSL has f32: exponentials and sums are
//! rounded, and an id is another one than the oracle's where the uniform number, `top_p` or `min_p`
//! lies so close to where a share begins, or where two logits are one once they are penalised.
//! [`is_firm`] says where neither can be.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, fold_groups,
    integers, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};

pub use crate::oracle::decode::choose::{
    ALL_BANNED, CHOSEN, ChoiceRule, LARGEST_LOGIT, NOT_FINITE, PENALTIES, RULE_WORDS, TEMPERATURES,
    adjusted, is_usable,
};

/// The `Params` uniform of `decode/choose.wgsl`.
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
    name: "choose",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("logits", Element::F32),
        Binding::read("choice", Element::U32),
        Binding::write("ids", Element::U32),
        Binding::write("status", Element::U32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/decode/choose.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Words of a row of choice.
pub const fn choice_words(classes: usize) -> usize {
    RULE_WORDS + 2 * classes.div_ceil(32)
}

/// Whether the id that is drawn behind these logits, with this row of choice, stays the same when
/// the uniform number and `top_p` are `margin` more or less, and `min_p` by that part of it: then
/// rounding does not decide. Greedy rows are firm where the best two logits are apart by as much.
pub fn is_firm(logits: &[f32], choice: &[u32], margin: f32) -> bool {
    let id_of = |rule: &ChoiceRule| {
        let mut choice = choice.to_vec();
        let words = rule.words(choice[0]);
        choice[..RULE_WORDS].copy_from_slice(&words);
        let (mut id, mut status) = ([0], [0]);
        oracle::decode::choose(logits, &choice, &mut id, &mut status, 1, logits.len());
        (id[0], status[0])
    };
    let rule = ChoiceRule::of_words(choice);
    let chosen = id_of(&rule);
    if rule.temperature == 0.0 {
        let mut nudged = logits.to_vec();
        nudged[chosen.0 as usize] -= margin;
        let (mut id, mut status) = ([0], [0]);
        oracle::decode::choose(&nudged, choice, &mut id, &mut status, 1, logits.len());
        return (id[0], status[0]) == chosen;
    }
    let sides = [-margin, 0.0, margin];
    let near = |value: f32, by: f32| if value > 0.0 { (value + by).clamp(0.0, 1.0) } else { value };
    sides.iter().all(|by| {
        let uniform = (rule.uniform + by).clamp(0.0, 1.0 - f32::EPSILON);
        sides.iter().all(|by| {
            let top_p = near(rule.top_p, *by);
            sides.iter().all(|by| {
                let min_p = near(rule.min_p, *by * rule.min_p);
                id_of(&ChoiceRule { uniform, top_p, min_p, ..rule }) == chosen
            })
        })
    })
}

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![("CLASSES", params.classes)]
}

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
        read_bytes: 4 * rows * (classes + choice_words(params.classes as usize) as u64),
        written_bytes: 8 * rows,
    }
}

/// Rows are few: the oracle's loop is fast enough, and gives what the host would choose.
fn cpu(call: Call<'_, f32>) {
    choose(call);
}

fn oracle(call: Call<'_, f64>) {
    choose(call);
}

fn choose<R: oracle::Real>(mut call: Call<'_, R>) {
    let params: Params = call.params();
    let rows = call.length(params.rows);
    let (logits, choice) = (call.f(0), call.u(1));
    let (ids, status) = (call.u_mut(2), call.u_mut(3));
    oracle::decode::choose(logits, choice, ids, status, rows, params.classes as usize);
}

fn cases() -> Vec<Case> {
    let sizes = [(1, 33), (3, 7), (150, 260), (9, 65), (66_000, 5)];
    sizes.into_iter().map(case).chain([extremes()]).collect()
}

/// Logits, penalties and temperatures at the ends of their ranges, and logits beyond: f32 gets by
/// without a number that is infinite or none.
fn extremes() -> Case {
    const CLASSES: usize = 5;
    let logits = [LARGEST_LOGIT, -LARGEST_LOGIT, 1.0, -1e-3, 0.0];
    let beyond = [1.01 * LARGEST_LOGIT, -1.01 * LARGEST_LOGIT, f32::MAX, f32::MIN];
    let (mut rows, mut choice) = (Vec::new(), Vec::new());
    let mut add = |logits: [f32; CLASSES], [banned, seen]: [u32; 2], rule: ChoiceRule| {
        rows.extend(logits);
        choice.extend([&rule.words(u32::MAX)[..], &[banned, seen]].concat());
    };
    let temperatures = [0.0, *TEMPERATURES.start(), 1.0, *TEMPERATURES.end()];
    for (index, temperature) in temperatures.into_iter().enumerate() {
        for repetition_penalty in [*PENALTIES.start(), 1.0, *PENALTIES.end()] {
            for (top_k, top_p, min_p) in [(0, 0.0, 0.0), (2, 0.9, 0.1)] {
                let rule = ChoiceRule {
                    temperature,
                    repetition_penalty,
                    top_k,
                    top_p,
                    min_p,
                    uniform: 0.3,
                };
                for banned in [0, 0b00001, 0b00101] {
                    for seen in [0, 0b11111, 0b00011] {
                        add(logits, [banned, seen], rule);
                        add(logits.map(|logit| -logit), [banned, seen], rule);
                    }
                }
                let mut wrong = logits;
                wrong[index] = beyond[index];
                add(wrong, [0, 0b11111], rule);
            }
        }
    }
    let count = rows.len() / CLASSES;
    let params = Params { rows: Extent::of(Axis::Bytes), classes: CLASSES as u32, reserved: 0 };
    let step = Step::of(Counts::default().with(Axis::Bytes, count));
    Case::new("extremes", &params, step).f(rows).u(choice).out_u(count).out_u(count)
}

/// Rows of every rule, greedy ones among them, where rounding does not decide.
fn case((rows, classes): (usize, usize)) -> Case {
    let params = Params { rows: Extent::of(Axis::Bytes), classes: classes as u32, reserved: 0 };
    let step = Step::of(Counts::default().with(Axis::Bytes, rows));
    let seed = (rows + classes) as u64;
    // Eighths, so that some are equal.
    let logits = values(seed, rows * classes).into_iter();
    let mut logits: Vec<f32> = logits.map(|it| (it * 8.0).round() / 8.0).collect();
    // Bits of which every other is set.
    let bits = integers(seed + 1, rows * 2 * classes.div_ceil(32), u32::MAX);
    let mut bits = bits.chunks_exact(2 * classes.div_ceil(32)).map(<[u32]>::to_vec);
    let forced = integers(seed + 2, rows, 3 * classes as u32);
    let drawn = integers(seed + 3, 5 * rows, 1000);
    let mut choice = Vec::with_capacity(rows * choice_words(classes));
    for row in 0..rows {
        let draws = &drawn[5 * row..][..5];
        let unit = |index: usize| draws[index] as f32 / 1000.0;
        let set = |bit: usize| row >> bit & 1 == 1;
        let mut rule = ChoiceRule {
            temperature: 0.3 + unit(0),
            repetition_penalty: if set(0) { 2.0 } else { 1.0 },
            top_k: if set(1) { 1 + draws[1] % classes as u32 } else { 0 },
            top_p: if set(2) { unit(2) } else { 0.0 },
            min_p: if set(3) { unit(3) } else { 0.0 },
            uniform: unit(4),
        };
        let mut bits = bits.next().expect("every row has bits");
        let row_logits = &mut logits[row * classes..][..classes];
        let (mut forced, is_rare) = (forced[row], row % 32 > 27);
        if is_rare && rows > 4 {
            match row % 4 {
                1 => row_logits[classes / 2] = f32::INFINITY,
                2 => row_logits[0] = f32::NAN,
                3 => bits.fill(u32::MAX),
                _ => forced = 0,
            }
        }
        let words = |rule: &ChoiceRule| [&rule.words(forced)[..], &bits].concat();
        // The many rows of the last case are there for their number.
        if row > 255 || !is_firm(row_logits, &words(&rule), 1e-3) {
            rule.temperature = 0.0;
        }
        choice.extend(words(&rule));
    }
    Case::new(format!("rows {rows}, classes {classes}"), &params, step)
        .f(logits)
        .u(choice)
        .out_u(rows)
        .out_u(rows)
}
