// out[col] = sum of x[row, col] over a few rows, in their order (+ out[col]); four columns an
// invocation.
#import shared/step

struct Params {
    rows: vec2<u32>,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;          // [rows, cols]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;  // [cols]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let col = (group.x + group.y * groups.x) * WIDTH + lane;
    let cols = params.cols / 4u;
    if (col >= cols) {
        return;
    }
    let rows = length_of(params.rows);
    var sum = vec4<f32>();
    for (var row = 0u; row < rows; row++) {
        sum += x[row * cols + col];
    }
    if (params.accumulate != 0u) {
        sum += out[col];
    }
    out[col] = sum;
}
