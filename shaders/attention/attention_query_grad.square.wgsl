// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp) and
// delta = rowsum(dout * out), by products of 64 x 64 x 16. A workgroup owns ROWS queries and 64
// columns of one head and walks the union of their key ranges, KEYS keys at a time. An invocation
// has the scores of 8 keys and 8 queries in registers, transposed; ds goes to the third product
// through workgroup memory, 16 keys at a time.
#import shared/attention
#import shared/register_tile
#import shared/row_ranges

@group(0) @binding(2) var<storage, read> q: array<q_type>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;    // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;   // [queries, heads]
@group(0) @binding(7) var<storage, read> out: array<out_type>;      // [queries, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;   // [queries, heads]
@group(0) @binding(9) var<storage, read_write> dq: array<dq_type>;  // [queries, query_stride]

const ROWS: u32 = 64u;
const KEYS: u32 = 64u;
const VECS: u32 = HEAD_DIM / 4u;
const COL_PARTS: u32 = (HEAD_DIM + 63u) / 64u;
const UNSET: f32 = -1e29;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> row_shift: array<vec4<f32>, 16>;  // [ROWS / 4]: log_sum_exp in powers of two
var<workgroup> row_delta: array<vec4<f32>, 16>;  // [ROWS / 4]

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn q_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(q[min(row, last) * stride + at]),
        vec4<f32>(q[min(row + 16u, last) * stride + at]),
        vec4<f32>(q[min(row + 32u, last) * stride + at]),
        vec4<f32>(q[min(row + 48u, last) * stride + at]));
}

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn dout_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(dout[min(row, last) * stride + at]),
        vec4<f32>(dout[min(row + 16u, last) * stride + at]),
        vec4<f32>(dout[min(row + 32u, last) * stride + at]),
        vec4<f32>(dout[min(row + 48u, last) * stride + at]));
}

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn out_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(out[min(row, last) * stride + at]),
        vec4<f32>(out[min(row + 16u, last) * stride + at]),
        vec4<f32>(out[min(row + 32u, last) * stride + at]),
        vec4<f32>(out[min(row + 48u, last) * stride + at]));
}

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn kv_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(kv[min(row, last) * stride + at]),
        vec4<f32>(kv[min(row + 16u, last) * stride + at]),
        vec4<f32>(kv[min(row + 32u, last) * stride + at]),
        vec4<f32>(kv[min(row + 48u, last) * stride + at]));
}

// Vector `at` of the rows of `row_of` from row `row` on, none behind `last`.
fn kv_rows(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(kv[min(row, last) * stride + at]),
        vec4<f32>(kv[min(row + 8u, last) * stride + at]),
        vec4<f32>(kv[min(row + 16u, last) * stride + at]),
        vec4<f32>(kv[min(row + 24u, last) * stride + at]));
}

// What a weight is relative to, in powers of two; nothing where a query sees no key.
fn shift_of(saved: f32) -> f32 {
    return select(LOG2_E * saved, 0.0, saved < UNSET);
}

fn masked_scores(s: Sums, key: u32, x: u32) -> Sums {
    return Sums(
        masked(s.r0_left, key + 0u, x), masked(s.r0_right, key + 0u, x + 8u),
        masked(s.r1_left, key + 1u, x), masked(s.r1_right, key + 1u, x + 8u),
        masked(s.r2_left, key + 2u, x), masked(s.r2_right, key + 2u, x + 8u),
        masked(s.r3_left, key + 3u, x), masked(s.r3_right, key + 3u, x + 8u),
        masked(s.r4_left, key + 32u, x), masked(s.r4_right, key + 32u, x + 8u),
        masked(s.r5_left, key + 33u, x), masked(s.r5_right, key + 33u, x + 8u),
        masked(s.r6_left, key + 34u, x), masked(s.r6_right, key + 34u, x + 8u),
        masked(s.r7_left, key + 35u, x), masked(s.r7_right, key + 35u, x + 8u));
}

// What stands for a row: four rows from 4 x on, and the same 32 further.
struct Rows {
    left: vec4<f32>,
    right: vec4<f32>,
}

