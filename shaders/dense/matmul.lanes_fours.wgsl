// out = op(a) op(b) + residual_scale * residual (+ out) without workgroup memory and barriers, with
// four neighbours to every load and store, or eight where rows of out are whole eights (a stays
// fours, and b where it is transposed): for drivers that compute on the processor. Operands are f32
// with stored rows of whole fours; a and b are not both transposed. A workgroup of 8 lanes owns 32
// rows and 64 columns and takes 4 terms a step: a lane brings the terms of 4 rows, which all take
// by broadcasts, and those of its own 8 columns. More terms a step are code beyond the cache.
#import shared/matmul
#import shared/fours
#import shared/eights

#ifdef EIGHTS
alias out_words = vec4<u64>;
#else
alias out_words = vec2<u64>;
#endif
#ifdef TRANSPOSE_B
alias b_words = vec2<u64>;
#else
alias b_words = out_words;
#endif

@group(0) @binding(2) var<storage, read> a: array<vec2<u64>>;          // [batch, m, k]
@group(0) @binding(3) var<storage, read> b: array<b_words>;            // [batch, k, n]
@group(0) @binding(4) var<storage, read> residual: array<out_words>;   // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_words>;  // [batch, m, n]

const WIDTH: u32 = 8u;
const ROWS: u32 = 32u;
const COLS: u32 = 64u;

// Four rows of four: rows and terms of a, terms and columns of b, rows and columns of sums.
struct Square {
    r_0: vec4<f32>,
    r_1: vec4<f32>,
    r_2: vec4<f32>,
    r_3: vec4<f32>,
}

// The sums of a row with four more terms.
fn plus_row(sums: vec4<f32>, left: vec4<f32>, right: Square) -> vec4<f32> {
    let sums_0 = fma(vec4<f32>(left.x), right.r_0, sums);
    let sums_1 = fma(vec4<f32>(left.y), right.r_1, sums_0);
    let sums_2 = fma(vec4<f32>(left.z), right.r_2, sums_1);
    return fma(vec4<f32>(left.w), right.r_3, sums_2);
}

fn plus(sums: Square, left: Square, right: Square) -> Square {
    return Square(
        plus_row(sums.r_0, left.r_0, right), plus_row(sums.r_1, left.r_1, right),
        plus_row(sums.r_2, left.r_2, right), plus_row(sums.r_3, left.r_3, right));
}

// What each lane brings. A broadcast wants a constant lane.
fn row_of_0(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 0u), subgroupBroadcast(v.y, 0u),
        subgroupBroadcast(v.z, 0u), subgroupBroadcast(v.w, 0u));
}

fn of_lane_0(own: Square) -> Square {
    return Square(
        row_of_0(own.r_0), row_of_0(own.r_1), row_of_0(own.r_2), row_of_0(own.r_3));
}

fn row_of_1(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 1u), subgroupBroadcast(v.y, 1u),
        subgroupBroadcast(v.z, 1u), subgroupBroadcast(v.w, 1u));
}

fn of_lane_1(own: Square) -> Square {
    return Square(
        row_of_1(own.r_0), row_of_1(own.r_1), row_of_1(own.r_2), row_of_1(own.r_3));
}

fn row_of_2(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 2u), subgroupBroadcast(v.y, 2u),
        subgroupBroadcast(v.z, 2u), subgroupBroadcast(v.w, 2u));
}

fn of_lane_2(own: Square) -> Square {
    return Square(
        row_of_2(own.r_0), row_of_2(own.r_1), row_of_2(own.r_2), row_of_2(own.r_3));
}

fn row_of_3(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 3u), subgroupBroadcast(v.y, 3u),
        subgroupBroadcast(v.z, 3u), subgroupBroadcast(v.w, 3u));
}

fn of_lane_3(own: Square) -> Square {
    return Square(
        row_of_3(own.r_0), row_of_3(own.r_1), row_of_3(own.r_2), row_of_3(own.r_3));
}

fn row_of_4(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 4u), subgroupBroadcast(v.y, 4u),
        subgroupBroadcast(v.z, 4u), subgroupBroadcast(v.w, 4u));
}

fn of_lane_4(own: Square) -> Square {
    return Square(
        row_of_4(own.r_0), row_of_4(own.r_1), row_of_4(own.r_2), row_of_4(own.r_3));
}

fn row_of_5(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 5u), subgroupBroadcast(v.y, 5u),
        subgroupBroadcast(v.z, 5u), subgroupBroadcast(v.w, 5u));
}

