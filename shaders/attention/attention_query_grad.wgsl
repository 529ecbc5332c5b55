// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp), and
// delta = rowsum(dout * out).
// A workgroup owns ROWS queries of one head and walks the union of their key ranges, KEYS keys at
// a time. Each invocation owns 2 rows x 2 vec4 of dq: vec4 `col` and `col + COL_GROUPS`.
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
const COL_GROUPS: u32 = WIDTH / ROW_GROUPS;
const ROWS: u32 = 2u * ROW_GROUPS;
const KEYS: u32 = ROW_GROUPS;
const HALF: u32 = KEYS / 2u;
const VECS: u32 = (HEAD_DIM + 3u) / 4u;
const PITCH: u32 = VECS | 1u;  // odd, so that rows start in different banks
const SCORE_PITCH: u32 = KEYS + 1u;

var<workgroup> q_tile: array<vec4<f32>, ROWS * PITCH>;     // [ROWS, VECS], times scale
var<workgroup> dout_tile: array<vec4<f32>, ROWS * PITCH>;  // [ROWS, VECS]
var<workgroup> k_tile: array<vec4<f32>, KEYS * PITCH>;     // [KEYS, VECS]
var<workgroup> v_tile: array<vec4<f32>, KEYS * PITCH>;     // [KEYS, VECS]
var<workgroup> dscores: array<f32, ROWS * SCORE_PITCH>;    // [ROWS, KEYS]
var<workgroup> row_range: array<vec2<u32>, ROWS>;          // keys of each query
var<workgroup> tile_range: vec2<u32>;                      // their union

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

fn load_dout(at: u32, col: u32) -> vec4<f32> {
    var value = vec4<f32>(f32(dout[at + col]), 0.0, 0.0, 0.0);
    if (col + 1u < HEAD_DIM) {
        value.y = f32(dout[at + col + 1u]);
    }
    if (col + 2u < HEAD_DIM) {
        value.z = f32(dout[at + col + 2u]);
    }
    if (col + 3u < HEAD_DIM) {
        value.w = f32(dout[at + col + 3u]);
    }
    return value;
}

