// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp) and
// delta = rowsum(dout * out), without workgroup memory and barriers, for drivers that compute on
// the processor. A lane owns two queries of one head; a subgroup walks the keys that any of its
// queries sees. Heads of 32 columns.
#import shared/attention
#import shared/lane_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<q_type>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;    // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;   // [queries, heads]
@group(0) @binding(7) var<storage, read> out: array<out_type>;      // [queries, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;   // [queries, heads]
@group(0) @binding(9) var<storage, read_write> dq: array<dq_type>;  // [queries, query_stride]

// One query with what comes from above and from the forward pass.
struct Row {
    q: LaneHead,  // times scale
    dout: LaneHead,
    log_sum_exp: f32,
    delta: f32,
}

// Four columns from `at` on.
fn q_4(at: u32) -> vec4<f32> {
    return vec4<f32>(f32(q[at]), f32(q[at + 1u]), f32(q[at + 2u]), f32(q[at + 3u]));
}

// The head that begins at `at`; each lane has its own.
fn load_q(at: u32) -> LaneHead {
    return LaneHead(
        q_4(at), q_4(at + 4u), q_4(at + 8u), q_4(at + 12u),
        q_4(at + 16u), q_4(at + 20u), q_4(at + 24u), q_4(at + 28u));
}

// Four columns from `at` on.
fn dout_4(at: u32) -> vec4<f32> {
    return vec4<f32>(f32(dout[at]), f32(dout[at + 1u]), f32(dout[at + 2u]), f32(dout[at + 3u]));
}

// The head that begins at `at`; each lane has its own.
fn load_dout(at: u32) -> LaneHead {
    return LaneHead(
        dout_4(at), dout_4(at + 4u), dout_4(at + 8u), dout_4(at + 12u),
        dout_4(at + 16u), dout_4(at + 20u), dout_4(at + 24u), dout_4(at + 28u));
}

// Four columns from `at` on.
fn out_4(at: u32) -> vec4<f32> {
    return vec4<f32>(f32(out[at]), f32(out[at + 1u]), f32(out[at + 2u]), f32(out[at + 3u]));
}

// The head that begins at `at`; each lane has its own.
fn load_out(at: u32) -> LaneHead {
    return LaneHead(
        out_4(at), out_4(at + 4u), out_4(at + 8u), out_4(at + 12u),
        out_4(at + 16u), out_4(at + 20u), out_4(at + 24u), out_4(at + 28u));
}

// The head that begins at `at`, the same for all lanes of a subgroup.
fn gather_kv(at: u32, lane: u32) -> LaneHead {
    let own = at + lane % 8u;
    return gathered(vec4<f32>(
        f32(kv[own]), f32(kv[own + 8u]), f32(kv[own + 16u]), f32(kv[own + 24u])));
}

// The rows of the other side that `row` sees; none for a row that is not there.
fn range_of(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>();
    }
    let entry = row / params.query_factor * 2u;
    return vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
}

fn load_row(row: u32, head: u32) -> Row {
    let at = row * params.head_count + head;
    let q = load_q(row * params.query_stride + params.query_offset + head * HEAD_DIM);
    let dout = load_dout(at * HEAD_DIM);
    let row_delta = head_product(dout, load_out(at * HEAD_DIM));
    return Row(head_times(q, params.scale), dout, log_sum_exp[at], row_delta);
}

fn dscore_of(row: Row, k: LaneHead, v: LaneHead, is_seen: bool) -> f32 {
    let weight = exp(min(head_product(row.q, k) - row.log_sum_exp, 0.0));
    return select(0.0, weight * (head_product(row.dout, v) - row.delta), is_seen);
}

fn store_head_4(at: u32, value: vec4<f32>) {
    dq[at] = dq_type(value.x);
    dq[at + 1u] = dq_type(value.y);
    dq[at + 2u] = dq_type(value.z);
    dq[at + 3u] = dq_type(value.w);
}

fn store_head(at: u32, head: LaneHead) {
    store_head_4(at + 0u, head.c_0);
    store_head_4(at + 4u, head.c_1);
    store_head_4(at + 8u, head.c_2);
    store_head_4(at + 12u, head.c_3);
    store_head_4(at + 16u, head.c_4);
    store_head_4(at + 20u, head.c_5);
    store_head_4(at + 24u, head.c_6);
    store_head_4(at + 28u, head.c_7);
}

@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) subgroup_lanes: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let head = index % params.head_count;
    let row_0 = index / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let rows = rows_of(row_0, subgroup, lane, subgroup_lanes);
    let near = rows.x;
    let far = rows.y;
    let near_range = range_of(near, count);
    let far_range = range_of(far, count);
    let walk = union_of(near_range, far_range);
    // Rows that are not there compute along and are not stored.
    let near_row = min(near, count - 1u);
    let far_row = min(far, count - 1u);
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_offset = params.query_offset + head * HEAD_DIM;
    let k_offset = params.key_offset + kv_head * HEAD_DIM;
    let v_offset = params.value_offset + kv_head * HEAD_DIM;

    let near_query = load_row(near_row, head);
    let far_query = load_row(far_row, head);
    var near_sum = LaneHead();
    var far_sum = LaneHead();
    for (var key = walk.x; key < walk.y; key++) {
        let k = gather_kv(key * params.kv_stride + k_offset, lane);
        let v = gather_kv(key * params.kv_stride + v_offset, lane);
        let near_seen = key >= near_range.x && key < near_range.y;
        let far_seen = key >= far_range.x && key < far_range.y;
        near_sum = head_plus(near_sum, dscore_of(near_query, k, v, near_seen), k);
        far_sum = head_plus(far_sum, dscore_of(far_query, k, v, far_seen), k);
    }
    if (near < count) {
        delta[near * params.head_count + head] = near_query.delta;
        store_head(near * params.query_stride + q_offset, head_times(near_sum, params.scale));
    }
    if (far < count) {
        delta[far * params.head_count + head] = far_query.delta;
        store_head(far * params.query_stride + q_offset, head_times(far_sum, params.scale));
    }
}
