//! From one byte of running streams to the next, without the host: what a step has chosen is added
//! to each stream, and the tables of the step behind it follow (spec §14.3).
//!
//! A stream is a row of [`StepRules::width`] words, of which [`STREAM`] and the constants behind it
//! are the places.

use super::cache_rows::NOWHERE;
use super::choose::{CHOSEN, RULE_WORDS};
use bytemuck::{Pod, Zeroable};

/// Status of a stream that had stopped before.
pub const STOPPED: u32 = 3;

/// Its number in the caches.
pub const STREAM: usize = 0;
/// 1, or 0 once it stands behind the end of a text, or could not go on.
pub const IS_LIVE: usize = 1;
/// Ids that the model has read: the position of the next one.
pub const READ: usize = 2;
/// The first id of its document.
pub const DOCUMENT: usize = 3;
/// Patches that have closed.
pub const PATCH_COUNT: usize = 4;
/// The first patch of the document of the open one.
pub const PATCH_DOCUMENT: usize = 5;
/// Whether the open patch holds an EOS.
pub const HAS_ENDED: usize = 6;
/// Whether the open patch closes with the next id.
pub const CLOSES: usize = 7;
/// What decides whether a patch closes with the id behind the next one: ids so far, where the open
/// patch starts, the last id and the bits of its entropy.
pub const ID_COUNT: usize = 8;
pub const PATCH_START: usize = 9;
pub const LAST_ID: usize = 10;
pub const LAST_ENTROPY: usize = 11;
/// Where the entropy model reads what is chosen, in its window, and where its document begins.
pub const NEXT_INDEX: usize = 12;
pub const NEXT_DOCUMENT: usize = 13;
/// How many starts of patches are there.
pub const START_COUNT: usize = 14;
/// The last eight ids, the next one to be read last; 0 before a text.
pub const IDS: usize = 16;
/// Its row of `choice`, see [`choose`](super::choose()).
pub const CHOICE: usize = IDS + ID_WINDOW;
/// For every step an id that is forced, or a number beyond all ids; then for every step a uniform
/// number; then where the open patch starts, and those before it that it looks at, oldest first.
pub const PLANNED: usize = CHOICE + RULE_WORDS + 2 * BIT_WORDS;

/// Ids that a stream remembers: the longest n-gram.
pub const ID_WINDOW: usize = 8;
/// Words of a bit an id.
pub const BIT_WORDS: usize = 9;
/// Words of a result: the id, its status, the bits of the entropy after it, 1 if the open patch
/// closes with it, else 0.
pub const RESULT_WORDS: usize = 4;
/// Where ids of the vocabulary end.
pub const ID_END: u32 = 260;
/// Ids below this are no bytes.
pub const BYTE_OFFSET: u32 = 4;
pub const EOS_ID: u32 = 2;
/// A table that there is not.
pub const NO_TABLE: u32 = u32::MAX;
/// Words of a hash table in `powers`: group size, 2^64 mod rows, eight powers as (low, high).
pub const POWER_WORDS: usize = 18;

/// The rings of [`StepRules::rings`].
pub const ENCODER_RING: usize = 0;
pub const DECODER_RING: usize = 1;
pub const NEXT_RING: usize = 2;
pub const PATCH_RING: usize = 3;

/// The tables of a step, by their names, in the order of [`StepRules::tables`].
pub const TABLES: [&str; 22] = [
    "ids",
    "byte_position",
    "byte_cache_row",
    "byte_key_range",
    "decoder_byte_cache_row",
    "decoder_byte_key_range",
    "hash_ids",
    "state_row",
    "unpool_key_range",
    "byte_decoder_patch",
    "choice",
    "next_position",
    "next_cache_row",
    "next_key_range",
    "patch_position",
    "patch_cache_row",
    "patch_key_range",
    "decoder_patch_row",
    "closing_states",
    "pool_key_range",
    "patch_byte_range",
    "patch_last_bytes",
];

/// The rule by which patches close, as [`StepRules::mode`].
pub const STATIC: u32 = 0;
pub const BYTE: u32 = 1;
pub const SPACE: u32 = 2;
pub const ENTROPY: u32 = 3;
pub const MONOTONIC: u32 = 4;
pub const COMBINED: u32 = 5;

