// dk = scale * ds^T q and dv = p^T dout with p = exp(scale q k^T - log_sum_exp) and
// ds = p (dout v^T - delta), summed over the query heads that share a key head, in order, on
// cooperative matrices: f16 operands, f32 sums. A workgroup owns ROWS keys of one head, a subgroup
// 16 of them, and all walk the union of the query ranges that see them, QUERIES queries at a time.
// HEAD_DIM is 128. Fragments have no elements, so scores pass through workgroup memory; there
// lanes 2 r and 2 r + 1 of a subgroup own row r. Compilers do not unroll loops over fragments.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;          // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<dout_type>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

// Fragments: operands on the left and on the right, and sums.
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

const SUBGROUPS: u32 = 4u;
const LANES: u32 = 32u;
const WIDTH: u32 = SUBGROUPS * LANES;
const SUBGROUP_ROWS: u32 = 16u;
const ROWS: u32 = SUBGROUP_ROWS * SUBGROUPS;
const QUERIES: u32 = 32u;
const VECS: u32 = HEAD_DIM / 4u;
// Rows start 16 (f16) or 32 (f32) bytes further in the banks than the one before. Everything in
// workgroup memory is a multiple of 16 bytes long: fragments are loaded from such addresses only.
const PITCH: u32 = VECS + 2u;
const SCORE_PITCH: u32 = QUERIES / 2u + 2u;
const MASKED: f32 = -1e30;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> q_tile: array<vec4<f16>, 2u * QUERIES * PITCH>;  // queries, then their gradients
var<workgroup> scores: array<vec4<f32>, ROWS * SCORE_PITCH>;    // k q^T beside v dout^T
var<workgroup> weights: array<vec4<f16>, ROWS * SCORE_PITCH>;   // p^T beside ds^T
var<workgroup> shifts: array<vec4<f32>, QUERIES / 4u>;          // log_sum_exp, in powers of two
var<workgroup> deltas: array<vec4<f32>, QUERIES / 4u>;
var<workgroup> union_of: array<vec4<u32>, SUBGROUPS>;           // queries that see a subgroup
var<workgroup> tile_range: vec4<u32>;                           // queries that see any row

// What a lane brings of QUERIES queries or gradients: a vec4 of every 4th row.
struct Tile {
    a: vec4<f16>, b: vec4<f16>, c: vec4<f16>, d: vec4<f16>,
    e: vec4<f16>, f: vec4<f16>, g: vec4<f16>, h: vec4<f16>,
}

fn kv_at(at: u32, is_there: bool) -> vec4<f16> {
    if (!is_there) {
        return vec4<f16>();
    }
    return vec4<f16>(kv[at]);
}

