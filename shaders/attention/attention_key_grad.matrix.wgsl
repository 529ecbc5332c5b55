// dk = scale * ds^T q and dv = p^T dout with p and ds as in attention_query_grad, on cooperative
// matrices: f16 operands, f32 sums. A workgroup owns ROWS keys of one key head, a subgroup 16 of
// them, and all walk the union of the queries that see them, for every query head of the group.
// HEAD_DIM is 64.
#import shared/attention_matrix

@group(0) @binding(2) var<storage, read> q: array<vec4<u32>>;         // [queries, query_stride]
@group(0) @binding(3) var<storage, read> kv: array<vec4<u32>>;        // [keys, kv_stride]
@group(0) @binding(4) var<storage, read> query_range: array<u32>;     // [entries, 2]
@group(0) @binding(5) var<storage, read> dout: array<vec4<u32>>;      // [queries, heads, head_dim]
@group(0) @binding(6) var<storage, read> log_sum_exp: array<f32>;     // [queries, heads]
@group(0) @binding(7) var<storage, read> delta: array<f32>;           // [queries, heads]
@group(0) @binding(8) var<storage, read_write> dkv: array<dkv_type>;  // [keys, kv_stride]

const ROWS: u32 = 16u * SUBGROUPS;

// What is saved of the queries of a step lies in the padding of the first scores: four values of
// log_sum_exp, in powers of two, behind a row, then four of delta.
const SHIFTS: u32 = STEP / 4u;
const DELTAS: u32 = STEP / 4u + 1u;

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
// p and, beside it, ds among the weights. `edge_query` is my first query where a row is not seen
// by all of them, and NOWHERE elsewhere.
fn differentiated(
    product: Sum,
    up: Sum,
    at: u32,
    mine: u32,
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
    weights[mine] = vec4<f16>(weight_0);
    weights[mine + 2u] = vec4<f16>(weight_1);
    weights[mine + 4u] = vec4<f16>(weight_0 * up_0);
    weights[mine + 6u] = vec4<f16>(weight_1 * up_1);
    subgroupBarrier();  // p and ds are there, and the products are read
}

// Brings two sums out to the columns from vector `col` on.
fn store_two(a: Sum, b: Sum, at: u32, lane: u32, row_0: u32, count: u32, col: u32, factor: f32) {
    subgroupBarrier();  // what was there is read
    show(a, b, at);
    for (var i = 0u; i < 4u; i++) {
        let line = i * 4u + lane / 8u;
        if (row_0 + line < count) {
            let place = (row_0 + line) * params.kv_stride / 4u + col + lane % 8u;
            dkv[place] = dkv_type(factor * scores[at + line * SCORE_PITCH + lane % 8u]);
        }
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
    let count = length_of(params.keys);
    let kv_head = group_index % params.kv_head_count;
    let row_0 = group_index / params.kv_head_count * ROWS;
    if (row_0 >= count) {
        return;
    }
    let heads_a_group = params.head_count / params.kv_head_count;
    // Of a tile I bring vector my_col of rows my_line and my_line + LINES.
    let my_line = index / (COLS / 8u);
    let my_col = index % (COLS / 8u);
    let my_place = my_line * PITCH + my_col * 2u;
    let k_at = (params.key_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let v_at = (params.value_offset + kv_head * HEAD_DIM) / 8u + my_col;
    let at = subgroup * SCORES;
    let half = lane % 2u;
    let mine = at + lane / 2u * SCORE_PITCH + half;
    let subgroup_row = row_0 + subgroup * 16u;

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
    let keys = rows_at(subgroup * 16u * PITCH);
    workgroupBarrier();  // everybody has read them
    put(v_part_0, my_place);
    put(v_part_1, my_place + STEP * PITCH);
    workgroupBarrier();  // the values are complete
    let values = rows_at(subgroup * 16u * PITCH);
    workgroupBarrier();  // everybody has read them

    var dk = Sums();
    var dv = Sums();
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
            if (query_0 < together.y && query_0 + STEP > together.x) {
                let is_edge = query_0 < together.z || query_0 + STEP > together.w;
                let edge_query = select(NOWHERE, query_0 + half * 4u, is_edge);
                let far_edge_query = select(NOWHERE, edge_query + 16u, is_edge);
                let near = products(keys, 0u);
                let near_up = products(values, STEP * PITCH);
                let far = products(keys, 16u * PITCH);
                let far_up = products(values, (STEP + 16u) * PITCH);
                differentiated(near, near_up, at, mine, half, edge_query, seen);
                let p_0 = coopLoadT<Left>(&weights[at], SCORE_PITCH);
                let ds_0 = coopLoadT<Left>(&weights[at + 4u], SCORE_PITCH);
                dv = advanced(dv, p_0, STEP * PITCH);
                dk = advanced(dk, ds_0, 0u);
                differentiated(far, far_up, at, mine, 4u + half, far_edge_query, seen);
                let p_1 = coopLoadT<Left>(&weights[at], SCORE_PITCH);
                let ds_1 = coopLoadT<Left>(&weights[at + 4u], SCORE_PITCH);
                dv = advanced(dv, p_1, (STEP + 16u) * PITCH);
                dk = advanced(dk, ds_1, 16u * PITCH);
            }
            workgroupBarrier();  // everybody has read the queries
            query_0 += STEP;
        }
    }

    let k_col = (params.key_offset + kv_head * HEAD_DIM) / 4u;
    let v_col = (params.value_offset + kv_head * HEAD_DIM) / 4u;
    store_two(dk.c_0, dk.c_1, at, lane, subgroup_row, count, k_col, params.scale);
    store_two(dk.c_2, dk.c_3, at, lane, subgroup_row, count, k_col + 8u, params.scale);
    store_two(dv.c_0, dv.c_1, at, lane, subgroup_row, count, v_col, 1.0);
    store_two(dv.c_2, dv.c_3, at, lane, subgroup_row, count, v_col + 8u, 1.0);
}
