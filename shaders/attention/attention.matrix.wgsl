// out = softmax(scale q k^T) v on cooperative matrices: f16 operands, f32 sums. Every query sees
// one contiguous range of keys. A workgroup owns ROWS queries of one head, a subgroup 16 of them,
// and all walk the union of the ranges, KEYS keys at a time. HEAD_DIM is 64.
//
// Fragments have no elements, so scores pass through workgroup memory; there lanes 2 r and 2 r + 1
// of a subgroup own row r, every other vec4 each. Weights are taken
// relative to a shift of the row, which stays until a score exceeds it by MOST_GROWTH: only then
// the sums are brought out and rescaled. Compilers do not unroll loops over fragments.
#import shared/attention

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

// Fragments: operands on the left and on the right, and sums.
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

const SUBGROUPS: u32 = 4u;
const LANES: u32 = 32u;
const WIDTH: u32 = SUBGROUPS * LANES;
const SUBGROUP_ROWS: u32 = 16u;
const ROWS: u32 = SUBGROUP_ROWS * SUBGROUPS;
const KEYS: u32 = 64u;
const VECS: u32 = HEAD_DIM / 4u;
// Rows start 16 (f16) or 32 (f32) bytes further in the banks than the one before. Everything in
// workgroup memory is a multiple of 16 bytes long: fragments are loaded from such addresses only.
const PITCH: u32 = VECS + 2u;
const SCORE_PITCH: u32 = KEYS / 4u + 2u;
const MASKED: f32 = -1e30;
const UNSET: f32 = -1e29;
const LOG2_E: f32 = 1.4426950408889634;
const MOST_GROWTH: f32 = 10.0;  // 2^10 is far from the largest f16

var<workgroup> kv_tile: array<vec4<f16>, 2u * KEYS * PITCH>;  // keys, then values
var<workgroup> scores: array<vec4<f32>, ROWS * SCORE_PITCH>;
var<workgroup> weights: array<vec4<f16>, ROWS * SCORE_PITCH>;
var<workgroup> union_of: array<vec4<u32>, SUBGROUPS>;         // keys that rows of a subgroup see
var<workgroup> tile_range: vec4<u32>;                         // keys that any row sees

// What a lane brings of KEYS keys or values: a vec4 of every 8th row.
struct Tile {
    a: vec4<f16>, b: vec4<f16>, c: vec4<f16>, d: vec4<f16>,
    e: vec4<f16>, f: vec4<f16>, g: vec4<f16>, h: vec4<f16>,
}

fn q_at(at: u32, is_there: bool) -> vec4<f16> {
    if (!is_there) {
        return vec4<f16>();
    }
    return vec4<f16>(q[at]);
}

fn kv_at(at: u32, is_there: bool) -> vec4<f16> {
    if (!is_there) {
        return vec4<f16>();
    }
    return vec4<f16>(kv[at]);
}

// My part of rows row.. of kv, which lie `stride` apart from `at` on; zeros from end on.
fn load(row: u32, end: u32, at: u32, stride: u32) -> Tile {
    var tile: Tile;
    tile.a = kv_at(at, row < end);
    tile.b = kv_at(at + 8u * stride, row + 8u < end);
    tile.c = kv_at(at + 16u * stride, row + 16u < end);
    tile.d = kv_at(at + 24u * stride, row + 24u < end);
    tile.e = kv_at(at + 32u * stride, row + 32u < end);
    tile.f = kv_at(at + 40u * stride, row + 40u < end);
    tile.g = kv_at(at + 48u * stride, row + 48u < end);
    tile.h = kv_at(at + 56u * stride, row + 56u < end);
    return tile;
}

fn put(tile: Tile, at: u32) {
    kv_tile[at] = tile.a;
    kv_tile[at + 8u * PITCH] = tile.b;
    kv_tile[at + 16u * PITCH] = tile.c;
    kv_tile[at + 24u * PITCH] = tile.d;
    kv_tile[at + 32u * PITCH] = tile.e;
    kv_tile[at + 40u * PITCH] = tile.f;
    kv_tile[at + 48u * PITCH] = tile.g;
    kv_tile[at + 56u * PITCH] = tile.h;
}

