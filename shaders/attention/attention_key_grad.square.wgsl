// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and ds = p (dout
// v^T - delta), summed over the query heads that share a key head, in order, by products of 64 x 32
// x 16. A workgroup owns ROWS keys and 64 columns of one head and walks the union of the query
// ranges that see them, QUERIES queries at a time. An invocation has the scores of 8 queries and 4
// keys in registers; p and ds go to the other products through workgroup memory, 16 queries at a
// time.
#import shared/attention
#import shared/register_tile
#import shared/row_ranges

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const ROWS: u32 = 32u;
const QUERIES: u32 = 64u;
const VECS: u32 = HEAD_DIM / 4u;
const COL_PARTS: u32 = (HEAD_DIM + 63u) / 64u;
const UNSET: f32 = -1e29;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> query_shift: array<vec4<f32>, 16>;  // [QUERIES / 4]: log_sum_exp in powers of two
var<workgroup> query_delta: array<vec4<f32>, 16>;  // [QUERIES / 4]

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
fn kv_half_part(row: u32, last: u32, at: u32, stride: u32) -> HalfPart {
    return HalfPart(
        vec4<f32>(kv[min(row, last) * stride + at]),
        vec4<f32>(kv[min(row + 16u, last) * stride + at]));
}

// Vector `at` of the rows of `row_of` from row `row` on, none behind `last`.
fn q_rows(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(q[min(row, last) * stride + at]),
        vec4<f32>(q[min(row + 8u, last) * stride + at]),
        vec4<f32>(q[min(row + 16u, last) * stride + at]),
        vec4<f32>(q[min(row + 24u, last) * stride + at]));
}

// Vector `at` of the rows of `row_of` from row `row` on, none behind `last`.
fn dout_rows(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(dout[min(row, last) * stride + at]),
        vec4<f32>(dout[min(row + 8u, last) * stride + at]),
        vec4<f32>(dout[min(row + 16u, last) * stride + at]),
        vec4<f32>(dout[min(row + 24u, last) * stride + at]));
}

// What a weight is relative to, in powers of two; nothing where a query sees no key.
fn shift_of(saved: f32) -> f32 {
    return select(LOG2_E * saved, 0.0, saved < UNSET);
}

fn masked_scores(s: TallSums, query: u32, x: u32) -> TallSums {
    return TallSums(
        masked(s.r0, query + 0u, x),
        masked(s.r1, query + 1u, x),
        masked(s.r2, query + 2u, x),
        masked(s.r3, query + 3u, x),
        masked(s.r4, query + 32u, x),
        masked(s.r5, query + 33u, x),
        masked(s.r6, query + 34u, x),
        masked(s.r7, query + 35u, x));
}

// What stands for a query: four queries from 4 y on, and the same 32 further.
struct Queries {
    upper: vec4<f32>,
    lower: vec4<f32>,
}

fn weights_of(s: TallSums, scale: f32, shift: Queries) -> TallSums {
    return TallSums(
        exp2(scale * s.r0 - shift.upper.x),
        exp2(scale * s.r1 - shift.upper.y),
        exp2(scale * s.r2 - shift.upper.z),
        exp2(scale * s.r3 - shift.upper.w),
        exp2(scale * s.r4 - shift.lower.x),
        exp2(scale * s.r5 - shift.lower.y),
        exp2(scale * s.r6 - shift.lower.z),
        exp2(scale * s.r7 - shift.lower.w));
}

fn dscores_of(w: TallSums, d: TallSums, delta_of: Queries) -> TallSums {
    return TallSums(
        w.r0 * (d.r0 - delta_of.upper.x),
        w.r1 * (d.r1 - delta_of.upper.y),
        w.r2 * (d.r2 - delta_of.upper.z),
        w.r3 * (d.r3 - delta_of.upper.w),
        w.r4 * (d.r4 - delta_of.lower.x),
        w.r5 * (d.r5 - delta_of.lower.y),
        w.r6 * (d.r6 - delta_of.lower.z),
        w.r7 * (d.r7 - delta_of.lower.w));
}

