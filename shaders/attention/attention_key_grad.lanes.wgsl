// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order, without
// workgroup memory and barriers, for drivers that compute on the processor. A lane owns two keys of
// one head; a subgroup walks the queries that see any of its keys. Heads of 32 columns.
#import shared/attention
#import shared/lane_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

// One key and its value, and the sums of their gradients.
struct Row {
    k: LaneHead,  // times scale
    v: LaneHead,
    dk: LaneHead,
    dv: LaneHead,
}

// Four columns from `at` on.
fn kv_4(at: u32) -> vec4<f32> {
    return vec4<f32>(f32(kv[at]), f32(kv[at + 1u]), f32(kv[at + 2u]), f32(kv[at + 3u]));
}

// The head that begins at `at`; each lane has its own.
fn load_kv(at: u32) -> LaneHead {
    return LaneHead(
        kv_4(at), kv_4(at + 4u), kv_4(at + 8u), kv_4(at + 12u),
        kv_4(at + 16u), kv_4(at + 20u), kv_4(at + 24u), kv_4(at + 28u));
}

// The head that begins at `at`, the same for all lanes of a subgroup.
fn gather_q(at: u32, lane: u32) -> LaneHead {
    let own = at + lane % 8u;
    return gathered(vec4<f32>(
        f32(q[own]), f32(q[own + 8u]), f32(q[own + 16u]), f32(q[own + 24u])));
}

// The head that begins at `at`, the same for all lanes of a subgroup.
fn gather_dout(at: u32, lane: u32) -> LaneHead {
    let own = at + lane % 8u;
    return gathered(vec4<f32>(
        f32(dout[own]), f32(dout[own + 8u]), f32(dout[own + 16u]), f32(dout[own + 24u])));
}

// The rows of the other side that `row` sees; none for a row that is not there.
fn range_of(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>();
    }
    let entry = row / params.key_factor * 2u;
    return vec2<u32>(query_range[entry], query_range[entry + 1u]) * params.query_factor;
}

fn load_row(at: u32, k_offset: u32, v_offset: u32) -> Row {
    let k = head_times(load_kv(at + k_offset), params.scale);
    return Row(k, load_kv(at + v_offset), LaneHead(), LaneHead());
}

// The row after a query, with its log_sum_exp and delta, that sees it or not.
fn seen_by(row: Row, q: LaneHead, dout: LaneHead, saved: vec2<f32>, is_seen: bool) -> Row {
    let weight = select(0.0, exp(min(head_product(row.k, q) - saved.x, 0.0)), is_seen);
    let dscore = weight * (head_product(row.v, dout) - saved.y);
    return Row(row.k, row.v, head_plus(row.dk, dscore, q), head_plus(row.dv, weight, dout));
}

fn store_head_4(at: u32, value: vec4<f32>) {
    dkv[at] = dkv_type(value.x);
    dkv[at + 1u] = dkv_type(value.y);
    dkv[at + 2u] = dkv_type(value.z);
    dkv[at + 3u] = dkv_type(value.w);
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
    let count = length_of(params.keys);
    let head = index % params.kv_head_count;
    let row_0 = index / params.kv_head_count * ROWS;
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
    let k_offset = params.key_offset + head * HEAD_DIM;
    let v_offset = params.value_offset + head * HEAD_DIM;
    let group_size = params.head_count / params.kv_head_count;

    var near_key = load_row(near_row * params.kv_stride, k_offset, v_offset);
    var far_key = load_row(far_row * params.kv_stride, k_offset, v_offset);
    for (var member = 0u; member < group_size; member++) {
        let query_head = head * group_size + member;
        let q_offset = params.query_offset + query_head * HEAD_DIM;
        for (var query = walk.x; query < walk.y; query++) {
            let at = query * params.head_count + query_head;
            let row_q = gather_q(query * params.query_stride + q_offset, lane);
            let row_dout = gather_dout(at * HEAD_DIM, lane);
            let saved = vec2<f32>(log_sum_exp[at], delta[at]);
            let near_seen = query >= near_range.x && query < near_range.y;
            let far_seen = query >= far_range.x && query < far_range.y;
            near_key = seen_by(near_key, row_q, row_dout, saved, near_seen);
            far_key = seen_by(far_key, row_q, row_dout, saved, far_seen);
        }
    }
    if (near < count) {
        store_head(near * params.kv_stride + k_offset, head_times(near_key.dk, params.scale));
        store_head(near * params.kv_stride + v_offset, near_key.dv);
    }
    if (far < count) {
        store_head(far * params.kv_stride + k_offset, head_times(far_key.dk, params.scale));
        store_head(far * params.kv_stride + v_offset, far_key.dv);
    }
}