// First and how many keys a row sees; rows beyond the last see all and are not stored.
fn seen_by(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>(0u, 0xffffffffu);
    }
    let entry = row / params.query_factor * 2u;
    let first = key_range[entry] * params.key_factor;
    return vec2<u32>(first, max(key_range[entry + 1u] * params.key_factor, first) - first);
}

fn masked(score: vec4<f32>, key: u32, seen: vec2<u32>) -> vec4<f32> {
    let place = vec4<u32>(key - seen.x) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(MASKED), score, place < vec4<u32>(seen.y));
}

fn largest_of(score: vec4<f32>) -> f32 {
    return max(max(score.x, score.y), max(score.z, score.w));
}

fn save(row: u32, count: u32, head: u32, shift: f32, total: f32) {
    if (row < count) {
        let value = (shift + log2(max(total, 1e-30))) / LOG2_E;
        log_sum_exp[row * params.head_count + head] = select(MASKED, value, total > 0.0);
    }
}

// Brings 16 rows of KEYS columns of the output from the scores to column vec `col`.
fn store_part(lane: u32, place: u32, row_0: u32, count: u32, col: u32) {
    for (var i = lane; i < 16u * KEYS / 4u; i += LANES) {
        let row = row_0 + i / (KEYS / 4u);
        if (row < count) {
            let sum = scores[place + i / (KEYS / 4u) * SCORE_PITCH + i % (KEYS / 4u)];
            out[row * params.head_count * VECS + col + i % (KEYS / 4u)] = out_type(sum);
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
    let count = length_of(params.queries);
    let head = index % params.head_count;
    let row_0 = index / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_stride = params.query_stride / 4u;
    let kv_stride = params.kv_stride / 4u;
    let q_offset = (params.query_offset + head * HEAD_DIM) / 4u;
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
    // Queries pass through the tile of keys into fragments.
    let q_first = (row_0 + my_line) * q_stride + q_offset + my_col;
    let q_vec_0 = q_at(q_first, row_0 + my_line < count);
    let q_vec_1 = q_at(q_first + 8u * q_stride, row_0 + my_line + 8u < count);
    let q_vec_2 = q_at(q_first + 16u * q_stride, row_0 + my_line + 16u < count);
    let q_vec_3 = q_at(q_first + 24u * q_stride, row_0 + my_line + 24u < count);
    let q_vec_4 = q_at(q_first + 32u * q_stride, row_0 + my_line + 32u < count);
    let q_vec_5 = q_at(q_first + 40u * q_stride, row_0 + my_line + 40u < count);
    let q_vec_6 = q_at(q_first + 48u * q_stride, row_0 + my_line + 48u < count);
    let q_vec_7 = q_at(q_first + 56u * q_stride, row_0 + my_line + 56u < count);
    kv_tile[my_place] = q_vec_0;
    kv_tile[my_place + 8u * PITCH] = q_vec_1;
    kv_tile[my_place + 16u * PITCH] = q_vec_2;
    kv_tile[my_place + 24u * PITCH] = q_vec_3;
    kv_tile[my_place + 32u * PITCH] = q_vec_4;
    kv_tile[my_place + 40u * PITCH] = q_vec_5;
    kv_tile[my_place + 48u * PITCH] = q_vec_6;
    kv_tile[my_place + 56u * PITCH] = q_vec_7;
    workgroupBarrier();  // the rows are complete
    let q_0 = coopLoadT<Left>(&kv_tile[subgroup * 16u * PITCH], PITCH);
    let q_1 = coopLoadT<Left>(&kv_tile[subgroup * 16u * PITCH + 4u], PITCH);
    let q_2 = coopLoadT<Left>(&kv_tile[subgroup * 16u * PITCH + 8u], PITCH);
    let q_3 = coopLoadT<Left>(&kv_tile[subgroup * 16u * PITCH + 12u], PITCH);
    workgroupBarrier();  // everybody has read the rows

    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u + my_col;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u + my_col;
    let scale = params.scale * LOG2_E;
    let score_base = subgroup * SUBGROUP_ROWS * SCORE_PITCH;
    let my_scores = score_base + my_row * SCORE_PITCH + half;
    // Where fragments lie among the scores.
    let place_0 = score_base;
    let place_1 = score_base + 4u;
    let place_2 = score_base + 8u;
    let place_3 = score_base + 12u;
    var shift = MASKED;
    var total = 0.0;
    var sum_0 = Sum();
    var sum_1 = Sum();
    var sum_2 = Sum();
    var sum_3 = Sum();
    let first_at = (range.x + my_line) * kv_stride + k_offset;
    put(load(range.x + my_line, range.y, first_at, kv_stride), my_place);
    workgroupBarrier();  // the first keys are complete
    for (var key_0 = range.x; key_0 < range.y; key_0 += KEYS) {
        let at = (key_0 + my_line) * kv_stride;
        let is_active = key_0 < any_end && key_0 + KEYS > any_first;
        let values = load(key_0 + my_line, range.y, at + v_offset, kv_stride);
        if (is_active) {
            var part_0 = coopMultiplyAdd(q_0, coopLoad<Right>(&kv_tile[0u], PITCH), Sum());
            var part_1 = coopMultiplyAdd(q_0, coopLoad<Right>(&kv_tile[16u * PITCH], PITCH), Sum());
            var part_2 = coopMultiplyAdd(q_0, coopLoad<Right>(&kv_tile[32u * PITCH], PITCH), Sum());
            var part_3 = coopMultiplyAdd(q_0, coopLoad<Right>(&kv_tile[48u * PITCH], PITCH), Sum());
            part_0 = coopMultiplyAdd(q_1, coopLoad<Right>(&kv_tile[4u], PITCH), part_0);
            part_1 = coopMultiplyAdd(
                q_1, coopLoad<Right>(&kv_tile[16u * PITCH + 4u], PITCH), part_1);
            part_2 = coopMultiplyAdd(
                q_1, coopLoad<Right>(&kv_tile[32u * PITCH + 4u], PITCH), part_2);
            part_3 = coopMultiplyAdd(
                q_1, coopLoad<Right>(&kv_tile[48u * PITCH + 4u], PITCH), part_3);
            part_0 = coopMultiplyAdd(q_2, coopLoad<Right>(&kv_tile[8u], PITCH), part_0);
            part_1 = coopMultiplyAdd(
                q_2, coopLoad<Right>(&kv_tile[16u * PITCH + 8u], PITCH), part_1);
            part_2 = coopMultiplyAdd(
                q_2, coopLoad<Right>(&kv_tile[32u * PITCH + 8u], PITCH), part_2);
            part_3 = coopMultiplyAdd(
                q_2, coopLoad<Right>(&kv_tile[48u * PITCH + 8u], PITCH), part_3);
            part_0 = coopMultiplyAdd(q_3, coopLoad<Right>(&kv_tile[12u], PITCH), part_0);
            part_1 = coopMultiplyAdd(
                q_3, coopLoad<Right>(&kv_tile[16u * PITCH + 12u], PITCH), part_1);
            part_2 = coopMultiplyAdd(
                q_3, coopLoad<Right>(&kv_tile[32u * PITCH + 12u], PITCH), part_2);
            part_3 = coopMultiplyAdd(
                q_3, coopLoad<Right>(&kv_tile[48u * PITCH + 12u], PITCH), part_3);
            coopStoreT(part_0, &scores[place_0], SCORE_PITCH);
            coopStoreT(part_1, &scores[place_1], SCORE_PITCH);
            coopStoreT(part_2, &scores[place_2], SCORE_PITCH);
            coopStoreT(part_3, &scores[place_3], SCORE_PITCH);
            subgroupBarrier();  // the scores are there
            let is_edge = key_0 < all_first || key_0 + KEYS > all_end;
            let my_key_0 = key_0 + half * 4u;
            var score_0 = scale * scores[my_scores];
            var score_1 = scale * scores[my_scores + 2u];
            var score_2 = scale * scores[my_scores + 4u];
            var score_3 = scale * scores[my_scores + 6u];
            var score_4 = scale * scores[my_scores + 8u];
            var score_5 = scale * scores[my_scores + 10u];
            var score_6 = scale * scores[my_scores + 12u];
            var score_7 = scale * scores[my_scores + 14u];
            if (is_edge) {
                score_0 = masked(score_0, my_key_0, seen);
                score_1 = masked(score_1, my_key_0 + 8u, seen);
                score_2 = masked(score_2, my_key_0 + 16u, seen);
                score_3 = masked(score_3, my_key_0 + 24u, seen);
                score_4 = masked(score_4, my_key_0 + 32u, seen);
                score_5 = masked(score_5, my_key_0 + 40u, seen);
                score_6 = masked(score_6, my_key_0 + 48u, seen);
                score_7 = masked(score_7, my_key_0 + 56u, seen);
            }
            var largest = max(score_0, score_1);
            largest = max(largest, score_2);
            largest = max(largest, score_3);
            largest = max(largest, score_4);
            largest = max(largest, score_5);
            largest = max(largest, score_6);
            largest = max(largest, score_7);
            let most = largest_of(max(largest, subgroupShuffleXor(largest, 1u)));
            let grows = most > shift + MOST_GROWTH;
            if (subgroupAny(grows && shift > UNSET)) {
                let factor = select(1.0, exp2(shift - most), grows);
                total *= factor;
                subgroupBarrier();  // everybody has read what was there
                coopStoreT(sum_0, &scores[place_0], SCORE_PITCH);
                coopStoreT(sum_1, &scores[place_1], SCORE_PITCH);
                coopStoreT(sum_2, &scores[place_2], SCORE_PITCH);
                coopStoreT(sum_3, &scores[place_3], SCORE_PITCH);
                subgroupBarrier();  // the sums are there
                for (var j = 0u; j < KEYS / 4u; j += 2u) {
                    scores[my_scores + j] *= factor;
                }
                subgroupBarrier();  // the sums are rescaled
                sum_0 = coopLoadT<Sum>(&scores[place_0], SCORE_PITCH);
                sum_1 = coopLoadT<Sum>(&scores[place_1], SCORE_PITCH);
                sum_2 = coopLoadT<Sum>(&scores[place_2], SCORE_PITCH);
                sum_3 = coopLoadT<Sum>(&scores[place_3], SCORE_PITCH);
            }
            shift = select(shift, most, grows);
            // A row that has seen nothing yet keeps weights of zero.
            let used_shift = select(shift, 0.0, shift < UNSET);
            score_0 = exp2(score_0 - used_shift);
            weights[my_scores] = vec4<f16>(score_0);
            score_1 = exp2(score_1 - used_shift);
            weights[my_scores + 2u] = vec4<f16>(score_1);
            score_2 = exp2(score_2 - used_shift);
            weights[my_scores + 4u] = vec4<f16>(score_2);
            score_3 = exp2(score_3 - used_shift);
            weights[my_scores + 6u] = vec4<f16>(score_3);
            score_4 = exp2(score_4 - used_shift);
            weights[my_scores + 8u] = vec4<f16>(score_4);
            score_5 = exp2(score_5 - used_shift);
            weights[my_scores + 10u] = vec4<f16>(score_5);
            score_6 = exp2(score_6 - used_shift);
            weights[my_scores + 12u] = vec4<f16>(score_6);
            score_7 = exp2(score_7 - used_shift);
            weights[my_scores + 14u] = vec4<f16>(score_7);
            let sum_of_weights = score_0 + score_1 + score_2 + score_3
                + score_4 + score_5 + score_6 + score_7;
            total += dot(sum_of_weights, vec4<f32>(1.0));
        }
        put(values, KEYS * PITCH + my_place);
        let next_at = at + KEYS * kv_stride + k_offset;
        let next = load(key_0 + KEYS + my_line, range.y, next_at, kv_stride);
        workgroupBarrier();  // values and weights are there, and everybody has read the keys
        if (is_active) {
            let weight_0 = coopLoadT<Left>(
                &weights[score_base], SCORE_PITCH);
            sum_0 = coopMultiplyAdd(
                weight_0, coopLoadT<Right>(&kv_tile[64u * PITCH], PITCH), sum_0);
            sum_1 = coopMultiplyAdd(
                weight_0, coopLoadT<Right>(&kv_tile[64u * PITCH + 4u], PITCH), sum_1);
            sum_2 = coopMultiplyAdd(
                weight_0, coopLoadT<Right>(&kv_tile[64u * PITCH + 8u], PITCH), sum_2);
            sum_3 = coopMultiplyAdd(
                weight_0, coopLoadT<Right>(&kv_tile[64u * PITCH + 12u], PITCH), sum_3);
            let weight_1 = coopLoadT<Left>(
                &weights[score_base + 4u], SCORE_PITCH);
            sum_0 = coopMultiplyAdd(
                weight_1, coopLoadT<Right>(&kv_tile[80u * PITCH], PITCH), sum_0);
            sum_1 = coopMultiplyAdd(
                weight_1, coopLoadT<Right>(&kv_tile[80u * PITCH + 4u], PITCH), sum_1);
            sum_2 = coopMultiplyAdd(
                weight_1, coopLoadT<Right>(&kv_tile[80u * PITCH + 8u], PITCH), sum_2);
            sum_3 = coopMultiplyAdd(
                weight_1, coopLoadT<Right>(&kv_tile[80u * PITCH + 12u], PITCH), sum_3);
            let weight_2 = coopLoadT<Left>(
                &weights[score_base + 8u], SCORE_PITCH);
            sum_0 = coopMultiplyAdd(
                weight_2, coopLoadT<Right>(&kv_tile[96u * PITCH], PITCH), sum_0);
            sum_1 = coopMultiplyAdd(
                weight_2, coopLoadT<Right>(&kv_tile[96u * PITCH + 4u], PITCH), sum_1);
            sum_2 = coopMultiplyAdd(
                weight_2, coopLoadT<Right>(&kv_tile[96u * PITCH + 8u], PITCH), sum_2);
            sum_3 = coopMultiplyAdd(
                weight_2, coopLoadT<Right>(&kv_tile[96u * PITCH + 12u], PITCH), sum_3);
            let weight_3 = coopLoadT<Left>(
                &weights[score_base + 12u], SCORE_PITCH);
            sum_0 = coopMultiplyAdd(
                weight_3, coopLoadT<Right>(&kv_tile[112u * PITCH], PITCH), sum_0);
            sum_1 = coopMultiplyAdd(
                weight_3, coopLoadT<Right>(&kv_tile[112u * PITCH + 4u], PITCH), sum_1);
            sum_2 = coopMultiplyAdd(
                weight_3, coopLoadT<Right>(&kv_tile[112u * PITCH + 8u], PITCH), sum_2);
            sum_3 = coopMultiplyAdd(
                weight_3, coopLoadT<Right>(&kv_tile[112u * PITCH + 12u], PITCH), sum_3);
        }
        put(next, my_place);
        workgroupBarrier();  // the next keys are complete, and everybody has read the values
    }

    // A row without keys has a total of zero and sums of zero.
    total += subgroupShuffleXor(total, 1u);
    if (half == 0u) {
        save(row, count, head, shift, total);
    }
    let inverse = 1.0 / max(total, 1e-30);
    subgroupBarrier();  // everybody has read what was there
    coopStoreT(sum_0, &scores[place_0], SCORE_PITCH);
    coopStoreT(sum_1, &scores[place_1], SCORE_PITCH);
    coopStoreT(sum_2, &scores[place_2], SCORE_PITCH);
    coopStoreT(sum_3, &scores[place_3], SCORE_PITCH);
    subgroupBarrier();  // the sums are there
    for (var j = 0u; j < KEYS / 4u; j += 2u) {
        scores[my_scores + j] *= inverse;
    }
    subgroupBarrier();  // they are divided
    store_part(lane, place_0, subgroup_row, count, head * VECS + 0u);
}
