// out = softmax(scale q k^T) v with the bits of attention_row, by products of 64 x 64 x 16, for
// many queries: scores are sums in the order of the columns, totals and results in the order of the
// keys.
// A workgroup owns ROWS queries and 64 columns of one head and walks the union of the ranges, KEYS
// keys at a time. A weight is 2^fraction times a power of two, which alone knows the largest score;
// what a row does not see weighs exactly zero. Weights go to the second product through workgroup
// memory, 16 keys at a time, where a lane for every row adds them up. Operands are brought one step
// ahead of their use.
#import shared/attention
#import shared/attention_square

@group(0) @binding(2) var<storage, read> q: array<vec4<f32>>;         // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<f32>>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;       // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;  // [queries, cols]

alias out_type = vec4<f32>;

const ROWS: u32 = 64u;
const VECS: u32 = HEAD_DIM / 4u;
const NO_SCORE: f32 = -1048576.0;

// Vector `at` of row `row` and of every fourth from there, none behind `last`.
fn values(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        kv[min(row, last) * stride + at], kv[min(row + 4u, last) * stride + at],
        kv[min(row + 8u, last) * stride + at], kv[min(row + 12u, last) * stride + at]);
}

fn times(factor: f32, part: Part) -> Part {
    return Part(factor * part.v_0, factor * part.v_1, factor * part.v_2, factor * part.v_3);
}

// 2^exponent, zero below the smallest normal number.
fn power_of_two(exponent: vec4<f32>) -> vec4<f32> {
    let biased = clamp(exponent, vec4<f32>(-127.0), vec4<f32>()) + vec4<f32>(127.0);
    return bitcast<vec4<f32>>(vec4<u32>(biased) << vec4<u32>(23u));
}

fn powers(exponents: Rows) -> Rows {
    return Rows(power_of_two(exponents.left), power_of_two(exponents.right));
}

fn weight_of(score: vec4<f32>, largest: vec4<f32>) -> vec4<f32> {
    let whole = floor(score);
    return exp2(score - whole) * power_of_two(whole - largest);
}

fn weights_of(s: Sums, largest: Rows) -> Sums {
    return Sums(
        weight_of(s.r0_left, largest.left), weight_of(s.r0_right, largest.right),
        weight_of(s.r1_left, largest.left), weight_of(s.r1_right, largest.right),
        weight_of(s.r2_left, largest.left), weight_of(s.r2_right, largest.right),
        weight_of(s.r3_left, largest.left), weight_of(s.r3_right, largest.right),
        weight_of(s.r4_left, largest.left), weight_of(s.r4_right, largest.right),
        weight_of(s.r5_left, largest.left), weight_of(s.r5_right, largest.right),
        weight_of(s.r6_left, largest.left), weight_of(s.r6_right, largest.right),
        weight_of(s.r7_left, largest.left), weight_of(s.r7_right, largest.right));
}

// Keys 16 piece to 16 piece + 15 of the tile, from those who have their weights.
fn put_piece(s: Sums, piece: u32, y: u32, x: u32) {
    if (y / 4u != piece % 2u) {
        return;
    }
    let at = y % 4u * 4u * ROW + x;
    let lower = piece >= 2u;
    a_tile[at] = select(s.r0_left, s.r4_left, lower);
    a_tile[at + 8u] = select(s.r0_right, s.r4_right, lower);
    a_tile[at + ROW] = select(s.r1_left, s.r5_left, lower);
    a_tile[at + ROW + 8u] = select(s.r1_right, s.r5_right, lower);
    a_tile[at + 2u * ROW] = select(s.r2_left, s.r6_left, lower);
    a_tile[at + 2u * ROW + 8u] = select(s.r2_right, s.r6_right, lower);
    a_tile[at + 3u * ROW] = select(s.r3_left, s.r7_left, lower);
    a_tile[at + 3u * ROW + 8u] = select(s.r3_right, s.r7_right, lower);
}

