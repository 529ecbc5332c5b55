// What attention and its gradients on cooperative matrices have in common: f16 operands, f32 sums.
//
// Rows (queries; keys in the gradient of keys) stay with a subgroup as fragments on the left.
// Columns (what rows see) come STEP at a time: two operands, as rows of `tile`, for the whole
// workgroup. Fragments have no elements, so products pass through `scores` and come back as f16
// through `weights`, 16 x STEP of each a subgroup; there lanes 2 r and 2 r + 1 own row r, every
// other vec4 each.
#import shared/attention

// Fragments: operands on the left and on the right, and sums.
alias Left = coop_mat16x16<f16, A>;
alias Right = coop_mat16x16<f16, B>;
alias Sum = coop_mat16x16<f32, C>;

const COLS: u32 = select(128u, 64u, HEAD_DIM <= 64u);  // of a head, with those that are not there
const LANES: u32 = 32u;
const SUBGROUPS: u32 = COLS / 16u;
const WIDTH: u32 = SUBGROUPS * LANES;
const LINES: u32 = 16u;  // rows of a tile that a workgroup brings at once, 16 bytes an invocation
const STEP: u32 = 32u;
const MASKED: f32 = -1e30;
const LOG2_E: f32 = 1.4426950408889634;
const NOWHERE: u32 = 0xffffffffu;

// Rows have padding, so that fragments and lanes meet every bank once. Fragments are loaded from
// places at multiples of 16 bytes only: everything in workgroup memory is such a multiple long.
// 64 columns take 24,560 bytes: with more than 24,576 NVIDIA runs one workgroup an SM, not two.
const PITCH: u32 = COLS / 4u + 2u;
const SCORE_PITCH: u32 = STEP / 4u + 2u;
const SCORES: u32 = 16u * SCORE_PITCH;  // of a subgroup

var<workgroup> tile: array<vec4<f16>, 2u * STEP * PITCH - 2u>;
var<workgroup> scores: array<vec4<f32>, SUBGROUPS * SCORES - 2u>;
var<workgroup> weights: array<vec4<f16>, SUBGROUPS * SCORES - 2u>;
var<workgroup> seen_by_subgroup: array<vec4<u32>, SUBGROUPS / 2u>;  // four firsts, four ends
var<workgroup> seen_by_workgroup: vec4<u32>;

// 16 rows of operands, and of sums, 16 columns a fragment; those beyond HEAD_DIM are not touched.
// Structs, because arrays of fragments stay in memory.
struct Rows {
    c_0: Left, c_1: Left, c_2: Left, c_3: Left,
    c_4: Left, c_5: Left, c_6: Left, c_7: Left,
}

struct Sums {
    c_0: Sum, c_1: Sum, c_2: Sum, c_3: Sum,
    c_4: Sum, c_5: Sum, c_6: Sum, c_7: Sum,
}

struct Two {
    a: Sum,
    b: Sum,
}

// What an invocation brings of STEP rows of an operand: eight columns of two rows.
struct Part {
    near: vec4<u32>,
    far: vec4<u32>,
}

// My part of rows `row`.. from vector `at` of each on; the last row instead of any behind it.
fn kv_part(row: u32, last: u32, at: u32) -> Part {
    let stride = params.kv_stride / 8u;
    return Part(kv[min(row, last) * stride + at], kv[min(row + LINES, last) * stride + at]);
}

fn q_part(row: u32, last: u32, at: u32) -> Part {
    let stride = params.query_stride / 8u;
    return Part(q[min(row, last) * stride + at], q[min(row + LINES, last) * stride + at]);
}

// The words of two halves as f16. The compiler must not know that they are halves before they are
// stored, or it waits for the loads ahead of the products: hence the zero, known only at run time.
fn left_half(v: vec4<u32>) -> vec4<f16> {
    let w = v.xy ^ vec2<u32>(params.zero);
    return vec4<f16>(vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)));
}

fn right_half(v: vec4<u32>) -> vec4<f16> {
    let w = v.zw ^ vec2<u32>(params.zero);
    return vec4<f16>(vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)));
}

fn put(part: Part, at: u32) {
    tile[at] = left_half(part.near);
    tile[at + 1u] = right_half(part.near);
    tile[at + LINES * PITCH] = left_half(part.far);
    tile[at + LINES * PITCH + 1u] = right_half(part.far);
}

// 16 rows of the tile from `at` on.
fn rows_at(at: u32) -> Rows {
    var c_4 = Left();
    var c_5 = Left();
    var c_6 = Left();
    var c_7 = Left();
    if (HEAD_DIM > 64u) {
        c_4 = coopLoadT<Left>(&tile[at + 16u], PITCH);
        c_5 = coopLoadT<Left>(&tile[at + 20u], PITCH);
    }
    if (HEAD_DIM > 96u) {
        c_6 = coopLoadT<Left>(&tile[at + 24u], PITCH);
        c_7 = coopLoadT<Left>(&tile[at + 28u], PITCH);
    }
    return Rows(
        coopLoadT<Left>(&tile[at], PITCH), coopLoadT<Left>(&tile[at + 4u], PITCH),
        coopLoadT<Left>(&tile[at + 8u], PITCH), coopLoadT<Left>(&tile[at + 12u], PITCH),
        c_4, c_5, c_6, c_7);
}

