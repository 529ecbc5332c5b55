// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp), in f32 by
// register tiles. A workgroup owns ROWS queries of one head and walks the union of their key
// ranges, KEYS keys at a time. An invocation owns the scores of 4 rows and 4 keys, then 4 rows and
// two vec4 columns of dq: rows `row + 8 i`, keys `key_group + 8 j`, vec4 `key_group` and
// `key_group + 8`. HEAD_DIM is 64. Loads are spelled out and issued early: in a loop each would
// wait for the one before.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;    // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;   // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;         // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dq: array<dq_type>;  // [queries, query_stride]

const WIDTH: u32 = 64u;
const GROUPS: u32 = 8u;        // of rows, of keys and of columns
const QUERY_GROUPS: u32 = WIDTH / GROUPS;
const ROWS: u32 = 4u * QUERY_GROUPS;
const KEYS: u32 = 4u * GROUPS;
const VECS: u32 = 2u * GROUPS;
const PITCH: u32 = VECS + 1u;  // odd, so that rows start in different banks
const DSCORE_PITCH: u32 = GROUPS + 1u;
const MASKED: f32 = -1e30;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> q_tile: array<vec4<f32>, ROWS * PITCH>;          // [ROWS, VECS], times scale
var<workgroup> dout_tile: array<vec4<f32>, ROWS * PITCH>;       // [ROWS, VECS]
var<workgroup> k_tile: array<vec4<f32>, KEYS * PITCH>;          // [KEYS, VECS]
var<workgroup> v_tile: array<vec4<f32>, KEYS * PITCH>;          // [KEYS, VECS]
var<workgroup> dscores: array<vec4<f32>, ROWS * DSCORE_PITCH>;  // [ROWS, GROUPS], four keys each
var<workgroup> row_range: array<vec2<u32>, ROWS>;               // keys of each query
var<workgroup> tile_range: vec4<u32>;                           // their union and what all see