fn of_lane_5(own: Square) -> Square {
    return Square(
        row_of_5(own.r_0), row_of_5(own.r_1), row_of_5(own.r_2), row_of_5(own.r_3));
}

fn row_of_6(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 6u), subgroupBroadcast(v.y, 6u),
        subgroupBroadcast(v.z, 6u), subgroupBroadcast(v.w, 6u));
}

fn of_lane_6(own: Square) -> Square {
    return Square(
        row_of_6(own.r_0), row_of_6(own.r_1), row_of_6(own.r_2), row_of_6(own.r_3));
}

fn row_of_7(v: vec4<f32>) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(v.x, 7u), subgroupBroadcast(v.y, 7u),
        subgroupBroadcast(v.z, 7u), subgroupBroadcast(v.w, 7u));
}

fn of_lane_7(own: Square) -> Square {
    return Square(
        row_of_7(own.r_0), row_of_7(own.r_1), row_of_7(own.r_2), row_of_7(own.r_3));
}

// Columns of a matrix of rows.
fn transposed(a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>) -> Square {
    return Square(
        vec4<f32>(a.x, b.x, c.x, d.x), vec4<f32>(a.y, b.y, c.y, d.y),
        vec4<f32>(a.z, b.z, c.z, d.z), vec4<f32>(a.w, b.w, c.w, d.w));
}

// Four rows of a term, zeros where it is not there.
fn rows_of(base: u32, term: u32, end: u32, m: u32) -> vec4<f32> {
    return select(
        vec4<f32>(), four_of(a[(base + min(term, end - 1u) * m) / 4u]), vec4<bool>(term < end));
}

// Four terms from `depth` on of the four rows from `row` on. Rows that are not there are the last.
fn left_at(base: u32, row: u32, depth: u32, end: u32, m: u32, k: u32) -> Square {
#ifdef TRANSPOSE_A
    let at = base + min(row, m - 4u);
    return transposed(
        rows_of(at, depth, end, m), rows_of(at, depth + 1u, end, m),
        rows_of(at, depth + 2u, end, m), rows_of(at, depth + 3u, end, m));
#else
    let rows = min(vec4<u32>(row) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(m - 1u));
    let at = (vec4<u32>(base + depth) + k * rows) / 4u;
    return Square(four_of(a[at.x]), four_of(a[at.y]), four_of(a[at.z]), four_of(a[at.w]));
#endif
}

// Four terms of two times four columns.
struct Columns {
    near: Square,
    far: Square,
}

#ifdef TRANSPOSE_B
// Four terms of four columns from `col` on.
fn four_columns(base: u32, col: u32, depth: u32, k: u32) -> Square {
    let at = (base + col * k + depth) / 4u;
    let step = k / 4u;
    return transposed(
        four_of(b[at]), four_of(b[at + step]),
        four_of(b[at + 2u * step]), four_of(b[at + 3u * step]));
}

fn columns_at(base: u32, place: Place, depth: u32, end: u32, k: u32) -> Columns {
    return Columns(
        four_columns(base, min(place.near, place.n - 4u), depth, k),
        four_columns(base, min(place.far, place.n - 4u), depth, k));
}
#else
fn columns_at(base: u32, place: Place, depth: u32, end: u32, k: u32) -> Columns {
    let terms = min(vec4<u32>(depth) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(end - 1u));
#ifdef EIGHTS
    let at = vec4<u32>((base + min(place.near, place.n - 8u)) / 8u) + terms * (place.n / 8u);
    let k_0 = eight_of(b[at.x]);
    let k_1 = eight_of(b[at.y]);
    let k_2 = eight_of(b[at.z]);
    let k_3 = eight_of(b[at.w]);
    return Columns(Square(k_0.lo, k_1.lo, k_2.lo, k_3.lo), Square(k_0.hi, k_1.hi, k_2.hi, k_3.hi));
#else
    let near = vec4<u32>((base + min(place.near, place.n - 4u)) / 4u) + terms * (place.n / 4u);
    let far = vec4<u32>((base + min(place.far, place.n - 4u)) / 4u) + terms * (place.n / 4u);
    return Columns(
        Square(four_of(b[near.x]), four_of(b[near.y]), four_of(b[near.z]), four_of(b[near.w])),
        Square(four_of(b[far.x]), four_of(b[far.y]), four_of(b[far.z]), four_of(b[far.w])));
#endif
}
#endif

// What a lane owns of rows of n columns: four from `near` on and four from `far` on. Those that are
// not there are read where the last ones are and not stored.
struct Place {
    m: u32,
    n: u32,
    base: u32,
    near: u32,
    far: u32,
}

