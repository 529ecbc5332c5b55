// out = softmax(scale q k^T) v on cooperative matrices: f16 operands, f32 sums. Every query sees
// one contiguous range of keys. A workgroup owns ROWS queries of one head, a subgroup 16 of them,
// and all walk the union of the ranges. HEAD_DIM is 64, 96 or 128.
//
// Weights are taken relative to a shift of the row, which stays until a score exceeds it by
// 2^MOST_GROWTH: only then the sums are brought out and rescaled.
#import shared/attention_matrix

@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;            // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u32>>;           // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;          // [entries, 2]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;     // [queries, cols]
@group(0) @binding(6) var<storage, read_write> log_sum_exp: array<f32>;  // [queries, heads]

const SUBGROUP_ROWS: u32 = 16u;
const ROWS: u32 = SUBGROUP_ROWS * SUBGROUPS;
const VECS: u32 = HEAD_DIM / 4u;
const UNSET: f32 = -1e29;
const MOST_GROWTH: f32 = 10.0;  // 2^10 is far from the largest f16

// 16 rows of output on their way. A lane knows shift and total of its own row; totals lack what
// the other lane of the row has seen. The shift is of products, not scaled.
struct Output {
    shift: f32,
    total: f32,
    sums: Sums,
}

// First and how many keys a query sees; queries beyond the last see all and are not stored.
fn seen_by(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>(0u, NOWHERE);
    }
    let entry = row / params.query_factor * 2u;
    let first = key_range[entry] * params.key_factor;
    return vec2<u32>(first, max(key_range[entry + 1u] * params.key_factor, first) - first);
}

fn largest_of(score: vec4<f32>) -> f32 {
    return max(max(score.x, score.y), max(score.z, score.w));
}

// Two sums with every row multiplied by a factor, through the scores.
fn multiplied(a: Sum, b: Sum, at: u32, mine: u32, factor: f32) -> Two {
    let beside = at + 4u;
    subgroupBarrier();  // what was there is read
    show(a, b, at);
    scores[mine] *= factor;
    scores[mine + 2u] *= factor;
    scores[mine + 4u] *= factor;
    scores[mine + 6u] *= factor;
    subgroupBarrier();  // the rows are multiplied
    return Two(
        coopLoadT<Sum>(&scores[at], SCORE_PITCH), coopLoadT<Sum>(&scores[beside], SCORE_PITCH));
}

fn rescaled(sums: Sums, at: u32, mine: u32, factor: f32) -> Sums {
    let two_0 = multiplied(sums.c_0, sums.c_1, at, mine, factor);
    let two_2 = multiplied(sums.c_2, sums.c_3, at, mine, factor);
    var two_4 = Two(sums.c_4, sums.c_5);
    var two_6 = Two(sums.c_6, sums.c_7);
    if (HEAD_DIM > 64u) {
        two_4 = multiplied(sums.c_4, sums.c_5, at, mine, factor);
    }
    if (HEAD_DIM > 96u) {
        two_6 = multiplied(sums.c_6, sums.c_7, at, mine, factor);
    }
    return Sums(two_0.a, two_0.b, two_2.a, two_2.b, two_4.a, two_4.b, two_6.a, two_6.b);
}

// Turns products of 16 queries and STEP keys into weights in workgroup memory. `edge_key` is my
// first key where a row does not see all of them, and NOWHERE elsewhere.
fn weighed(
    before: Output,
    a: Sum,
    b: Sum,
    at: u32,
    mine: u32,
    edge_key: u32,
    seen: vec2<u32>,
) -> Output {
    show(a, b, at);
    var score_0 = scores[mine];
    var score_1 = scores[mine + 2u];
    var score_2 = scores[mine + 4u];
    var score_3 = scores[mine + 6u];
    if (edge_key != NOWHERE) {
        score_0 = masked(score_0, edge_key, seen);
        score_1 = masked(score_1, edge_key + 8u, seen);
        score_2 = masked(score_2, edge_key + 16u, seen);
        score_3 = masked(score_3, edge_key + 24u, seen);
    }
    let scale = params.scale * LOG2_E;
    let largest = largest_of(max(max(score_0, score_1), max(score_2, score_3)));
    let most = max(largest, subgroupShuffleXor(largest, 1u));
    let grows = scale * (most - before.shift) > MOST_GROWTH;
    var total = before.total;
    var sums = before.sums;
    if (subgroupAny(grows && before.shift > UNSET)) {
        let factor = select(1.0, exp2(scale * (before.shift - most)), grows);
        total *= factor;
        sums = rescaled(sums, at, mine, factor);
    }
    let shift = select(before.shift, most, grows);
    // A row that has seen nothing yet keeps weights of zero.
    let used_shift = scale * select(shift, 0.0, shift < UNSET);
    score_0 = exp2(scale * score_0 - used_shift);
    score_1 = exp2(scale * score_1 - used_shift);
    score_2 = exp2(scale * score_2 - used_shift);
    score_3 = exp2(scale * score_3 - used_shift);
    weights[mine] = vec4<f16>(score_0);
    weights[mine + 2u] = vec4<f16>(score_1);
    weights[mine + 4u] = vec4<f16>(score_2);
    weights[mine + 6u] = vec4<f16>(score_3);
    let sum = (score_0 + score_1) + (score_2 + score_3);
    total += (sum.x + sum.y) + (sum.z + sum.w);
    subgroupBarrier();  // the weights are there, and the scores are read
    return Output(shift, total, sums);
}

