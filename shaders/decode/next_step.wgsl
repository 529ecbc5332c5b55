// From one byte of running streams to the next: adds to each stream what a step has chosen, and
// writes the tables of the step behind it, and its counts. One workgroup does all of it: a lane has
// a stream, whose words src/oracle/decode/next_step.rs lists, then all lanes share the states of
// patches that close, the hashes, and the words of choice.
#import shared/step
#import shared/finite
#import shared/hash

struct Params {
    rows: vec2<u32>,
    link: u32,
    link_count: u32,
    // Of encoder, decoder, entropy model and patches: rows of a stream, indices until a row comes
    // again, how far behind a row its copy lies, indices that are seen.
    rings: array<vec4<u32>, 4>,
    // Where tables begin in arena, or NO_TABLE.
    tables: array<vec4<u32>, 6>,
    state: u32,
    results: u32,
    stream_states: u32,
    stream_patches: u32,
    unpool_window: u32,
    pool_window: u32,
    concatenated: u32,
    ends_documents: u32,
    next_ends_documents: u32,
    hash_tables: u32,
    rows_per_table: u32,
    mode: u32,
    threshold: f32,
    threshold_add: f32,
    patch_size: u32,
    max_patch_length: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> start: array<u32>;         // [rows, width]
@group(0) @binding(3) var<storage, read> powers: array<u32>;        // [tables, 18]
@group(0) @binding(4) var<storage, read> ids: array<u32>;           // [rows]
@group(0) @binding(5) var<storage, read> status: array<u32>;        // [rows]
@group(0) @binding(6) var<storage, read> entropies: array<f32>;     // [rows]
@group(0) @binding(7) var<storage, read_write> arena: array<u32>;   // [words]
@group(0) @binding(8) var<storage, read_write> counts: array<u32>;  // [8]

const WIDTH: u32 = 64u;
const NOWHERE: u32 = 0xFFFFFFFFu;
const NO_TABLE: u32 = 0xFFFFFFFFu;
const CHOSEN: u32 = 0u;
const STOPPED: u32 = 3u;
const ID_END: u32 = 260u;
const BYTE_OFFSET: u32 = 4u;
const EOS_ID: u32 = 2u;

// Words of a stream.
const STREAM: u32 = 0u;
const IS_LIVE: u32 = 1u;
const READ: u32 = 2u;
const DOCUMENT: u32 = 3u;
const PATCH_COUNT: u32 = 4u;
const PATCH_DOCUMENT: u32 = 5u;
const HAS_ENDED: u32 = 6u;
const CLOSES: u32 = 7u;
const ID_COUNT: u32 = 8u;
const PATCH_START: u32 = 9u;
const LAST_ID: u32 = 10u;
const LAST_ENTROPY: u32 = 11u;
const NEXT_INDEX: u32 = 12u;
const NEXT_DOCUMENT: u32 = 13u;
const START_COUNT: u32 = 14u;
const IDS: u32 = 16u;
const ID_WINDOW: u32 = 8u;
const NEWEST_ID: u32 = 23u;
const CHOICE: u32 = 24u;
const CHOICE_WORDS: u32 = 26u;
const SEEN_BITS: u32 = 41u;
const PLANNED: u32 = 50u;

const RESULT_WORDS: u32 = 4u;

// Tables, in the order of params.tables.
const T_IDS: u32 = 0u;
const T_BYTE_POSITION: u32 = 1u;
const T_BYTE_CACHE_ROW: u32 = 2u;
const T_BYTE_KEY_RANGE: u32 = 3u;
const T_DECODER_BYTE_CACHE_ROW: u32 = 4u;
const T_DECODER_BYTE_KEY_RANGE: u32 = 5u;
const T_HASH_IDS: u32 = 6u;
const T_STATE_ROW: u32 = 7u;
const T_UNPOOL_KEY_RANGE: u32 = 8u;
const T_BYTE_DECODER_PATCH: u32 = 9u;
const T_CHOICE: u32 = 10u;
const T_NEXT_POSITION: u32 = 11u;
const T_NEXT_CACHE_ROW: u32 = 12u;
const T_NEXT_KEY_RANGE: u32 = 13u;
const T_PATCH_POSITION: u32 = 14u;
const T_PATCH_CACHE_ROW: u32 = 15u;
const T_PATCH_KEY_RANGE: u32 = 16u;
const T_DECODER_PATCH_ROW: u32 = 17u;
const T_CLOSING_STATES: u32 = 18u;
const T_POOL_KEY_RANGE: u32 = 19u;
const T_PATCH_BYTE_RANGE: u32 = 20u;
const T_PATCH_LAST_BYTES: u32 = 21u;

const STATIC: u32 = 0u;
const BYTE: u32 = 1u;
const SPACE: u32 = 2u;
const ENTROPY: u32 = 3u;
const MONOTONIC: u32 = 4u;

const ENCODER_RING: u32 = 0u;
const DECODER_RING: u32 = 1u;
const NEXT_RING: u32 = 2u;
const PATCH_RING: u32 = 3u;

const HASH_WORDS: u32 = 18u;

// Of the rows of the lanes: patches that close up to a row, and states that they need; of a row:
// states that it needs, the first of them, its stream.
var<workgroup> closing_up_to: array<u32, WIDTH>;
var<workgroup> states_up_to: array<u32, WIDTH>;
var<workgroup> states_of: array<u32, WIDTH>;
var<workgroup> oldest_of: array<u32, WIDTH>;
var<workgroup> number_of: array<u32, WIDTH>;

// Words of a stream: what has a name, an id and a number for every step, starts of patches.
fn width() -> u32 {
    return starts() + params.pool_window;
}

fn starts() -> u32 {
    return PLANNED + 2u * params.link_count;
}

// Where the words of a row's stream begin.
fn stream_of(row: u32) -> u32 {
    return params.state + row * width();
}

fn table_of(table: u32) -> u32 {
    return params.tables[table / 4u][table % 4u];
}

fn put(table: u32, index: u32, value: u32) {
    let first = table_of(table);
    if (first != NO_TABLE) {
        arena[first + index] = value;
    }
}

fn put_pair(table: u32, index: u32, pair: vec2<u32>) {
    put(table, 2u * index, pair.x);
    put(table, 2u * index + 1u, pair.y);
}

fn row_in(ring: u32, number: u32, index: u32) -> u32 {
    return number * params.rings[ring].x + index % params.rings[ring].y;
}

fn range_in(ring: u32, number: u32, first: u32, last: u32) -> vec2<u32> {
    let end = row_in(ring, number, last) + params.rings[ring].z + 1u;
    return vec2<u32>(end - (last + 1u - first), end);
}

fn before(index: u32, count: u32) -> u32 {
    return index - min(index, count);
}

fn first_seen(ring: u32, first: u32, last: u32) -> u32 {
    return max(first, before(last + 1u, params.rings[ring].w));
}

fn state_row(number: u32, index: u32) -> u32 {
    return number * params.stream_states + index % params.stream_states;
}

// What is no ASCII letter or digit and no UTF-8 continuation byte; special ids are.
fn is_space_like(id: u32) -> bool {
    if (id < BYTE_OFFSET) {
        return true;
    }
    let byte = id - BYTE_OFFSET;
    let is_digit = byte >= 0x30u && byte <= 0x39u;
    let is_letter = (byte >= 0x41u && byte <= 0x5Au) || (byte >= 0x61u && byte <= 0x7Au);
    let is_behind_lead = byte >= 0x80u && byte <= 0xBFu;
    return !(is_digit || is_letter || is_behind_lead);
}

// Whether a patch closes with the next id of a stream.
fn closes_with(stream: u32, id: u32, entropy: f32) -> bool {
    let next = arena[stream + ID_COUNT] + 1u;
    let rise = entropy - bitcast<f32>(arena[stream + LAST_ENTROPY]);
    var starts_patch = false;
    if (params.mode == STATIC) {
        starts_patch = next % params.patch_size == 0u;
    } else if (next == 1u || params.mode == BYTE) {
        starts_patch = true;
    } else if (params.mode == SPACE) {
        let is_first = is_space_like(id) && !is_space_like(arena[stream + LAST_ID]);
        starts_patch = id < BYTE_OFFSET || is_first;
    } else if (params.mode == ENTROPY) {
        starts_patch = entropy > params.threshold;
    } else if (next == 2u) {
        starts_patch = true;
    } else if (params.mode == MONOTONIC) {
        starts_patch = rise > params.threshold;
    } else if (next > 3u) {
        starts_patch = rise > params.threshold_add && entropy > params.threshold;
    }
    let length = next - arena[stream + PATCH_START];
    if (params.max_patch_length > 0u && length >= params.max_patch_length) {
        starts_patch = true;
    }
    if (starts_patch) {
        arena[stream + PATCH_START] = next;
    }
    arena[stream + ID_COUNT] = next;
    arena[stream + LAST_ID] = id;
    arena[stream + LAST_ENTROPY] = bitcast<u32>(entropy);
    return starts_patch || next == 1u;
}

// Adds what was chosen to a row's stream, and keeps the result.
fn add_chosen(row: u32) {
    let stream = stream_of(row);
    let rows = length_of(params.rows);
    let result = params.results + ((params.link - 1u) * rows + row) * RESULT_WORDS;
    arena[result + 3u] = 0u;
    if (arena[stream + IS_LIVE] == 0u) {
        arena[result] = 0u;
        arena[result + 1u] = STOPPED;
        arena[result + 2u] = 0u;
        return;
    }
    let id = ids[row];
    var entropy = 0.0;
    if (table_of(T_NEXT_POSITION) != NO_TABLE) {
        entropy = entropies[row];
    }
    arena[result] = id;
    arena[result + 1u] = status[row];
    arena[result + 2u] = bitcast<u32>(entropy);
    if (status[row] != CHOSEN || !is_finite(entropy)) {
        arena[stream + IS_LIVE] = 0u;
        return;
    }
    // The model has read another id.
    let read = arena[stream + READ] + 1u;
    arena[stream + READ] = read;
    if (arena[stream + NEWEST_ID] == EOS_ID && params.ends_documents == 1u) {
        arena[stream + HAS_ENDED] = 1u;
        arena[stream + DOCUMENT] = read;
    }
    if (arena[stream + CLOSES] == 1u) {
        let count = arena[stream + PATCH_COUNT] + 1u;
        arena[stream + PATCH_COUNT] = count;
        if (arena[stream + HAS_ENDED] == 1u) {
            arena[stream + PATCH_DOCUMENT] = count;
            arena[stream + HAS_ENDED] = 0u;
        }
        let first = stream + starts();
        var held = arena[stream + START_COUNT];
        if (held == params.pool_window) {
            for (var index = 1u; index < held; index++) {
                arena[first + index - 1u] = arena[first + index];
            }
        } else {
            held++;
            arena[stream + START_COUNT] = held;
        }
        arena[first + held - 1u] = read;
    }
    // Behind it stands what was chosen.
    for (var index = 1u; index < ID_WINDOW; index++) {
        arena[stream + IDS + index - 1u] = arena[stream + IDS + index];
    }
    arena[stream + NEWEST_ID] = id;
    arena[stream + SEEN_BITS + id / 32u] |= 1u << (id % 32u);
    let closes = select(0u, 1u, closes_with(stream, id, entropy));
    arena[stream + CLOSES] = closes;
    arena[result + 3u] = closes;
    let index = arena[stream + NEXT_INDEX] + 1u;
    arena[stream + NEXT_INDEX] = index;
    if (id == EOS_ID && params.next_ends_documents == 1u) {
        arena[stream + NEXT_DOCUMENT] = index;
    }
    var is_forced = false;
    if (params.link < params.link_count) {
        is_forced = arena[stream + PLANNED + params.link] < ID_END;
    }
    arena[stream + IS_LIVE] = select(0u, 1u, id != EOS_ID || is_forced);
}

// The tables of the next id of a row's stream.
fn set_tables(row: u32) {
    let stream = stream_of(row);
    let number = arena[stream + STREAM];
    let read = arena[stream + READ];
    let is_live = arena[stream + IS_LIVE] == 1u;
    put(T_IDS, row, arena[stream + NEWEST_ID]);
    put(T_BYTE_POSITION, row, read);
    let encoder_row = row_in(ENCODER_RING, number, read);
    let decoder_row = row_in(DECODER_RING, number, read);
    put(T_BYTE_CACHE_ROW, row, select(NOWHERE, encoder_row, is_live));
    put(T_DECODER_BYTE_CACHE_ROW, row, select(NOWHERE, decoder_row, is_live));
    var first = first_seen(ENCODER_RING, arena[stream + DOCUMENT], read);
    put_pair(T_BYTE_KEY_RANGE, row, range_in(ENCODER_RING, number, first, read));
    first = first_seen(DECODER_RING, arena[stream + DOCUMENT], read);
    put_pair(T_DECODER_BYTE_KEY_RANGE, row, range_in(DECODER_RING, number, first, read));
    put(T_STATE_ROW, row, select(NOWHERE, state_row(number, read), is_live));
    let newest = arena[stream + PATCH_COUNT] + arena[stream + CLOSES] - 1u;
    first = before(newest + 1u, params.unpool_window);
    put_pair(T_UNPOOL_KEY_RANGE, row, range_in(PATCH_RING, number, first, newest));
    put(T_BYTE_DECODER_PATCH, row, row_in(PATCH_RING, number, newest));
    let index = arena[stream + NEXT_INDEX];
    put(T_NEXT_POSITION, row, index);
    put(T_NEXT_CACHE_ROW, row, select(NOWHERE, row_in(NEXT_RING, number, index), is_live));
    first = first_seen(NEXT_RING, arena[stream + NEXT_DOCUMENT], index);
    put_pair(T_NEXT_KEY_RANGE, row, range_in(NEXT_RING, number, first, index));
}

fn does_close(row: u32) -> bool {
    let stream = stream_of(row);
    return arena[stream + IS_LIVE] == 1u && arena[stream + CLOSES] == 1u;
}

// The first byte whose state a row's stream needs where a patch closes.
fn oldest_state(row: u32) -> u32 {
    let stream = stream_of(row);
    let read = arena[stream + READ];
    var side_by_side = read;
    if (params.concatenated > 0u) {
        side_by_side = before(read + 1u, params.concatenated);
    }
    return min(arena[stream + starts()], side_by_side);
}

// The tables of the patch of a row that closes: so many before it close, and need so many states.
fn set_patch(row: u32, closing: u32, seen: u32, oldest: u32) {
    let stream = stream_of(row);
    let number = arena[stream + STREAM];
    let read = arena[stream + READ];
    let count = arena[stream + PATCH_COUNT];
    let open = arena[stream + starts() + arena[stream + START_COUNT] - 1u];
    let end = seen + read + 1u - oldest;
    let latent = number * params.stream_patches;
    put(T_PATCH_POSITION, closing, count);
    put(T_PATCH_CACHE_ROW, closing, latent + count);
    let seen_patches = vec2<u32>(latent + arena[stream + PATCH_DOCUMENT], latent + count + 1u);
    put_pair(T_PATCH_KEY_RANGE, closing, seen_patches);
    put(T_DECODER_PATCH_ROW, closing, row_in(PATCH_RING, number, count));
    put_pair(T_POOL_KEY_RANGE, closing, vec2<u32>(seen, end));
    put_pair(T_PATCH_BYTE_RANGE, closing, vec2<u32>(seen + open - oldest, end));
    for (var slot = 0u; slot < params.concatenated; slot++) {
        let index = max(before(read, params.concatenated - 1u - slot), oldest);
        put(T_PATCH_LAST_BYTES, closing * params.concatenated + slot, seen + index - oldest);
    }
}

// The states of the patches that close among the rows of the lanes; so many stand before them.
fn set_states(lane: u32, seen: u32) {
    let count = states_up_to[WIDTH - 1u];
    for (var state = lane; state < count; state += WIDTH) {
        // The first row up to which there are more.
        var row = 0u;
        for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
            row += select(0u, half, states_up_to[row + half - 1u] <= state);
        }
        let index = oldest_of[row] + state + states_of[row] - states_up_to[row];
        put(T_CLOSING_STATES, seen + state, state_row(number_of[row], index));
    }
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
    let rows = length_of(params.rows);
    if (params.link == 0u) {
        for (var word = lane; word < rows * width(); word += WIDTH) {
            arena[params.state + word] = start[word];
        }
    } else {
        for (var row = lane; row < rows; row += WIDTH) {
            add_chosen(row);
        }
    }
    if (params.link == params.link_count) {
        return;
    }
    storageBarrier();  // every stream stands at the next byte before tables are made of it
    var closing = 0u;
    var seen = 0u;
    for (var first = 0u; first < rows; first += WIDTH) {
        let row = first + lane;
        var is_closing = false;
        var needed = 0u;
        var oldest = 0u;
        if (row < rows) {
            set_tables(row);
            if (does_close(row)) {
                is_closing = true;
                oldest = oldest_state(row);
                needed = arena[stream_of(row) + READ] + 1u - oldest;
            }
            number_of[lane] = arena[stream_of(row) + STREAM];
        }
        states_of[lane] = needed;
        oldest_of[lane] = oldest;
        closing_up_to[lane] = select(0u, 1u, is_closing);
        states_up_to[lane] = needed;
        for (var reach = 1u; reach < WIDTH; reach *= 2u) {
            workgroupBarrier();  // sums over the last `reach` rows are there before they are read
            var more_closing = 0u;
            var more_states = 0u;
            if (lane >= reach) {
                more_closing = closing_up_to[lane - reach];
                more_states = states_up_to[lane - reach];
            }
            workgroupBarrier();  // all have read them before they grow
            closing_up_to[lane] += more_closing;
            states_up_to[lane] += more_states;
        }
        workgroupBarrier();  // sums are complete before other lanes read them
        if (is_closing) {
            let before_it = seen + states_up_to[lane] - needed;
            set_patch(row, closing + closing_up_to[lane] - 1u, before_it, oldest);
        }
        set_states(lane, seen);
        closing += closing_up_to[WIDTH - 1u];
        seen += states_up_to[WIDTH - 1u];
        workgroupBarrier();  // all have read the sums before those of the next rows replace them
    }
    if (lane == 0u) {
        counts[0] = 1u;
        counts[1] = rows;
        counts[2] = closing;
        for (var axis = 3u; axis < 7u; axis++) {
            counts[axis] = 0u;
        }
        counts[7] = seen;
    }
    for (var word = lane; word < rows * CHOICE_WORDS; word += WIDTH) {
        let stream = stream_of(word / CHOICE_WORDS);
        let column = word % CHOICE_WORDS;
        var value = arena[stream + CHOICE + column];
        if (column == 0u) {
            value = arena[stream + PLANNED + params.link];
        } else if (column == 6u) {
            value = arena[stream + PLANNED + params.link_count + params.link];
        }
        put(T_CHOICE, word, value);
    }
    for (var entry = lane; entry < rows * params.hash_tables; entry += WIDTH) {
        let window = stream_of(entry / params.hash_tables) + IDS;
        let words = entry % params.hash_tables * HASH_WORDS;
        let size = powers[words];
        var sum = vec2<u32>();
        for (var m = 0u; m < size; m++) {
            let power = vec2<u32>(powers[words + 2u + 2u * m], powers[words + 3u + 2u * m]);
            sum = add(sum, multiply(power, arena[window + ID_WINDOW - size + m]));
        }
        let hash = remainder_of(sum, params.rows_per_table, powers[words + 1u]);
        put(T_HASH_IDS, entry, hash);
    }
}
