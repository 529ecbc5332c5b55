// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order, without
// workgroup memory and barriers, for drivers that compute on the processor. A lane owns two keys of
// one head; a subgroup walks the queries that see any of its keys, four at a time. Loads and stores
// take eight neighbours in f32. Heads of 32 columns.
#import shared/attention
#import shared/eight_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<vec4<u64>>;          // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u64>>;         // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;      // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<vec4<u64>>;       // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;      // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;            // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<vec4<u64>>;  // [keys, kv_stride]

// One key and its value, and the sums of their gradients.
struct Row {
    k: LaneHead,  // times scale
    v: LaneHead,
    dk: LaneHead,
    dv: LaneHead,
}

// The head that begins at eight `at`; each lane has its own.
fn load_kv(at: u32) -> LaneHead {
    let e_0 = eight_of(kv[at]);
    let e_1 = eight_of(kv[at + 1u]);
    let e_2 = eight_of(kv[at + 2u]);
    let e_3 = eight_of(kv[at + 3u]);
    return LaneHead(e_0.lo, e_0.hi, e_1.lo, e_1.hi, e_2.lo, e_2.hi, e_3.lo, e_3.hi);
}

// The heads that begin at four columns, the same for all lanes of a subgroup: lanes 0 to 3 bring
// one and lanes 4 to 7 the next.
fn four_heads(own_0: Eight, own_1: Eight) -> FourHeads {
    return FourHeads(lower_head(own_0), upper_head(own_0), lower_head(own_1), upper_head(own_1));
}

// Where a lane loads of rows that begin at four columns.
fn own_places(at: vec4<u32>, lane: u32) -> vec2<u32> {
    return select(at.xz, at.yw, vec2<bool>(lane % 8u >= 4u)) / 8u + lane % 4u;
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
    let k = head_times(load_kv((at + k_offset) / 8u), params.scale);
    return Row(k, load_kv((at + v_offset) / 8u), LaneHead(), LaneHead());
}

// Four queries, with what comes from above and from the forward pass.
struct Queries {
    q: FourHeads,
    dout: FourHeads,
    log_sum_exp: vec4<f32>,
    delta: vec4<f32>,
    rows: vec4<u32>,
}

// The row after four queries that see it or not.
fn seen_by(row: Row, queries: Queries, range: vec2<u32>) -> Row {
    let scores = head_products(row.k, queries.q) - queries.log_sum_exp;
    let are_seen = (queries.rows >= vec4<u32>(range.x)) & (queries.rows < vec4<u32>(range.y));
    let weights = select(vec4<f32>(), exp(min(scores, vec4<f32>())), are_seen);
    let dscores = weights * (head_products(row.v, queries.dout) - queries.delta);
    return Row(
        row.k, row.v, head_plus_four(row.dk, dscores, queries.q),
        head_plus_four(row.dv, weights, queries.dout));
}

fn store_head(at: u32, head: LaneHead) {
    dkv[at] = words_of_eight(Eight(head.c_0, head.c_1));
    dkv[at + 1u] = words_of_eight(Eight(head.c_2, head.c_3));
    dkv[at + 2u] = words_of_eight(Eight(head.c_4, head.c_5));
    dkv[at + 3u] = words_of_eight(Eight(head.c_6, head.c_7));
}

fn four_lanes(value: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u),
        subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u));
}

// Four queries from `query` on. Those behind the last are the last again, which nobody sees there.
fn queries_at(query: u32, last: u32, head: u32, lane: u32) -> Queries {
    let rows = vec4<u32>(query) + vec4<u32>(0u, 1u, 2u, 3u);
    let there = min(rows, vec4<u32>(last));
    let q_at = there * params.query_stride + params.query_offset + head * HEAD_DIM;
    let at = there * params.head_count + head;
    let own = min(query + lane % 4u, last) * params.head_count + head;
    let q_places = own_places(q_at, lane);
    let dout_places = own_places(at * HEAD_DIM, lane);
    return Queries(
        four_heads(eight_of(q[q_places.x]), eight_of(q[q_places.y])),
        four_heads(eight_of(dout[dout_places.x]), eight_of(dout[dout_places.y])),
        four_lanes(log_sum_exp[own]), four_lanes(delta[own]), rows);
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
        for (var query = walk.x; query < walk.y; query += 4u) {
            let queries = queries_at(query, walk.y - 1u, query_head, lane);
            near_key = seen_by(near_key, queries, near_range);
            far_key = seen_by(far_key, queries, far_range);
        }
    }
    if (near < count) {
        store_head(
            (near * params.kv_stride + k_offset) / 8u, head_times(near_key.dk, params.scale));
        store_head((near * params.kv_stride + v_offset) / 8u, near_key.dv);
    }
    if (far < count) {
        store_head((far * params.kv_stride + k_offset) / 8u, head_times(far_key.dk, params.scale));
        store_head((far * params.kv_stride + v_offset) / 8u, far_key.dv);
    }
}
