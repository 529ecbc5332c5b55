// out = softmax(scale q k^T) v where queries see ranges of a cache that lie far apart: a workgroup
// for every query and head. CHUNK keys at a time: first every lane has some keys, whose scores
// become weights, then lanes share the columns of the values and each takes every so-manieth key.
// Sums are rescaled from chunk to chunk and added up over the lanes at the end.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const WIDTH: u32 = 256u;
const CHUNK: u32 = 512u;
const COLS: u32 = HEAD_DIM / 4u;    // vectors of a head
const SHARES: u32 = WIDTH / COLS;   // lanes of a vector
const PARTS: u32 = 16u;
const MASKED: f32 = -1e30;

var<workgroup> query: array<vec4<f32>, COLS>;     // times scale
var<workgroup> weights: array<f32, CHUNK>;
var<workgroup> lane_values: array<f32, WIDTH>;
var<workgroup> part_values: array<f32, PARTS>;
var<workgroup> sums: array<vec4<f32>, WIDTH>;     // [SHARES, COLS]

fn largest_of_all(lane: u32, value: f32) -> f32 {
    lane_values[lane] = value;
    workgroupBarrier();  // the values of all lanes are there
    if (lane < PARTS) {
        var most = lane_values[lane];
        for (var i = lane + PARTS; i < WIDTH; i += PARTS) {
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

fn sum_of_all(lane: u32, value: f32) -> f32 {
    workgroupBarrier();  // everybody has read what was exchanged before
    lane_values[lane] = value;
    workgroupBarrier();  // the values of all lanes are there
    if (lane < PARTS) {
        var sum = 0.0;
        for (var i = lane; i < WIDTH; i += PARTS) {
            sum += lane_values[i];
        }
        part_values[lane] = sum;
    }
    workgroupBarrier();  // the sums of each part are there
    var sum = 0.0;
    for (var i = 0u; i < PARTS; i++) {
        sum += part_values[i];
    }
    return sum;
}

fn score_of(at: u32) -> f32 {
    var score = vec4<f32>();
    for (var col = 0u; col < COLS; col++) {
        score += query[col] * vec4<f32>(kv[at + col]);
    }
    return score.x + score.y + score.z + score.w;
}

@compute @workgroup_size(WIDTH)
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
    let v_offset = params.value_offset / 4u + kv_head * COLS;
    let entry = row / params.query_factor * 2u;
    let first = key_range[entry] * params.key_factor;
    let end = key_range[entry + 1u] * params.key_factor;
    if (lane < COLS) {
        let at = (row * params.query_stride + params.query_offset) / 4u + head * COLS + lane;
        query[lane] = params.scale * vec4<f32>(q[at]);
    }
    let col = lane % COLS;
    let share = lane / COLS;

    var row_max = MASKED;
    var total = 0.0;
    var sum = vec4<f32>();
    for (var key_0 = first; key_0 < end; key_0 += CHUNK) {
        let count = min(CHUNK, end - key_0);
        workgroupBarrier();  // the query is there; nobody reads the former weights
        var most = MASKED;
        for (var i = lane; i < count; i += WIDTH) {
            let score = score_of((key_0 + i) * kv_stride + k_offset);
            weights[i] = score;
            most = max(most, score);
        }
        let shift = max(row_max, largest_of_all(lane, most));
        var own = 0.0;
        for (var i = lane; i < count; i += WIDTH) {
            let weight = exp(weights[i] - shift);
            weights[i] = weight;
            own += weight;
        }
        let factor = exp(row_max - shift);
        row_max = shift;
        total = total * factor + sum_of_all(lane, own);
        sum *= factor;
        // The sum of all has waited for the weights.
        if (share < SHARES) {
            for (var i = share; i < count; i += SHARES) {
                sum += weights[i] * vec4<f32>(kv[(key_0 + i) * kv_stride + v_offset + col]);
            }
        }
    }
    sums[lane] = sum;
    workgroupBarrier();  // the sums of all lanes are there
    if (lane < COLS) {
        for (var i = 1u; i < SHARES; i++) {
            sum += sums[i * COLS + lane];
        }
        // A row without keys has a total of zero and sums of zero.
        out[pair * COLS + lane] = out_type(sum / max(total, 1e-30));
    }
    if (lane == 0u) {
        log_sum_exp[pair] = select(MASKED, row_max + log(max(total, 1e-30)), total > 0.0);
    }
}
