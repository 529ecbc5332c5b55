// out = softmax(scale q k^T) v where queries see ranges of a cache that lie far apart, with the
// bits of attention_row: a workgroup for every query and head. CHUNK keys at a time: first every
// lane has some keys, whose scores become weights of the chunk's largest exponent; then all lanes
// load values, tile by tile and eight tiles ahead, and a lane for every column adds them up in the
// order of the keys.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<f32>;                // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<f32>>;         // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;        // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<f32>;        // [queries, cols]

#import shared/attention_cache

const PARTS: u32 = 16u;
const LOG2_E: f32 = 1.4426950408889634;
const NO_SCORE: i32 = -1048576;

var<workgroup> query: array<vec4<f32>, COLS>;         // times scale / ln 2
var<workgroup> weights: array<f32, CHUNK>;
var<workgroup> lane_values: array<i32, GROUP_SIZE>;
var<workgroup> part_values: array<i32, PARTS>;
var<workgroup> values: array<vec4<f32>, 2u * GROUP_SIZE>;  // two tiles

// 2^exponent, zero below the smallest normal number.
fn power_of_two(exponent: i32) -> f32 {
    return bitcast<f32>(u32(clamp(exponent, -127, 0) + 127) << 23u);
}

// The scores of two keys, each a sum in the order of the columns.
fn scores_of(left: u32, right: u32) -> vec2<f32> {
    var score = vec2<f32>();
    for (var col = 0u; col < COLS; col++) {
        let left_term = kv[left + col];
        let right_term = kv[right + col];
        let factor = query[col];
        score = fma(factor.xx, vec2<f32>(left_term.x, right_term.x), score);
        score = fma(factor.yy, vec2<f32>(left_term.y, right_term.y), score);
        score = fma(factor.zz, vec2<f32>(left_term.z, right_term.z), score);
        score = fma(factor.ww, vec2<f32>(left_term.w, right_term.w), score);
    }
    return score;
}

fn largest_of_all(lane: u32, value: i32) -> i32 {
    lane_values[lane] = value;
    workgroupBarrier();  // the exponents of all lanes are there
    if (lane < PARTS) {
        var most = lane_values[lane];
        for (var i = lane + PARTS; i < GROUP_SIZE; i += PARTS) {
            most = max(most, lane_values[i]);
        }
        part_values[lane] = most;
    }
    workgroupBarrier();  // the largest of each part are there
    var most = part_values[0];
    for (var i = 1u; i < PARTS; i++) {
        most = max(most, part_values[i]);
    }
    return most;
}

// Puts a vector a lane into one of the two tiles, and adds up the keys of it from `first` to `end`:
// (sum of a column, sum of the weights).
fn added(
    own: vec2<f32>,
    lane: u32,
    tile: u32,
    value: vec4<f32>,
    first: u32,
    end: u32,
) -> vec2<f32> {
    var result = own;
    let start = tile * GROUP_SIZE;
    values[start + lane] = value;
    workgroupBarrier();  // the tile is there, and the one before the last is read
    if (lane < HEAD_DIM) {
        for (var i = first; i < min(first + TILE, end); i++) {
            let weight = weights[i];
            let at = start + (i - first) * COLS + lane / 4u;
            result.x = fma(weight, values[at][lane % 4u], result.x);
            result.y += weight;
        }
    }
    return result;
}

@compute @workgroup_size(GROUP_SIZE)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let pair = group.x + group.y * groups.x;
    let row = pair / params.head_count;
    if (row >= length_of(params.queries)) {
        return;
    }
    let head = pair % params.head_count;
    let kv_head = head / (params.head_count / params.kv_head_count);
    let kv_stride = params.kv_stride / 4u;
    let k_offset = params.key_offset / 4u + kv_head * COLS;
    let v_offset = params.value_offset / 4u + kv_head * COLS + lane % COLS;
    let entry = row / params.query_factor * 2u;
    let first = key_range[entry] * params.key_factor;
    let end = key_range[entry + 1u] * params.key_factor;
    let own_key = lane / COLS;
    if (lane < COLS) {
        let at = row * params.query_stride + params.query_offset + head * HEAD_DIM + 4u * lane;
        let factor = params.scale * LOG2_E;
        query[lane] = factor * vec4<f32>(q[at], q[at + 1u], q[at + 2u], q[at + 3u]);
    }

    var former = NO_SCORE;
    var own = vec2<f32>();
    for (var key_0 = first; key_0 < end; key_0 += CHUNK) {
        let count = min(CHUNK, end - key_0);
        // On its way while scores are computed.
        var batch = batch_at(key_0 + own_key, end, v_offset);
        workgroupBarrier();  // the query is there; nobody reads the former weights
        let keys = min(key_0 + vec2<u32>(lane, lane + GROUP_SIZE), vec2<u32>(end - 1u));
        let at = keys * kv_stride + k_offset;
        let scores = scores_of(at.x, at.y);
        let whole = floor(scores);
        // Of lanes beyond the keys the last key's.
        let now = max(former, largest_of_all(lane, max(i32(whole.x), i32(whole.y))));
        let fraction = exp2(scores - whole);
        weights[lane] = fraction.x * power_of_two(i32(whole.x) - now);
        weights[lane + GROUP_SIZE] = fraction.y * power_of_two(i32(whole.y) - now);
        own *= power_of_two(former - now);
        former = now;
        // The weights are there once the first tile is.
        for (var i = 0u; i < count; i += BATCH) {
            let ahead = batch_at(key_0 + i + BATCH + own_key, end, v_offset);
            let rest = count - i;
            own = added(own, lane, 0u, batch.v_0, i, count);
            own = added(own, lane, 1u, batch.v_1, i + TILE, count);
            own = added(own, lane, 0u, batch.v_2, i + 2u * TILE, count);
            own = added(own, lane, 1u, batch.v_3, i + 3u * TILE, count);
            own = added(own, lane, 0u, batch.v_4, i + 4u * TILE, count);
            own = added(own, lane, 1u, batch.v_5, i + 5u * TILE, count);
            own = added(own, lane, 0u, batch.v_6, i + 6u * TILE, count);
            own = added(own, lane, 1u, batch.v_7, i + 7u * TILE, count);
            batch = ahead;
        }
    }

    // A row without keys has a total of zero and sums of zero.
    let inverse = 1.0 / max(own.y, 1e-30);
    if (lane < HEAD_DIM) {
        out[pair * HEAD_DIM + lane] = own.x * inverse;
    }
}