fn weights_of(s: Sums, scale: f32, shift: Rows) -> Sums {
    return Sums(
        exp2(scale * s.r0_left - shift.left), exp2(scale * s.r0_right - shift.right),
        exp2(scale * s.r1_left - shift.left), exp2(scale * s.r1_right - shift.right),
        exp2(scale * s.r2_left - shift.left), exp2(scale * s.r2_right - shift.right),
        exp2(scale * s.r3_left - shift.left), exp2(scale * s.r3_right - shift.right),
        exp2(scale * s.r4_left - shift.left), exp2(scale * s.r4_right - shift.right),
        exp2(scale * s.r5_left - shift.left), exp2(scale * s.r5_right - shift.right),
        exp2(scale * s.r6_left - shift.left), exp2(scale * s.r6_right - shift.right),
        exp2(scale * s.r7_left - shift.left), exp2(scale * s.r7_right - shift.right));
}

fn dscores_of(w: Sums, d: Sums, delta_of: Rows) -> Sums {
    return Sums(
        w.r0_left * (d.r0_left - delta_of.left), w.r0_right * (d.r0_right - delta_of.right),
        w.r1_left * (d.r1_left - delta_of.left), w.r1_right * (d.r1_right - delta_of.right),
        w.r2_left * (d.r2_left - delta_of.left), w.r2_right * (d.r2_right - delta_of.right),
        w.r3_left * (d.r3_left - delta_of.left), w.r3_right * (d.r3_right - delta_of.right),
        w.r4_left * (d.r4_left - delta_of.left), w.r4_right * (d.r4_right - delta_of.right),
        w.r5_left * (d.r5_left - delta_of.left), w.r5_right * (d.r5_right - delta_of.right),
        w.r6_left * (d.r6_left - delta_of.left), w.r6_right * (d.r6_right - delta_of.right),
        w.r7_left * (d.r7_left - delta_of.left), w.r7_right * (d.r7_right - delta_of.right));
}