// The total of a row with the weights of a piece, one after the other.
fn total_with(total: f32, row: u32) -> f32 {
    var sum = total;
    for (var key = 0u; key < 16u; key++) {
        sum += a_tile[key * ROW + row / 4u][row % 4u];
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let col_part = index % COL_PARTS;
    let head = index / COL_PARTS % params.head_count;
    let row_0 = index / COL_PARTS / params.head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let kv_head = head / (params.head_count / params.kv_head_count);
    let q_stride = params.query_stride / 4u;
    let kv_stride = params.kv_stride / 4u;
    let q_offset = (params.query_offset + head * HEAD_DIM) / 4u;
    let k_offset = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_offset = (params.value_offset + kv_head * HEAD_DIM) / 4u;

    var range = vec2<u32>(0u, BEYOND);
    if (row_0 + lane < count) {
        let entry = (row_0 + lane) / params.query_factor * 2u;
        range = vec2<u32>(key_range[entry], key_range[entry + 1u]) * params.key_factor;
    }
    put_range(lane, range);
    workgroupBarrier();  // all ranges are there before they are united
    if (lane == 0u) {
        tile_range = united();
    }
    let seen_by_tile = workgroupUniformLoad(&tile_range);
    let key_end = seen_by_tile.y;
    let last_key = key_end - 1u;
    let last_row = count - 1u;

    let y = lane / 8u;
    let x = lane % 8u;
    let my_row = lane / 4u;
    let my_col = lane % 4u;
    let my_value = lane / 16u;
    let v_at = v_offset + min(col_part * 16u + lane % 16u, VECS - 1u);
    let steps = (params.head_dim + 15u) / 16u;
    let pieces = KEYS / 16u + params.zero;  // not unrolled
    let factor = params.scale * LOG2_E;
    // Of my queries by x, and of row `lane`.
    var largest = Rows(vec4<f32>(NO_SCORE), vec4<f32>(NO_SCORE));
    var own_largest = NO_SCORE;
    var own_total = 0.0;
    var sums = Sums();
    for (var key_0 = seen_by_tile.x; key_0 < key_end; key_0 += KEYS) {
        var col = min(my_col, VECS - 1u);
        var k_next = kv_part(key_0 + my_row, last_key, k_offset + col, kv_stride);
        var q_next = q_part(row_0 + my_row, last_row, q_offset + col, q_stride);
        var scores = Sums();
        for (var step = 0u; step < steps; step++) {
            put_rows_a(k_next, lane);
            put_rows_b(within(times(factor, q_next), step * 4u + my_col), lane);
            workgroupBarrier();  // the tiles are complete
            col = min(min(step + 1u, steps - 1u) * 4u + my_col, VECS - 1u);
            k_next = kv_part(key_0 + my_row, last_key, k_offset + col, kv_stride);
            q_next = q_part(row_0 + my_row, last_row, q_offset + col, q_stride);
            scores = square_shuffled_step(scores, y, x);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
        var v_next = values(key_0 + my_value, last_key, v_at, kv_stride);
        if (key_0 < seen_by_tile.z || key_0 + KEYS > seen_by_tile.w) {
            scores = masked_scores(scores, key_0 + 4u * y, x);
        }
        put_parts(largest_of(scores), y, x);
        workgroupBarrier();  // maxima are there
        let larger = Rows(
            max(largest.left, floor(largest_parts(x))),
            max(largest.right, floor(largest_parts(x + 8u))));
        let correction = powers(
            Rows(largest.left - larger.left, largest.right - larger.right));
        largest = larger;
        let own_larger = max(own_largest, floor(largest_parts(lane / 4u)[lane % 4u]));
        own_total *= power_of_two(vec4<f32>(own_largest - own_larger)).x;
        own_largest = own_larger;
        scores = weights_of(scores, larger);
        sums = scaled(sums, correction);
        for (var piece = 0u; piece < pieces; piece++) {
            put_piece(scores, piece, y, x);
            put_stored_b(v_next, lane);
            workgroupBarrier();  // weights and values are complete
            let next = key_0 + my_value + min(piece + 1u, 3u) * 16u;
            v_next = values(next, last_key, v_at, kv_stride);
            own_total = total_with(own_total, lane);
            sums = square_step(sums, x, y);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
    }

    parts[lane / 4u][lane % 4u] = own_total;
    workgroupBarrier();  // all totals are there
    // A row without keys has a total of zero and sums of zero.
    let tiny = vec4<f32>(1e-30);
    sums = scaled(sums, Rows(1.0 / max(parts[x], tiny), 1.0 / max(parts[x + 8u], tiny)));
    let row = row_0 + 4u * x;
    let vec = col_part * 16u + y;
    store(row + 0u, count, head, vec, sums.r0_left, sums.r0_right);
    store(row + 1u, count, head, vec, sums.r1_left, sums.r1_right);
    store(row + 2u, count, head, vec, sums.r2_left, sums.r2_right);
    store(row + 3u, count, head, vec, sums.r3_left, sums.r3_right);
    store(row + 32u, count, head, vec, sums.r4_left, sums.r4_right);
    store(row + 33u, count, head, vec, sums.r5_left, sums.r5_right);
    store(row + 34u, count, head, vec, sums.r6_left, sums.r6_right);
    store(row + 35u, count, head, vec, sums.r7_left, sums.r7_right);
}
