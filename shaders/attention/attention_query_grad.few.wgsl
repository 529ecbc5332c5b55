// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp) and
// delta = rowsum(dout * out), where every query sees a few keys, as in pooling and unpooling. LANES
// lanes own one query and head, each two vec4 of its columns; two keys a round. Products are sums
// over the lanes, exchanged through workgroup memory; the rounds of a workgroup end together.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;    // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;   // [queries, heads]
@group(0) @binding(7) var<storage, read> out: array<out_type>;      // [queries, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;   // [queries, heads]
@group(0) @binding(9) var<storage, read_write> dq: array<dq_type>;  // [queries, query_stride]

const WIDTH: u32 = 64u;
const LANES: u32 = HEAD_DIM / 8u;
const PAIRS: u32 = WIDTH / LANES;  // of a query and a head
const PITCH: u32 = LANES + 1u;     // pairs start in different banks
const ROUND: u32 = PAIRS * PITCH;

// Of two rounds, [PAIRS, LANES]: q k of two keys, then dout v of both. Before that dout out.
var<workgroup> partial: array<vec4<f32>, 2u * ROUND>;
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
    let q_at = (row * params.query_stride + params.query_offset + head * HEAD_DIM) / 4u + lane;

    var first = 0u;
    var seen_count = 0u;
    var q_0 = vec4<f32>();
    var q_1 = vec4<f32>();
    var dout_0 = vec4<f32>();
    var dout_1 = vec4<f32>();
    var shift = 0.0;
    var my_delta = 0.0;
    if (is_row) {
        let entry = row / params.query_factor * 2u;
        first = key_range[entry] * params.key_factor;
        seen_count = max(key_range[entry + 1u] * params.key_factor, first) - first;
        q_0 = params.scale * vec4<f32>(q[q_at]);
        q_1 = params.scale * vec4<f32>(q[q_at + LANES]);
        let dout_at = pair_index * (HEAD_DIM / 4u) + lane;
        dout_0 = vec4<f32>(dout[dout_at]);
        dout_1 = vec4<f32>(dout[dout_at + LANES]);
        shift = log_sum_exp[pair_index];
        my_delta = dot(dout_0, vec4<f32>(out[dout_at]));
        my_delta += dot(dout_1, vec4<f32>(out[dout_at + LANES]));
    }
    if (lane == 0u) {
        seen_counts[pair] = seen_count;
    }
    partial[pair * PITCH + lane].x = my_delta;
    workgroupBarrier();  // all counts and parts of delta are there
    var row_delta = 0.0;
    for (var i = 0u; i < LANES; i++) {
        row_delta += partial[pair * PITCH + i].x;
    }
    if (is_row && lane == 0u) {
        delta[pair_index] = row_delta;
    }
    if (index == 0u) {
        var most = 0u;
        for (var i = 0u; i < PAIRS; i++) {
            most = max(most, seen_counts[i]);
        }
        most_seen = most;
    }
    let longest = workgroupUniformLoad(&most_seen);  // and everybody has read the parts of delta

    var dq_0 = vec4<f32>();
    var dq_1 = vec4<f32>();
    for (var key = 0u; key < longest; key += 2u) {
        let base = key / 2u % 2u * ROUND + pair * PITCH;  // of this round's partial sums
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
        partial[base + lane] = vec4<f32>(
            dot(q_0, k_00) + dot(q_1, k_01), dot(q_0, k_10) + dot(q_1, k_11),
            dot(dout_0, v_00) + dot(dout_1, v_01), dot(dout_0, v_10) + dot(dout_1, v_11));
        workgroupBarrier();  // all partial sums are there; those of the round before are read
        var products = vec4<f32>();
        for (var i = 0u; i < LANES; i++) {
            products += partial[base + i];
        }
        let shifted = select(vec2<f32>(), products.xy - shift, seen);
        let dscore = select(vec2<f32>(), exp(shifted) * (products.zw - row_delta), seen);
        dq_0 += dscore.x * k_00 + dscore.y * k_10;
        dq_1 += dscore.x * k_01 + dscore.y * k_11;
    }
    if (is_row) {
        dq[q_at] = dq_type(params.scale * dq_0);
        dq[q_at + LANES] = dq_type(params.scale * dq_1);
    }
}
