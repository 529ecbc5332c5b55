// The sums of matvec for a GPU that wants many loads at once: 32 lanes share the inner products of
// 4 rows of x with one row of the weight, or with the two that a feature is gated by. A workgroup
// makes 4 features. What the norm divides by is found on the way and divided by at the end.
const WIDTH: u32 = 128u;
const SHARE: u32 = 32u;  // lanes of a feature
#ifdef GATED
const COLS: u32 = 8u;
#else
const COLS: u32 = 4u;
#endif
#import shared/matvec

var<workgroup> sums: array<vec4<f32>, WIDTH>;     // of the rows
var<workgroup> ups: array<vec4<f32>, WIDTH>;
var<workgroup> squares: array<vec4<f32>, WIDTH>;

// What a lane has added up.
struct Share {
    sum: vec4<f32>,
    up: vec4<f32>,
    square: vec4<f32>,
}

// The numbers of up to four rows of x that are multiplied with the same number of the weight.
struct Column {
    v_0: number,
    v_1: number,
    v_2: number,
    v_3: number,
}

fn column_at(at: u32, depth: u32, count: u32) -> Column {
    var column = Column();
    column.v_0 = x[at];
    if (count > 1u) {
        column.v_1 = x[at + depth];
    }
    if (count > 2u) {
        column.v_2 = x[at + 2u * depth];
    }
    if (count > 3u) {
        column.v_3 = x[at + 3u * depth];
    }
    return column;
}

fn products(column: Column, factor: number) -> vec4<f32> {
    return vec4<f32>(
        total(column.v_0 * factor), total(column.v_1 * factor),
        total(column.v_2 * factor), total(column.v_3 * factor));
}

fn squares_of(column: Column) -> vec4<f32> {
    return vec4<f32>(
        total(column.v_0 * column.v_0), total(column.v_1 * column.v_1),
        total(column.v_2 * column.v_2), total(column.v_3 * column.v_3));
}

fn added(share: Share, column: Column, factor: number, up_factor: number) -> Share {
    var result = share;
    result.sum += products(column, factor);
#ifdef GATED
    result.up += products(column, up_factor);
#endif
#ifdef NORM
    result.square += squares_of(column);
#endif
    return result;
}

// Adds up what the lanes of each feature have; the first of them gets it.
fn gather(lane: u32) {
    for (var half = SHARE / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane % SHARE < half) {
            sums[lane] += sums[lane + half];
#ifdef GATED
            ups[lane] += ups[lane + half];
#endif
#ifdef NORM
            squares[lane] += squares[lane + half];
#endif
        }
    }
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
    let feature = col_0 + lane / SHARE;
    let known = min(feature, params.features - 1u);
    let count = min(ROWS, rows - row_0);
    let x_0 = row_0 * depth;
#ifdef GATED
    let up = params.features + known;
#else
    let up = known;
#endif
    var share = Share();
    // Two numbers a turn, so that the loads of the second do not wait for the first.
    for (var k = lane % SHARE; k < depth; k += 2u * SHARE) {
        let behind = min(k + SHARE, depth - 1u);
        var factor = weight_at(known, k);
        var second = weight_at(known, behind);
        var up_factor = weight_at(up, k);
        var up_second = weight_at(up, behind);
        let column = column_at(x_0 + k, depth, count);
        var column_behind = column_at(x_0 + behind, depth, count);
        if (k + SHARE >= depth) {
            column_behind = Column();
        }
#ifdef NORM
        let scale = gain[k];
        let scale_behind = gain[behind];
        factor *= scale;
        second *= scale_behind;
        up_factor *= scale;
        up_second *= scale_behind;
#endif
        share = added(share, column, factor, up_factor);
        share = added(share, column_behind, second, up_second);
    }
    sums[lane] = share.sum;
    ups[lane] = share.up;
    squares[lane] = share.square;
    gather(lane);
    workgroupBarrier();  // the first lane of every feature has its sums
    // Lanes 0 to 3 of a feature have a row each.
    let i = lane % SHARE;
    if (i < ROWS) {
        let first = lane - i;
        var value = sums[first][i];
        var second = ups[first][i];
#ifdef NORM
        let inverse = inverseSqrt(squares[first][i] / f32(params.depth) + params.eps);
        value *= inverse;
        second *= inverse;
#endif
        results[i * COLS + lane / SHARE] = value;
#ifdef GATED
        results[i * COLS + FEATURES + lane / SHARE] = second;
#endif
    }
    workgroupBarrier();  // the results are there
    finish(row_0, rows, col_0, lane);
}