// My part of rows row.. of kv, which lie `stride` apart from `at` on; zeros from end on.
fn load_kv(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = kv_at(at, row < end);
    tile.b = kv_at(at + 4u * stride, row + 4u < end);
    tile.c = kv_at(at + 8u * stride, row + 8u < end);
    tile.d = kv_at(at + 12u * stride, row + 12u < end);
    tile.e = kv_at(at + 16u * stride, row + 16u < end);
    tile.f = kv_at(at + 20u * stride, row + 20u < end);
    tile.g = kv_at(at + 24u * stride, row + 24u < end);
    tile.h = kv_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn q_at(at: u32, is_there: bool) -> vec4<f16> {
    if (!is_there) {
        return vec4<f16>();
    }
    return vec4<f16>(q[at]);
}

// My part of rows row.. of q, which lie `stride` apart from `at` on; zeros from end on.
fn load_q(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = q_at(at, row < end);
    tile.b = q_at(at + 4u * stride, row + 4u < end);
    tile.c = q_at(at + 8u * stride, row + 8u < end);
    tile.d = q_at(at + 12u * stride, row + 12u < end);
    tile.e = q_at(at + 16u * stride, row + 16u < end);
    tile.f = q_at(at + 20u * stride, row + 20u < end);
    tile.g = q_at(at + 24u * stride, row + 24u < end);
    tile.h = q_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn dout_at(at: u32, is_there: bool) -> vec4<f16> {
    if (!is_there) {
        return vec4<f16>();
    }
    return vec4<f16>(dout[at]);
}

// My part of rows row.. of dout, which lie `stride` apart from `at` on; zeros from end on.
fn load_dout(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = dout_at(at, row < end);
    tile.b = dout_at(at + 4u * stride, row + 4u < end);
    tile.c = dout_at(at + 8u * stride, row + 8u < end);
    tile.d = dout_at(at + 12u * stride, row + 12u < end);
    tile.e = dout_at(at + 16u * stride, row + 16u < end);
    tile.f = dout_at(at + 20u * stride, row + 20u < end);
    tile.g = dout_at(at + 24u * stride, row + 24u < end);
    tile.h = dout_at(at + 28u * stride, row + 28u < end);
    return tile;
}

fn put(tile: Tile, at: u32) {
    q_tile[at] = tile.a;
    q_tile[at + 4u * PITCH] = tile.b;
    q_tile[at + 8u * PITCH] = tile.c;
    q_tile[at + 12u * PITCH] = tile.d;
    q_tile[at + 16u * PITCH] = tile.e;
    q_tile[at + 20u * PITCH] = tile.f;
    q_tile[at + 24u * PITCH] = tile.g;
    q_tile[at + 28u * PITCH] = tile.h;
}

// First and how many queries see a row; rows beyond the last are seen by all and not stored.
fn seen_by(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>(0u, 0xffffffffu);
    }
    let entry = row / params.key_factor * 2u;
    let first = query_range[entry] * params.query_factor;
    return vec2<u32>(first, max(query_range[entry + 1u] * params.query_factor, first) - first);
}

// log_sum_exp, in powers of two, and delta.
fn saved_of(query: u32, end: u32, head: u32) -> vec2<f32> {
    if (query >= end) {
        return vec2<f32>();
    }
    let at = query * params.head_count + head;
    return vec2<f32>(LOG2_E * log_sum_exp[at], delta[at]);
}

fn masked(score: vec4<f32>, query: u32, seen: vec2<u32>) -> vec4<f32> {
    let place = vec4<u32>(query - seen.x) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(MASKED), score, place < vec4<u32>(seen.y));
}

// Brings 16 rows of QUERIES columns of dk or dv from the scores to column vec `col`.
fn store_part(lane: u32, place: u32, row_0: u32, count: u32, col: u32, factor: f32) {
    for (var i = lane; i < 16u * QUERIES / 4u; i += LANES) {
        let row = row_0 + i / (QUERIES / 4u);
        if (row < count) {
            let sum = scores[place + i / (QUERIES / 4u) * SCORE_PITCH + i % (QUERIES / 4u)];
            let at = row * params.kv_stride / 4u + col + i % (QUERIES / 4u);
            dkv[at] = dkv_type(factor * sum);
        }
    }
}