// Brings two sums out, divided, to the columns from vector `col` on.
fn store_two(
    a: Sum,
    b: Sum,
    at: u32,
    lane: u32,
    row_0: u32,
    count: u32,
    col: u32,
    inverse: f32,
) {
    subgroupBarrier();  // what was there is read
    show(a, b, at);
    for (var i = 0u; i < 4u; i++) {
        let line = i * 4u + lane / 8u;
        let factor = subgroupShuffle(inverse, 2u * line);
        if (row_0 + line < count) {
            let place = (row_0 + line) * params.head_count * VECS + col + lane % 8u;
            out[place] = out_type(factor * scores[at + line * SCORE_PITCH + lane % 8u]);
        }
    }
}

// Stores 16 rows. A row without keys has a total of zero and sums of zero.
fn finish(output: Output, at: u32, lane: u32, row_0: u32, count: u32, head: u32) {
    let total = output.total + subgroupShuffleXor(output.total, 1u);
    let row = row_0 + lane / 2u;
    if (lane % 2u == 0u && row < count) {
        let value = params.scale * output.shift + log2(max(total, 1e-30)) / LOG2_E;
        log_sum_exp[row * params.head_count + head] = select(MASKED, value, total > 0.0);
    }
    let inverse = 1.0 / max(total, 1e-30);
    let col = head * VECS;
    store_two(output.sums.c_0, output.sums.c_1, at, lane, row_0, count, col, inverse);
    store_two(output.sums.c_2, output.sums.c_3, at, lane, row_0, count, col + 8u, inverse);
    if (HEAD_DIM > 64u) {
        store_two(output.sums.c_4, output.sums.c_5, at, lane, row_0, count, col + 16u, inverse);
    }
    if (HEAD_DIM > 96u) {
        store_two(output.sums.c_6, output.sums.c_7, at, lane, row_0, count, col + 24u, inverse);
    }
}

// naga takes places that depend on the lane for control flow that does.
@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let group_index = group.x + group.y * groups.x;
    let count = length_of(params.queries);
    let head = group_index % params.head_count;
    let tile_index = group_index / params.head_count;
    let tile_count = (count + ROWS - 1u) / ROWS;
    if (tile_index >= tile_count) {
        return;  // rows that a larger plan would have
    }
    // The last rows first: at the end of a document rows see most.
    let row_0 = (tile_count - 1u - tile_index) * ROWS;
    let kv_head = head / (params.head_count / params.kv_head_count);
    // Of a tile I bring vector my_col of rows my_line and my_line + LINES.
    let my_line = index / (COLS / 8u);
    let my_col = min(index % (COLS / 8u), HEAD_DIM / 8u - 1u);
    let my_place = my_line * PITCH + index % (COLS / 8u) * 2u;
    let q_at = (params.query_offset + head * HEAD_DIM) / 8u + my_col;
    let k_at = (params.key_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let v_at = (params.value_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let at = subgroup * SCORES;
    let mine = at + lane / 2u * SCORE_PITCH + lane % 2u;
    let subgroup_row = row_0 + subgroup * SUBGROUP_ROWS;

    let row = subgroup_row + lane / 2u;
    let seen = seen_by(row, count);
    var together = seen_together(seen, row < count);
    let range = seen_by_any(together, subgroup, lane);

    // Queries pass through the tile into fragments, 64 at a time.
    var queries: Rows;
    for (var turn = 0u; turn < ROWS / 64u; turn++) {
        let first = row_0 + turn * 64u + my_line;
        let part_0 = q_part(first, count - 1u, q_at);
        let part_1 = q_part(first + STEP, count - 1u, q_at);
        put(part_0, my_place);
        put(part_1, my_place + STEP * PITCH);
        workgroupBarrier();  // the queries are complete
        if (subgroup * SUBGROUP_ROWS / 64u == turn) {
            queries = rows_at(subgroup * SUBGROUP_ROWS % 64u * PITCH);
        }
        workgroupBarrier();  // everybody has read them
    }

    var shift = MASKED;
    var total = 0.0;
    var sums = Sums();
    let last = max(range.y, 1u) - 1u;
    let steps = steps_of(range);
    var key_0 = range.x;
    var keys = kv_part(key_0 + my_line, last, k_at);
    var values = kv_part(key_0 + my_line, last, v_at);
    for (var step = 0.0; step < steps; step += 1.0) {
        put(keys, my_place);
        put(values, my_place + STEP * PITCH);
        workgroupBarrier();  // keys and values are complete
        if (step + 1.0 < steps) {
            keys = kv_part(key_0 + STEP + my_line, last, k_at);
            values = kv_part(key_0 + STEP + my_line, last, v_at);
        }
        if (key_0 < together.y && key_0 + STEP > together.x) {
            let is_edge = key_0 < together.z || key_0 + STEP > together.w;
            let edge_key = select(NOWHERE, key_0 + lane % 2u * 4u, is_edge);
            let near = products(queries, 0u);
            let far = products(queries, 16u * PITCH);
            let before = Output(shift, total, sums);
            let output = weighed(before, near, far, at, mine, edge_key, seen);
            shift = output.shift;
            total = output.total;
            let weight_0 = coopLoadT<Left>(&weights[at], SCORE_PITCH);
            let weight_1 = coopLoadT<Left>(&weights[at + 4u], SCORE_PITCH);
            sums = advanced(output.sums, weight_0, STEP * PITCH);
            sums = advanced(sums, weight_1, (STEP + 16u) * PITCH);
        }
        workgroupBarrier();  // everybody has read keys and values
        key_0 += STEP;
    }

    finish(Output(shift, total, sums), at, lane, subgroup_row, count, head);
}