/// What of a model and its caches the tables follow from.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct StepRules {
    /// Rows of a stream, indices until a row comes again, how far behind a row its copy lies, and
    /// indices that are seen, of each ring of caches.
    pub rings: [[u32; 4]; 4],
    /// Where each of [`TABLES`] begins in `arena`, or [`NO_TABLE`].
    pub tables: [u32; 24],
    /// Where states and results begin in `arena`.
    pub state: u32,
    pub results: u32,
    /// Byte states and patches of a stream in the caches.
    pub stream_states: u32,
    pub stream_patches: u32,
    /// Patches that a byte of the decoder looks at.
    pub unpool_window: u32,
    /// Patches whose bytes a closing patch looks at, itself included.
    pub pool_window: u32,
    /// Byte states side by side that make a patch; 0 where they are pooled.
    pub concatenated: u32,
    /// Whether an EOS ends what bytes and patches see, and what the entropy model sees.
    pub ends_documents: u32,
    pub next_ends_documents: u32,
    /// Hash tables, and rows of each.
    pub hash_tables: u32,
    pub rows_per_table: u32,
    /// The rule of patches, its thresholds in nats, the length of static patches, and the longest
    /// patch, 0: any.
    pub mode: u32,
    pub threshold: f32,
    pub threshold_add: f32,
    pub patch_size: u32,
    pub max_patch_length: u32,
}

impl StepRules {
    /// Words of a stream that takes so many steps at once.
    pub fn width(&self, link_count: usize) -> usize {
        width(link_count, self.pool_window as usize)
    }

    /// Where a table begins, if it is there.
    fn table(&self, name: &str) -> Option<usize> {
        let index = TABLES.iter().position(|other| *other == name).expect("it is a table");
        (self.tables[index] != NO_TABLE).then_some(self.tables[index] as usize)
    }
}

/// Words of a stream that takes so many steps at once and whose closing patch looks at so many.
pub fn width(link_count: usize, pool_window: usize) -> usize {
    PLANNED + 2 * link_count + pool_window
}

/// What a step has chosen, a row a stream; anything in front of the first step.
#[derive(Clone, Copy, Debug)]
pub struct Chosen<'a> {
    pub ids: &'a [u32],
    pub status: &'a [u32],
    pub entropies: &'a [f32],
}

/// What comes in front of step `link` of `link_count`, and behind the last one.
///
/// `start` [rows, width] holds the streams in front of the first step. `arena` holds tables, states
/// [rows, width] and results [link_count, rows, 4]; `powers` [tables, 18] are those of
/// [`hash_ids`](crate::kernels::embedding::hash_ids). `counts` are the first eight words of the
/// [`Step`](crate::kernels::Step) that follows: streams stay rows, and those that have stopped keep
/// nothing.
pub fn next_step(
    rules: &StepRules,
    [link, link_count, rows]: [usize; 3],
    start: &[u32],
    powers: &[u32],
    chosen: Chosen<'_>,
    arena: &mut [u32],
    counts: &mut [u32],
) {
    let width = rules.width(link_count);
    let (mut closing, mut seen) = (0, 0);
    for row in 0..rows {
        let at = rules.state as usize + row * width;
        let mut stream = arena[at..at + width].to_vec();
        if link == 0 {
            stream.copy_from_slice(&start[row * width..][..width]);
        } else {
            let result = add(rules, [link, link_count], &mut stream, row, chosen);
            let place = rules.results as usize + ((link - 1) * rows + row) * RESULT_WORDS;
            arena[place..place + RESULT_WORDS].copy_from_slice(&result);
        }
        arena[at..at + width].copy_from_slice(&stream);
        if link == link_count {
            continue;
        }
        set_tables(rules, &stream, [link, link_count], row, powers, arena);
        if stream[IS_LIVE] == 1 && stream[CLOSES] == 1 {
            let starts = &stream[PLANNED + 2 * link_count..];
            seen = set_patch(rules, &stream, starts, closing, seen, arena);
            closing += 1;
        }
    }
    if link < link_count {
        counts[..8].copy_from_slice(&[1, rows as u32, closing as u32, 0, 0, 0, 0, seen as u32]);
    }
}

