// The sums of 4 rows of x times 8 of the weight's rows, each one sum of one invocation in the order
// of k: so a row has the bits that matmul and the kernels around it give it. The other invocations
// help to load, which is what takes time. Who imports this has `finish`, which says what becomes of
// the results.
// NORM: rows of x are divided by their root mean square and multiplied by gain. GATED: the weight
// is two matrices one below the other, gate and up; 4 rows of each are taken.
const WIDTH: u32 = 64u;
const ROWS: u32 = 4u;
const COLS: u32 = 8u;
#import shared/matvec

const CHUNK: u32 = 64u;  // numbers of a row that lie in workgroup memory at a time
const PITCH: u32 = CHUNK + 1u;  // odd, so that columns start in different banks

var<workgroup> x_tile: array<number, ROWS * CHUNK>;  // [ROWS, CHUNK]
var<workgroup> w_tile: array<number, COLS * PITCH>;  // [COLS, CHUNK]
var<workgroup> partial: array<vec4<f32>, WIDTH>;     // of each row

// One over the root mean square of each of four rows.
fn inverse_of(row_0: u32, rows: u32, depth: u32, lane: u32) -> vec4<f32> {
    var totals = vec4<f32>();
    for (var i = 0u; i < ROWS; i++) {
        if (row_0 + i < rows) {
            var sum = number();
            for (var k = lane; k < depth; k += WIDTH) {
                let value = x[(row_0 + i) * depth + k];
                sum += value * value;
            }
            totals[i] = total(sum);
        }
    }
    partial[lane] = totals;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();  // partial[0] has the sums of the rows
    return inverseSqrt(partial[0] / f32(params.depth) + params.eps);
}

fn load_weights(col_0: u32, first: u32, depth: u32, lane: u32) {
    for (var i = lane; i < COLS * CHUNK; i += WIDTH) {
        let k = i % CHUNK;
        let from_row = min(weight_row(col_0, i / CHUNK), weight_rows() - 1u);
        w_tile[i / CHUNK * PITCH + k] = weight_at(from_row, min(first + k, depth - 1u));
    }
}

fn added(sum: f32, left: number, right: number) -> f32 {
    var result = sum;
#ifdef WIDE
    result += left.x * right.x;
    result += left.y * right.y;
    result += left.z * right.z;
    result += left.w * right.w;
#else
    result += left * right;
#endif
    return result;
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
    let own = min(lane, ROWS * COLS - 1u);
    let col = own % COLS;
    // Before the norm, so that the loads do not wait for it.
    load_weights(col_0, 0u, depth, lane);
#ifdef NORM
    let inverse = inverse_of(row_0, rows, depth, lane);
#endif
    var sum = 0.0;
    for (var first = 0u; first < depth; first += CHUNK) {
        let count = min(CHUNK, depth - first);
        if (first > 0u) {
            workgroupBarrier();  // everybody has read the former tiles
            load_weights(col_0, first, depth, lane);
        }
        for (var i = lane; i < ROWS * CHUNK; i += WIDTH) {
            let k = min(first + i % CHUNK, depth - 1u);
            let value = x[min(row_0 + i / CHUNK, rows - 1u) * depth + k];
#ifdef NORM
            x_tile[i] = value * inverse[i / CHUNK] * gain[k];
#else
            x_tile[i] = value;
#endif
        }
        workgroupBarrier();  // the tiles are complete
        let left = own / COLS * CHUNK;
        let right = col * PITCH;
        // Four at a time, so that loads do not wait for sums.
        let fours = count / 4u * 4u;
        for (var k = 0u; k < fours; k += 4u) {
            let left_0 = x_tile[left + k];
            let left_1 = x_tile[left + k + 1u];
            let left_2 = x_tile[left + k + 2u];
            let left_3 = x_tile[left + k + 3u];
            let right_0 = w_tile[right + k];
            let right_1 = w_tile[right + k + 1u];
            let right_2 = w_tile[right + k + 2u];
            let right_3 = w_tile[right + k + 3u];
            sum = added(sum, left_0, right_0);
            sum = added(sum, left_1, right_1);
            sum = added(sum, left_2, right_2);
            sum = added(sum, left_3, right_3);
        }
        for (var k = fours; k < count; k++) {
            sum = added(sum, x_tile[left + k], w_tile[right + k]);
        }
    }
    if (lane == own) {
        results[own] = sum;
    }
    workgroupBarrier();  // the results are there
    finish(row_0, rows, col_0, lane);
}