@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane_of_group: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.keys);
    let kv_head = index % params.kv_head_count;
    let row_0 = index / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    let q_stride = params.query_stride / 4u;
    let kv_stride = params.kv_stride / 4u;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u;
    let subgroup_row = row_0 + subgroup * SUBGROUP_ROWS;
    let my_row = lane / 2u;
    let half = lane % 2u;
    let row = subgroup_row + my_row;
    let seen = seen_by(row, count);
    // What any row of my subgroup sees, and what all of them see.
    var any_seen = vec2<u32>(0xffffffffu, 0u);
    var all_seen = vec2<u32>(0u, 0xffffffffu);
    if (row < count) {
        let end = seen.x + seen.y;
        if (seen.y > 0u) {
            any_seen = vec2<u32>(min(any_seen.x, seen.x), max(any_seen.y, end));
        }
        all_seen = vec2<u32>(max(all_seen.x, seen.x), min(all_seen.y, end));
    }
    let any_first = subgroupMin(any_seen.x);
    let any_end = subgroupMax(any_seen.y);
    let all_first = subgroupMax(all_seen.x);
    let all_end = subgroupMin(all_seen.y);
    if (lane == 0u) {
        union_of[subgroup] = vec4<u32>(any_first, any_end, 0u, 0u);
    }
    workgroupBarrier();  // all ranges are there
    if (lane_of_group == 0u) {
        let first = min(min(union_of[0].x, union_of[1].x), min(union_of[2].x, union_of[3].x));
        let end = max(max(union_of[0].y, union_of[1].y), max(union_of[2].y, union_of[3].y));
        tile_range = vec4<u32>(first, end, 0u, 0u);
    }
    let range = workgroupUniformLoad(&tile_range);
    // Of a tile I bring vec4 my_col of every so many rows from my_line on.
    let my_line = lane_of_group / VECS;
    let my_col = lane_of_group % VECS;
    let my_place = my_line * PITCH + my_col;
    // Keys, then values pass through the tile of queries into fragments.
    let k_at = (row_0 + my_line) * kv_stride + k_offset + my_col;
    let near_k = load_kv(row_0 + my_line, count, k_at, kv_stride);
    let far_k = load_kv(row_0 + my_line + 32u, count, k_at + 32u * kv_stride, kv_stride);
    put(near_k, my_place);
    put(far_k, my_place + 32u * PITCH);
    workgroupBarrier();  // the rows are complete
    let k_0 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH], PITCH);
    let k_1 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 4u], PITCH);
    let k_2 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 8u], PITCH);
    let k_3 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 12u], PITCH);
    let k_4 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 16u], PITCH);
    let k_5 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 20u], PITCH);
    let k_6 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 24u], PITCH);
    let k_7 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 28u], PITCH);
    workgroupBarrier();  // everybody has read the rows
    let v_at = (row_0 + my_line) * kv_stride + v_offset + my_col;
    let near_v = load_kv(row_0 + my_line, count, v_at, kv_stride);
    let far_v = load_kv(row_0 + my_line + 32u, count, v_at + 32u * kv_stride, kv_stride);
    put(near_v, my_place);
    put(far_v, my_place + 32u * PITCH);
    workgroupBarrier();  // the rows are complete
    let v_0 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH], PITCH);
    let v_1 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 4u], PITCH);
    let v_2 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 8u], PITCH);
    let v_3 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 12u], PITCH);
    let v_4 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 16u], PITCH);
    let v_5 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 20u], PITCH);
    let v_6 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 24u], PITCH);
    let v_7 = coopLoadT<Left>(&q_tile[subgroup * 16u * PITCH + 28u], PITCH);
    workgroupBarrier();  // everybody has read the rows

    let dout_stride = params.head_count * VECS;
    let scale = params.scale * LOG2_E;
    let score_base = subgroup * SUBGROUP_ROWS * SCORE_PITCH;
    let my_scores = score_base + my_row * SCORE_PITCH + half;
    // Where fragments lie among the scores.
    let place_0 = score_base;
    let place_1 = score_base + 4u;
    let place_2 = score_base + 8u;
    let place_3 = score_base + 12u;
    var dk_0 = Sum();
    var dv_0 = Sum();
    var dk_1 = Sum();
    var dv_1 = Sum();
    var dk_2 = Sum();
    var dv_2 = Sum();
    var dk_3 = Sum();
    var dv_3 = Sum();
    var dk_4 = Sum();
    var dv_4 = Sum();
    var dk_5 = Sum();
    var dv_5 = Sum();
    var dk_6 = Sum();
    var dv_6 = Sum();
    var dk_7 = Sum();
    var dv_7 = Sum();
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        let q_offset = (params.query_offset + head * HEAD_DIM) / 4u + my_col;
        let dout_offset = head * VECS + my_col;
        var next = range.x + my_line;
        var queries = load_q(next, range.y, next * q_stride + q_offset, q_stride);
        var upstream = load_dout(next, range.y, next * dout_stride + dout_offset, dout_stride);
        var saved = saved_of(range.x + lane_of_group % QUERIES, range.y, head);
        for (var query_0 = range.x; query_0 < range.y; query_0 += QUERIES) {
            put(queries, my_place);
            put(upstream, QUERIES * PITCH + my_place);
            if (lane_of_group < QUERIES) {
                shifts[lane_of_group / 4u][lane_of_group % 4u] = saved.x;
                deltas[lane_of_group / 4u][lane_of_group % 4u] = saved.y;
            }
            workgroupBarrier();  // queries and upstream gradients are complete
            next += QUERIES;
            queries = load_q(next, range.y, next * q_stride + q_offset, q_stride);
            upstream = load_dout(next, range.y, next * dout_stride + dout_offset, dout_stride);
            saved = saved_of(query_0 + QUERIES + lane_of_group % QUERIES, range.y, head);
            let is_active = query_0 < any_end && query_0 + QUERIES > any_first;
            if (is_active) {
                var part_0 = coopMultiplyAdd(k_0, coopLoad<Right>(&q_tile[0u], PITCH), Sum());
                var up_0 = coopMultiplyAdd(
                    v_0, coopLoad<Right>(&q_tile[32u * PITCH], PITCH), Sum());
                var part_1 = coopMultiplyAdd(
                    k_0, coopLoad<Right>(&q_tile[16u * PITCH], PITCH), Sum());
                var up_1 = coopMultiplyAdd(
                    v_0, coopLoad<Right>(&q_tile[48u * PITCH], PITCH), Sum());
                part_0 = coopMultiplyAdd(k_1, coopLoad<Right>(&q_tile[4u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_1, coopLoad<Right>(&q_tile[32u * PITCH + 4u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_1, coopLoad<Right>(&q_tile[16u * PITCH + 4u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_1, coopLoad<Right>(&q_tile[48u * PITCH + 4u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_2, coopLoad<Right>(&q_tile[8u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_2, coopLoad<Right>(&q_tile[32u * PITCH + 8u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_2, coopLoad<Right>(&q_tile[16u * PITCH + 8u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_2, coopLoad<Right>(&q_tile[48u * PITCH + 8u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_3, coopLoad<Right>(&q_tile[12u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_3, coopLoad<Right>(&q_tile[32u * PITCH + 12u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_3, coopLoad<Right>(&q_tile[16u * PITCH + 12u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_3, coopLoad<Right>(&q_tile[48u * PITCH + 12u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_4, coopLoad<Right>(&q_tile[16u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_4, coopLoad<Right>(&q_tile[32u * PITCH + 16u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_4, coopLoad<Right>(&q_tile[16u * PITCH + 16u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_4, coopLoad<Right>(&q_tile[48u * PITCH + 16u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_5, coopLoad<Right>(&q_tile[20u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_5, coopLoad<Right>(&q_tile[32u * PITCH + 20u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_5, coopLoad<Right>(&q_tile[16u * PITCH + 20u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_5, coopLoad<Right>(&q_tile[48u * PITCH + 20u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_6, coopLoad<Right>(&q_tile[24u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_6, coopLoad<Right>(&q_tile[32u * PITCH + 24u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_6, coopLoad<Right>(&q_tile[16u * PITCH + 24u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_6, coopLoad<Right>(&q_tile[48u * PITCH + 24u], PITCH), up_1);
                part_0 = coopMultiplyAdd(k_7, coopLoad<Right>(&q_tile[28u], PITCH), part_0);
                up_0 = coopMultiplyAdd(
                    v_7, coopLoad<Right>(&q_tile[32u * PITCH + 28u], PITCH), up_0);
                part_1 = coopMultiplyAdd(
                    k_7, coopLoad<Right>(&q_tile[16u * PITCH + 28u], PITCH), part_1);
                up_1 = coopMultiplyAdd(
                    v_7, coopLoad<Right>(&q_tile[48u * PITCH + 28u], PITCH), up_1);
                coopStoreT(part_0, &scores[place_0], SCORE_PITCH);
                coopStoreT(up_0, &scores[place_2], SCORE_PITCH);
                coopStoreT(part_1, &scores[place_1], SCORE_PITCH);
                coopStoreT(up_1, &scores[place_3], SCORE_PITCH);
                subgroupBarrier();  // the products are there
                var weight_0 = scale * scores[my_scores] - shifts[half];
                var weight_1 = scale * scores[my_scores + 2u] - shifts[half + 2u];
                var weight_2 = scale * scores[my_scores + 4u] - shifts[half + 4u];
                var weight_3 = scale * scores[my_scores + 6u] - shifts[half + 6u];
                if (query_0 < all_first || query_0 + QUERIES > all_end) {
                    let my_query_0 = query_0 + half * 4u;
                    weight_0 = masked(weight_0, my_query_0, seen);
                    weight_1 = masked(weight_1, my_query_0 + 8u, seen);
                    weight_2 = masked(weight_2, my_query_0 + 16u, seen);
                    weight_3 = masked(weight_3, my_query_0 + 24u, seen);
                }
                weight_0 = exp2(weight_0);
                weights[my_scores] = vec4<f16>(weight_0);
                weight_0 *= scores[my_scores + QUERIES / 4u] - deltas[half];
                weights[my_scores + QUERIES / 4u] = vec4<f16>(weight_0);
                weight_1 = exp2(weight_1);
                weights[my_scores + 2u] = vec4<f16>(weight_1);
                weight_1 *= scores[my_scores + QUERIES / 4u + 2u] - deltas[half + 2u];
                weights[my_scores + QUERIES / 4u + 2u] = vec4<f16>(weight_1);
                weight_2 = exp2(weight_2);
                weights[my_scores + 4u] = vec4<f16>(weight_2);
                weight_2 *= scores[my_scores + QUERIES / 4u + 4u] - deltas[half + 4u];
                weights[my_scores + QUERIES / 4u + 4u] = vec4<f16>(weight_2);
                weight_3 = exp2(weight_3);
                weights[my_scores + 6u] = vec4<f16>(weight_3);
                weight_3 *= scores[my_scores + QUERIES / 4u + 6u] - deltas[half + 6u];
                weights[my_scores + QUERIES / 4u + 6u] = vec4<f16>(weight_3);
                subgroupBarrier();  // weights and dscores are there
                let left_0 = coopLoadT<Left>(
                    &weights[score_base], SCORE_PITCH);
                let dleft_0 = coopLoadT<Left>(
                    &weights[score_base + QUERIES / 4u], SCORE_PITCH);
                dv_0 = coopMultiplyAdd(left_0, coopLoadT<Right>(&q_tile[32u * PITCH], PITCH), dv_0);
                dk_0 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[0u], PITCH), dk_0);
                dv_1 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 4u], PITCH), dv_1);
                dk_1 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[4u], PITCH), dk_1);
                dv_2 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 8u], PITCH), dv_2);
                dk_2 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[8u], PITCH), dk_2);
                dv_3 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 12u], PITCH), dv_3);
                dk_3 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[12u], PITCH), dk_3);
                dv_4 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 16u], PITCH), dv_4);
                dk_4 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[16u], PITCH), dk_4);
                dv_5 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 20u], PITCH), dv_5);
                dk_5 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[20u], PITCH), dk_5);
                dv_6 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 24u], PITCH), dv_6);
                dk_6 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[24u], PITCH), dk_6);
                dv_7 = coopMultiplyAdd(
                    left_0, coopLoadT<Right>(&q_tile[32u * PITCH + 28u], PITCH), dv_7);
                dk_7 = coopMultiplyAdd(dleft_0, coopLoadT<Right>(&q_tile[28u], PITCH), dk_7);
                let left_1 = coopLoadT<Left>(
                    &weights[score_base + 4u], SCORE_PITCH);
                let dleft_1 = coopLoadT<Left>(
                    &weights[score_base + 4u + QUERIES / 4u], SCORE_PITCH);
                dv_0 = coopMultiplyAdd(left_1, coopLoadT<Right>(&q_tile[48u * PITCH], PITCH), dv_0);
                dk_0 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH], PITCH), dk_0);
                dv_1 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 4u], PITCH), dv_1);
                dk_1 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 4u], PITCH), dk_1);
                dv_2 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 8u], PITCH), dv_2);
                dk_2 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 8u], PITCH), dk_2);
                dv_3 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 12u], PITCH), dv_3);
                dk_3 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 12u], PITCH), dk_3);
                dv_4 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 16u], PITCH), dv_4);
                dk_4 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 16u], PITCH), dk_4);
                dv_5 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 20u], PITCH), dv_5);
                dk_5 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 20u], PITCH), dk_5);
                dv_6 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 24u], PITCH), dv_6);
                dk_6 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 24u], PITCH), dk_6);
                dv_7 = coopMultiplyAdd(
                    left_1, coopLoadT<Right>(&q_tile[48u * PITCH + 28u], PITCH), dv_7);
                dk_7 = coopMultiplyAdd(
                    dleft_1, coopLoadT<Right>(&q_tile[16u * PITCH + 28u], PITCH), dk_7);
            }
            workgroupBarrier();  // everybody has read the tiles
        }
    }

    subgroupBarrier();  // everybody has read what was there
    coopStoreT(dk_0, &scores[place_0], SCORE_PITCH);
    coopStoreT(dv_0, &scores[place_2], SCORE_PITCH);
    coopStoreT(dk_1, &scores[place_1], SCORE_PITCH);
    coopStoreT(dv_1, &scores[place_3], SCORE_PITCH);
    subgroupBarrier();  // the sums are there
    store_part(lane, place_0, subgroup_row, count, k_offset + 0u, params.scale);
    store_part(lane, place_2, subgroup_row, count, v_offset + 0u, 1.0);
    subgroupBarrier();  // everybody has read what was there
    coopStoreT(dk_2, &scores[place_0], SCORE_PITCH);
    coopStoreT(dv_2, &scores[place_2], SCORE_PITCH);
    coopStoreT(dk_3, &scores[place_1], SCORE_PITCH);
    coopStoreT(dv_3, &scores[place_3], SCORE_PITCH);
    subgroupBarrier();  // the sums are there
    store_part(lane, place_0, subgroup_row, count, k_offset + 8u, params.scale);
    store_part(lane, place_2, subgroup_row, count, v_offset + 8u, 1.0);
    subgroupBarrier();  // everybody has read what was there
    coopStoreT(dk_4, &scores[place_0], SCORE_PITCH);
    coopStoreT(dv_4, &scores[place_2], SCORE_PITCH);
    coopStoreT(dk_5, &scores[place_1], SCORE_PITCH);
    coopStoreT(dv_5, &scores[place_3], SCORE_PITCH);
    subgroupBarrier();  // the sums are there
    store_part(lane, place_0, subgroup_row, count, k_offset + 16u, params.scale);
    store_part(lane, place_2, subgroup_row, count, v_offset + 16u, 1.0);
    subgroupBarrier();  // everybody has read what was there
    coopStoreT(dk_6, &scores[place_0], SCORE_PITCH);
    coopStoreT(dv_6, &scores[place_2], SCORE_PITCH);
    coopStoreT(dk_7, &scores[place_1], SCORE_PITCH);
    coopStoreT(dv_7, &scores[place_3], SCORE_PITCH);
    subgroupBarrier();  // the sums are there
    store_part(lane, place_0, subgroup_row, count, k_offset + 24u, params.scale);
    store_part(lane, place_2, subgroup_row, count, v_offset + 24u, 1.0);
}
