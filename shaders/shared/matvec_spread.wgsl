// The sums of matvec for a GPU that wants many loads at once: 32 lanes, a share, add up an inner
// product together. Up to 4 rows of x: a share has one feature, which is one row of the weight, or
// two where it is gated. More rows: four shares have 4 rows each, all of the same 4 features.
// Either way a lane adds up every 32nd number in their order, and lanes are added in the same
// order: the bits of a row do not depend on how many there are. What the norm divides by is found
// on the way.
const WIDTH: u32 = 128u;
const SHARE: u32 = 32u;  // lanes
const ROWS: u32 = 16u;
#ifdef GATED
const COLS: u32 = 8u;
#else
const COLS: u32 = 4u;
#endif
#import shared/matvec

const FEW: u32 = 4u;  // rows of a share
#ifdef NORM
const HAS_NORM: bool = true;
#else
const HAS_NORM: bool = false;
#endif

var<workgroup> sums: array<vec4<f32>, 4u * WIDTH>;  // [products, lanes], of the rows of a share
var<workgroup> squares: array<vec4<f32>, WIDTH>;    // the same of squares

// What follows one another in a row, or one number of each row.
struct Four {
    v_0: number,
    v_1: number,
    v_2: number,
    v_3: number,
}

// Fused everywhere, so that no compiler may choose.
fn chain(sum: f32, a: number, b: number) -> f32 {
#ifdef WIDE
    return fma(a.w, b.w, fma(a.z, b.z, fma(a.y, b.y, fma(a.x, b.x, sum))));
#else
    return fma(a, b, sum);
#endif
}

fn chain_of_four(sum: f32, a: Four, b: Four) -> f32 {
    return chain(chain(chain(chain(sum, a.v_0, b.v_0), a.v_1, b.v_1), a.v_2, b.v_2), a.v_3, b.v_3);
}

fn chain_of_rows(sum: vec4<f32>, rows: Four, factor: number) -> vec4<f32> {
    return vec4<f32>(
        chain(sum.x, rows.v_0, factor), chain(sum.y, rows.v_1, factor),
        chain(sum.z, rows.v_2, factor), chain(sum.w, rows.v_3, factor));
}

// Four numbers of a row of the weight: what lies behind the row is read in its place and multiplied
// with zero.
fn weights_at(row: u32, k: u32, last: u32) -> Four {
    return Four(
        weight_at(row, k), weight_at(row, min(k + SHARE, last)),
        weight_at(row, min(k + 2u * SHARE, last)), weight_at(row, min(k + 3u * SHARE, last)));
}

fn gains_at(k: u32, last: u32) -> Four {
    return Four(
        gain[k], gain[min(k + SHARE, last)],
        gain[min(k + 2u * SHARE, last)], gain[min(k + 3u * SHARE, last)]);
}

fn x_at(start: u32, k: u32, last: u32) -> Four {
    var four = Four(
        x[start + k], x[start + min(k + SHARE, last)],
        x[start + min(k + 2u * SHARE, last)], x[start + min(k + 3u * SHARE, last)]);
    four.v_1 = select(number(), four.v_1, k + SHARE <= last);
    four.v_2 = select(number(), four.v_2, k + 2u * SHARE <= last);
    four.v_3 = select(number(), four.v_3, k + 3u * SHARE <= last);
    return four;
}

fn scaled(a: Four, b: Four) -> Four {
    return Four(a.v_0 * b.v_0, a.v_1 * b.v_1, a.v_2 * b.v_2, a.v_3 * b.v_3);
}

// Sum, up and square of a row.
fn added(own: vec3<f32>, column: Four, factors: Four, ups: Four, gains: Four) -> vec3<f32> {
    var result = own;
    var normed = column;
#ifdef NORM
    result.z = chain_of_four(own.z, column, column);
    normed = scaled(column, gains);
#endif
    result.x = chain_of_four(own.x, normed, factors);
#ifdef GATED
    result.y = chain_of_four(own.y, normed, ups);
#endif
    return result;
}

// Adds up what the lanes of each share have of so many products, and of squares; the first of them
// gets it.
fn gather(lane: u32, count: u32, with_squares: bool) {
    for (var half = SHARE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane % SHARE < half) {
            for (var i = 0u; i < count; i++) {
                sums[i * WIDTH + lane] += sums[i * WIDTH + lane + half];
            }
            if (with_squares) {
                squares[lane] += squares[lane + half];
            }
        }
    }
    workgroupBarrier();  // the first lane of every share has its sums
}

// What a share has of a row, over the norm of the row.
fn result_of(product: u32, lane: u32, row: u32) -> f32 {
    let first = lane - lane % SHARE;
    var value = sums[product * WIDTH + first][row];
#ifdef NORM
    value *= inverseSqrt(squares[first][row] / f32(params.depth) + params.eps);
#endif
    return value;
}