// What an invocation brings of 32 rows: a vec4 of every 4th row.
struct Tile {
    a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
    e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
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

fn put_q(tile: Tile, at: u32) {
    q_tile[at] = params.scale * LOG2_E * tile.a;
    q_tile[at + 4u * PITCH] = params.scale * LOG2_E * tile.b;
    q_tile[at + 8u * PITCH] = params.scale * LOG2_E * tile.c;
    q_tile[at + 12u * PITCH] = params.scale * LOG2_E * tile.d;
    q_tile[at + 16u * PITCH] = params.scale * LOG2_E * tile.e;
    q_tile[at + 20u * PITCH] = params.scale * LOG2_E * tile.f;
    q_tile[at + 24u * PITCH] = params.scale * LOG2_E * tile.g;
    q_tile[at + 28u * PITCH] = params.scale * LOG2_E * tile.h;
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

fn put_k(tile: Tile, at: u32) {
    k_tile[at] = tile.a;
    k_tile[at + 4u * PITCH] = tile.b;
    k_tile[at + 8u * PITCH] = tile.c;
    k_tile[at + 12u * PITCH] = tile.d;
    k_tile[at + 16u * PITCH] = tile.e;
    k_tile[at + 20u * PITCH] = tile.f;
    k_tile[at + 24u * PITCH] = tile.g;
    k_tile[at + 28u * PITCH] = tile.h;
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

fn masked(score: vec4<f32>, row: u32, keys: vec4<u32>) -> vec4<f32> {
    let range = row_range[row];
    let seen = (keys >= vec4<u32>(range.x)) & (keys < vec4<u32>(range.y));
    return select(vec4<f32>(MASKED), score, seen);
}

// log_sum_exp, in powers of two, and delta.
fn saved_of(row: u32, count: u32, head: u32) -> vec2<f32> {
    if (row >= count) {
        return vec2<f32>();
    }
    let at = row * params.head_count + head;
    return vec2<f32>(LOG2_E * log_sum_exp[at], delta[at]);
}

fn store(row: u32, count: u32, at: u32, near: vec4<f32>, far: vec4<f32>) {
    if (row < count) {
        let place = row * params.query_stride / 4u + at;
        dq[place] = dq_type(params.scale * near);
        dq[place + GROUPS] = dq_type(params.scale * far);
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let head = index % params.head_count;
    let row_0 = index / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_stride = params.query_stride / 4u;
    let dout_stride = params.head_count * VECS;
    let kv_stride = params.kv_stride / 4u;
    // Of a tile I bring vec4 my_col of every so many rows from my_line on.
    let my_line = lane / VECS;
    let my_col = lane % VECS;
    let my_place = my_line * PITCH + my_col;
    let q_offset = (params.query_offset + head * HEAD_DIM) / 4u;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u + my_col;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u + my_col;

    let first = row_0 + my_line;
    put_q(load_q(first, count, first * q_stride + q_offset + my_col, q_stride), my_place);
    let dout_at_first = first * dout_stride + head * VECS + my_col;
    put_dout(load_dout(first, count, dout_at_first, dout_stride), my_place);
    if (lane < ROWS) {
        var range = vec2<u32>(0u, 0xffffffffu);  // rows beyond the last are not stored
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.query_factor * 2u;
            range = vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
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
    let key_end = seen_by_tile.y;

    let row = lane / GROUPS;
    let key_group = lane % GROUPS;
    let saved_0 = saved_of(row_0 + row, count, head);
    let saved_1 = saved_of(row_0 + row + QUERY_GROUPS, count, head);
    let saved_2 = saved_of(row_0 + row + 2u * QUERY_GROUPS, count, head);
    let saved_3 = saved_of(row_0 + row + 3u * QUERY_GROUPS, count, head);
    var near_0 = vec4<f32>();
    var far_0 = vec4<f32>();
    var near_1 = vec4<f32>();
    var far_1 = vec4<f32>();
    var near_2 = vec4<f32>();
    var far_2 = vec4<f32>();
    var near_3 = vec4<f32>();
    var far_3 = vec4<f32>();
    var at = (seen_by_tile.x + my_line) * kv_stride;
    var keys = load_kv(seen_by_tile.x + my_line, key_end, at + k_offset, kv_stride);
    var values = load_kv(seen_by_tile.x + my_line, key_end, at + v_offset, kv_stride);
    for (var key_0 = seen_by_tile.x; key_0 < key_end; key_0 += KEYS) {
        put_k(keys, my_place);
        put_v(values, my_place);
        workgroupBarrier();  // keys and values are complete
        var score_0 = vec4<f32>();
        var dweight_0 = vec4<f32>();
        var score_1 = vec4<f32>();
        var dweight_1 = vec4<f32>();
        var score_2 = vec4<f32>();
        var dweight_2 = vec4<f32>();
        var score_3 = vec4<f32>();
        var dweight_3 = vec4<f32>();
        for (var i = 0u; i < VECS; i++) {
            let k_0 = k_tile[key_group * PITCH + i];
            let k_1 = k_tile[(key_group + GROUPS) * PITCH + i];
            let k_2 = k_tile[(key_group + 2u * GROUPS) * PITCH + i];
            let k_3 = k_tile[(key_group + 3u * GROUPS) * PITCH + i];
            let v_0 = v_tile[key_group * PITCH + i];
            let v_1 = v_tile[(key_group + GROUPS) * PITCH + i];
            let v_2 = v_tile[(key_group + 2u * GROUPS) * PITCH + i];
            let v_3 = v_tile[(key_group + 3u * GROUPS) * PITCH + i];
            let q_0 = q_tile[row * PITCH + i];
            score_0 += vec4<f32>(dot(q_0, k_0), dot(q_0, k_1), dot(q_0, k_2), dot(q_0, k_3));
            let d_0 = dout_tile[row * PITCH + i];
            dweight_0 += vec4<f32>(dot(d_0, v_0), dot(d_0, v_1), dot(d_0, v_2), dot(d_0, v_3));
            let q_1 = q_tile[(row + QUERY_GROUPS) * PITCH + i];
            score_1 += vec4<f32>(dot(q_1, k_0), dot(q_1, k_1), dot(q_1, k_2), dot(q_1, k_3));
            let d_1 = dout_tile[(row + QUERY_GROUPS) * PITCH + i];
            dweight_1 += vec4<f32>(dot(d_1, v_0), dot(d_1, v_1), dot(d_1, v_2), dot(d_1, v_3));
            let q_2 = q_tile[(row + 2u * QUERY_GROUPS) * PITCH + i];
            score_2 += vec4<f32>(dot(q_2, k_0), dot(q_2, k_1), dot(q_2, k_2), dot(q_2, k_3));
            let d_2 = dout_tile[(row + 2u * QUERY_GROUPS) * PITCH + i];
            dweight_2 += vec4<f32>(dot(d_2, v_0), dot(d_2, v_1), dot(d_2, v_2), dot(d_2, v_3));
            let q_3 = q_tile[(row + 3u * QUERY_GROUPS) * PITCH + i];
            score_3 += vec4<f32>(dot(q_3, k_0), dot(q_3, k_1), dot(q_3, k_2), dot(q_3, k_3));
            let d_3 = dout_tile[(row + 3u * QUERY_GROUPS) * PITCH + i];
            dweight_3 += vec4<f32>(dot(d_3, v_0), dot(d_3, v_1), dot(d_3, v_2), dot(d_3, v_3));
        }
        at += KEYS * kv_stride;
        keys = load_kv(key_0 + KEYS + my_line, key_end, at + k_offset, kv_stride);
        values = load_kv(key_0 + KEYS + my_line, key_end, at + v_offset, kv_stride);
        score_0 -= saved_0.x;
        score_1 -= saved_1.x;
        score_2 -= saved_2.x;
        score_3 -= saved_3.x;
        if (key_0 < seen_by_tile.z || key_0 + KEYS > seen_by_tile.w) {
            let places = vec4<u32>(key_0 + key_group) + vec4<u32>(0u, 8u, 16u, 24u);
            score_0 = masked(score_0, row, places);
            score_1 = masked(score_1, row + QUERY_GROUPS, places);
            score_2 = masked(score_2, row + 2u * QUERY_GROUPS, places);
            score_3 = masked(score_3, row + 3u * QUERY_GROUPS, places);
        }
        dweight_0 -= saved_0.y;
        dscores[row * DSCORE_PITCH + key_group] = exp2(score_0) * dweight_0;
        dweight_1 -= saved_1.y;
        dscores[(row + QUERY_GROUPS) * DSCORE_PITCH + key_group] = exp2(score_1) * dweight_1;
        dweight_2 -= saved_2.y;
        dscores[(row + 2u * QUERY_GROUPS) * DSCORE_PITCH + key_group] = exp2(score_2) * dweight_2;
        dweight_3 -= saved_3.y;
        dscores[(row + 3u * QUERY_GROUPS) * DSCORE_PITCH + key_group] = exp2(score_3) * dweight_3;
        workgroupBarrier();  // all dscores are there
        for (var i = 0u; i < GROUPS; i++) {
            let near_k_0 = k_tile[i * PITCH + key_group];
            let far_k_0 = k_tile[i * PITCH + key_group + GROUPS];
            let near_k_1 = k_tile[(i + GROUPS) * PITCH + key_group];
            let far_k_1 = k_tile[(i + GROUPS) * PITCH + key_group + GROUPS];
            let near_k_2 = k_tile[(i + 2u * GROUPS) * PITCH + key_group];
            let far_k_2 = k_tile[(i + 2u * GROUPS) * PITCH + key_group + GROUPS];
            let near_k_3 = k_tile[(i + 3u * GROUPS) * PITCH + key_group];
            let far_k_3 = k_tile[(i + 3u * GROUPS) * PITCH + key_group + GROUPS];
            let ds_0 = dscores[row * DSCORE_PITCH + i];
            near_0 += ds_0.x * near_k_0 + ds_0.y * near_k_1 + ds_0.z * near_k_2
                + ds_0.w * near_k_3;
            far_0 += ds_0.x * far_k_0 + ds_0.y * far_k_1 + ds_0.z * far_k_2 + ds_0.w * far_k_3;
            let ds_1 = dscores[(row + QUERY_GROUPS) * DSCORE_PITCH + i];
            near_1 += ds_1.x * near_k_0 + ds_1.y * near_k_1 + ds_1.z * near_k_2
                + ds_1.w * near_k_3;
            far_1 += ds_1.x * far_k_0 + ds_1.y * far_k_1 + ds_1.z * far_k_2 + ds_1.w * far_k_3;
            let ds_2 = dscores[(row + 2u * QUERY_GROUPS) * DSCORE_PITCH + i];
            near_2 += ds_2.x * near_k_0 + ds_2.y * near_k_1 + ds_2.z * near_k_2
                + ds_2.w * near_k_3;
            far_2 += ds_2.x * far_k_0 + ds_2.y * far_k_1 + ds_2.z * far_k_2 + ds_2.w * far_k_3;
            let ds_3 = dscores[(row + 3u * QUERY_GROUPS) * DSCORE_PITCH + i];
            near_3 += ds_3.x * near_k_0 + ds_3.y * near_k_1 + ds_3.z * near_k_2
                + ds_3.w * near_k_3;
            far_3 += ds_3.x * far_k_0 + ds_3.y * far_k_1 + ds_3.z * far_k_2 + ds_3.w * far_k_3;
        }
        workgroupBarrier();  // everybody has read keys and dscores
    }
    let column = q_offset + key_group;
    store(row_0 + row, count, column, near_0, far_0);
    store(row_0 + row + QUERY_GROUPS, count, column, near_1, far_1);
    store(row_0 + row + 2u * QUERY_GROUPS, count, column, near_2, far_2);
    store(row_0 + row + 3u * QUERY_GROUPS, count, column, near_3, far_3);
}
