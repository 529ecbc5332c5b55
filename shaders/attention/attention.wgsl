// out = softmax(scale q k^T) v where every query sees one contiguous range of keys.
// A workgroup owns ROWS queries of one head and walks the union of their ranges, KEYS keys at a
// time, with an online softmax; scores live in workgroup memory only. In the products each
// invocation owns 4 rows x 2 vec4 of the output: vec4 `col` and `col + COL_GROUPS`.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const WIDTH: u32 = 64u;
const COL_GROUPS: u32 = WIDTH / ROW_GROUPS;
const ROWS: u32 = 4u * ROW_GROUPS;
const KEYS: u32 = 2u * ROW_GROUPS;
const VECS: u32 = (HEAD_DIM + 3u) / 4u;
const PITCH: u32 = VECS | 1u;  // odd, so that rows start in different banks
const SCORE_PITCH: u32 = KEYS + 1u;
const MASKED: f32 = -1e30;

var<workgroup> q_tile: array<vec4<f32>, ROWS * PITCH>;     // [ROWS, VECS], times scale
var<workgroup> kv_tile: array<vec4<f32>, KEYS * PITCH>;    // [KEYS, VECS], keys, then values
var<workgroup> scores: array<f32, ROWS * SCORE_PITCH>;     // [ROWS, KEYS], then weights
var<workgroup> row_range: array<vec2<u32>, ROWS>;          // keys of each query
var<workgroup> tile_range: vec2<u32>;                      // their union
var<workgroup> row_max: array<f32, ROWS>;
var<workgroup> row_sum: array<f32, ROWS>;
var<workgroup> correction: array<f32, ROWS>;

fn load_q(at: u32, col: u32) -> vec4<f32> {
    var value = vec4<f32>(f32(q[at + col]), 0.0, 0.0, 0.0);
    if (col + 1u < HEAD_DIM) {
        value.y = f32(q[at + col + 1u]);
    }
    if (col + 2u < HEAD_DIM) {
        value.z = f32(q[at + col + 2u]);
    }
    if (col + 3u < HEAD_DIM) {
        value.w = f32(q[at + col + 3u]);
    }
    return value;
}

fn load_kv(at: u32, col: u32) -> vec4<f32> {
    var value = vec4<f32>(f32(kv[at + col]), 0.0, 0.0, 0.0);
    if (col + 1u < HEAD_DIM) {
        value.y = f32(kv[at + col + 1u]);
    }
    if (col + 2u < HEAD_DIM) {
        value.z = f32(kv[at + col + 2u]);
    }
    if (col + 3u < HEAD_DIM) {
        value.w = f32(kv[at + col + 3u]);
    }
    return value;
}

// Brings the head at `offset` of keys key_0.. into kv_tile; zeros from key_end on.
fn stage(lane: u32, key_0: u32, key_end: u32, offset: u32) {
    for (var i = lane; i < KEYS * VECS; i += WIDTH) {
        let key = key_0 + i / VECS;
        var value = vec4<f32>();
        if (key < key_end) {
            value = load_kv(key * params.kv_stride + offset, i % VECS * 4u);
        }
        kv_tile[i / VECS * PITCH + i % VECS] = value;
    }
}

fn masked(score: f32, row: u32, key: u32) -> f32 {
    let range = row_range[row];
    return select(MASKED, score, key >= range.x && key < range.y);
}

// Scores of all rows against the staged keys, 2 x 2 at a time.
fn score_tile(lane: u32, key_0: u32) {
    for (var block = lane; block < ROWS / 2u * ROW_GROUPS; block += WIDTH) {
        let row = block / ROW_GROUPS * 2u;
        let key = block % ROW_GROUPS;
        var sums = vec4<f32>();
        for (var i = 0u; i < VECS; i++) {
            let q_0 = q_tile[row * PITCH + i];
            let q_1 = q_tile[(row + 1u) * PITCH + i];
            let k_0 = kv_tile[key * PITCH + i];
            let k_1 = kv_tile[(key + ROW_GROUPS) * PITCH + i];
            sums += vec4<f32>(dot(q_0, k_0), dot(q_0, k_1), dot(q_1, k_0), dot(q_1, k_1));
        }
        let at = row * SCORE_PITCH + key;
        let far = key + ROW_GROUPS;
        scores[at] = masked(sums.x, row, key_0 + key);
        scores[at + ROW_GROUPS] = masked(sums.y, row, key_0 + far);
        scores[at + SCORE_PITCH] = masked(sums.z, row + 1u, key_0 + key);
        scores[at + SCORE_PITCH + ROW_GROUPS] = masked(sums.w, row + 1u, key_0 + far);
    }
}

// Turns the scores of one row into weights relative to its running maximum.
fn weigh_row(row: u32) {
    let base = row * SCORE_PITCH;
    let former = row_max[row];
    var largest = former;
    for (var key = 0u; key < KEYS; key++) {
        largest = max(largest, scores[base + key]);
    }
    var sum = 0.0;
    for (var key = 0u; key < KEYS; key++) {
        let score = scores[base + key];
        let weight = select(0.0, exp(score - largest), score > 0.5 * MASKED);
        scores[base + key] = weight;
        sum += weight;
    }
    let factor = exp(former - largest);
    correction[row] = factor;
    row_sum[row] = row_sum[row] * factor + sum;
    row_max[row] = largest;
}