// A feature of up to four rows.
fn few_rows(lane: u32, rows: u32, depth: u32, col_0: u32) {
    let feature = col_0 + lane / SHARE;
    let last = depth - 1u;
    let known = min(feature, params.features - 1u);
    var row_0 = vec3<f32>();
    var row_1 = vec3<f32>();
    var row_2 = vec3<f32>();
    var row_3 = vec3<f32>();
    for (var k = lane % SHARE; k < depth; k += 4u * SHARE) {
        let factors = weights_at(known, k, last);
        var ups = factors;
        var gains = factors;
#ifdef GATED
        ups = weights_at(params.features + known, k, last);
#endif
#ifdef NORM
        gains = gains_at(k, last);
#endif
        row_0 = added(row_0, x_at(0u, k, last), factors, ups, gains);
        if (rows > 1u) {
            row_1 = added(row_1, x_at(depth, k, last), factors, ups, gains);
            row_2 = added(row_2, x_at(min(2u, rows - 1u) * depth, k, last), factors, ups, gains);
            row_3 = added(row_3, x_at(min(3u, rows - 1u) * depth, k, last), factors, ups, gains);
        }
    }
    sums[lane] = vec4<f32>(row_0.x, row_1.x, row_2.x, row_3.x);
#ifdef GATED
    sums[WIDTH + lane] = vec4<f32>(row_0.y, row_1.y, row_2.y, row_3.y);
#endif
    squares[lane] = vec4<f32>(row_0.z, row_1.z, row_2.z, row_3.z);
    gather(lane, COLS / FEATURES, HAS_NORM);
    let row = lane % SHARE;
    if (row < FEW) {
        let at = row * COLS + lane / SHARE;
        results[at] = result_of(0u, lane, row);
#ifdef GATED
        results[at + FEATURES] = result_of(1u, lane, row);
#endif
    }
}

// Writes four products of the four rows of each share to columns from `col` on.
fn gather_four(
    lane: u32,
    col: u32,
    with_squares: bool,
    sum_0: vec4<f32>,
    sum_1: vec4<f32>,
    sum_2: vec4<f32>,
    sum_3: vec4<f32>,
) {
    sums[lane] = sum_0;
    sums[WIDTH + lane] = sum_1;
    sums[2u * WIDTH + lane] = sum_2;
    sums[3u * WIDTH + lane] = sum_3;
    gather(lane, 4u, with_squares);
    let i = lane % SHARE;
    if (i < 4u * FEW) {
        let at = (lane / SHARE * FEW + i / 4u) * COLS + col + i % 4u;
        results[at] = result_of(i % 4u, lane, i / 4u);
    }
}

// Four features of four rows a share.
fn many_rows(lane: u32, first_row: u32, rows: u32, depth: u32, first: u32) {
    let row_0 = first_row + lane / SHARE * FEW;
    let end = params.features - 1u;
    let from_0 = min(row_0, rows - 1u) * depth;
    let from_1 = min(row_0 + 1u, rows - 1u) * depth;
    let from_2 = min(row_0 + 2u, rows - 1u) * depth;
    let from_3 = min(row_0 + 3u, rows - 1u) * depth;
    let second = min(first + 1u, end);
    let third = min(first + 2u, end);
    let fourth = min(first + 3u, end);
    let below = params.features;  // of gates to ups
    var sum_0 = vec4<f32>();
    var sum_1 = vec4<f32>();
    var sum_2 = vec4<f32>();
    var sum_3 = vec4<f32>();
    var up_0 = vec4<f32>();
    var up_1 = vec4<f32>();
    var up_2 = vec4<f32>();
    var up_3 = vec4<f32>();
    var square = vec4<f32>();
    for (var k = lane % SHARE; k < depth; k += SHARE) {
        var column = Four(x[from_0 + k], x[from_1 + k], x[from_2 + k], x[from_3 + k]);
#ifdef NORM
        square = vec4<f32>(
            chain(square.x, column.v_0, column.v_0), chain(square.y, column.v_1, column.v_1),
            chain(square.z, column.v_2, column.v_2), chain(square.w, column.v_3, column.v_3));
        let scale = gain[k];
        column = scaled(column, Four(scale, scale, scale, scale));
#endif
        sum_0 = chain_of_rows(sum_0, column, weight_at(first, k));
        sum_1 = chain_of_rows(sum_1, column, weight_at(second, k));
        sum_2 = chain_of_rows(sum_2, column, weight_at(third, k));
        sum_3 = chain_of_rows(sum_3, column, weight_at(fourth, k));
#ifdef GATED
        up_0 = chain_of_rows(up_0, column, weight_at(below + first, k));
        up_1 = chain_of_rows(up_1, column, weight_at(below + second, k));
        up_2 = chain_of_rows(up_2, column, weight_at(below + third, k));
        up_3 = chain_of_rows(up_3, column, weight_at(below + fourth, k));
#endif
    }
    squares[lane] = square;
    gather_four(lane, 0u, HAS_NORM, sum_0, sum_1, sum_2, sum_3);
#ifdef GATED
    workgroupBarrier();  // everybody has read the sums of the gates
    gather_four(lane, FEATURES, false, up_0, up_1, up_2, up_3);
#endif
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let rows = length_of(params.rows);
    let row_0 = group.y * ROWS;
    if (row_0 >= rows) {
        return;  // rows that a larger plan would have
    }
    let depth = params.depth / LANES;
    let col_0 = group.x * FEATURES;
    if (rows <= FEW) {
        few_rows(lane, rows, depth, col_0);
    } else {
        many_rows(lane, row_0, rows, depth, col_0);
    }
    workgroupBarrier();  // the results are there
    finish(row_0, rows, col_0, lane);
}
