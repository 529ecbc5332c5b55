// out = softmax(scale q k^T) v in f32 by register tiles; every query sees one contiguous range of
// keys. A workgroup owns ROWS queries of one head and walks the union of their ranges, KEYS keys at
// a time, with an online softmax. An invocation owns the scores of 2 rows and 4 keys, then 2 rows
// and two vec4 columns of the output: rows `row + QUERY_GROUPS i`, keys `key_group + 8 j`, vec4
// `key_group` and `key_group + 8`. HEAD_DIM is 64. Loads are spelled out and issued early: in a
// loop each would wait for the one before.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const WIDTH: u32 = 64u;
const GROUPS: u32 = 8u;        // of keys and of columns
const QUERY_GROUPS: u32 = WIDTH / GROUPS;
const ROWS: u32 = 2u * QUERY_GROUPS;
const KEYS: u32 = 4u * GROUPS;
const VECS: u32 = 2u * GROUPS;
const PITCH: u32 = VECS + 1u;  // odd, so that rows start in different banks
const WEIGHT_PITCH: u32 = GROUPS + 1u;
const PART_PITCH: u32 = 3u;
const MASKED: f32 = -1e30;
const UNSET: f32 = -1e29;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> q_tile: array<vec4<f32>, ROWS * PITCH>;          // [ROWS, VECS], times scale
var<workgroup> kv_tile: array<vec4<f32>, KEYS * PITCH>;         // [KEYS, VECS], keys, then values
var<workgroup> weights: array<vec4<f32>, ROWS * WEIGHT_PITCH>;  // [ROWS, GROUPS], four keys each
var<workgroup> parts: array<vec4<f32>, ROWS * PART_PITCH>;      // [ROWS, GROUPS], maxima or sums
var<workgroup> row_range: array<vec2<u32>, ROWS>;               // keys of each query
var<workgroup> tile_range: vec4<u32>;                           // their union and what all see

// What an invocation brings of KEYS rows: a vec4 of every 4th row.
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

fn kv_at(at: u32, is_there: bool) -> vec4<f32> {
    if (!is_there) {
        return vec4<f32>();
    }
    return vec4<f32>(kv[at]);
}

