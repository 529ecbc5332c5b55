// dx = inverse_rms * (gain * dout - xh * mean(gain * dout * xh)) + residual_scale * residual with
// xh = x * inverse_rms, the rows of a chunk one after the other by one lane, without barriers, for
// drivers that compute on the processor; dx_half is the same in another type, for products.
// partial[chunk, col] is the sum of dout * xh over the rows of the chunk, zeros where it has none.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    residual_scale: f32,
    with_half: u32,
    with_gain: u32,
    chunk_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dout: array<dout_type>;              // [rows, cols]
@group(0) @binding(3) var<storage, read> x: array<number>;                    // [rows, cols]
@group(0) @binding(4) var<storage, read> gain: array<number>;                 // [cols]
@group(0) @binding(5) var<storage, read> inverse_rms: array<f32>;             // [rows]
@group(0) @binding(6) var<storage, read> residual: array<residual_type>;      // [rows, cols]
@group(0) @binding(7) var<storage, read_write> dx: array<number>;             // [rows, cols]
@group(0) @binding(8) var<storage, read_write> dx_half: array<dx_half_type>;  // [rows, cols]
@group(0) @binding(9) var<storage, read_write> partial: array<number>;        // [chunks, cols]

const WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunk = (group.x + group.y * groups.x) * WIDTH + lane;
    if (chunk >= params.chunk_count) {
        return;
    }
    // Chunks follow from the rows that are there: a larger plan sums in the same order.
    let rows = length_of(params.rows);
    let rows_per_chunk = (rows + params.chunk_count - 1u) / params.chunk_count;
    let first = chunk * rows_per_chunk;
    let end = min(first + rows_per_chunk, rows);
    let cols = params.cols / LANES;
    let place = chunk * cols;
    if (params.with_gain != 0u) {
        for (var col = 0u; col < cols; col++) {
            partial[place + col] = number();
        }
    }
    for (var row = first; row < end; row++) {
        let base = row * cols;
        var sum = number();
        for (var col = 0u; col < cols; col++) {
            sum += gain[col] * number(dout[base + col]) * x[base + col];
        }
        let inverse = inverse_rms[row];
        let slope = total(sum) * inverse * inverse / f32(params.cols);
        for (var col = 0u; col < cols; col++) {
            let at = base + col;
            let upstream = number(dout[at]);
            var value = inverse * (gain[col] * upstream - x[at] * slope);
            if (params.residual_scale != 0.0) {
                value += params.residual_scale * number(residual[at]);
            }
            dx[at] = value;
            if (params.with_half != 0u) {
                dx_half[at] = dx_half_type(value);
            }
            if (params.with_gain != 0u) {
                partial[place + col] += upstream * x[at] * inverse;
            }
        }
    }
}
