// out = softmax(scale q k^T) v where every query sees a few keys, as in pooling and unpooling.
// LANES lanes own one query and head, each two vec4 of its columns; four keys a round. Scores are
// sums over the lanes, exchanged through workgroup memory; the rounds of a workgroup end together.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const WIDTH: u32 = 64u;
const LANES: u32 = HEAD_DIM / 8u;
const PAIRS: u32 = WIDTH / LANES;  // of a query and a head
const PITCH: u32 = LANES + 1u;     // pairs start in different banks
const ROUND: u32 = PAIRS * PITCH;
const MASKED: f32 = -1e30;

var<workgroup> partial: array<vec4<f32>, 2u * ROUND>;  // of two rounds: [PAIRS, LANES], four keys
var<workgroup> seen_counts: array<u32, PAIRS>;
var<workgroup> most_seen: u32;

fn kv_at(at: u32, is_seen: bool) -> vec4<f32> {
    if (!is_seen) {
        return vec4<f32>();
    }
    return vec4<f32>(kv[at]);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let pair = index / LANES;
    let lane = index % LANES;
    let pair_index = (group.x + group.y * groups.x) * PAIRS + pair;
    let row = pair_index / params.head_count;
    let head = pair_index % params.head_count;
    let kv_head = head / (params.head_count / params.kv_head_count);
    let is_row = row < length_of(params.queries);
    let kv_stride = params.kv_stride / 4u;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u + lane;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u + lane;

    var first = 0u;
    var seen_count = 0u;
    var q_0 = vec4<f32>();
    var q_1 = vec4<f32>();
    if (is_row) {
        let entry = row / params.query_factor * 2u;
        first = key_range[entry] * params.key_factor;
        seen_count = max(key_range[entry + 1u] * params.key_factor, first) - first;
        let at = (row * params.query_stride + params.query_offset + head * HEAD_DIM) / 4u + lane;
        q_0 = params.scale * vec4<f32>(q[at]);
        q_1 = params.scale * vec4<f32>(q[at + LANES]);
    }
    if (lane == 0u) {
        seen_counts[pair] = seen_count;
    }
    workgroupBarrier();  // all counts are there
    if (index == 0u) {
        var most = 0u;
        for (var i = 0u; i < PAIRS; i++) {
            most = max(most, seen_counts[i]);
        }
        most_seen = most;
    }
    let longest = workgroupUniformLoad(&most_seen);

    var row_max = MASKED;
    var sum = 0.0;
    var out_0 = vec4<f32>();
    var out_1 = vec4<f32>();
    for (var key = 0u; key < longest; key += 4u) {
        let base = key / 4u % 2u * ROUND + pair * PITCH;  // of this round's partial sums
        let seen = vec4<u32>(key, key + 1u, key + 2u, key + 3u) < vec4<u32>(seen_count);
        let at_0 = (first + key) * kv_stride;
        let at_1 = at_0 + kv_stride;
        let at_2 = at_1 + kv_stride;
        let at_3 = at_2 + kv_stride;
        let v_00 = kv_at(v_offset + at_0, seen.x);
        let v_10 = kv_at(v_offset + at_1, seen.y);
        let v_20 = kv_at(v_offset + at_2, seen.z);
        let v_30 = kv_at(v_offset + at_3, seen.w);
        let v_01 = kv_at(v_offset + at_0 + LANES, seen.x);
        let v_11 = kv_at(v_offset + at_1 + LANES, seen.y);
        let v_21 = kv_at(v_offset + at_2 + LANES, seen.z);
        let v_31 = kv_at(v_offset + at_3 + LANES, seen.w);
        partial[base + lane] = vec4<f32>(
            dot(q_0, kv_at(k_offset + at_0, seen.x)), dot(q_0, kv_at(k_offset + at_1, seen.y)),
            dot(q_0, kv_at(k_offset + at_2, seen.z)), dot(q_0, kv_at(k_offset + at_3, seen.w)))
            + vec4<f32>(
            dot(q_1, kv_at(k_offset + at_0 + LANES, seen.x)),
            dot(q_1, kv_at(k_offset + at_1 + LANES, seen.y)),
            dot(q_1, kv_at(k_offset + at_2 + LANES, seen.z)),
            dot(q_1, kv_at(k_offset + at_3 + LANES, seen.w)));
        workgroupBarrier();  // all partial sums are there; those of the round before are read
        var score = vec4<f32>();
        for (var i = 0u; i < LANES; i++) {
            score += partial[base + i];
        }
        score = select(vec4<f32>(MASKED), score, seen);
        let larger = max(max(score.x, score.y), max(score.z, score.w));
        let shift = max(row_max, larger);
        let weight = select(vec4<f32>(), exp(score - shift), seen);
        let factor = exp(row_max - shift);
        row_max = shift;
        sum = sum * factor + weight.x + weight.y + weight.z + weight.w;
        out_0 = out_0 * factor + weight.x * v_00 + weight.y * v_10 + weight.z * v_20
            + weight.w * v_30;
        out_1 = out_1 * factor + weight.x * v_01 + weight.y * v_11 + weight.z * v_21
            + weight.w * v_31;
    }
    if (!is_row) {
        return;
    }
    // A row without keys has a sum of zero and weights of zero.
    let inverse = 1.0 / max(sum, 1e-30);
    let at = pair_index * (HEAD_DIM / 4u) + lane;
    out[at] = out_type(inverse * out_0);
    out[at + LANES] = out_type(inverse * out_1);
    if (lane == 0u) {
        log_sum_exp[pair_index] = select(MASKED, row_max + log(max(sum, 1e-30)), sum > 0.0);
    }
}
