// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order, in f32 by
// register tiles. A workgroup owns ROWS keys of one head and walks the union of the query ranges
// that see them, QUERIES queries at a time. An invocation owns the scores of 4 rows and 4 queries,
// then 4 rows and two vec4 columns of dk and of dv: rows `row + 8 i`, queries `query_group + 8 j`,
// vec4 `query_group` and `query_group + 8`. HEAD_DIM is 64. Loads are spelled out and issued early:
// in a loop each would wait for the one before.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const WIDTH: u32 = 64u;
const GROUPS: u32 = 8u;        // of rows, of queries and of columns
const KEY_GROUPS: u32 = WIDTH / GROUPS;
const ROWS: u32 = 4u * KEY_GROUPS;
const QUERIES: u32 = 4u * GROUPS;
const VECS: u32 = 2u * GROUPS;
const PITCH: u32 = VECS + 1u;  // odd, so that rows start in different banks
const WEIGHT_PITCH: u32 = GROUPS + 1u;
const MASKED: f32 = -1e30;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> k_tile: array<vec4<f32>, ROWS * PITCH>;          // [ROWS, VECS], times scale
var<workgroup> v_tile: array<vec4<f32>, ROWS * PITCH>;          // [ROWS, VECS]
var<workgroup> q_tile: array<vec4<f32>, QUERIES * PITCH>;       // [QUERIES, VECS]
var<workgroup> dout_tile: array<vec4<f32>, QUERIES * PITCH>;    // [QUERIES, VECS]
var<workgroup> weights: array<vec4<f32>, ROWS * WEIGHT_PITCH>;  // [ROWS, GROUPS], four queries each
var<workgroup> dscores: array<vec4<f32>, ROWS * WEIGHT_PITCH>;  // [ROWS, GROUPS], four queries each
var<workgroup> shifts: array<vec4<f32>, GROUPS>;                // log_sum_exp, in powers of two
var<workgroup> deltas: array<vec4<f32>, GROUPS>;
var<workgroup> row_range: array<vec2<u32>, ROWS>;               // queries that see each key
var<workgroup> tile_range: vec4<u32>;                           // their union and who sees all

