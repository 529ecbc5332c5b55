// out = x / sqrt(mean(x^2) + eps) * gain, one row a workgroup; the inverse root is kept for the
// backward pass.
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

const WIDTH: u32 = 64u;

var<workgroup> partial: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if (row >= length_of(params.rows)) {
        return;
    }
    let cols = params.cols / LANES;
    let base = row * cols;
    var sum = number();
    for (var col = lane; col < cols; col += WIDTH) {
        let value = x[base + col];
        sum += value * value;
    }
    partial[lane] = total(sum);
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();  // partial[0] is the sum of the row
    let inverse = inverseSqrt(partial[0] / f32(params.cols) + params.eps);
    if (lane == 0u) {
        inverse_rms[row] = inverse;
    }
    for (var col = lane; col < cols; col += WIDTH) {
        out[base + col] = out_type(x[base + col] * inverse * gain[col]);
    }
}