fn store(row: u32, count: u32, head: u32, vec: u32, value: vec4<f32>) {
    if (row >= count || vec >= VECS) {
        return;
    }
    let at = (row * params.head_count + head) * HEAD_DIM;
    let col = vec * 4u;
    out[at + col] = out_type(value.x);
    if (col + 1u < HEAD_DIM) {
        out[at + col + 1u] = out_type(value.y);
    }
    if (col + 2u < HEAD_DIM) {
        out[at + col + 2u] = out_type(value.z);
    }
    if (col + 3u < HEAD_DIM) {
        out[at + col + 3u] = out_type(value.w);
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let head = index % params.head_count;
    let row_0 = index / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_offset = params.query_offset + head * HEAD_DIM;
    let k_offset = params.key_offset + kv_head * HEAD_DIM;
    let v_offset = params.value_offset + kv_head * HEAD_DIM;

    for (var i = lane; i < ROWS * VECS; i += WIDTH) {
        let row = row_0 + i / VECS;
        var value = vec4<f32>();
        if (row < count) {
            value = params.scale * load_q(row * params.query_stride + q_offset, i % VECS * 4u);
        }
        q_tile[i / VECS * PITCH + i % VECS] = value;
    }
    if (lane < ROWS) {
        var range = vec2<u32>();
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.query_factor * 2u;
            range = vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
        }
        row_range[lane] = range;
        row_max[lane] = MASKED;
        row_sum[lane] = 0.0;
    }
    workgroupBarrier();  // all ranges are there before they are united
    if (lane == 0u) {
        var union_range = vec2<u32>(0xffffffffu, 0u);
        for (var row = 0u; row < ROWS; row++) {
            let range = row_range[row];
            if (range.x < range.y) {
                union_range.x = min(union_range.x, range.x);
                union_range.y = max(union_range.y, range.y);
            }
        }
        tile_range = union_range;
    }
    let key_range_of_tile = workgroupUniformLoad(&tile_range);
    let key_end = key_range_of_tile.y;

    let row = lane / COL_GROUPS * 4u;
    let col_0 = lane % COL_GROUPS;
    let col_1 = col_0 + COL_GROUPS;
    // Columns beyond the head compute along and are not stored.
    let read_0 = min(col_0, VECS - 1u);
    let read_1 = min(col_1, VECS - 1u);
    var sum_00 = vec4<f32>();
    var sum_10 = vec4<f32>();
    var sum_20 = vec4<f32>();
    var sum_30 = vec4<f32>();
    var sum_01 = vec4<f32>();
    var sum_11 = vec4<f32>();
    var sum_21 = vec4<f32>();
    var sum_31 = vec4<f32>();
    for (var key_0 = key_range_of_tile.x; key_0 < key_end; key_0 += KEYS) {
        stage(lane, key_0, key_end, k_offset);
        workgroupBarrier();  // the keys are complete
        score_tile(lane, key_0);
        workgroupBarrier();  // all scores are there, and nobody reads the keys any more
        if (lane < ROWS) {
            weigh_row(lane);
        }
        stage(lane, key_0, key_end, v_offset);
        workgroupBarrier();  // weights, corrections and values are complete
        let factors = vec4<f32>(
            correction[row], correction[row + 1u], correction[row + 2u], correction[row + 3u]);
        sum_00 *= factors.x;
        sum_10 *= factors.y;
        sum_20 *= factors.z;
        sum_30 *= factors.w;
        sum_01 *= factors.x;
        sum_11 *= factors.y;
        sum_21 *= factors.z;
        sum_31 *= factors.w;
        for (var key = 0u; key < KEYS; key++) {
            let at = row * SCORE_PITCH + key;
            let weights = vec4<f32>(
                scores[at], scores[at + SCORE_PITCH],
                scores[at + 2u * SCORE_PITCH], scores[at + 3u * SCORE_PITCH]);
            let v_0 = kv_tile[key * PITCH + read_0];
            sum_00 += weights.x * v_0;
            sum_10 += weights.y * v_0;
            sum_20 += weights.z * v_0;
            sum_30 += weights.w * v_0;
            if (VECS > COL_GROUPS) {
                let v_1 = kv_tile[key * PITCH + read_1];
                sum_01 += weights.x * v_1;
                sum_11 += weights.y * v_1;
                sum_21 += weights.z * v_1;
                sum_31 += weights.w * v_1;
            }
        }
        workgroupBarrier();  // everybody has read values and weights before they are overwritten
    }

    if (lane < ROWS && row_0 + lane < count) {
        let sum = row_sum[lane];
        let value = select(MASKED, row_max[lane] + log(max(sum, 1e-30)), sum > 0.0);
        log_sum_exp[(row_0 + lane) * params.head_count + head] = value;
    }
    // A row without keys has a sum of zero and weights of zero.
    let totals = vec4<f32>(row_sum[row], row_sum[row + 1u], row_sum[row + 2u], row_sum[row + 3u]);
    let inverse = 1.0 / max(totals, vec4<f32>(1e-30));
    store(row_0 + row, count, head, col_0, sum_00 * inverse.x);
    store(row_0 + row + 1u, count, head, col_0, sum_10 * inverse.y);
    store(row_0 + row + 2u, count, head, col_0, sum_20 * inverse.z);
    store(row_0 + row + 3u, count, head, col_0, sum_30 * inverse.w);
    store(row_0 + row, count, head, col_1, sum_01 * inverse.x);
    store(row_0 + row + 1u, count, head, col_1, sum_11 * inverse.y);
    store(row_0 + row + 2u, count, head, col_1, sum_21 * inverse.z);
    store(row_0 + row + 3u, count, head, col_1, sum_31 * inverse.w);
}