#ifdef EIGHTS
// The far four columns follow the near ones.
fn store_row(place: Place, row: u32, near: vec4<f32>, far: vec4<f32>) {
    if (row < place.m && place.near < place.n) {
        let at = (place.base + row * place.n + place.near) / 8u;
        var sum = Eight(near, far);
#ifdef ADDS
        if (params.residual_scale != 0.0) {
            sum = eight_sum(sum, eight_times(eight_of(residual[at]), params.residual_scale));
        }
        if (params.accumulate != 0u) {
            sum = eight_sum(sum, eight_of(out[at]));
        }
#endif
        out[at] = words_of_eight(sum);
    }
}
#else
fn store_four(place: Place, row: u32, col: u32, values: vec4<f32>) {
    if (row < place.m && col < place.n) {
        let at = (place.base + row * place.n + col) / 4u;
        var sum = values;
#ifdef ADDS
        if (params.residual_scale != 0.0) {
            sum += params.residual_scale * four_of(residual[at]);
        }
        if (params.accumulate != 0u) {
            sum += four_of(out[at]);
        }
#endif
        out[at] = words_of_four(sum);
    }
}

fn store_row(place: Place, row: u32, near: vec4<f32>, far: vec4<f32>) {
    store_four(place, row, place.near, near);
    store_four(place, row, place.far, far);
}
#endif

fn store(place: Place, row: u32, near: Square, far: Square) {
    store_row(place, row, near.r_0, far.r_0);
    store_row(place, row + 1u, near.r_1, far.r_1);
    store_row(place, row + 2u, near.r_2, far.r_2);
    store_row(place, row + 3u, near.r_3, far.r_3);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let m = length_of(params.m);
    let n = length_of(params.n);
    let k = length_of(params.k);
    let row_0 = group.y * ROWS;
    if (row_0 >= m) {
        return;  // rows that a larger plan would have
    }
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
    let a_base = batch * m * k;
    let b_base = batch * k * n;
    let own_row = row_0 + 4u * lane;
    let near = group.x * COLS + 8u * lane;
    let place = Place(m, n, group.z * m * n, near, near + 4u);
    var near_0 = Square();
    var near_1 = Square();
    var near_2 = Square();
    var near_3 = Square();
    var near_4 = Square();
    var near_5 = Square();
    var near_6 = Square();
    var near_7 = Square();
    var far_0 = Square();
    var far_1 = Square();
    var far_2 = Square();
    var far_3 = Square();
    var far_4 = Square();
    var far_5 = Square();
    var far_6 = Square();
    var far_7 = Square();
    for (var depth = piece.x; depth < piece.y; depth += 4u) {
        let left = left_at(a_base, own_row, depth, piece.y, m, k);
        let right = columns_at(b_base, place, depth, piece.y, k);
        let left_0 = of_lane_0(left);
        let left_1 = of_lane_1(left);
        let left_2 = of_lane_2(left);
        let left_3 = of_lane_3(left);
        let left_4 = of_lane_4(left);
        let left_5 = of_lane_5(left);
        let left_6 = of_lane_6(left);
        let left_7 = of_lane_7(left);
        near_0 = plus(near_0, left_0, right.near);
        near_1 = plus(near_1, left_1, right.near);
        near_2 = plus(near_2, left_2, right.near);
        near_3 = plus(near_3, left_3, right.near);
        near_4 = plus(near_4, left_4, right.near);
        near_5 = plus(near_5, left_5, right.near);
        near_6 = plus(near_6, left_6, right.near);
        near_7 = plus(near_7, left_7, right.near);
        far_0 = plus(far_0, left_0, right.far);
        far_1 = plus(far_1, left_1, right.far);
        far_2 = plus(far_2, left_2, right.far);
        far_3 = plus(far_3, left_3, right.far);
        far_4 = plus(far_4, left_4, right.far);
        far_5 = plus(far_5, left_5, right.far);
        far_6 = plus(far_6, left_6, right.far);
        far_7 = plus(far_7, left_7, right.far);
    }
    store(place, row_0, near_0, far_0);
    store(place, row_0 + 4u, near_1, far_1);
    store(place, row_0 + 8u, near_2, far_2);
    store(place, row_0 + 12u, near_3, far_3);
    store(place, row_0 + 16u, near_4, far_4);
    store(place, row_0 + 20u, near_5, far_5);
    store(place, row_0 + 24u, near_6, far_6);
    store(place, row_0 + 28u, near_7, far_7);
}