/// Adds what was chosen to a stream, and gives its result.
fn add(
    rules: &StepRules,
    [link, link_count]: [usize; 2],
    stream: &mut [u32],
    row: usize,
    chosen: Chosen<'_>,
) -> [u32; RESULT_WORDS] {
    if stream[IS_LIVE] == 0 {
        return [0, STOPPED, 0, 0];
    }
    let has_entropies = rules.table("next_position").is_some();
    let (id, status) = (chosen.ids[row], chosen.status[row]);
    let entropy = if has_entropies { chosen.entropies[row] } else { 0.0 };
    let mut result = [id, status, entropy.to_bits(), 0];
    if status != CHOSEN || !entropy.is_finite() {
        stream[IS_LIVE] = 0;
        return result;
    }
    // The model has read another id.
    let is_end = stream[IDS + ID_WINDOW - 1] == EOS_ID && rules.ends_documents == 1;
    stream[READ] += 1;
    if is_end {
        stream[HAS_ENDED] = 1;
        stream[DOCUMENT] = stream[READ];
    }
    if stream[CLOSES] == 1 {
        stream[PATCH_COUNT] += 1;
        if stream[HAS_ENDED] == 1 {
            stream[PATCH_DOCUMENT] = stream[PATCH_COUNT];
            stream[HAS_ENDED] = 0;
        }
        let (window, starts) = (rules.pool_window as usize, PLANNED + 2 * link_count);
        if stream[START_COUNT] as usize == window {
            stream.copy_within(starts + 1..starts + window, starts);
        } else {
            stream[START_COUNT] += 1;
        }
        stream[starts + stream[START_COUNT] as usize - 1] = stream[READ];
    }
    // Behind it stands what was chosen.
    stream.copy_within(IDS + 1..IDS + ID_WINDOW, IDS);
    stream[IDS + ID_WINDOW - 1] = id;
    stream[CHOICE + RULE_WORDS + BIT_WORDS + id as usize / 32] |= 1 << (id % 32);
    stream[CLOSES] = closes(rules, stream, id, entropy).into();
    result[3] = stream[CLOSES];
    stream[NEXT_INDEX] += 1;
    if id == EOS_ID && rules.next_ends_documents == 1 {
        stream[NEXT_DOCUMENT] = stream[NEXT_INDEX];
    }
    let is_forced = link < link_count && stream[PLANNED + link] < ID_END;
    stream[IS_LIVE] = u32::from(id != EOS_ID || is_forced);
    result
}

/// Whether a patch closes with the next id of a stream, as
/// [`PatchCutter`](crate::blt::patching::PatchCutter) says.
fn closes(rules: &StepRules, stream: &mut [u32], id: u32, entropy: f32) -> bool {
    let next = stream[ID_COUNT] + 1;
    let rise = entropy - f32::from_bits(stream[LAST_ENTROPY]);
    let starts = match (rules.mode, next) {
        (STATIC, _) => next.is_multiple_of(rules.patch_size),
        (_, 1) | (BYTE, _) => true,
        (SPACE, _) => id < BYTE_OFFSET || (is_space_like(id) && !is_space_like(stream[LAST_ID])),
        (ENTROPY, _) => entropy > rules.threshold,
        (MONOTONIC | COMBINED, 2) => true,
        (MONOTONIC, _) => rise > rules.threshold,
        (_, 3) => false,
        _ => rise > rules.threshold_add && entropy > rules.threshold,
    };
    let longest = rules.max_patch_length;
    let starts = starts || (longest > 0 && next - stream[PATCH_START] >= longest);
    if starts {
        stream[PATCH_START] = next;
    }
    stream[ID_COUNT] = next;
    stream[LAST_ID] = id;
    stream[LAST_ENTROPY] = entropy.to_bits();
    starts || next == 1
}

/// What is no ASCII letter or digit and no UTF-8 continuation byte; special ids are.
fn is_space_like(id: u32) -> bool {
    match id.checked_sub(BYTE_OFFSET) {
        None => true,
        Some(byte) => !matches!(byte, 0x30..=0x39 | 0x41..=0x5a | 0x61..=0x7a | 0x80..=0xbf),
    }
}

