// out[0] = sum of x (+ out[0]) in a fixed order: one workgroup, each lane every 256th element,
// then a tree over the lanes.
#import shared/step

struct Params {
    rows: vec2<u32>,
    accumulate: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;          // [rows]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [1]

const WIDTH: u32 = 256u;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
    let rows = length_of(params.rows);
    var sum = 0.0;
    for (var row = lane; row < rows; row += WIDTH) {
        sum += x[row];
    }
    partial[lane] = sum;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    // Lane 0 wrote partial[0] itself.
    if (lane == 0u) {
        var total = partial[0];
        if (params.accumulate != 0u) {
            total += out[0];
        }
        out[0] = total;
    }
}
