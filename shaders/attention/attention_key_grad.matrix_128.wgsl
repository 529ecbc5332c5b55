// dk = scale * ds^T q and dv = p^T dout with p and ds as in attention_query_grad, on cooperative
// matrices: f16 operands, f32 sums. A workgroup owns ROWS keys of one key head, and walks the union
// of the queries that see them, for every query head of the group. HEAD_DIM is 96 or 128.
//
// Two subgroups share 16 keys, whose sums would not fit the registers of one: of a step each makes
// p and ds for half of the queries, then sums up half of the columns.
#import shared/attention_matrix

@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;         // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u32>>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<vec4<u32>>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const ROWS: u32 = 8u * SUBGROUPS;
const SIDE_COLS: u32 = HEAD_DIM / 2u;

// What is saved of the queries of a step lies in the padding of the first scores: four values of
// log_sum_exp, in powers of two, behind a row, then four of delta.
const SHIFTS: u32 = STEP / 4u;
const DELTAS: u32 = STEP / 4u + 1u;

// Sums of 16 keys and half of the columns. The last are not touched where HEAD_DIM is 96.
struct Side {
    c_0: Sum, c_1: Sum, c_2: Sum, c_3: Sum,
}

struct Saved {
    log_sum_exp: f32,
    delta: f32,
}

// First and how many queries see a key; keys beyond the last are seen by all and not stored.
fn seen_by(row: u32, count: u32) -> vec2<u32> {
    if (row >= count) {
        return vec2<u32>(0u, NOWHERE);
    }
    let entry = row / params.key_factor * 2u;
    let first = query_range[entry] * params.query_factor;
    return vec2<u32>(first, max(query_range[entry + 1u] * params.query_factor, first) - first);
}

fn saved_of(query: u32, last: u32, head: u32) -> Saved {
    let at = min(query, last) * params.head_count + head;
    return Saved(log_sum_exp[at], delta[at]);
}

fn dout_part(row: u32, last: u32, at: u32) -> Part {
    let stride = params.head_count * HEAD_DIM / 8u;
    return Part(dout[min(row, last) * stride + at], dout[min(row + LINES, last) * stride + at]);
}

fn put_saved(saved: Saved, query: u32) {
    scores[query / 4u * SCORE_PITCH + SHIFTS][query % 4u] = LOG2_E * saved.log_sum_exp;
    scores[query / 4u * SCORE_PITCH + DELTAS][query % 4u] = saved.delta;
}

// Turns k q^T and v dout^T of 16 keys and the 16 queries from vector `first` of the step on into
// p and ds, SCORES further, at `to` among the weights. `edge_query` is my first query where a row
// is not seen by all of them, and NOWHERE elsewhere.
fn differentiated(
    product: Sum,
    up: Sum,
    at: u32,
    mine: u32,
    to: u32,
    first: u32,
    edge_query: u32,
    seen: vec2<u32>,
) {
    show(product, up, at);
    let scale = params.scale * LOG2_E;
    let saved = first * SCORE_PITCH;
    var weight_0 = scale * scores[mine] - scores[saved + SHIFTS];
    var weight_1 = scale * scores[mine + 2u] - scores[saved + 2u * SCORE_PITCH + SHIFTS];
    if (edge_query != NOWHERE) {
        weight_0 = masked(weight_0, edge_query, seen);
        weight_1 = masked(weight_1, edge_query + 8u, seen);
    }
    weight_0 = exp2(weight_0);
    weight_1 = exp2(weight_1);
    let up_0 = scores[mine + 4u] - scores[saved + DELTAS];
    let up_1 = scores[mine + 6u] - scores[saved + 2u * SCORE_PITCH + DELTAS];
    weights[to] = vec4<f16>(weight_0);
    weights[to + 2u] = vec4<f16>(weight_1);
    weights[to + SCORES] = vec4<f16>(weight_0 * up_0);
    weights[to + SCORES + 2u] = vec4<f16>(weight_1 * up_1);
}

// Sums with 16 columns of weights times 16 rows of the tile from `at` on added.
fn advanced_side(sums: Side, left: Left, at: u32) -> Side {
    var c_3 = sums.c_3;
    if (HEAD_DIM > 96u) {
        c_3 = added(c_3, left, at + 12u);
    }
    return Side(
        added(sums.c_0, left, at), added(sums.c_1, left, at + 4u),
        added(sums.c_2, left, at + 8u), c_3);
}

// Brings two sums out to `vecs` vectors of columns from `col` on.
fn store_two(
    a: Sum,
    b: Sum,
    at: u32,
    lane: u32,
    row_0: u32,
    count: u32,
    col: u32,
    vecs: u32,
    factor: f32,
) {
    subgroupBarrier();  // what was there is read
    show(a, b, at);
    for (var i = 0u; i < 4u; i++) {
        let line = i * 4u + lane / 8u;
        if (row_0 + line < count && lane % 8u < vecs) {
            let place = (row_0 + line) * params.kv_stride / 4u + col + lane % 8u;
            dkv[place] = dkv_type(factor * scores[at + line * SCORE_PITCH + lane % 8u]);
        }
    }
}