// My part of rows row.. of kv, which lie `stride` apart from `at` on; zeros from end on.
fn load(row: u32, end: u32, at: u32, stride: u32) -> Tile {
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

fn put_keys(tile: Tile, at: u32) {
    kv_tile[at] = tile.a;
    kv_tile[at + 4u * PITCH] = tile.b;
    kv_tile[at + 8u * PITCH] = tile.c;
    kv_tile[at + 12u * PITCH] = tile.d;
    kv_tile[at + 16u * PITCH] = tile.e;
    kv_tile[at + 20u * PITCH] = tile.f;
    kv_tile[at + 24u * PITCH] = tile.g;
    kv_tile[at + 28u * PITCH] = tile.h;
}

fn masked(score: vec4<f32>, row: u32, keys: vec4<u32>) -> vec4<f32> {
    let range = row_range[row];
    let seen = (keys >= vec4<u32>(range.x)) & (keys < vec4<u32>(range.y));
    return select(vec4<f32>(MASKED), score, seen);
}

fn put_part(row: u32, group: u32, value: f32) {
    parts[row * PART_PITCH + group / 4u][group % 4u] = value;
}

fn largest_part(row: u32) -> f32 {
    let both = max(parts[row * PART_PITCH], parts[row * PART_PITCH + 1u]);
    return max(max(both.x, both.y), max(both.z, both.w));
}

fn sum_of_parts(row: u32) -> f32 {
    return dot(parts[row * PART_PITCH] + parts[row * PART_PITCH + 1u], vec4<f32>(1.0));
}

fn largest_of(score: vec4<f32>) -> f32 {
    return max(max(score.x, score.y), max(score.z, score.w));
}

// Weights relative to what scores are compared with; a row that has seen nothing has none.
fn weigh(score: vec4<f32>, shift: f32) -> vec4<f32> {
    return exp2(score - select(shift, 0.0, shift < UNSET));
}

fn store(
    row: u32, count: u32, head: u32, vec: u32, total: f32, near: vec4<f32>, far: vec4<f32>,
) {
    if (row < count) {
        // A row without keys has a total of zero and sums of zero.
        let inverse = 1.0 / max(total, 1e-30);
        let at = (row * params.head_count + head) * VECS + vec;
        out[at] = out_type(inverse * near);
        out[at + GROUPS] = out_type(inverse * far);
    }
}

fn save(row: u32, count: u32, head: u32, shift: f32, total: f32) {
    if (row < count) {
        let value = (shift + log2(max(total, 1e-30))) / LOG2_E;
        log_sum_exp[row * params.head_count + head] = select(MASKED, value, total > 0.0);
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
    let kv_stride = params.kv_stride / 4u;
    // Of a tile I bring vec4 my_col of every so many rows from my_line on.
    let my_line = lane / VECS;
    let my_col = lane % VECS;
    let my_place = my_line * PITCH + my_col;
    let q_offset = (params.query_offset + head * HEAD_DIM) / 4u + my_col;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u + my_col;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u + my_col;

    let line_0 = row_0 + my_line;
    let query_0 = q_at(line_0 * q_stride + q_offset, line_0 < count);
    let line_1 = row_0 + my_line + 4u;
    let query_1 = q_at(line_1 * q_stride + q_offset, line_1 < count);
    let line_2 = row_0 + my_line + 8u;
    let query_2 = q_at(line_2 * q_stride + q_offset, line_2 < count);
    let line_3 = row_0 + my_line + 12u;
    let query_3 = q_at(line_3 * q_stride + q_offset, line_3 < count);
    q_tile[my_place] = params.scale * LOG2_E * query_0;
    q_tile[my_place + 4u * PITCH] = params.scale * LOG2_E * query_1;
    q_tile[my_place + 8u * PITCH] = params.scale * LOG2_E * query_2;
    q_tile[my_place + 12u * PITCH] = params.scale * LOG2_E * query_3;
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
    var shift_0 = MASKED;
    var total_0 = 0.0;
    var near_0 = vec4<f32>();
    var far_0 = vec4<f32>();
    var shift_1 = MASKED;
    var total_1 = 0.0;
    var near_1 = vec4<f32>();
    var far_1 = vec4<f32>();
    var at = (seen_by_tile.x + my_line) * kv_stride;
    var keys = load(seen_by_tile.x + my_line, key_end, at + k_offset, kv_stride);
    for (var key_0 = seen_by_tile.x; key_0 < key_end; key_0 += KEYS) {
        put_keys(keys, my_place);
        workgroupBarrier();  // the keys are complete
        let values = load(key_0 + my_line, key_end, at + v_offset, kv_stride);
        at += KEYS * kv_stride;
        var score_0 = vec4<f32>();
        var score_1 = vec4<f32>();
        for (var i = 0u; i < VECS; i++) {
            let k_0 = kv_tile[key_group * PITCH + i];
            let k_1 = kv_tile[(key_group + GROUPS) * PITCH + i];
            let k_2 = kv_tile[(key_group + 2u * GROUPS) * PITCH + i];
            let k_3 = kv_tile[(key_group + 3u * GROUPS) * PITCH + i];
            let q_0 = q_tile[row * PITCH + i];
            score_0 += vec4<f32>(dot(q_0, k_0), dot(q_0, k_1), dot(q_0, k_2), dot(q_0, k_3));
            let q_1 = q_tile[(row + QUERY_GROUPS) * PITCH + i];
            score_1 += vec4<f32>(dot(q_1, k_0), dot(q_1, k_1), dot(q_1, k_2), dot(q_1, k_3));
        }
        if (key_0 < seen_by_tile.z || key_0 + KEYS > seen_by_tile.w) {
            let places = vec4<u32>(key_0 + key_group) + vec4<u32>(0u, 8u, 16u, 24u);
            score_0 = masked(score_0, row, places);
            score_1 = masked(score_1, row + QUERY_GROUPS, places);
        }
        put_part(row, key_group, largest_of(score_0));
        put_part(row + QUERY_GROUPS, key_group, largest_of(score_1));
        workgroupBarrier();  // maxima are there, and the keys are read
        put_keys(values, my_place);
        keys = load(key_0 + KEYS + my_line, key_end, at + k_offset, kv_stride);
        let larger_0 = max(shift_0, largest_part(row));
        let factor_0 = exp2(shift_0 - larger_0);
        shift_0 = larger_0;
        score_0 = weigh(score_0, larger_0);
        total_0 = total_0 * factor_0 + dot(score_0, vec4<f32>(1.0));
        near_0 *= factor_0;
        far_0 *= factor_0;
        weights[row * WEIGHT_PITCH + key_group] = score_0;
        let larger_1 = max(shift_1, largest_part(row + QUERY_GROUPS));
        let factor_1 = exp2(shift_1 - larger_1);
        shift_1 = larger_1;
        score_1 = weigh(score_1, larger_1);
        total_1 = total_1 * factor_1 + dot(score_1, vec4<f32>(1.0));
        near_1 *= factor_1;
        far_1 *= factor_1;
        weights[(row + QUERY_GROUPS) * WEIGHT_PITCH + key_group] = score_1;
        workgroupBarrier();  // weights and values are complete
        for (var i = 0u; i < GROUPS; i++) {
            let near_v_0 = kv_tile[i * PITCH + key_group];
            let far_v_0 = kv_tile[i * PITCH + key_group + GROUPS];
            let near_v_1 = kv_tile[(i + GROUPS) * PITCH + key_group];
            let far_v_1 = kv_tile[(i + GROUPS) * PITCH + key_group + GROUPS];
            let near_v_2 = kv_tile[(i + 2u * GROUPS) * PITCH + key_group];
            let far_v_2 = kv_tile[(i + 2u * GROUPS) * PITCH + key_group + GROUPS];
            let near_v_3 = kv_tile[(i + 3u * GROUPS) * PITCH + key_group];
            let far_v_3 = kv_tile[(i + 3u * GROUPS) * PITCH + key_group + GROUPS];
            let w_0 = weights[row * WEIGHT_PITCH + i];
            near_0 += w_0.x * near_v_0 + w_0.y * near_v_1 + w_0.z * near_v_2 + w_0.w * near_v_3;
            far_0 += w_0.x * far_v_0 + w_0.y * far_v_1 + w_0.z * far_v_2 + w_0.w * far_v_3;
            let w_1 = weights[(row + QUERY_GROUPS) * WEIGHT_PITCH + i];
            near_1 += w_1.x * near_v_0 + w_1.y * near_v_1 + w_1.z * near_v_2 + w_1.w * near_v_3;
            far_1 += w_1.x * far_v_0 + w_1.y * far_v_1 + w_1.z * far_v_2 + w_1.w * far_v_3;
        }
        workgroupBarrier();  // values and weights are read
    }

    put_part(row, key_group, total_0);
    put_part(row + QUERY_GROUPS, key_group, total_1);
    workgroupBarrier();  // all sums are there
    total_0 = sum_of_parts(row);
    store(row_0 + row, count, head, key_group, total_0, near_0, far_0);
    total_1 = sum_of_parts(row + QUERY_GROUPS);
    store(row_0 + row + QUERY_GROUPS, count, head, key_group, total_1, near_1, far_1);
    if (key_group == 0u) {
        save(row_0 + row, count, head, shift_0, total_0);
        save(row_0 + row + QUERY_GROUPS, count, head, shift_1, total_1);
    }
}
