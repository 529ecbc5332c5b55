// The same as few, with sums over the lanes of a query and head exchanged within the subgroup: no
// barrier, and two keys a round, so that a lane needs few registers and many workgroups wait for
// memory at once. Heads of at most 64 columns, so that 8 lanes are enough.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const WIDTH: u32 = 128u;
const LANES: u32 = HEAD_DIM / 8u;
const PAIRS: u32 = WIDTH / LANES;  // of a query and a head
const MASKED: f32 = -1e30;

fn kv_at(at: u32, is_seen: bool) -> vec4<f32> {
    if (!is_seen) {
        return vec4<f32>();
    }
    return vec4<f32>(kv[at]);
}

// The sums over the lanes of a pair.
fn over_lanes(part: vec2<f32>) -> vec2<f32> {
    var sum = part;
    for (var distance = 1u; distance < LANES; distance *= 2u) {
        sum += subgroupShuffleXor(sum, distance);
    }
    return sum;
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_size) subgroup_lanes: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
) {
    let index = subgroup * subgroup_lanes + subgroup_lane;
    let lane = index % LANES;
    let pair_index = (group.x + group.y * groups.x) * PAIRS + index / LANES;
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
    // The rounds of a subgroup end together: all its lanes take part in every exchange.
    let longest = subgroupMax(seen_count);
    var row_max = MASKED;
    var sum = 0.0;
    var out_0 = vec4<f32>();
    var out_1 = vec4<f32>();
    for (var key = 0u; key < longest; key += 2u) {
        let seen = vec2<u32>(key, key + 1u) < vec2<u32>(seen_count);
        let at_0 = (first + key) * kv_stride;
        let at_1 = at_0 + kv_stride;
        let k_00 = kv_at(k_offset + at_0, seen.x);
        let k_01 = kv_at(k_offset + at_0 + LANES, seen.x);
        let k_10 = kv_at(k_offset + at_1, seen.y);
        let k_11 = kv_at(k_offset + at_1 + LANES, seen.y);
        let v_00 = kv_at(v_offset + at_0, seen.x);
        let v_01 = kv_at(v_offset + at_0 + LANES, seen.x);
        let v_10 = kv_at(v_offset + at_1, seen.y);
        let v_11 = kv_at(v_offset + at_1 + LANES, seen.y);
        let products = over_lanes(vec2<f32>(
            dot(q_0, k_00) + dot(q_1, k_01), dot(q_0, k_10) + dot(q_1, k_11)));
        let score = select(vec2<f32>(MASKED), products, seen);
        let shift = max(row_max, max(score.x, score.y));
        let weight = select(vec2<f32>(), exp(score - shift), seen);
        let factor = exp(row_max - shift);
        row_max = shift;
        sum = sum * factor + weight.x + weight.y;
        out_0 = out_0 * factor + weight.x * v_00 + weight.y * v_10;
        out_1 = out_1 * factor + weight.x * v_01 + weight.y * v_11;
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
