// dq = scale * ds k with ds = p (dout v^T - delta), p = exp(scale q k^T - log_sum_exp) and
// delta = rowsum(dout * out), on cooperative matrices: f16 operands, f32 sums. A workgroup owns
// ROWS queries of one head, a subgroup 16 of them, and all walk the union of their key ranges.
// HEAD_DIM is 64, 96 or 128.
#import shared/attention_matrix

@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;       // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u32>>;      // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> key_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<vec4<u32>>;    // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;   // [queries, heads]
@group(0) @binding(7) var<storage, read> out: array<out_type>;      // [queries, heads, head_dim]
@group(0) @binding(8) var<storage, read_write> delta: array<f32>;   // [queries, heads]
@group(0) @binding(9) var<storage, read_write> dq: array<dq_type>;  // [queries, query_stride]

const SUBGROUP_ROWS: u32 = 16u;
const ROWS: u32 = SUBGROUP_ROWS * SUBGROUPS;

// What a lane knows of its query: log_sum_exp, in powers of two, and delta.
struct Saved {
    shift: f32,
    delta: f32,
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

// Lanes 2 r and 2 r + 1 own a row, every other eight columns each.
fn saved_of(row: u32, count: u32, head: u32, lane: u32) -> Saved {
    let at = min(row, count - 1u) * params.head_count + head;
    var sums = vec4<f32>();
    for (var i = lane % 2u; i < HEAD_DIM / 8u; i += 2u) {
        let words = dout[at * (HEAD_DIM / 8u) + i];
        let place = at * (HEAD_DIM / 4u) + 2u * i;
        sums += vec4<f32>(left_half(words)) * vec4<f32>(out[place]);
        sums += vec4<f32>(right_half(words)) * vec4<f32>(out[place + 1u]);
    }
    let mine = (sums.x + sums.y) + (sums.z + sums.w);
    let row_delta = mine + subgroupShuffleXor(mine, 1u);
    if (row < count && lane % 2u == 0u) {
        delta[at] = row_delta;
    }
    return Saved(LOG2_E * log_sum_exp[at], row_delta);
}

fn dout_part(row: u32, last: u32, at: u32) -> Part {
    let stride = params.head_count * HEAD_DIM / 8u;
    return Part(dout[min(row, last) * stride + at], dout[min(row + LINES, last) * stride + at]);
}

// Turns q k^T and dout v^T of 16 queries and 16 keys into ds, 16 columns of the weights from
// vector `to` of mine on. `edge_key` is my first key where a row does not see all of them, and
// NOWHERE elsewhere.
fn differentiated(
    product: Sum,
    up: Sum,
    at: u32,
    mine: u32,
    to: u32,
    saved: Saved,
    edge_key: u32,
    seen: vec2<u32>,
) {
    show(product, up, at);
    let scale = params.scale * LOG2_E;
    var score_0 = scale * scores[mine] - saved.shift;
    var score_1 = scale * scores[mine + 2u] - saved.shift;
    if (edge_key != NOWHERE) {
        score_0 = masked(score_0, edge_key, seen);
        score_1 = masked(score_1, edge_key + 8u, seen);
    }
    weights[mine + to] = vec4<f16>(exp2(score_0) * (scores[mine + 4u] - saved.delta));
    weights[mine + to + 2u] = vec4<f16>(exp2(score_1) * (scores[mine + 6u] - saved.delta));
    subgroupBarrier();  // ds is there, and the products are read
}

// Brings two sums out to the columns from vector `col` on.
fn store_two(a: Sum, b: Sum, at: u32, lane: u32, row_0: u32, count: u32, col: u32) {
    subgroupBarrier();  // what was there is read
    show(a, b, at);
    for (var i = 0u; i < 4u; i++) {
        let line = i * 4u + lane / 8u;
        if (row_0 + line < count) {
            let place = (row_0 + line) * params.query_stride / 4u + col + lane % 8u;
            dq[place] = dq_type(params.scale * scores[at + line * SCORE_PITCH + lane % 8u]);
        }
    }
}

fn store(sums: Sums, at: u32, lane: u32, row_0: u32, count: u32, col: u32) {
    store_two(sums.c_0, sums.c_1, at, lane, row_0, count, col);
    store_two(sums.c_2, sums.c_3, at, lane, row_0, count, col + 8u);
    if (HEAD_DIM > 64u) {
        store_two(sums.c_4, sums.c_5, at, lane, row_0, count, col + 16u);
    }
    if (HEAD_DIM > 96u) {
        store_two(sums.c_6, sums.c_7, at, lane, row_0, count, col + 24u);
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
    let dout_at = head * HEAD_DIM / 8u + my_col;
    let k_at = (params.key_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let v_at = (params.value_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let at = subgroup * SCORES;
    let mine = at + lane / 2u * SCORE_PITCH + lane % 2u;
    let subgroup_row = row_0 + subgroup * SUBGROUP_ROWS;

    let row = subgroup_row + lane / 2u;
    let saved = saved_of(row, count, head, lane);
    let seen = seen_by(row, count);
    var together = seen_together(seen, row < count);
    let range = seen_by_any(together, subgroup, lane);

    // Queries and what comes from above pass through the tile into fragments, 64 at a time.
    var queries: Rows;
    var upstream: Rows;
    for (var turn = 0u; turn < ROWS / 64u; turn++) {
        let first = row_0 + turn * 64u + my_line;
        let is_mine = subgroup * SUBGROUP_ROWS / 64u == turn;
        let place = subgroup * SUBGROUP_ROWS % 64u * PITCH;
        let q_part_0 = q_part(first, count - 1u, q_at);
        let q_part_1 = q_part(first + STEP, count - 1u, q_at);
        let dout_part_0 = dout_part(first, count - 1u, dout_at);
        let dout_part_1 = dout_part(first + STEP, count - 1u, dout_at);
        put(q_part_0, my_place);
        put(q_part_1, my_place + STEP * PITCH);
        workgroupBarrier();  // the queries are complete
        if (is_mine) {
            queries = rows_at(place);
        }
        workgroupBarrier();  // everybody has read them
        put(dout_part_0, my_place);
        put(dout_part_1, my_place + STEP * PITCH);
        workgroupBarrier();  // the upstream gradients are complete
        if (is_mine) {
            upstream = rows_at(place);
        }
        workgroupBarrier();  // everybody has read them
    }

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
            let far_edge_key = select(NOWHERE, edge_key + 16u, is_edge);
            let near = products(queries, 0u);
            let near_up = products(upstream, STEP * PITCH);
            let far = products(queries, 16u * PITCH);
            let far_up = products(upstream, (STEP + 16u) * PITCH);
            differentiated(near, near_up, at, mine, 0u, saved, edge_key, seen);
            differentiated(far, far_up, at, mine, 4u, saved, far_edge_key, seen);
            sums = advanced(sums, coopLoadT<Left>(&weights[at], SCORE_PITCH), 0u);
            sums = advanced(sums, coopLoadT<Left>(&weights[at + 4u], SCORE_PITCH), 16u * PITCH);
        }
        workgroupBarrier();  // everybody has read keys and values
        key_0 += STEP;
    }

    let col = (params.query_offset + head * HEAD_DIM) / 4u;
    store(sums, at, lane, subgroup_row, count, col);
}