// Rows times 16 rows of the tile, transposed, from `at` on.
fn products(rows: Rows, at: u32) -> Sum {
    var sum = coopMultiplyAdd(rows.c_0, coopLoad<Right>(&tile[at], PITCH), Sum());
    sum = coopMultiplyAdd(rows.c_1, coopLoad<Right>(&tile[at + 4u], PITCH), sum);
    sum = coopMultiplyAdd(rows.c_2, coopLoad<Right>(&tile[at + 8u], PITCH), sum);
    sum = coopMultiplyAdd(rows.c_3, coopLoad<Right>(&tile[at + 12u], PITCH), sum);
    if (HEAD_DIM > 64u) {
        sum = coopMultiplyAdd(rows.c_4, coopLoad<Right>(&tile[at + 16u], PITCH), sum);
        sum = coopMultiplyAdd(rows.c_5, coopLoad<Right>(&tile[at + 20u], PITCH), sum);
    }
    if (HEAD_DIM > 96u) {
        sum = coopMultiplyAdd(rows.c_6, coopLoad<Right>(&tile[at + 24u], PITCH), sum);
        sum = coopMultiplyAdd(rows.c_7, coopLoad<Right>(&tile[at + 28u], PITCH), sum);
    }
    return sum;
}

// A sum with 16 columns of weights times a block of the tile added.
fn added(sum: Sum, left: Left, at: u32) -> Sum {
    return coopMultiplyAdd(left, coopLoadT<Right>(&tile[at], PITCH), sum);
}

// Sums with 16 columns of weights times 16 rows of the tile from `at` on added.
fn advanced(sums: Sums, left: Left, at: u32) -> Sums {
    var c_4 = sums.c_4;
    var c_5 = sums.c_5;
    var c_6 = sums.c_6;
    var c_7 = sums.c_7;
    if (HEAD_DIM > 64u) {
        c_4 = added(c_4, left, at + 16u);
        c_5 = added(c_5, left, at + 20u);
    }
    if (HEAD_DIM > 96u) {
        c_6 = added(c_6, left, at + 24u);
        c_7 = added(c_7, left, at + 28u);
    }
    return Sums(
        added(sums.c_0, left, at), added(sums.c_1, left, at + 4u),
        added(sums.c_2, left, at + 8u), added(sums.c_3, left, at + 12u), c_4, c_5, c_6, c_7);
}

// Stores two products side by side where the lanes of the subgroup find them.
fn show(a: Sum, b: Sum, at: u32) {
    let beside = at + 4u;
    coopStoreT(a, &scores[at], SCORE_PITCH);
    coopStoreT(b, &scores[beside], SCORE_PITCH);
    subgroupBarrier();  // the products are there
}

// Scores of the columns from `column` on, without those that the row does not see.
fn masked(score: vec4<f32>, column: u32, seen: vec2<u32>) -> vec4<f32> {
    let place = vec4<u32>(column - seen.x) + vec4<u32>(0u, 1u, 2u, 3u);
    return select(vec4<f32>(MASKED), score, place < vec4<u32>(seen.y));
}

// First and end of what any row of the subgroup sees, and of what all of them see.
fn seen_together(seen: vec2<u32>, is_there: bool) -> vec4<u32> {
    let end = seen.x + seen.y;
    let sees = is_there && seen.y > 0u;
    return vec4<u32>(
        subgroupMin(select(NOWHERE, seen.x, sees)),
        subgroupMax(select(0u, end, sees)),
        subgroupMax(select(0u, seen.x, is_there)),
        subgroupMin(select(NOWHERE, end, is_there)));
}

// First and end of what any row of the workgroup sees.
fn seen_by_any(together: vec4<u32>, subgroup: u32, lane: u32) -> vec2<u32> {
    if (lane == 0u) {
        seen_by_subgroup[subgroup / 4u * 2u][subgroup % 4u] = together.x;
        seen_by_subgroup[subgroup / 4u * 2u + 1u][subgroup % 4u] = together.y;
    }
    workgroupBarrier();  // all ranges are there
    if (subgroup == 0u && lane == 0u) {
        var first = seen_by_subgroup[0];
        var end = seen_by_subgroup[1];
        for (var i = 2u; i < SUBGROUPS / 2u; i += 2u) {
            first = min(first, seen_by_subgroup[i]);
            end = max(end, seen_by_subgroup[i + 1u]);
        }
        seen_by_workgroup = vec4<u32>(
            min(min(first.x, first.y), min(first.z, first.w)),
            max(max(end.x, end.y), max(end.z, end.w)), 0u, 0u);
    }
    return workgroupUniformLoad(&seen_by_workgroup).xy;
}

// Steps through a range, as f32: the compiler unrolls loops that are counted in integers until
// registers spill.
fn steps_of(range: vec2<u32>) -> f32 {
    if (range.y <= range.x) {
        return 0.0;
    }
    return f32((range.y - range.x + STEP - 1u) / STEP);
}
