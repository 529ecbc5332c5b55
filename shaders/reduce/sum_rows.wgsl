// out[col] = sum of x[row, col] over the rows (+ out[col]), 32 columns a workgroup: each of 8 lanes
// a column adds every 8th row, then a tree over the lanes.
#import shared/step

struct Params {
    rows: vec2<u32>,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;          // [rows, cols]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [cols]

const WIDTH: u32 = 32u;
const LANES: u32 = 8u;

var<workgroup> partial: array<f32, 256>;  // [LANES, WIDTH]

@compute @workgroup_size(WIDTH, LANES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let col = (group.x + group.y * groups.x) * WIDTH + local.x;
    let rows = length_of(params.rows);
    var sum = 0.0;
    if (col < params.cols) {
        for (var row = local.y; row < rows; row += LANES) {
            sum += x[row * params.cols + col];
        }
    }
    partial[index] = sum;
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (local.y < half) {
            partial[index] += partial[index + half * WIDTH];
        }
    }
    // The first lane of a column wrote its total itself.
    if (local.y == 0u && col < params.cols) {
        var total = partial[index];
        if (params.accumulate != 0u) {
            total += out[col];
        }
        out[col] = total;
    }
}
