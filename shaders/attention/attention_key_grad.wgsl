// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order.
// A workgroup owns ROWS keys of one head and walks the union of the query ranges that see them,
// QUERIES queries at a time. Each invocation owns 2 rows x 2 vec4 of dk and of dv: vec4 `col` and
// `col + COL_GROUPS`.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [keys / key_factor, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const WIDTH: u32 = 64u;
const COL_GROUPS: u32 = WIDTH / ROW_GROUPS;
const ROWS: u32 = 2u * ROW_GROUPS;
const QUERIES: u32 = ROW_GROUPS;
const HALF: u32 = QUERIES / 2u;
const VECS: u32 = (HEAD_DIM + 3u) / 4u;
const PITCH: u32 = VECS | 1u;  // odd, so that rows start in different banks
const SCORE_PITCH: u32 = QUERIES + 1u;

var<workgroup> k_tile: array<vec4<f32>, ROWS * PITCH>;        // [ROWS, VECS], times scale
var<workgroup> v_tile: array<vec4<f32>, ROWS * PITCH>;        // [ROWS, VECS]
var<workgroup> q_tile: array<vec4<f32>, QUERIES * PITCH>;     // [QUERIES, VECS]
var<workgroup> dout_tile: array<vec4<f32>, QUERIES * PITCH>;  // [QUERIES, VECS]
var<workgroup> query_saved: array<vec2<f32>, QUERIES>;        // log_sum_exp and delta
var<workgroup> weights: array<f32, ROWS * SCORE_PITCH>;       // [ROWS, QUERIES]
var<workgroup> dscores: array<f32, ROWS * SCORE_PITCH>;       // [ROWS, QUERIES]
var<workgroup> row_range: array<vec2<u32>, ROWS>;             // queries that see each key
var<workgroup> tile_range: vec2<u32>;                         // their union

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

// Brings the head of queries query_0.. and what belongs to them; zeros from query_end on.
fn stage(lane: u32, query_0: u32, query_end: u32, head: u32) {
    let q_offset = params.query_offset + head * HEAD_DIM;
    for (var i = lane; i < QUERIES * VECS; i += WIDTH) {
        let row = query_0 + i / VECS;
        let col = i % VECS * 4u;
        var query = vec4<f32>();
        var upstream = vec4<f32>();
        if (row < query_end) {
            query = load_q(row * params.query_stride + q_offset, col);
            upstream = load_dout((row * params.head_count + head) * HEAD_DIM, col);
        }
        q_tile[i / VECS * PITCH + i % VECS] = query;
        dout_tile[i / VECS * PITCH + i % VECS] = upstream;
    }
    if (lane < QUERIES) {
        var saved = vec2<f32>();
        if (query_0 + lane < query_end) {
            let at = (query_0 + lane) * params.head_count + head;
            saved = vec2<f32>(log_sum_exp[at], delta[at]);
        }
        query_saved[lane] = saved;
    }
}

// Weights and dscores of one key and two of the staged queries.
fn score_pair(row: u32, near: u32, query_0: u32) {
    let far = near + HALF;
    var score = vec2<f32>();
    var dweight = vec2<f32>();
    for (var i = 0u; i < VECS; i++) {
        let key = k_tile[row * PITCH + i];
        let value = v_tile[row * PITCH + i];
        score += vec2<f32>(dot(key, q_tile[near * PITCH + i]), dot(key, q_tile[far * PITCH + i]));
        dweight += vec2<f32>(
            dot(value, dout_tile[near * PITCH + i]), dot(value, dout_tile[far * PITCH + i]));
    }
    let saved_near = query_saved[near];
    let saved_far = query_saved[far];
    let range = row_range[row];
    let query = vec2<u32>(query_0 + near, query_0 + far);
    let seen = (query >= vec2<u32>(range.x)) & (query < vec2<u32>(range.y));
    // A query that does not see the key may have any score; it must not overflow.
    let shifted = select(vec2<f32>(), score - vec2<f32>(saved_near.x, saved_far.x), seen);
    let weight = select(vec2<f32>(), exp(shifted), seen);
    let dscore = weight * (dweight - vec2<f32>(saved_near.y, saved_far.y));
    let at = row * SCORE_PITCH + near;
    weights[at] = weight.x;
    weights[at + HALF] = weight.y;
    dscores[at] = dscore.x;
    dscores[at + HALF] = dscore.y;
}

