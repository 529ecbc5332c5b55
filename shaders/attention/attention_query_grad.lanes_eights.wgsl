// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp) and
// delta = rowsum(dout * out), without workgroup memory and barriers, for drivers that compute on
// the processor. A lane owns two queries of one head; a subgroup walks the keys that any of its
// queries sees, four at a time. Loads and stores take eight neighbours in f32. Heads of 32 columns.
#import shared/attention
#import shared/eight_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<vec4<u64>>;         // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u64>>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;       // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<vec4<u64>>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> out: array<vec4<u64>>;       // [queries, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;     // [queries, heads]
@group(0) @binding(9) var<storage, read_write> dq: array<vec4<u64>>;  // [queries, query_stride]

// One query with what comes from above and from the forward pass.
struct Row {
    q: LaneHead,  // times scale
    dout: LaneHead,
    log_sum_exp: f32,
    delta: f32,
}

// The head that begins at eight `at`; each lane has its own.
fn load_q(at: u32) -> LaneHead {
    let e_0 = eight_of(q[at]);
    let e_1 = eight_of(q[at + 1u]);
    let e_2 = eight_of(q[at + 2u]);
    let e_3 = eight_of(q[at + 3u]);
    return LaneHead(e_0.lo, e_0.hi, e_1.lo, e_1.hi, e_2.lo, e_2.hi, e_3.lo, e_3.hi);
}

// The head that begins at eight `at`; each lane has its own.
fn load_dout(at: u32) -> LaneHead {
    let e_0 = eight_of(dout[at]);
    let e_1 = eight_of(dout[at + 1u]);
    let e_2 = eight_of(dout[at + 2u]);
    let e_3 = eight_of(dout[at + 3u]);
    return LaneHead(e_0.lo, e_0.hi, e_1.lo, e_1.hi, e_2.lo, e_2.hi, e_3.lo, e_3.hi);
}

// The head that begins at eight `at`; each lane has its own.
fn load_out(at: u32) -> LaneHead {
    let e_0 = eight_of(out[at]);
    let e_1 = eight_of(out[at + 1u]);
    let e_2 = eight_of(out[at + 2u]);
    let e_3 = eight_of(out[at + 3u]);
    return LaneHead(e_0.lo, e_0.hi, e_1.lo, e_1.hi, e_2.lo, e_2.hi, e_3.lo, e_3.hi);
}

// Keys and values of four rows, the same for all lanes of a subgroup: lanes 0 to 3 bring a key and
// lanes 4 to 7 a value.
struct KeysAndValues {
    keys: FourHeads,
    values: FourHeads,
}

fn gather_four(at: vec4<u32>, offsets: vec2<u32>, lane: u32) -> KeysAndValues {
    let own = select(offsets.x, offsets.y, lane % 8u >= 4u) / 8u + lane % 4u;
    let places = at / 8u + own;
    let own_0 = eight_of(kv[places.x]);
    let own_1 = eight_of(kv[places.y]);
    let own_2 = eight_of(kv[places.z]);
    let own_3 = eight_of(kv[places.w]);
    return KeysAndValues(
        FourHeads(lower_head(own_0), lower_head(own_1), lower_head(own_2), lower_head(own_3)),
        FourHeads(upper_head(own_0), upper_head(own_1), upper_head(own_2), upper_head(own_3)));
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
    let q = load_q((row * params.query_stride + params.query_offset + head * HEAD_DIM) / 8u);
    let dout = load_dout(at * HEAD_DIM / 8u);
    let row_delta = head_product(dout, load_out(at * HEAD_DIM / 8u));
    return Row(head_times(q, params.scale), dout, log_sum_exp[at], row_delta);
}

// Gradients of the scores of four keys; none of a key that is not seen.
fn dscores_of(
    row: Row, rows: KeysAndValues, keys: vec4<u32>, range: vec2<u32>,
) -> vec4<f32> {
    let scores = head_products(row.q, rows.keys) - vec4<f32>(row.log_sum_exp);
    let weights = exp(min(scores, vec4<f32>()));
    let dscores = weights * (head_products(row.dout, rows.values) - vec4<f32>(row.delta));
    let are_seen = (keys >= vec4<u32>(range.x)) & (keys < vec4<u32>(range.y));
    return select(vec4<f32>(), dscores, are_seen);
}

fn store_head(at: u32, head: LaneHead) {
    dq[at] = words_of_eight(Eight(head.c_0, head.c_1));
    dq[at + 1u] = words_of_eight(Eight(head.c_2, head.c_3));
    dq[at + 2u] = words_of_eight(Eight(head.c_4, head.c_5));
    dq[at + 3u] = words_of_eight(Eight(head.c_6, head.c_7));
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
    let own_rows = rows_of(row_0, subgroup, lane, subgroup_lanes);
    let near = own_rows.x;
    let far = own_rows.y;
    let near_range = range_of(near, count);
    let far_range = range_of(far, count);
    let walk = union_of(near_range, far_range);
    // Rows that are not there compute along and are not stored.
    let near_row = min(near, count - 1u);
    let far_row = min(far, count - 1u);
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_offset = params.query_offset + head * HEAD_DIM;
    let offsets = vec2<u32>(params.key_offset, params.value_offset) + kv_head * HEAD_DIM;

    let near_query = load_row(near_row, head);
    let far_query = load_row(far_row, head);
    var near_sum = LaneHead();
    var far_sum = LaneHead();
    for (var key = walk.x; key < walk.y; key += 4u) {
        // Keys behind the last are the last again, which nobody sees there.
        let keys = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u);
        let at = min(keys, vec4<u32>(walk.y - 1u)) * params.kv_stride;
        let rows = gather_four(at, offsets, lane);
        let near_dscores = dscores_of(near_query, rows, keys, near_range);
        near_sum = head_plus_four(near_sum, near_dscores, rows.keys);
        let far_dscores = dscores_of(far_query, rows, keys, far_range);
        far_sum = head_plus_four(far_sum, far_dscores, rows.keys);
    }
    if (near < count) {
        delta[near * params.head_count + head] = near_query.delta;
        store_head(
            (near * params.query_stride + q_offset) / 8u, head_times(near_sum, params.scale));
    }
    if (far < count) {
        delta[far * params.head_count + head] = far_query.delta;
        store_head((far * params.query_stride + q_offset) / 8u, head_times(far_sum, params.scale));
    }
}
