// dx = inverse_rms * (gain * dout - xh * mean(gain * dout * xh)) (+ dx) with xh = x * inverse_rms,
// one row a workgroup.
#import shared/step

struct Params {
    rows: vec2<u32>,
    cols: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dout: array<f32>;         // [rows, cols]
@group(0) @binding(3) var<storage, read> x: array<f32>;            // [rows, cols]
@group(0) @binding(4) var<storage, read> gain: array<f32>;         // [cols]
@group(0) @binding(5) var<storage, read> inverse_rms: array<f32>;  // [rows]
@group(0) @binding(6) var<storage, read_write> dx: array<f32>;     // [rows, cols]

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
    let base = row * params.cols;
    var sum = 0.0;
    for (var col = lane; col < params.cols; col += WIDTH) {
        sum += gain[col] * dout[base + col] * x[base + col];
    }
    partial[lane] = sum;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            partial[lane] += partial[lane + half];
        }
    }
    workgroupBarrier();  // partial[0] is the sum of the row
    let inverse = inverse_rms[row];
    let slope = partial[0] * inverse * inverse / f32(params.cols);
    for (var col = lane; col < params.cols; col += WIDTH) {
        let at = base + col;
        var value = inverse * (gain[col] * dout[at] - x[at] * slope);
        if (params.accumulate != 0u) {
            value += dx[at];
        }
        dx[at] = value;
    }
}
