// out = softmax(scale q k^T) v where every query sees one contiguous range of keys, by products of
// 64 x 64 x 16. A workgroup owns ROWS queries and 64 columns of one head and walks the union of the
// ranges, KEYS keys at a time, with an online softmax. An invocation has the scores of 8 keys and 8
// queries in registers, transposed; weights go to the second product through workgroup memory, 16
// keys at a time. Operands are brought one step ahead of their use.
#import shared/attention
#import shared/attention_square

@group(0) @binding(2) var<storage, read> q: array<q_type>;               // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<kv_type>;             // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const ROWS: u32 = 64u;
const VECS: u32 = HEAD_DIM / 4u;
const UNSET: f32 = -1e29;

// Vector `at` of the rows of `row_of` from row `row` on, none behind `last`.
fn kv_rows(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(kv[min(row, last) * stride + at]),
        vec4<f32>(kv[min(row + 8u, last) * stride + at]),
        vec4<f32>(kv[min(row + 16u, last) * stride + at]),
        vec4<f32>(kv[min(row + 24u, last) * stride + at]));
}

fn sum_of(s: Sums) -> Rows {
    return Rows(
        (s.r0_left + s.r1_left + s.r2_left + s.r3_left)
            + (s.r4_left + s.r5_left + s.r6_left + s.r7_left),
        (s.r0_right + s.r1_right + s.r2_right + s.r3_right)
            + (s.r4_right + s.r5_right + s.r6_right + s.r7_right));
}

fn sum_of_parts(vector: u32) -> vec4<f32> {
    return ((parts[vector] + parts[vector + 16u]) + (parts[vector + 32u] + parts[vector + 48u]))
        + ((parts[vector + 64u] + parts[vector + 80u])
            + (parts[vector + 96u] + parts[vector + 112u]));
}

// Weights relative to the largest score times scale.
fn weights_of(s: Sums, scale: f32, shift: Rows) -> Sums {
    return Sums(
        exp2(scale * s.r0_left - shift.left), exp2(scale * s.r0_right - shift.right),
        exp2(scale * s.r1_left - shift.left), exp2(scale * s.r1_right - shift.right),
        exp2(scale * s.r2_left - shift.left), exp2(scale * s.r2_right - shift.right),
        exp2(scale * s.r3_left - shift.left), exp2(scale * s.r3_right - shift.right),
        exp2(scale * s.r4_left - shift.left), exp2(scale * s.r4_right - shift.right),
        exp2(scale * s.r5_left - shift.left), exp2(scale * s.r5_right - shift.right),
        exp2(scale * s.r6_left - shift.left), exp2(scale * s.r6_right - shift.right),
        exp2(scale * s.r7_left - shift.left), exp2(scale * s.r7_right - shift.right));
}

fn save(row: u32, count: u32, head: u32, largest: f32, total: f32) {
    if (row < count) {
        let value = params.scale * largest + log(max(total, 1e-30));
        log_sum_exp[row * params.head_count + head] = select(MASKED, value, total > 0.0);
    }
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

    // For the scores I own keys 4 y to 4 y + 3 and the same 32 further, and queries by x; then the
    // same queries and columns by y.
    let y = lane / 8u;
    let x = lane % 8u;
    let my_row = lane / 4u;
    let my_col = lane % 4u;
    let my_slot = row_of(0u, lane / 16u);
    let v_at = v_offset + min(col_part * 16u + lane % 16u, VECS - 1u);
    let steps = (params.head_dim + 15u) / 16u;
    let pieces = KEYS / 16u + params.zero;  // not unrolled
    let scale = params.scale * LOG2_E;
    var largest = Rows(vec4<f32>(MASKED), vec4<f32>(MASKED));
    var total = Rows();
    var sums = Sums();
    for (var key_0 = seen_by_tile.x; key_0 < key_end; key_0 += KEYS) {
        var col = min(my_col, VECS - 1u);
        var k_next = kv_part(key_0 + my_row, last_key, k_offset + col, kv_stride);
        var q_next = q_part(row_0 + my_row, last_row, q_offset + col, q_stride);
        var scores = Sums();
        for (var step = 0u; step < steps; step++) {
            put_rows_a(k_next, lane);
            put_rows_b(within(q_next, step * 4u + my_col), lane);
            workgroupBarrier();  // the tiles are complete
            col = min(min(step + 1u, steps - 1u) * 4u + my_col, VECS - 1u);
            k_next = kv_part(key_0 + my_row, last_key, k_offset + col, kv_stride);
            q_next = q_part(row_0 + my_row, last_row, q_offset + col, q_stride);
            scores = square_shuffled_step(scores, y, x);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
        var v_next = kv_rows(key_0 + my_slot, last_key, v_at, kv_stride);
        if (key_0 < seen_by_tile.z || key_0 + KEYS > seen_by_tile.w) {
            scores = masked_scores(scores, key_0 + 4u * y, x);
        }
        put_parts(largest_of(scores), y, x);
        workgroupBarrier();  // maxima are there
        let larger = Rows(
            max(largest.left, largest_parts(x)), max(largest.right, largest_parts(x + 8u)));
        let factor = Rows(
            exp2(scale * (largest.left - larger.left)),
            exp2(scale * (largest.right - larger.right)));
        largest = larger;
        // A row that has seen nothing has no weights.
        let zero = vec4<f32>();
        let shift = Rows(
            select(scale * larger.left, zero, larger.left < vec4<f32>(UNSET)),
            select(scale * larger.right, zero, larger.right < vec4<f32>(UNSET)));
        scores = weights_of(scores, scale, shift);
        let added = sum_of(scores);
        total = Rows(
            total.left * factor.left + added.left, total.right * factor.right + added.right);
        sums = scaled(sums, factor);
        for (var piece = 0u; piece < pieces; piece++) {
            if (piece == 0u) {
                put_pair(y, x, scores.r0_left, scores.r0_right, scores.r1_left, scores.r1_right);
            } else if (piece == 1u) {
                put_pair(y, x, scores.r2_left, scores.r2_right, scores.r3_left, scores.r3_right);
            } else if (piece == 2u) {
                put_pair(y, x, scores.r4_left, scores.r4_right, scores.r5_left, scores.r5_right);
            } else {
                put_pair(y, x, scores.r6_left, scores.r6_right, scores.r7_left, scores.r7_right);
            }
            put_stored_b(v_next, lane);
            workgroupBarrier();  // weights and values are complete
            let next = key_0 + my_slot + row_of(min(piece + 1u, 3u), 0u);
            v_next = kv_rows(next, last_key, v_at, kv_stride);
            sums = square_step(sums, x, y);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
    }

    put_parts(total, y, x);
    workgroupBarrier();  // all sums are there
    total = Rows(sum_of_parts(x), sum_of_parts(x + 8u));
    // A row without keys has a total of zero and sums of zero.
    let tiny = vec4<f32>(1e-30);
    sums = scaled(sums, Rows(1.0 / max(total.left, tiny), 1.0 / max(total.right, tiny)));
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
    if (col_part == 0u && y == 0u) {
        save(row + 0u, count, head, largest.left.x, total.left.x);
        save(row + 1u, count, head, largest.left.y, total.left.y);
        save(row + 2u, count, head, largest.left.z, total.left.z);
        save(row + 3u, count, head, largest.left.w, total.left.w);
        save(row + 32u, count, head, largest.right.x, total.right.x);
        save(row + 33u, count, head, largest.right.y, total.right.y);
        save(row + 34u, count, head, largest.right.z, total.right.z);
        save(row + 35u, count, head, largest.right.w, total.right.w);
    }
}