// What an invocation brings of 32 rows: a vec4 of every 4th row.
struct Tile {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

fn kv_at(at: u32, is_there: bool) -> vec4<f32> {
    if (!is_there) {
        return vec4<f32>();
    }
    return vec4<f32>(kv[at]);
}

// My part of rows row.. of kv, which lie `stride` apart from `at` on; zeros from end on.
fn load_kv(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = kv_at(at, row < end);
    tile.b = kv_at(at + 4u * stride, row + 4u < end);
    tile.c = kv_at(at + 8u * stride, row + 8u < end);
    tile.d = kv_at(at + 12u * stride, row + 12u < end);
    tile.e = kv_at(at + 16u * stride, row + 16u < end);
    tile.f = kv_at(at + 20u * stride, row + 20u < end);
    tile.g = kv_at(at + 24u * stride, row + 24u < end);
    tile.h = kv_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn q_at(at: u32, is_there: bool) -> vec4<f32> {
    if (!is_there) {
        return vec4<f32>();
    }
    return vec4<f32>(q[at]);
}

// My part of rows row.. of q, which lie `stride` apart from `at` on; zeros from end on.
fn load_q(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = q_at(at, row < end);
    tile.b = q_at(at + 4u * stride, row + 4u < end);
    tile.c = q_at(at + 8u * stride, row + 8u < end);
    tile.d = q_at(at + 12u * stride, row + 12u < end);
    tile.e = q_at(at + 16u * stride, row + 16u < end);
    tile.f = q_at(at + 20u * stride, row + 20u < end);
    tile.g = q_at(at + 24u * stride, row + 24u < end);
    tile.h = q_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn dout_at(at: u32, is_there: bool) -> vec4<f32> {
    if (!is_there) {
        return vec4<f32>();
    }
    return vec4<f32>(dout[at]);
}

// My part of rows row.. of dout, which lie `stride` apart from `at` on; zeros from end on.
fn load_dout(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = dout_at(at, row < end);
    tile.b = dout_at(at + 4u * stride, row + 4u < end);
    tile.c = dout_at(at + 8u * stride, row + 8u < end);
    tile.d = dout_at(at + 12u * stride, row + 12u < end);
    tile.e = dout_at(at + 16u * stride, row + 16u < end);
    tile.f = dout_at(at + 20u * stride, row + 20u < end);
    tile.g = dout_at(at + 24u * stride, row + 24u < end);
    tile.h = dout_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn put_k(tile: Tile, at: u32) {
    k_tile[at] = params.scale * LOG2_E * tile.a;
    k_tile[at + 4u * PITCH] = params.scale * LOG2_E * tile.b;
    k_tile[at + 8u * PITCH] = params.scale * LOG2_E * tile.c;
    k_tile[at + 12u * PITCH] = params.scale * LOG2_E * tile.d;
    k_tile[at + 16u * PITCH] = params.scale * LOG2_E * tile.e;
    k_tile[at + 20u * PITCH] = params.scale * LOG2_E * tile.f;
    k_tile[at + 24u * PITCH] = params.scale * LOG2_E * tile.g;
    k_tile[at + 28u * PITCH] = params.scale * LOG2_E * tile.h;
}

fn put_v(tile: Tile, at: u32) {
    v_tile[at] = tile.a;
    v_tile[at + 4u * PITCH] = tile.b;
    v_tile[at + 8u * PITCH] = tile.c;
    v_tile[at + 12u * PITCH] = tile.d;
    v_tile[at + 16u * PITCH] = tile.e;
    v_tile[at + 20u * PITCH] = tile.f;
    v_tile[at + 24u * PITCH] = tile.g;
    v_tile[at + 28u * PITCH] = tile.h;
}

fn put_q(tile: Tile, at: u32) {
    q_tile[at] = tile.a;
    q_tile[at + 4u * PITCH] = tile.b;
    q_tile[at + 8u * PITCH] = tile.c;
    q_tile[at + 12u * PITCH] = tile.d;
    q_tile[at + 16u * PITCH] = tile.e;
    q_tile[at + 20u * PITCH] = tile.f;
    q_tile[at + 24u * PITCH] = tile.g;
    q_tile[at + 28u * PITCH] = tile.h;
}

fn put_dout(tile: Tile, at: u32) {
    dout_tile[at] = tile.a;
    dout_tile[at + 4u * PITCH] = tile.b;
    dout_tile[at + 8u * PITCH] = tile.c;
    dout_tile[at + 12u * PITCH] = tile.d;
    dout_tile[at + 16u * PITCH] = tile.e;
    dout_tile[at + 20u * PITCH] = tile.f;
    dout_tile[at + 24u * PITCH] = tile.g;
    dout_tile[at + 28u * PITCH] = tile.h;
}

fn masked(score: vec4<f32>, row: u32, queries: vec4<u32>) -> vec4<f32> {
    let range = row_range[row];
    let seen = (queries >= vec4<u32>(range.x)) & (queries < vec4<u32>(range.y));
    return select(vec4<f32>(MASKED), score, seen);
}

// log_sum_exp, in powers of two, and delta.
fn saved_of(query: u32, end: u32, head: u32) -> vec2<f32> {
    if (query >= end) {
        return vec2<f32>();
    }
    let at = query * params.head_count + head;
    return vec2<f32>(LOG2_E * log_sum_exp[at], delta[at]);
}

fn store(row: u32, count: u32, at: u32, near: vec4<f32>, far: vec4<f32>) {
    if (row < count) {
        let place = row * params.kv_stride / 4u + at;
        dkv[place] = dkv_type(near);
        dkv[place + GROUPS] = dkv_type(far);
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.keys);
    let kv_head = index % params.kv_head_count;
    let row_0 = index / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    let q_stride = params.query_stride / 4u;
    let dout_stride = params.head_count * VECS;
    let kv_stride = params.kv_stride / 4u;
    // Of a tile I bring vec4 my_col of every so many rows from my_line on.
    let my_line = lane / VECS;
    let my_col = lane % VECS;
    let my_place = my_line * PITCH + my_col;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u;

    let first = row_0 + my_line;
    put_k(load_kv(first, count, first * kv_stride + k_offset + my_col, kv_stride), my_place);
    put_v(load_kv(first, count, first * kv_stride + v_offset + my_col, kv_stride), my_place);
    if (lane < ROWS) {
        var range = vec2<u32>(0u, 0xffffffffu);  // rows beyond the last are not stored
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.key_factor * 2u;
            range = vec2<u32>(query_range[entry], query_range[entry + 1u]) * params.query_factor;
        }
        row_range[lane] = range;
    }
    workgroupBarrier();  // all ranges are there before they are united
    if (lane == 0u) {
        var any_seen = vec2<u32>(0xffffffffu, 0u);
        var all_seen = vec2<u32>(0u, 0xffffffffu);
        for (var i = 0u; i < min(ROWS, count - row_0); i++) {
            let seen = row_range[i];
            if (seen.x < seen.y) {
                any_seen = vec2<u32>(min(any_seen.x, seen.x), max(any_seen.y, seen.y));
            }
            all_seen = vec2<u32>(max(all_seen.x, seen.x), min(all_seen.y, seen.y));
        }
        tile_range = vec4<u32>(any_seen, all_seen);
    }
    let seen_by_tile = workgroupUniformLoad(&tile_range);
    let query_end = seen_by_tile.y;

    let row = lane / GROUPS;
    let query_group = lane % GROUPS;
    var near_dk_0 = vec4<f32>();
    var far_dk_0 = vec4<f32>();
    var near_dv_0 = vec4<f32>();
    var far_dv_0 = vec4<f32>();
    var near_dk_1 = vec4<f32>();
    var far_dk_1 = vec4<f32>();
    var near_dv_1 = vec4<f32>();
    var far_dv_1 = vec4<f32>();
    var near_dk_2 = vec4<f32>();
    var far_dk_2 = vec4<f32>();
    var near_dv_2 = vec4<f32>();
    var far_dv_2 = vec4<f32>();
    var near_dk_3 = vec4<f32>();
    var far_dk_3 = vec4<f32>();
    var near_dv_3 = vec4<f32>();
    var far_dv_3 = vec4<f32>();
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        let q_offset = (params.query_offset + head * HEAD_DIM) / 4u + my_col;
        let dout_offset = head * VECS + my_col;
        var next = seen_by_tile.x + my_line;
        var queries = load_q(next, query_end, next * q_stride + q_offset, q_stride);
        var upstream = load_dout(next, query_end, next * dout_stride + dout_offset, dout_stride);
        var saved = saved_of(seen_by_tile.x + lane % QUERIES, query_end, head);
        for (var query_0 = seen_by_tile.x; query_0 < query_end; query_0 += QUERIES) {
            put_q(queries, my_place);
            put_dout(upstream, my_place);
            if (lane < QUERIES) {
                shifts[lane % GROUPS][lane / GROUPS] = saved.x;
                deltas[lane % GROUPS][lane / GROUPS] = saved.y;
            }
            workgroupBarrier();  // queries and upstream gradients are complete
            var score_0 = vec4<f32>();
            var dweight_0 = vec4<f32>();
            var score_1 = vec4<f32>();
            var dweight_1 = vec4<f32>();
            var score_2 = vec4<f32>();
            var dweight_2 = vec4<f32>();
            var score_3 = vec4<f32>();
            var dweight_3 = vec4<f32>();
            for (var i = 0u; i < VECS; i++) {
                let q_0 = q_tile[query_group * PITCH + i];
                let q_1 = q_tile[(query_group + GROUPS) * PITCH + i];
                let q_2 = q_tile[(query_group + 2u * GROUPS) * PITCH + i];
                let q_3 = q_tile[(query_group + 3u * GROUPS) * PITCH + i];
                let d_0 = dout_tile[query_group * PITCH + i];
                let d_1 = dout_tile[(query_group + GROUPS) * PITCH + i];
                let d_2 = dout_tile[(query_group + 2u * GROUPS) * PITCH + i];
                let d_3 = dout_tile[(query_group + 3u * GROUPS) * PITCH + i];
                let k_0 = k_tile[row * PITCH + i];
                score_0 += vec4<f32>(
                    dot(k_0, q_0), dot(k_0, q_1), dot(k_0, q_2), dot(k_0, q_3));
                let v_0 = v_tile[row * PITCH + i];
                dweight_0 += vec4<f32>(
                    dot(v_0, d_0), dot(v_0, d_1), dot(v_0, d_2), dot(v_0, d_3));
                let k_1 = k_tile[(row + KEY_GROUPS) * PITCH + i];
                score_1 += vec4<f32>(
                    dot(k_1, q_0), dot(k_1, q_1), dot(k_1, q_2), dot(k_1, q_3));
                let v_1 = v_tile[(row + KEY_GROUPS) * PITCH + i];
                dweight_1 += vec4<f32>(
                    dot(v_1, d_0), dot(v_1, d_1), dot(v_1, d_2), dot(v_1, d_3));
                let k_2 = k_tile[(row + 2u * KEY_GROUPS) * PITCH + i];
                score_2 += vec4<f32>(
                    dot(k_2, q_0), dot(k_2, q_1), dot(k_2, q_2), dot(k_2, q_3));
                let v_2 = v_tile[(row + 2u * KEY_GROUPS) * PITCH + i];
                dweight_2 += vec4<f32>(
                    dot(v_2, d_0), dot(v_2, d_1), dot(v_2, d_2), dot(v_2, d_3));
                let k_3 = k_tile[(row + 3u * KEY_GROUPS) * PITCH + i];
                score_3 += vec4<f32>(
                    dot(k_3, q_0), dot(k_3, q_1), dot(k_3, q_2), dot(k_3, q_3));
                let v_3 = v_tile[(row + 3u * KEY_GROUPS) * PITCH + i];
                dweight_3 += vec4<f32>(
                    dot(v_3, d_0), dot(v_3, d_1), dot(v_3, d_2), dot(v_3, d_3));
            }
            next += QUERIES;
            queries = load_q(next, query_end, next * q_stride + q_offset, q_stride);
            upstream = load_dout(next, query_end, next * dout_stride + dout_offset, dout_stride);
            saved = saved_of(query_0 + QUERIES + lane % QUERIES, query_end, head);
            let shift = shifts[query_group];
            score_0 -= shift;
            score_1 -= shift;
            score_2 -= shift;
            score_3 -= shift;
            if (query_0 < seen_by_tile.z || query_0 + QUERIES > seen_by_tile.w) {
                let places = vec4<u32>(query_0 + query_group) + vec4<u32>(0u, 8u, 16u, 24u);
                score_0 = masked(score_0, row, places);
                score_1 = masked(score_1, row + KEY_GROUPS, places);
                score_2 = masked(score_2, row + 2u * KEY_GROUPS, places);
                score_3 = masked(score_3, row + 3u * KEY_GROUPS, places);
            }
            let query_delta = deltas[query_group];
            let weight_0 = exp2(score_0);
            weights[row * WEIGHT_PITCH + query_group] = weight_0;
            dscores[row * WEIGHT_PITCH + query_group] =
                weight_0 * (dweight_0 - query_delta);
            let weight_1 = exp2(score_1);
            weights[(row + KEY_GROUPS) * WEIGHT_PITCH + query_group] = weight_1;
            dscores[(row + KEY_GROUPS) * WEIGHT_PITCH + query_group] =
                weight_1 * (dweight_1 - query_delta);
            let weight_2 = exp2(score_2);
            weights[(row + 2u * KEY_GROUPS) * WEIGHT_PITCH + query_group] = weight_2;
            dscores[(row + 2u * KEY_GROUPS) * WEIGHT_PITCH + query_group] =
                weight_2 * (dweight_2 - query_delta);
            let weight_3 = exp2(score_3);
            weights[(row + 3u * KEY_GROUPS) * WEIGHT_PITCH + query_group] = weight_3;
            dscores[(row + 3u * KEY_GROUPS) * WEIGHT_PITCH + query_group] =
                weight_3 * (dweight_3 - query_delta);
            workgroupBarrier();  // all weights and dscores are there
            for (var i = 0u; i < GROUPS; i++) {
                let near_q_0 = q_tile[i * PITCH + query_group];
                let far_q_0 = q_tile[i * PITCH + query_group + GROUPS];
                let near_q_1 = q_tile[(i + GROUPS) * PITCH + query_group];
                let far_q_1 = q_tile[(i + GROUPS) * PITCH + query_group + GROUPS];
                let near_q_2 = q_tile[(i + 2u * GROUPS) * PITCH + query_group];
                let far_q_2 = q_tile[(i + 2u * GROUPS) * PITCH + query_group + GROUPS];
                let near_q_3 = q_tile[(i + 3u * GROUPS) * PITCH + query_group];
                let far_q_3 = q_tile[(i + 3u * GROUPS) * PITCH + query_group + GROUPS];
                let ds_0 = dscores[row * WEIGHT_PITCH + i];
                near_dk_0 += ds_0.x * near_q_0 + ds_0.y * near_q_1
                    + ds_0.z * near_q_2 + ds_0.w * near_q_3;
                far_dk_0 += ds_0.x * far_q_0 + ds_0.y * far_q_1
                    + ds_0.z * far_q_2 + ds_0.w * far_q_3;
                let ds_1 = dscores[(row + KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dk_1 += ds_1.x * near_q_0 + ds_1.y * near_q_1
                    + ds_1.z * near_q_2 + ds_1.w * near_q_3;
                far_dk_1 += ds_1.x * far_q_0 + ds_1.y * far_q_1
                    + ds_1.z * far_q_2 + ds_1.w * far_q_3;
                let ds_2 = dscores[(row + 2u * KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dk_2 += ds_2.x * near_q_0 + ds_2.y * near_q_1
                    + ds_2.z * near_q_2 + ds_2.w * near_q_3;
                far_dk_2 += ds_2.x * far_q_0 + ds_2.y * far_q_1
                    + ds_2.z * far_q_2 + ds_2.w * far_q_3;
                let ds_3 = dscores[(row + 3u * KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dk_3 += ds_3.x * near_q_0 + ds_3.y * near_q_1
                    + ds_3.z * near_q_2 + ds_3.w * near_q_3;
                far_dk_3 += ds_3.x * far_q_0 + ds_3.y * far_q_1
                    + ds_3.z * far_q_2 + ds_3.w * far_q_3;
                let near_d_0 = dout_tile[i * PITCH + query_group];
                let far_d_0 = dout_tile[i * PITCH + query_group + GROUPS];
                let near_d_1 = dout_tile[(i + GROUPS) * PITCH + query_group];
                let far_d_1 = dout_tile[(i + GROUPS) * PITCH + query_group + GROUPS];
                let near_d_2 = dout_tile[(i + 2u * GROUPS) * PITCH + query_group];
                let far_d_2 = dout_tile[(i + 2u * GROUPS) * PITCH + query_group + GROUPS];
                let near_d_3 = dout_tile[(i + 3u * GROUPS) * PITCH + query_group];
                let far_d_3 = dout_tile[(i + 3u * GROUPS) * PITCH + query_group + GROUPS];
                let w_0 = weights[row * WEIGHT_PITCH + i];
                near_dv_0 += w_0.x * near_d_0 + w_0.y * near_d_1
                    + w_0.z * near_d_2 + w_0.w * near_d_3;
                far_dv_0 += w_0.x * far_d_0 + w_0.y * far_d_1
                    + w_0.z * far_d_2 + w_0.w * far_d_3;
                let w_1 = weights[(row + KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dv_1 += w_1.x * near_d_0 + w_1.y * near_d_1
                    + w_1.z * near_d_2 + w_1.w * near_d_3;
                far_dv_1 += w_1.x * far_d_0 + w_1.y * far_d_1
                    + w_1.z * far_d_2 + w_1.w * far_d_3;
                let w_2 = weights[(row + 2u * KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dv_2 += w_2.x * near_d_0 + w_2.y * near_d_1
                    + w_2.z * near_d_2 + w_2.w * near_d_3;
                far_dv_2 += w_2.x * far_d_0 + w_2.y * far_d_1
                    + w_2.z * far_d_2 + w_2.w * far_d_3;
                let w_3 = weights[(row + 3u * KEY_GROUPS) * WEIGHT_PITCH + i];
                near_dv_3 += w_3.x * near_d_0 + w_3.y * near_d_1
                    + w_3.z * near_d_2 + w_3.w * near_d_3;
                far_dv_3 += w_3.x * far_d_0 + w_3.y * far_d_1
                    + w_3.z * far_d_2 + w_3.w * far_d_3;
            }
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
    }
    let k_column = k_offset + query_group;
    let v_column = v_offset + query_group;
    near_dk_0 *= params.scale;
    far_dk_0 *= params.scale;
    store(row_0 + row, count, k_column, near_dk_0, far_dk_0);
    store(row_0 + row, count, v_column, near_dv_0, far_dv_0);
    near_dk_1 *= params.scale;
    far_dk_1 *= params.scale;
    store(row_0 + row + KEY_GROUPS, count, k_column, near_dk_1, far_dk_1);
    store(row_0 + row + KEY_GROUPS, count, v_column, near_dv_1, far_dv_1);
    near_dk_2 *= params.scale;
    far_dk_2 *= params.scale;
    store(row_0 + row + 2u * KEY_GROUPS, count, k_column, near_dk_2, far_dk_2);
    store(row_0 + row + 2u * KEY_GROUPS, count, v_column, near_dv_2, far_dv_2);
    near_dk_3 *= params.scale;
    far_dk_3 *= params.scale;
    store(row_0 + row + 3u * KEY_GROUPS, count, k_column, near_dk_3, far_dk_3);
    store(row_0 + row + 3u * KEY_GROUPS, count, v_column, near_dv_3, far_dv_3);
}