fn store(at: u32, vec: u32, value: vec4<f32>) {
    if (vec >= VECS) {
        return;
    }
    let col = vec * 4u;
    dkv[at + col] = dkv_type(value.x);
    if (col + 1u < HEAD_DIM) {
        dkv[at + col + 1u] = dkv_type(value.y);
    }
    if (col + 2u < HEAD_DIM) {
        dkv[at + col + 2u] = dkv_type(value.z);
    }
    if (col + 3u < HEAD_DIM) {
        dkv[at + col + 3u] = dkv_type(value.w);
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.keys);
    let kv_head = index % params.kv_head_count;
    let row_0 = index / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    let k_offset = params.key_offset + kv_head * HEAD_DIM;
    let v_offset = params.value_offset + kv_head * HEAD_DIM;

    for (var i = lane; i < ROWS * VECS; i += WIDTH) {
        let row = row_0 + i / VECS;
        let col = i % VECS * 4u;
        var key = vec4<f32>();
        var value = vec4<f32>();
        if (row < count) {
            key = params.scale * load_kv(row * params.kv_stride + k_offset, col);
            value = load_kv(row * params.kv_stride + v_offset, col);
        }
        k_tile[i / VECS * PITCH + i % VECS] = key;
        v_tile[i / VECS * PITCH + i % VECS] = value;
    }
    if (lane < ROWS) {
        var range = vec2<u32>();
        if (row_0 + lane < count) {
            let entry = (row_0 + lane) / params.key_factor * 2u;
            range = vec2<u32>(query_range[entry], query_range[entry + 1u]) * params.query_factor;
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
    let queries_of_tile = workgroupUniformLoad(&tile_range);
    let query_end = queries_of_tile.y;

    // For the scores an invocation owns one row and two queries.
    let score_row = lane / HALF;
    let score_query = lane % HALF;
    // For dk and dv it owns two rows and two vec4 columns.
    let row = lane / COL_GROUPS * 2u;
    let col_0 = lane % COL_GROUPS;
    let col_1 = col_0 + COL_GROUPS;
    // Columns beyond the head compute along and are not stored.
    let read_0 = min(col_0, VECS - 1u);
    let read_1 = min(col_1, VECS - 1u);
    var dk_00 = vec4<f32>();
    var dk_10 = vec4<f32>();
    var dk_01 = vec4<f32>();
    var dk_11 = vec4<f32>();
    var dv_00 = vec4<f32>();
    var dv_10 = vec4<f32>();
    var dv_01 = vec4<f32>();
    var dv_11 = vec4<f32>();
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        for (var query_0 = queries_of_tile.x; query_0 < query_end; query_0 += QUERIES) {
            stage(lane, query_0, query_end, head);
            workgroupBarrier();  // queries and upstream gradients are complete
            if (score_row < ROWS) {
                score_pair(score_row, score_query, query_0);
            }
            workgroupBarrier();  // all weights and dscores are there
            for (var query = 0u; query < QUERIES; query++) {
                let at = row * SCORE_PITCH + query;
                let weight_0 = weights[at];
                let weight_1 = weights[at + SCORE_PITCH];
                let dscore_0 = dscores[at];
                let dscore_1 = dscores[at + SCORE_PITCH];
                let q_0 = q_tile[query * PITCH + read_0];
                let dout_0 = dout_tile[query * PITCH + read_0];
                dk_00 += dscore_0 * q_0;
                dk_10 += dscore_1 * q_0;
                dv_00 += weight_0 * dout_0;
                dv_10 += weight_1 * dout_0;
                if (VECS > COL_GROUPS) {
                    let q_1 = q_tile[query * PITCH + read_1];
                    let dout_1 = dout_tile[query * PITCH + read_1];
                    dk_01 += dscore_0 * q_1;
                    dk_11 += dscore_1 * q_1;
                    dv_01 += weight_0 * dout_1;
                    dv_11 += weight_1 * dout_1;
                }
            }
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
    }
    for (var i = 0u; i < 2u; i++) {
        let key = row_0 + row + i;
        if (key < count) {
            let first = i == 0u;
            let k_at = key * params.kv_stride + k_offset;
            let v_at = key * params.kv_stride + v_offset;
            store(k_at, col_0, params.scale * select(dk_10, dk_00, first));
            store(k_at, col_1, params.scale * select(dk_11, dk_01, first));
            store(v_at, col_0, select(dv_10, dv_00, first));
            store(v_at, col_1, select(dv_11, dv_01, first));
        }
    }
}
