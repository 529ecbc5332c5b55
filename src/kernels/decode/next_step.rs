//! From one byte of running streams to the next on the device: what a step has chosen is added to
//! each stream, and the tables of the step behind it follow (spec §14.3).
//!
//! start and the states in arena are [rows, width], ids, status and entropies `[rows]`, powers
//! [tables, 18] as [`hash_ids`](crate::kernels::embedding::hash_ids) has them, counts the first
//! eight words of the [`Step`] that follows; [`layout`] says what the words mean. In front of the
//! first step streams are those of `start`; behind the last nothing but results is written. Streams
//! that have stopped remain rows and keep nothing.

use crate::kernels::{
    Axis, Binding, Call, Case, Cost, Counts, Element, Extent, Kernel, Step, Variant, integers,
    no_constants, values,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use oracle::decode::next_step as words;

pub use crate::oracle::decode::next_step::{StepRules, width};
/// The words of streams and results, the names of tables, the rules of patches.
pub use oracle::decode::next_step as layout;

/// The `Params` uniform of `decode/next_step.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    pub rows: Extent,
    /// The step that follows, of so many.
    pub link: u32,
    pub link_count: u32,
    pub rules: StepRules,
}

const _: () = assert!(size_of::<Params>() == 240);

pub static KERNEL: Kernel = Kernel {
    name: "next_step",
    params_bytes: size_of::<Params>(),
    bindings: &[
        Binding::read("start", Element::U32),
        Binding::read("powers", Element::U32),
        Binding::read("ids", Element::U32),
        Binding::read("status", Element::U32),
        Binding::read("entropies", Element::F32),
        Binding::update("arena", Element::U32),
        Binding::update("counts", Element::U32),
    ],
    variants: &[Variant::base(include_str!("../../../shaders/decode/next_step.wgsl"), groups)],
    constants: no_constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// One workgroup: streams count those before them that close.
fn groups(_params: &[u8], _counts: &Counts) -> [u32; 3] {
    [1, 1, 1]
}

fn cost(params: &[u8], counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let width = params.rules.width(params.link_count as usize);
    let words = (params.rows.length(counts) * width) as u64;
    Cost { flops: 0, read_bytes: 4 * words, written_bytes: 4 * words }
}

fn cpu(mut call: Call<'_, f32>) {
    let entropies = call.f(4);
    advance(&mut call, entropies);
}

fn oracle(mut call: Call<'_, f64>) {
    let entropies: Vec<f32> = call.f(4).iter().map(|&entropy| entropy as f32).collect();
    advance(&mut call, &entropies);
}

fn advance<R: oracle::Real>(call: &mut Call<'_, R>, entropies: &[f32]) {
    let params: Params = call.params();
    let sizes = [params.link as usize, params.link_count as usize, call.length(params.rows)];
    let chosen = words::Chosen { ids: call.u(2), status: call.u(3), entropies };
    let (start, powers) = (call.u(0), call.u(1));
    let (arena, counts) = (call.u_mut(5), call.u_mut(6));
    words::next_step(&params.rules, sizes, start, powers, chosen, arena, counts);
}

/// Steps at once in the cases.
const LINKS: usize = 3;
/// The most states that a closing patch of a case needs.
const MOST_STATES: usize = 16;

fn cases() -> Vec<Case> {
    let shapes = [
        (1, 0, words::ENTROPY),
        (7, 0, words::BYTE),
        (1, 1, words::ENTROPY),
        (70, 2, words::STATIC),
        (70, 1, words::BYTE),
        (70, 2, words::SPACE),
        (70, 1, words::ENTROPY),
        (70, 2, words::MONOTONIC),
        (70, 2, words::COMBINED),
        (70, 3, words::ENTROPY),
    ];
    shapes.into_iter().map(|(rows, link, mode)| case(rows, link, mode)).collect()
}

fn case(rows: usize, link: usize, mode: u32) -> Case {
    // Every other case without hashes, and without states side by side.
    let is_full = mode % 2 == 1;
    let hash_tables = if is_full { 3 } else { 0 };
    let concatenated = if is_full { 5 } else { 0 };
    let mut rules = StepRules {
        rings: [[40, 20, 20, 17], [16, 8, 8, 8], [300, 300, 0, 300], [6, 3, 3, 2]],
        tables: [words::NO_TABLE; 24],
        state: 0,
        results: 0,
        stream_states: 11,
        stream_patches: 50,
        unpool_window: 2,
        pool_window: 2,
        concatenated,
        ends_documents: 1,
        next_ends_documents: u32::from(is_full),
        hash_tables,
        rows_per_table: 1009,
        mode,
        threshold: 0.1,
        threshold_add: 0.05,
        patch_size: 3,
        max_patch_length: if is_full { 7 } else { 0 },
    };
    let mut length = 0;
    for (index, name) in words::TABLES.iter().enumerate() {
        let columns = match *name {
            "hash_ids" => hash_tables as usize,
            "patch_last_bytes" => concatenated as usize,
            "choice" => words::PLANNED - words::CHOICE,
            "closing_states" => MOST_STATES,
            name if name.ends_with("range") => 2,
            _ => 1,
        };
        if columns > 0 {
            rules.tables[index] = length as u32;
            length += rows * columns;
        }
    }
    rules.state = length as u32;
    length += rows * rules.width(LINKS);
    rules.results = length as u32;
    length += LINKS * rows * words::RESULT_WORDS;
    let seed = (100 * rows + 10 * link) as u64 + u64::from(mode);
    let streams = streams(&rules, rows, seed);
    let mut arena = vec![0xDEAD; length];
    if link > 0 {
        arena[rules.state as usize..][..streams.len()].copy_from_slice(&streams);
    }
    let start = if link == 0 { streams } else { vec![0; rows * rules.width(LINKS)] };
    let mut powers = integers(seed + 1, hash_tables as usize * 18, u32::MAX);
    for (index, words) in powers.chunks_exact_mut(18).enumerate() {
        (words[0], words[1]) = (3 + 2 * index as u32, ((1_u128 << 64) % 1009) as u32);
    }
    if powers.is_empty() {
        powers.push(0);
    }
    let drawn = integers(seed + 2, rows, 24);
    // Letters and spaces, and ends of texts.
    let ids = drawn.iter().map(|&it| if it < 3 { 2 } else { 4 + 29 + 3 * it }).collect();
    let status = integers(seed + 3, rows, 12).into_iter().map(|it| if it == 0 { 2 } else { 0 });
    let mut entropies = values(seed + 4, rows);
    if rows > 9 {
        entropies[9] = f32::NAN;
    }
    let rows_of = Extent::of(Axis::Bytes);
    let params = Params { rows: rows_of, link: link as u32, link_count: LINKS as u32, rules };
    let step = Step::of(Counts::default().with(Axis::Bytes, rows));
    Case::new(format!("rows {rows}, step {link}, mode {mode}"), &params, step)
        .u(start)
        .u(powers)
        .u(ids)
        .u(status.collect())
        .f(entropies)
        .u(arena)
        .u(vec![0xDEAD; 8])
}

/// Streams in the middle of their texts, one in eight of which has stopped.
fn streams(rules: &StepRules, rows: usize, seed: u64) -> Vec<u32> {
    let width = rules.width(LINKS);
    let mut all = integers(seed, rows * width, 260);
    for (row, stream) in all.chunks_exact_mut(width).enumerate() {
        let [near, far] = [stream[words::READ] % 4, stream[words::DOCUMENT] % 4];
        let read = 20 + stream[words::READ] % 100;
        let starts = words::PLANNED + 2 * LINKS;
        stream[words::STREAM] = row as u32;
        stream[words::IS_LIVE] = u32::from(row % 8 != 7);
        stream[words::READ] = read;
        stream[words::DOCUMENT] = read - near - 2 * far;
        stream[words::PATCH_COUNT] = 3 + near;
        stream[words::PATCH_DOCUMENT] = far;
        stream[words::HAS_ENDED] = u32::from(row % 5 == 0);
        stream[words::CLOSES] = u32::from(row % 3 != 1);
        stream[words::ID_COUNT] = if row % 6 == 0 { row as u32 % 4 } else { read + 1 };
        stream[words::PATCH_START] = stream[words::ID_COUNT] - near.min(stream[words::ID_COUNT]);
        stream[words::LAST_ENTROPY] = (near as f32 / 8.0).to_bits();
        stream[words::NEXT_INDEX] = read + 1;
        stream[words::NEXT_DOCUMENT] = read - far;
        stream[words::START_COUNT] = 1 + row as u32 % 2;
        stream[starts] = read - near - far;
        stream[starts + 1] = read - near;
        for planned in &mut stream[words::PLANNED..words::PLANNED + LINKS] {
            *planned = if *planned < 100 { *planned } else { u32::MAX };
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    /// The numbers of the WGSL by their names.
    fn constants() -> BTreeMap<&'static str, u32> {
        let text = include_str!("../../../shaders/decode/next_step.wgsl");
        let constant = |line: &'static str| {
            let (name, value) = line.strip_prefix("const ")?.split_once(": u32 = ")?;
            let value = value.strip_suffix("u;").expect("a constant is a number");
            let value = match value.strip_prefix("0x") {
                Some(digits) => u32::from_str_radix(digits, 16),
                None => value.parse(),
            };
            Some((name, value.unwrap()))
        };
        text.lines().filter_map(constant).collect()
    }

    /// The WGSL has words and tables where the oracle has them.
    #[test]
    fn the_shader_has_the_words_of_the_oracle() {
        use words::*;
        let mut found = constants();
        let mut expect = |name: &str, value: u32| {
            assert_eq!(found.remove(name), Some(value), "{name}");
        };
        for (name, value) in [
            ("STREAM", STREAM),
            ("IS_LIVE", IS_LIVE),
            ("READ", READ),
            ("DOCUMENT", DOCUMENT),
            ("PATCH_COUNT", PATCH_COUNT),
            ("PATCH_DOCUMENT", PATCH_DOCUMENT),
            ("HAS_ENDED", HAS_ENDED),
            ("CLOSES", CLOSES),
            ("ID_COUNT", ID_COUNT),
            ("PATCH_START", PATCH_START),
            ("LAST_ID", LAST_ID),
            ("LAST_ENTROPY", LAST_ENTROPY),
            ("NEXT_INDEX", NEXT_INDEX),
            ("NEXT_DOCUMENT", NEXT_DOCUMENT),
            ("START_COUNT", START_COUNT),
            ("IDS", IDS),
            ("ID_WINDOW", ID_WINDOW),
            ("NEWEST_ID", IDS + ID_WINDOW - 1),
            ("CHOICE", CHOICE),
            ("CHOICE_WORDS", PLANNED - CHOICE),
            ("SEEN_BITS", PLANNED - BIT_WORDS),
            ("PLANNED", PLANNED),
            ("RESULT_WORDS", RESULT_WORDS),
            ("HASH_WORDS", POWER_WORDS),
            ("ENCODER_RING", ENCODER_RING),
            ("DECODER_RING", DECODER_RING),
            ("NEXT_RING", NEXT_RING),
            ("PATCH_RING", PATCH_RING),
        ] {
            expect(name, value as u32);
        }
        for (name, value) in [
            ("NOWHERE", crate::oracle::decode::cache_rows::NOWHERE),
            ("NO_TABLE", NO_TABLE),
            ("CHOSEN", crate::oracle::decode::choose::CHOSEN),
            ("STOPPED", STOPPED),
            ("ID_END", ID_END),
            ("BYTE_OFFSET", BYTE_OFFSET),
            ("EOS_ID", EOS_ID),
            ("STATIC", STATIC),
            ("BYTE", BYTE),
            ("SPACE", SPACE),
            ("ENTROPY", ENTROPY),
            ("MONOTONIC", MONOTONIC),
        ] {
            expect(name, value);
        }
        for (index, table) in TABLES.iter().enumerate() {
            expect(&format!("T_{}", table.to_uppercase()), index as u32);
        }
        assert_eq!(found.keys().collect::<Vec<_>>(), [&"WIDTH"]);
    }
}