fn store(row: u32, count: u32, head: u32, vec: u32, left: vec4<f32>, right: vec4<f32>) {
    if (row < count) {
        let at = (row * params.query_stride + params.query_offset + head * HEAD_DIM) / 4u + vec;
        if (vec < VECS) {
            dq[at] = dq_type(params.scale * left);
        }
        if (vec + 8u < VECS) {
            dq[at + 8u] = dq_type(params.scale * right);
        }
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let col_part = index % COL_PARTS;
    let head = index / COL_PARTS % params.head_count;
    let row_0 = index / COL_PARTS / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_stride = params.query_stride / 4u;
    let kv_stride = params.kv_stride / 4u;
    let dout_stride = params.head_count * VECS;
    let q_offset = (params.query_offset + head * HEAD_DIM) / 4u;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u;

    var range = vec2<u32>(0u, BEYOND);
    if (row_0 + lane < count) {
        let entry = (row_0 + lane) / params.query_factor * 2u;
        range = vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
    }
    put_range(lane, range);
    let saved_at = min(row_0 + lane, count - 1u) * params.head_count + head;
    row_shift[lane / 4u][lane % 4u] = shift_of(log_sum_exp[saved_at]);
    // Of delta I bring every fourth vector of four rows.
    var parts = vec4<f32>();
    for (var vec = lane % 4u; vec < VECS; vec += 4u) {
        let up = dout_part(row_0 + lane / 4u, count - 1u, head * VECS + vec, dout_stride);
        let down = out_part(row_0 + lane / 4u, count - 1u, head * VECS + vec, dout_stride);
        parts += vec4<f32>(
            dot(up.v_0, down.v_0), dot(up.v_1, down.v_1),
            dot(up.v_2, down.v_2), dot(up.v_3, down.v_3));
    }
    a_tile[lane] = parts;
    workgroupBarrier();  // all ranges are there before they are united, and all parts of delta
    var my_delta = 0.0;
    for (var i = 0u; i < 4u; i++) {
        my_delta += a_tile[lane % 16u * 4u + i][lane / 16u];
    }
    row_delta[lane / 4u][lane % 4u] = my_delta;
    if (col_part == 0u && row_0 + lane < count) {
        delta[saved_at] = my_delta;
    }
    if (lane == 0u) {
        tile_range = united();
    }
    let seen_by_tile = workgroupUniformLoad(&tile_range);
    let key_end = seen_by_tile.y;
    let last_key = key_end - 1u;
    let last_row = count - 1u;

    // For the scores I own keys 4 y to 4 y + 3 and the same 32 further, and queries by x; then the
    // same queries and columns by y.
    let y = lane / 8u;
    let x = lane % 8u;
    let my_row = lane / 4u;
    let my_col = lane % 4u;
    let my_slot = row_of(0u, lane / 16u);
    let k_at = k_offset + min(col_part * 16u + lane % 16u, VECS - 1u);
    let steps = (params.head_dim + 15u) / 16u;
    let pieces = KEYS / 16u + params.zero;  // not unrolled
    let scale = params.scale * LOG2_E;
    var sums = Sums();
    for (var key_0 = seen_by_tile.x; key_0 < key_end; key_0 += KEYS) {
        var scores = Sums();
        var scores_col = min(my_col, VECS - 1u);
        var k_next = kv_part(key_0 + my_row, last_key, k_offset + scores_col, kv_stride);
        var q_next = q_part(row_0 + my_row, last_row, q_offset + scores_col, q_stride);
        for (var step = 0u; step < steps; step++) {
            put_rows_a(k_next, lane);
            put_rows_b(within(q_next, step * 4u + my_col), lane);
            workgroupBarrier();  // the tiles are complete
            scores_col = min(min(step + 1u, steps - 1u) * 4u + my_col, VECS - 1u);
            k_next = kv_part(key_0 + my_row, last_key, k_offset + scores_col, kv_stride);
            q_next = q_part(row_0 + my_row, last_row, q_offset + scores_col, q_stride);
            scores = square_shuffled_step(scores, y, x);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
        if (key_0 < seen_by_tile.z || key_0 + KEYS > seen_by_tile.w) {
            scores = masked_scores(scores, key_0 + 4u * y, x);
        }
        scores = weights_of(scores, scale, Rows(row_shift[x], row_shift[x + 8u]));
        var dweights = Sums();
        for (var step = 0u; step < steps; step++) {
            let col = min(step * 4u + my_col, VECS - 1u);
            let v_next = kv_part(key_0 + my_row, last_key, v_offset + col, kv_stride);
            let dout_next = dout_part(row_0 + my_row, last_row, head * VECS + col, dout_stride);
            put_rows_a(v_next, lane);
            put_rows_b(within(dout_next, step * 4u + my_col), lane);
            workgroupBarrier();  // the tiles are complete
            dweights = square_shuffled_step(dweights, y, x);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
        scores = dscores_of(scores, dweights, Rows(row_delta[x], row_delta[x + 8u]));
        var key_next = kv_rows(key_0 + my_slot, last_key, k_at, kv_stride);
        for (var piece = 0u; piece < pieces; piece++) {
            if (piece == 0u) {
                put_pair(y, x, scores.r0_left, scores.r0_right, scores.r1_left, scores.r1_right);
            } else if (piece == 1u) {
                put_pair(y, x, scores.r2_left, scores.r2_right, scores.r3_left, scores.r3_right);
            } else if (piece == 2u) {
                put_pair(y, x, scores.r4_left, scores.r4_right, scores.r5_left, scores.r5_right);
            } else {
                put_pair(y, x, scores.r6_left, scores.r6_right, scores.r7_left, scores.r7_right);
            }
            put_stored_b(key_next, lane);
            workgroupBarrier();  // both tiles are complete
            key_next = kv_rows(
                key_0 + my_slot + row_of(min(piece + 1u, 3u), 0u), last_key, k_at, kv_stride);
            sums = square_step(sums, x, y);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
    }
    let row = row_0 + 4u * x;
    let vec = col_part * 16u + y;
    store(row + 0u, count, head, vec, sums.r0_left, sums.r0_right);
    store(row + 1u, count, head, vec, sums.r1_left, sums.r1_right);
    store(row + 2u, count, head, vec, sums.r2_left, sums.r2_right);
    store(row + 3u, count, head, vec, sums.r3_left, sums.r3_right);
    store(row + 32u, count, head, vec, sums.r4_left, sums.r4_right);
    store(row + 33u, count, head, vec, sums.r5_left, sums.r5_right);
    store(row + 34u, count, head, vec, sums.r6_left, sums.r6_right);
    store(row + 35u, count, head, vec, sums.r7_left, sums.r7_right);
}