fn load_out(at: u32, col: u32) -> vec4<f32> {
    var value = vec4<f32>(f32(out[at + col]), 0.0, 0.0, 0.0);
    if (col + 1u < HEAD_DIM) {
        value.y = f32(out[at + col + 1u]);
    }
    if (col + 2u < HEAD_DIM) {
        value.z = f32(out[at + col + 2u]);
    }
    if (col + 3u < HEAD_DIM) {
        value.w = f32(out[at + col + 3u]);
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

fn store(row: u32, count: u32, head: u32, vec: u32, value: vec4<f32>) {
    if (row >= count || vec >= VECS) {
        return;
    }
    let at = row * params.query_stride + params.query_offset + head * HEAD_DIM;
    let col = vec * 4u;
    dq[at + col] = dq_type(value.x);
    if (col + 1u < HEAD_DIM) {
        dq[at + col + 1u] = dq_type(value.y);
    }
    if (col + 2u < HEAD_DIM) {
        dq[at + col + 2u] = dq_type(value.z);
    }
    if (col + 3u < HEAD_DIM) {
        dq[at + col + 3u] = dq_type(value.w);
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
        let col = i % VECS * 4u;
        var query = vec4<f32>();
        var upstream = vec4<f32>();
        if (row < count) {
            query = params.scale * load_q(row * params.query_stride + q_offset, col);
            upstream = load_dout((row * params.head_count + head) * HEAD_DIM, col);
        }
        q_tile[i / VECS * PITCH + i % VECS] = query;
        dout_tile[i / VECS * PITCH + i % VECS] = upstream;
    }
    if (lane < ROWS) {
        var range = vec2<u32>();
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.query_factor * 2u;
            range = vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
        }
        row_range[lane] = range;
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

    // For the scores an invocation owns one row and two keys; for delta every HALF-th vec4 of it.
    let score_row = lane / HALF;
    let score_key = lane % HALF;
    let is_row = score_row < ROWS && row_0 + score_row < count;
    let row_at = (row_0 + score_row) * params.head_count + head;
    var range = vec2<u32>();
    var row_log_sum_exp = 0.0;
    var row_delta = 0.0;
    if (is_row) {
        range = row_range[score_row];
        row_log_sum_exp = log_sum_exp[row_at];
        for (var i = score_key; i < VECS; i += HALF) {
            let upstream = dout_tile[score_row * PITCH + i];
            row_delta += dot(upstream, load_out(row_at * HEAD_DIM, i * 4u));
        }
        dscores[score_row * SCORE_PITCH + score_key] = row_delta;
    }
    workgroupBarrier();  // all parts of the rows' sums are there
    if (is_row) {
        row_delta = 0.0;
        for (var i = 0u; i < HALF; i++) {
            row_delta += dscores[score_row * SCORE_PITCH + i];
        }
        if (score_key == 0u) {
            delta[row_at] = row_delta;
        }
    }
    // For dq it owns two rows and two vec4 columns.
    let row = lane / COL_GROUPS * 2u;
    let col_0 = lane % COL_GROUPS;
    let col_1 = col_0 + COL_GROUPS;
    // Columns beyond the head compute along and are not stored.
    let read_0 = min(col_0, VECS - 1u);
    let read_1 = min(col_1, VECS - 1u);
    var sum_00 = vec4<f32>();
    var sum_10 = vec4<f32>();
    var sum_01 = vec4<f32>();
    var sum_11 = vec4<f32>();
    for (var key_0 = key_range_of_tile.x; key_0 < key_end; key_0 += KEYS) {
        for (var i = lane; i < KEYS * VECS; i += WIDTH) {
            let key = key_0 + i / VECS;
            let col = i % VECS * 4u;
            var k = vec4<f32>();
            var v = vec4<f32>();
            if (key < key_end) {
                k = load_kv(key * params.kv_stride + k_offset, col);
                v = load_kv(key * params.kv_stride + v_offset, col);
            }
            k_tile[i / VECS * PITCH + i % VECS] = k;
            v_tile[i / VECS * PITCH + i % VECS] = v;
        }
        workgroupBarrier();  // keys and values are complete
        if (score_row < ROWS) {
            var score = vec2<f32>();
            var dweight = vec2<f32>();
            for (var i = 0u; i < VECS; i++) {
                let query = q_tile[score_row * PITCH + i];
                let upstream = dout_tile[score_row * PITCH + i];
                let near = score_key * PITCH + i;
                let far = (score_key + HALF) * PITCH + i;
                score += vec2<f32>(dot(query, k_tile[near]), dot(query, k_tile[far]));
                dweight += vec2<f32>(dot(upstream, v_tile[near]), dot(upstream, v_tile[far]));
            }
            let key = vec2<u32>(key_0 + score_key, key_0 + score_key + HALF);
            let seen = (key >= vec2<u32>(range.x)) & (key < vec2<u32>(range.y));
            // A key outside the range may have any score; it must not overflow.
            let shifted = select(vec2<f32>(), score - row_log_sum_exp, seen);
            let dscore = select(vec2<f32>(), exp(shifted) * (dweight - row_delta), seen);
            dscores[score_row * SCORE_PITCH + score_key] = dscore.x;
            dscores[score_row * SCORE_PITCH + score_key + HALF] = dscore.y;
        }
        workgroupBarrier();  // all dscores are there
        for (var key = 0u; key < KEYS; key++) {
            let dscore_0 = dscores[row * SCORE_PITCH + key];
            let dscore_1 = dscores[(row + 1u) * SCORE_PITCH + key];
            let k_0 = k_tile[key * PITCH + read_0];
            sum_00 += dscore_0 * k_0;
            sum_10 += dscore_1 * k_0;
            if (VECS > COL_GROUPS) {
                let k_1 = k_tile[key * PITCH + read_1];
                sum_01 += dscore_0 * k_1;
                sum_11 += dscore_1 * k_1;
            }
        }
        workgroupBarrier();  // everybody has read keys and dscores before they are overwritten
    }
    store(row_0 + row, count, head, col_0, params.scale * sum_00);
    store(row_0 + row + 1u, count, head, col_0, params.scale * sum_10);
    store(row_0 + row, count, head, col_1, params.scale * sum_01);
    store(row_0 + row + 1u, count, head, col_1, params.scale * sum_11);
}
