// out = x / sqrt(mean(x^2) + eps) * gain, one row a lane, without barriers, for drivers that
// compute on the processor; the inverse root is kept for the backward pass.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<number>;               // [rows, cols]
@group(0) @binding(3) var<storage, read> gain: array<number>;            // [cols]
@group(0) @binding(4) var<storage, read_write> out: array<out_type>;     // [rows, cols]
@group(0) @binding(5) var<storage, read_write> inverse_rms: array<f32>;  // [rows]

const WIDTH: u32 = 32u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * WIDTH + lane;
    if (row >= length_of(params.rows)) {
        return;
    }
    let cols = params.cols / LANES;
    let base = row * cols;
    var sum = number();
    for (var col = 0u; col < cols; col++) {
        let value = x[base + col];
        sum += value * value;
    }
    let inverse = inverseSqrt(total(sum) / f32(params.cols) + params.eps);
    inverse_rms[row] = inverse;
    for (var col = 0u; col < cols; col++) {
        out[base + col] = out_type(x[base + col] * inverse * gain[col]);
    }
}