fn store(sums: Side, at: u32, lane: u32, row_0: u32, count: u32, col: u32, factor: f32) {
    store_two(sums.c_0, sums.c_1, at, lane, row_0, count, col, 8u, factor);
    let rest = SIDE_COLS / 4u - 8u;
    store_two(sums.c_2, sums.c_3, at, lane, row_0, count, col + 8u, rest, factor);
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
    let count = length_of(params.keys);
    let kv_head = group_index % params.kv_head_count;
    let row_0 = group_index / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    // Of a tile I bring vector my_col of rows my_line and my_line + LINES.
    let my_line = index / (COLS / 8u);
    let my_col = min(index % (COLS / 8u), HEAD_DIM / 8u - 1u);
    let my_place = my_line * PITCH + index % (COLS / 8u) * 2u;
    let k_at = (params.key_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let v_at = (params.value_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let at = subgroup * SCORES;
    let half = lane % 2u;
    let mine = at + lane / 2u * SCORE_PITCH + half;
    // My subgroup is one of the two that own keys from subgroup_row on.
    let side = subgroup % 2u;
    let subgroup_row = row_0 + subgroup / 2u * 16u;
    let p_at = subgroup / 2u * 2u * SCORES;
    let ds_at = p_at + SCORES;
    let to = p_at + lane / 2u * SCORE_PITCH + side * 4u + half;
    let side_at = side * SIDE_COLS / 4u;

    let row = subgroup_row + lane / 2u;
    let seen = seen_by(row, count);
    let together = seen_together(seen, row < count);
    let range = seen_by_any(together, subgroup, lane);

    // Keys, then values pass through the tile into fragments.
    let first = row_0 + my_line;
    let k_part_0 = kv_part(first, count - 1u, k_at);
    let k_part_1 = kv_part(first + STEP, count - 1u, k_at);
    let v_part_0 = kv_part(first, count - 1u, v_at);
    let v_part_1 = kv_part(first + STEP, count - 1u, v_at);
    put(k_part_0, my_place);
    put(k_part_1, my_place + STEP * PITCH);
    workgroupBarrier();  // the keys are complete
    let keys = rows_at(subgroup / 2u * 16u * PITCH);
    workgroupBarrier();  // everybody has read them
    put(v_part_0, my_place);
    put(v_part_1, my_place + STEP * PITCH);
    workgroupBarrier();  // the values are complete
    let values = rows_at(subgroup / 2u * 16u * PITCH);
    workgroupBarrier();  // everybody has read them

    var dk = Side();
    var dv = Side();
    let last = max(range.y, 1u) - 1u;
    let steps = steps_of(range);
    for (var member = 0u; member < heads_a_group; member++) {
        let head = kv_head * heads_a_group + member;
        let q_at = (params.query_offset + head * HEAD_DIM) / 8u + my_col;
        let dout_at = head * HEAD_DIM / 8u + my_col;
        var query_0 = range.x;
        var queries = q_part(query_0 + my_line, last, q_at);
        var upstream = dout_part(query_0 + my_line, last, dout_at);
        var saved = saved_of(query_0 + lane, last, head);
        for (var step = 0.0; step < steps; step += 1.0) {
            put(queries, my_place);
            put(upstream, my_place + STEP * PITCH);
            if (subgroup == 0u) {
                put_saved(saved, lane);
            }
            workgroupBarrier();  // the queries and what belongs to them are complete
            if (step + 1.0 < steps) {
                let next = query_0 + STEP;
                queries = q_part(next + my_line, last, q_at);
                upstream = dout_part(next + my_line, last, dout_at);
                saved = saved_of(next + lane, last, head);
            }
            let is_active = query_0 < together.y && query_0 + STEP > together.x;
            if (is_active) {
                let is_edge = query_0 < together.z || query_0 + STEP > together.w;
                let query = query_0 + side * 16u + half * 4u;
                let edge_query = select(NOWHERE, query, is_edge);
                let product = products(keys, side * 16u * PITCH);
                let up = products(values, (STEP + side * 16u) * PITCH);
                differentiated(product, up, at, mine, to, side * 4u + half, edge_query, seen);
            }
            workgroupBarrier();  // p and ds of both sides are there
            if (is_active) {
                let p_0 = coopLoadT<Left>(&weights[p_at], SCORE_PITCH);
                let ds_0 = coopLoadT<Left>(&weights[ds_at], SCORE_PITCH);
                dv = advanced_side(dv, p_0, STEP * PITCH + side_at);
                dk = advanced_side(dk, ds_0, side_at);
                let p_1 = coopLoadT<Left>(&weights[p_at + 4u], SCORE_PITCH);
                let ds_1 = coopLoadT<Left>(&weights[ds_at + 4u], SCORE_PITCH);
                dv = advanced_side(dv, p_1, (STEP + 16u) * PITCH + side_at);
                dk = advanced_side(dk, ds_1, 16u * PITCH + side_at);
            }
            workgroupBarrier();  // everybody has read the queries
            query_0 += STEP;
        }
    }

    let k_col = (params.key_offset + kv_head * HEAD_DIM) / 4u + side_at;
    let v_col = (params.value_offset + kv_head * HEAD_DIM) / 4u + side_at;
    store(dk, at, lane, subgroup_row, count, k_col, params.scale);
    store(dv, at, lane, subgroup_row, count, v_col, 1.0);
}