fn store(at: u32, vec: u32, left: vec4<f32>, right: vec4<f32>) {
    if (vec < VECS) {
        dkv[at + vec] = dkv_type(left);
    }
    if (vec + 8u < VECS) {
        dkv[at + vec + 8u] = dkv_type(right);
    }
}

fn store_row(
    row: u32, count: u32, k_offset: u32, v_offset: u32, vec: u32,
    dk_left: vec4<f32>, dk_right: vec4<f32>, dv_left: vec4<f32>, dv_right: vec4<f32>,
) {
    if (row < count) {
        let at = row * (params.kv_stride / 4u);
        store(at + k_offset, vec, dk_left, dk_right);
        store(at + v_offset, vec, dv_left, dv_right);
    }
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.keys);
    let col_part = index % COL_PARTS;
    let kv_head = index / COL_PARTS % params.kv_head_count;
    let row_0 = index / COL_PARTS / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    let q_stride = params.query_stride / 4u;
    let kv_stride = params.kv_stride / 4u;
    let dout_stride = params.head_count * VECS;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u;

    if (lane < ROWS) {
        var range = vec2<u32>(0u, BEYOND);
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.key_factor * 2u;
            range = vec2<u32>(query_range[entry], query_range[entry + 1u]) * params.query_factor;
        }
        put_range(lane, range);
    }
    workgroupBarrier();  // all ranges are there before they are united
    if (lane == 0u) {
        tile_range = united();
    }
    let seen_by_tile = workgroupUniformLoad(&tile_range);
    let query_end = seen_by_tile.y;
    let last_query = query_end - 1u;
    let last_row = count - 1u;

    // For the scores I own queries 4 y to 4 y + 3 and the same 32 further, and keys by x; then the
    // same keys and columns by y.
    let y = lane / 8u;
    let x = lane % 8u;
    let my_row = lane / 4u;
    let my_col = lane % 4u;
    let my_slot = row_of(0u, lane / 16u);
    let my_vec = min(col_part * 16u + lane % 16u, VECS - 1u);
    let steps = (params.head_dim + 15u) / 16u;
    let pieces = QUERIES / 16u + params.zero;  // not unrolled
    let scale = params.scale * LOG2_E;
    var dk = FlatSums();
    var dv = FlatSums();
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        let q_offset = (params.query_offset + head * HEAD_DIM) / 4u;
        let dout_offset = head * VECS;
        for (var query_0 = seen_by_tile.x; query_0 < query_end; query_0 += QUERIES) {
            let saved_at = min(query_0 + lane, last_query) * params.head_count + head;
            let shift = shift_of(log_sum_exp[saved_at]);
            let delta_here = delta[saved_at];
            query_shift[lane / 4u][lane % 4u] = shift;
            query_delta[lane / 4u][lane % 4u] = delta_here;
            var weights = TallSums();
            var weights_col = min(my_col, VECS - 1u);
            var q_next = q_part(query_0 + my_row, last_query, q_offset + weights_col, q_stride);
            var k_next = kv_half_part(row_0 + my_row, last_row, k_offset + weights_col, kv_stride);
            for (var step = 0u; step < steps; step++) {
                put_rows_a(within(q_next, step * 4u + my_col), lane);
                put_half_rows_b(k_next, lane);
                workgroupBarrier();  // the tiles are complete
                weights_col = min(min(step + 1u, steps - 1u) * 4u + my_col, VECS - 1u);
                q_next = q_part(query_0 + my_row, last_query, q_offset + weights_col, q_stride);
                k_next = kv_half_part(row_0 + my_row, last_row, k_offset + weights_col, kv_stride);
                weights = tall_shuffled_step(weights, y, x);
                workgroupBarrier();  // everybody has read the tiles before they are overwritten
            }
            if (query_0 < seen_by_tile.z || query_0 + QUERIES > seen_by_tile.w) {
                weights = masked_scores(weights, query_0 + 4u * y, x);
            }
            weights = weights_of(weights, scale, Queries(query_shift[y], query_shift[y + 8u]));
            var dv_next = dout_rows(
                query_0 + my_slot, last_query, dout_offset + my_vec, dout_stride);
            for (var piece = 0u; piece < pieces; piece++) {
                if (piece == 0u) {
                    put_half_pair(y, x, weights.r0, weights.r1);
                } else if (piece == 1u) {
                    put_half_pair(y, x, weights.r2, weights.r3);
                } else if (piece == 2u) {
                    put_half_pair(y, x, weights.r4, weights.r5);
                } else {
                    put_half_pair(y, x, weights.r6, weights.r7);
                }
                put_stored_b(dv_next, lane);
                workgroupBarrier();  // both tiles are complete
                dv_next = dout_rows(
                    query_0 + my_slot + row_of(min(piece + 1u, 3u), 0u), last_query,
                    dout_offset + my_vec, dout_stride);
                dv = flat_step(dv, x, y);
                workgroupBarrier();  // everybody has read the tiles before they are overwritten
            }
            var dscores = TallSums();
            var dscores_col = min(my_col, VECS - 1u);
            var dout_next = dout_part(
                query_0 + my_row, last_query, dout_offset + dscores_col, dout_stride);
            var v_next = kv_half_part(row_0 + my_row, last_row, v_offset + dscores_col, kv_stride);
            for (var step = 0u; step < steps; step++) {
                put_rows_a(within(dout_next, step * 4u + my_col), lane);
                put_half_rows_b(v_next, lane);
                workgroupBarrier();  // the tiles are complete
                dscores_col = min(min(step + 1u, steps - 1u) * 4u + my_col, VECS - 1u);
                dout_next = dout_part(
                    query_0 + my_row, last_query, dout_offset + dscores_col, dout_stride);
                v_next = kv_half_part(row_0 + my_row, last_row, v_offset + dscores_col, kv_stride);
                dscores = tall_shuffled_step(dscores, y, x);
                workgroupBarrier();  // everybody has read the tiles before they are overwritten
            }
            dscores = dscores_of(weights, dscores, Queries(query_delta[y], query_delta[y + 8u]));
            var dk_next = q_rows(
                query_0 + my_slot, last_query, q_offset + my_vec, q_stride);
            for (var piece = 0u; piece < pieces; piece++) {
                if (piece == 0u) {
                    put_half_pair(y, x, dscores.r0, dscores.r1);
                } else if (piece == 1u) {
                    put_half_pair(y, x, dscores.r2, dscores.r3);
                } else if (piece == 2u) {
                    put_half_pair(y, x, dscores.r4, dscores.r5);
                } else {
                    put_half_pair(y, x, dscores.r6, dscores.r7);
                }
                put_stored_b(dk_next, lane);
                workgroupBarrier();  // both tiles are complete
                dk_next = q_rows(
                    query_0 + my_slot + row_of(min(piece + 1u, 3u), 0u), last_query,
                    q_offset + my_vec, q_stride);
                dk = flat_step(dk, x, y);
                workgroupBarrier();  // everybody has read the tiles before they are overwritten
            }
        }
    }
    let vec = col_part * 16u + y;
    store_row(row_0 + 4u * x + 0u, count, k_offset, v_offset, vec,
        params.scale * dk.r0_left, params.scale * dk.r0_right, dv.r0_left, dv.r0_right);
    store_row(row_0 + 4u * x + 1u, count, k_offset, v_offset, vec,
        params.scale * dk.r1_left, params.scale * dk.r1_right, dv.r1_left, dv.r1_right);
    store_row(row_0 + 4u * x + 2u, count, k_offset, v_offset, vec,
        params.scale * dk.r2_left, params.scale * dk.r2_right, dv.r2_left, dv.r2_right);
    store_row(row_0 + 4u * x + 3u, count, k_offset, v_offset, vec,
        params.scale * dk.r3_left, params.scale * dk.r3_right, dv.r3_left, dv.r3_right);
}