/// The tables of the next id of a stream.
fn set_tables(
    rules: &StepRules,
    stream: &[u32],
    [link, link_count]: [usize; 2],
    row: usize,
    powers: &[u32],
    arena: &mut [u32],
) {
    let is_live = stream[IS_LIVE] == 1;
    let kept = |row: u32| if is_live { row } else { NOWHERE };
    let (number, read) = (stream[STREAM], stream[READ]);
    let mut set = |name: &str, values: &[u32]| {
        if let Some(table) = rules.table(name) {
            arena[table + row * values.len()..][..values.len()].copy_from_slice(values);
        }
    };
    set("ids", &[stream[IDS + ID_WINDOW - 1]]);
    set("byte_position", &[read]);
    for (ring, name) in [(ENCODER_RING, "byte"), (DECODER_RING, "decoder_byte")] {
        let ring = rules.rings[ring];
        set(&format!("{name}_cache_row"), &[kept(row_of(ring, number, read))]);
        let first = first_seen(ring, stream[DOCUMENT], read);
        set(&format!("{name}_key_range"), &range_of(ring, number, first, read));
    }
    let hashes: Vec<u32> = (0..rules.hash_tables as usize)
        .map(|table| {
            let words = &powers[table * POWER_WORDS..][..POWER_WORDS];
            hash(&stream[IDS..IDS + ID_WINDOW], words, rules.rows_per_table)
        })
        .collect();
    set("hash_ids", &hashes);
    set("state_row", &[kept(state_row(rules, number, read))]);
    let newest = stream[PATCH_COUNT] + stream[CLOSES] - 1;
    let ring = rules.rings[PATCH_RING];
    let first = (newest + 1).saturating_sub(rules.unpool_window);
    set("unpool_key_range", &range_of(ring, number, first, newest));
    set("byte_decoder_patch", &[row_of(ring, number, newest)]);
    let mut choice = stream[CHOICE..PLANNED].to_vec();
    choice[0] = stream[PLANNED + link];
    choice[6] = stream[PLANNED + link_count + link];
    set("choice", &choice);
    let (ring, index) = (rules.rings[NEXT_RING], stream[NEXT_INDEX]);
    set("next_position", &[index]);
    set("next_cache_row", &[kept(row_of(ring, number, index))]);
    let first = first_seen(ring, stream[NEXT_DOCUMENT], index);
    set("next_key_range", &range_of(ring, number, first, index));
}

/// The tables of a patch that closes, the `closing`th; `seen` states stand before its own. Gives
/// how many there are with them.
fn set_patch(
    rules: &StepRules,
    stream: &[u32],
    starts: &[u32],
    closing: usize,
    seen: usize,
    arena: &mut [u32],
) -> usize {
    let (number, read, count) = (stream[STREAM], stream[READ], stream[PATCH_COUNT]);
    let side_by_side = match rules.concatenated {
        0 => read,
        count => (read + 1).saturating_sub(count),
    };
    let oldest = starts[0].min(side_by_side);
    let open = starts[stream[START_COUNT] as usize - 1];
    let at = |index: u32| seen as u32 + index - oldest;
    let end = at(read) + 1;
    let mut set = |name: &str, row: usize, values: &[u32]| {
        if let Some(table) = rules.table(name) {
            arena[table + row * values.len()..][..values.len()].copy_from_slice(values);
        }
    };
    let latent = number * rules.stream_patches;
    set("patch_position", closing, &[count]);
    set("patch_cache_row", closing, &[latent + count]);
    set("patch_key_range", closing, &[latent + stream[PATCH_DOCUMENT], latent + count + 1]);
    set("decoder_patch_row", closing, &[row_of(rules.rings[PATCH_RING], number, count)]);
    for index in oldest..=read {
        set("closing_states", at(index) as usize, &[state_row(rules, number, index)]);
    }
    set("pool_key_range", closing, &[seen as u32, end]);
    set("patch_byte_range", closing, &[at(open), end]);
    let slots = (0..rules.concatenated).rev();
    let last: Vec<u32> = slots.map(|back| at(read.saturating_sub(back).max(oldest))).collect();
    set("patch_last_bytes", closing, &last);
    end as usize
}

fn state_row(rules: &StepRules, stream: u32, index: u32) -> u32 {
    stream * rules.stream_states + index % rules.stream_states
}

/// The row of an index in a ring.
fn row_of([rows, period, ..]: [u32; 4], stream: u32, index: u32) -> u32 {
    stream * rows + index % period
}

/// The first index that `last` sees of those from `first` on.
fn first_seen([.., seen]: [u32; 4], first: u32, last: u32) -> u32 {
    first.max((last + 1).saturating_sub(seen))
}

/// The rows of the indices from `first` to `last`.
fn range_of(ring: [u32; 4], stream: u32, first: u32, last: u32) -> [u32; 2] {
    let end = row_of(ring, stream, last) + ring[2] + 1;
    [end - (last + 1 - first), end]
}

/// The row that the n-gram at the end of a window chooses of a hash table.
fn hash(window: &[u32], words: &[u32], rows: u32) -> u32 {
    let size = words[0] as usize;
    let sum = (0..size).fold(0_i64, |sum, m| {
        let [low, high] = [words[2 + 2 * m], words[3 + 2 * m]].map(i64::from);
        let id = i64::from(window[ID_WINDOW - size + m]);
        sum.wrapping_add(id.wrapping_mul(high << 32 | low))
    });
    sum.rem_euclid(i64::from(rows)) as u32
}
