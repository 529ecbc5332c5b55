// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order, where few
// queries see a key, as in pooling and unpooling. LANES lanes own one key and head, each two vec4
// of its columns; two queries a round. Products are sums over the lanes, exchanged through
// workgroup memory; the rounds of a workgroup end together.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const WIDTH: u32 = 64u;
const LANES: u32 = HEAD_DIM / 8u;
const PAIRS: u32 = WIDTH / LANES;  // of a key and a head
const PITCH: u32 = LANES + 1u;     // pairs start in different banks
const ROUND: u32 = PAIRS * PITCH;

// Of two rounds, [PAIRS, LANES]: k q of two queries, then v dout of both.
var<workgroup> partial: array<vec4<f32>, 2u * ROUND>;
var<workgroup> seen_counts: array<u32, PAIRS>;
var<workgroup> most_seen: u32;

fn query_at(at: u32, is_seen: bool) -> vec4<f32> {
    if (!is_seen) {
        return vec4<f32>();
    }
    return vec4<f32>(q[at]);
}

fn dout_at(at: u32, is_seen: bool) -> vec4<f32> {
    if (!is_seen) {
        return vec4<f32>();
    }
    return vec4<f32>(dout[at]);
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
    let row = pair_index / params.kv_head_count;
    let kv_head = pair_index % params.kv_head_count;
    let heads_a_group = params.head_count / params.kv_head_count;
    let is_row = row < length_of(params.keys);
    let q_stride = params.query_stride / 4u;
    let k_at = (row * params.kv_stride + params.key_offset + kv_head * HEAD_DIM) / 4u + lane;
    let v_at = (row * params.kv_stride + params.value_offset + kv_head * HEAD_DIM) / 4u + lane;

    var first = 0u;
    var seen_count = 0u;
    var k_0 = vec4<f32>();
    var k_1 = vec4<f32>();
    var v_0 = vec4<f32>();
    var v_1 = vec4<f32>();
    if (is_row) {
        let entry = row / params.key_factor * 2u;
        first = query_range[entry] * params.query_factor;
        seen_count = max(query_range[entry + 1u] * params.query_factor, first) - first;
        k_0 = params.scale * vec4<f32>(kv[k_at]);
        k_1 = params.scale * vec4<f32>(kv[k_at + LANES]);
        v_0 = vec4<f32>(kv[v_at]);
        v_1 = vec4<f32>(kv[v_at + LANES]);
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

    var dk_0 = vec4<f32>();
    var dk_1 = vec4<f32>();
    var dv_0 = vec4<f32>();
    var dv_1 = vec4<f32>();
    var round = 0u;
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        let q_offset = (params.query_offset + head * HEAD_DIM) / 4u + lane;
        for (var query = 0u; query < longest; query += 2u) {
            let base = round % 2u * ROUND + pair * PITCH;  // of this round's partial sums
            round += 1u;
            let seen = vec2<u32>(query, query + 1u) < vec2<u32>(seen_count);
            let near = first + query;
            let far = near + 1u;
            let q_near = q_offset + near * q_stride;
            let q_far = q_near + q_stride;
            let dout_near = (near * params.head_count + head) * (HEAD_DIM / 4u) + lane;
            let dout_far = dout_near + params.head_count * (HEAD_DIM / 4u);
            let q_00 = query_at(q_near, seen.x);
            let q_01 = query_at(q_near + LANES, seen.x);
            let q_10 = query_at(q_far, seen.y);
            let q_11 = query_at(q_far + LANES, seen.y);
            let dout_00 = dout_at(dout_near, seen.x);
            let dout_01 = dout_at(dout_near + LANES, seen.x);
            let dout_10 = dout_at(dout_far, seen.y);
            let dout_11 = dout_at(dout_far + LANES, seen.y);
            var shift = vec2<f32>();
            var row_delta = vec2<f32>();
            if (seen.x) {
                shift.x = log_sum_exp[near * params.head_count + head];
                row_delta.x = delta[near * params.head_count + head];
            }
            if (seen.y) {
                shift.y = log_sum_exp[far * params.head_count + head];
                row_delta.y = delta[far * params.head_count + head];
            }
            partial[base + lane] = vec4<f32>(
                dot(k_0, q_00) + dot(k_1, q_01), dot(k_0, q_10) + dot(k_1, q_11),
                dot(v_0, dout_00) + dot(v_1, dout_01), dot(v_0, dout_10) + dot(v_1, dout_11));
            workgroupBarrier();  // all partial sums are there; those of the round before are read
            var products = vec4<f32>();
            for (var i = 0u; i < LANES; i++) {
                products += partial[base + i];
            }
            let shifted = select(vec2<f32>(), products.xy - shift, seen);
            let weight = select(vec2<f32>(), exp(shifted), seen);
            let dscore = weight * (products.zw - row_delta);
            dk_0 += dscore.x * q_00 + dscore.y * q_10;
            dk_1 += dscore.x * q_01 + dscore.y * q_11;
            dv_0 += weight.x * dout_00 + weight.y * dout_10;
            dv_1 += weight.x * dout_01 + weight.y * dout_11;
        }
    }
    if (is_row) {
        dkv[k_at] = dkv_type(params.scale * dk_0);
        dkv[k_at + LANES] = dkv_type(params.scale * dk_1);
        dkv[v_at] = dkv_type(dv_0);
        dkv[v_at + LANES] = dkv_type(dv_1);
    }
}
