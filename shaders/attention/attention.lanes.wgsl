// out = softmax(scale q k^T) v where every query sees one contiguous range of keys, without
// workgroup memory and barriers, for drivers that compute on the processor: there a barrier is dear
// and a subgroup is a vector. A lane owns two queries of one head; a subgroup walks the keys that
// any of its queries sees, one at a time, with an online softmax. Heads of 32 columns.
#import shared/attention
#import shared/lane_head
#import shared/lane_walk

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const MASKED: f32 = -1e30;

// One query on its way along the keys.
struct Row {
    sum: LaneHead,
    total: f32,
    largest: f32,
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

// The row after a key of this score and value.
fn seen_by(row: Row, score: f32, is_seen: bool, value: LaneHead) -> Row {
    let largest = max(row.largest, select(MASKED, score, is_seen));
    let weight = select(0.0, exp(score - largest), is_seen);
    let factor = exp(row.largest - largest);
    let sum = head_plus(head_times(row.sum, factor), weight, value);
    return Row(sum, fma(row.total, factor, weight), largest);
}

fn store_head_4(at: u32, value: vec4<f32>) {
    out[at] = out_type(value.x);
    out[at + 1u] = out_type(value.y);
    out[at + 2u] = out_type(value.z);
    out[at + 3u] = out_type(value.w);
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

fn store(at: u32, row: Row) {
    // A row without keys has a total of zero and sums of zero.
    store_head(at * HEAD_DIM, head_times(row.sum, 1.0 / max(row.total, 1e-30)));
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
    let k_offset = params.key_offset + kv_head * HEAD_DIM;
    let v_offset = params.value_offset + kv_head * HEAD_DIM;

    let near_q = head_times(load_q(near_row * params.query_stride + q_offset), params.scale);
    let far_q = head_times(load_q(far_row * params.query_stride + q_offset), params.scale);
    var near_sum = Row(LaneHead(), 0.0, MASKED);
    var far_sum = Row(LaneHead(), 0.0, MASKED);
    for (var key = walk.x; key < walk.y; key++) {
        let k = gather_kv(key * params.kv_stride + k_offset, lane);
        let near_score = head_product(near_q, k);
        let far_score = head_product(far_q, k);
        let v = gather_kv(key * params.kv_stride + v_offset, lane);
        near_sum = seen_by(near_sum, near_score, key >= near_range.x && key < near_range.y, v);
        far_sum = seen_by(far_sum, far_score, key >= far_range.x && key < far_range.y, v);
    }
    if (near < count) {
        store(near * params.head_count + head, near_sum);
    }
    if (far < count) {
        store(far * params.head_count + head, far_sum);
    }
}
