// out = softmax(scale q k^T) v where queries see ranges of a cache that lie far apart: a workgroup
// for every query and head. CHUNK keys at a time: first four lanes share a key, whose score becomes
// a weight, then lanes share the columns of the values and each takes every TILEth key. Sums are
// rescaled from chunk to chunk and added up over the lanes at the end.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

#import shared/attention_cache

const PARTS: u32 = 16u;
const MASKED: f32 = -1e30;

var<workgroup> query: array<vec4<f32>, COLS>;     // times scale
var<workgroup> weights: array<f32, CHUNK>;
var<workgroup> lane_values: array<f32, GROUP_SIZE>;
var<workgroup> part_values: array<f32, PARTS>;
var<workgroup> exchange: array<f32, 4u * CHUNK>;  // [CHUNK, 4] of scores, [TILE, HEAD_DIM] of sums
var<workgroup> totals: array<f32, TILE>;

fn largest_of_all(lane: u32, value: f32) -> f32 {
    lane_values[lane] = value;
    workgroupBarrier();  // the values of all lanes are there
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

// What a lane has of the values and of the weights.
struct Own {
    sum: vec4<f32>,
    total: f32,
}

fn added(own: Own, value: vec4<f32>, key: u32, count: u32) -> Own {
    let weight = select(0.0, weights[min(key, CHUNK - 1u)], key < count);
    return Own(own.sum + weight * value, own.total + weight);
}

// Every fourth vector of four keys, so that their loads do not wait for one another.
fn parts_of_scores(at: vec4<u32>, part: u32) -> vec4<f32> {
    var score_0 = vec4<f32>();
    var score_1 = vec4<f32>();
    var score_2 = vec4<f32>();
    var score_3 = vec4<f32>();
    for (var col = part; col < COLS; col += 4u) {
        let factor = query[col];
        score_0 += factor * vec4<f32>(kv[at.x + col]);
        score_1 += factor * vec4<f32>(kv[at.y + col]);
        score_2 += factor * vec4<f32>(kv[at.z + col]);
        score_3 += factor * vec4<f32>(kv[at.w + col]);
    }
    return vec4<f32>(
        (score_0.x + score_0.y) + (score_0.z + score_0.w),
        (score_1.x + score_1.y) + (score_1.z + score_1.w),
        (score_2.x + score_2.y) + (score_2.z + score_2.w),
        (score_3.x + score_3.y) + (score_3.z + score_3.w));
}

fn score_of(key: u32, count: u32) -> f32 {
    let at = 4u * min(key, CHUNK - 1u);
    let score = (exchange[at] + exchange[at + 1u]) + (exchange[at + 2u] + exchange[at + 3u]);
    return select(MASKED, score, key < count);
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
    if (lane < COLS) {
        let at = (row * params.query_stride + params.query_offset) / 4u + head * COLS + lane;
        query[lane] = params.scale * vec4<f32>(q[at]);
    }
    let share = lane / COLS;
    let has_share = share < TILE;

    var row_max = MASKED;
    var own = Own();
    for (var key_0 = first; key_0 < end; key_0 += CHUNK) {
        let count = min(CHUNK, end - key_0);
        // On its way while scores are computed.
        var batch = batch_at(key_0 + share, end, v_offset);
        workgroupBarrier();  // the query is there; nobody reads the former weights
        for (var i = lane; i < 4u * count; i += 4u * GROUP_SIZE) {
            let apart = vec4<u32>(0u, GROUP_SIZE / 4u, GROUP_SIZE / 2u, 3u * GROUP_SIZE / 4u);
            let keys = min(key_0 + i / 4u + apart, vec4<u32>(end - 1u));
            let parts = parts_of_scores(keys * kv_stride + k_offset, i % 4u);
            exchange[i] = parts.x;
            exchange[i + GROUP_SIZE] = parts.y;
            exchange[i + 2u * GROUP_SIZE] = parts.z;
            exchange[i + 3u * GROUP_SIZE] = parts.w;
        }
        workgroupBarrier();  // all parts are there
        let scores = vec2<f32>(score_of(lane, count), score_of(lane + GROUP_SIZE, count));
        let shift = max(row_max, largest_of_all(lane, max(scores.x, scores.y)));
        weights[lane] = exp(scores.x - shift);
        weights[lane + GROUP_SIZE] = exp(scores.y - shift);
        let factor = exp(row_max - shift);
        row_max = shift;
        own.sum *= factor;
        own.total *= factor;
        workgroupBarrier();  // the weights are there
        for (var i = share; i < count; i += BATCH) {
            let ahead = batch_at(key_0 + i + BATCH, end, v_offset);
            own = added(own, batch.v_0, i, count);
            own = added(own, batch.v_1, i + TILE, count);
            own = added(own, batch.v_2, i + 2u * TILE, count);
            own = added(own, batch.v_3, i + 3u * TILE, count);
            own = added(own, batch.v_4, i + 4u * TILE, count);
            own = added(own, batch.v_5, i + 5u * TILE, count);
            own = added(own, batch.v_6, i + 6u * TILE, count);
            own = added(own, batch.v_7, i + 7u * TILE, count);
            batch = ahead;
        }
    }
    if (has_share) {
        exchange[4u * lane] = own.sum.x;
        exchange[4u * lane + 1u] = own.sum.y;
        exchange[4u * lane + 2u] = own.sum.z;
        exchange[4u * lane + 3u] = own.sum.w;
    }
    if (lane % COLS == 0u && has_share) {
        totals[share] = own.total;
    }
    workgroupBarrier();  // the sums of all lanes are there
    var total = 0.0;
    for (var i = 0u; i < TILE; i++) {
        total += totals[i];
    }
    if (lane < COLS) {
        var sum = vec4<f32>();
        for (var i = 0u; i < TILE; i++) {
            let at = 4u * (i * COLS + lane);
            sum += vec4<f32>(
                exchange[at], exchange[at + 1u], exchange[at + 2u], exchange[at + 3u]);
        }
        // A row without keys has a total of zero and sums of zero.
        out[pair * COLS + lane] = out_type(sum / max(total, 1e-30));
    }
    if (lane == 0u) {
        log_sum_exp[pair] = select(MASKED, row_max + log(max(total, 1e-30)), total > 0.0);
    }
}
