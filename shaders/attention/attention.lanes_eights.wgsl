// out = softmax(scale q k^T) v where every query sees one contiguous range of keys, without
// workgroup memory and barriers, for drivers that compute on the processor: there a barrier is dear
// and a subgroup is a vector. A lane owns two queries of one head; a subgroup walks the keys that
// any of its queries sees, four at a time, with an online softmax. Loads and stores take eight
// neighbours in f32. Heads of 32 columns.
#import shared/attention
#import shared/eight_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<vec4<u64>>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u64>>;           // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<u64>>;    // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const MASKED: f32 = -1e30;

// One query on its way along the keys.
struct Row {
    sum: LaneHead,
    total: f32,
    largest: f32,
}

// The head that begins at eight `at`; each lane has its own.
fn load_q(at: u32) -> LaneHead {
    let e_0 = eight_of(q[at]);
    let e_1 = eight_of(q[at + 1u]);
    let e_2 = eight_of(q[at + 2u]);
    let e_3 = eight_of(q[at + 3u]);
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

// The row scaled down for the largest of four more scores, of which those not seen are MASKED.
fn before(row: Row, scores: vec4<f32>) -> Row {
    let of_two = max(scores.xy, scores.zw);
    let largest = max(row.largest, max(of_two.x, of_two.y));
    let factor = exp(row.largest - largest);
    return Row(head_times(row.sum, factor), row.total * factor, largest);
}

// What four keys of these scores weigh; a key that is not seen weighs nothing.
fn weights_of(row: Row, scores: vec4<f32>) -> vec4<f32> {
    return select(
        vec4<f32>(), exp(scores - vec4<f32>(row.largest)), scores > vec4<f32>(0.5 * MASKED));
}

fn with_four(row: Row, weights: vec4<f32>, values: FourHeads) -> Row {
    let total = (weights.x + weights.y) + (weights.z + weights.w);
    return Row(head_plus_four(row.sum, weights, values), row.total + total, row.largest);
}

fn seen(scores: vec4<f32>, keys: vec4<u32>, range: vec2<u32>) -> vec4<f32> {
    let are_seen = (keys >= vec4<u32>(range.x)) & (keys < vec4<u32>(range.y));
    return select(vec4<f32>(MASKED), scores, are_seen);
}

fn store_head(at: u32, head: LaneHead) {
    out[at] = words_of_eight(Eight(head.c_0, head.c_1));
    out[at + 1u] = words_of_eight(Eight(head.c_2, head.c_3));
    out[at + 2u] = words_of_eight(Eight(head.c_4, head.c_5));
    out[at + 3u] = words_of_eight(Eight(head.c_6, head.c_7));
}

fn store(at: u32, row: Row) {
    // A row without keys has a total of zero and sums of zero.
    store_head(at * HEAD_DIM / 8u, head_times(row.sum, 1.0 / max(row.total, 1e-30)));
    let value = row.largest + log(max(row.total, 1e-30));
    log_sum_exp[at] = select(MASKED, value, row.total > 0.0);
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
    let offsets = vec2<u32>(params.key_offset, params.value_offset) + kv_head * HEAD_DIM;

    let near_q = head_times(load_q((near_row * params.query_stride + q_offset) / 8u), params.scale);
    let far_q = head_times(load_q((far_row * params.query_stride + q_offset) / 8u), params.scale);
    var near_sum = Row(LaneHead(), 0.0, MASKED);
    var far_sum = Row(LaneHead(), 0.0, MASKED);
    for (var key = walk.x; key < walk.y; key += 4u) {
        // Keys behind the last are the last again, which nobody sees there.
        let keys = vec4<u32>(key) + vec4<u32>(0u, 1u, 2u, 3u);
        let at = min(keys, vec4<u32>(walk.y - 1u)) * params.kv_stride;
        let seen_rows = gather_four(at, offsets, lane);
        let near_scores = seen(head_products(near_q, seen_rows.keys), keys, near_range);
        let far_scores = seen(head_products(far_q, seen_rows.keys), keys, far_range);
        near_sum = before(near_sum, near_scores);
        near_sum = with_four(near_sum, weights_of(near_sum, near_scores), seen_rows.values);
        far_sum = before(far_sum, far_scores);
        far_sum = with_four(far_sum, weights_of(far_sum, far_scores), seen_rows.values);
    }
    if (near < count) {
        store(near * params.head_count + head, near_sum);
    }
    if (far < count) {
        store(far * params.head_count + head, far_sum);
    }
}
