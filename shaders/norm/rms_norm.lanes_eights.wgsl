// out = x / sqrt(mean(x^2) + eps) * gain, rows of at most 128 columns by 8 lanes, without barriers,
// for drivers that compute on the processor: eight neighbours to every load and store, and a row is
// loaded once. The inverse root is kept for the backward pass. A workgroup takes a chunk of rows.
#import shared/step
#import shared/eight_row

struct Params {
    rows: vec2<u32>,
    cols: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<u64>>;            // [rows, cols]
@group(0) @binding(3) var<storage, read> gain: array<vec4<u64>>;         // [cols]
@group(0) @binding(4) var<storage, read_write> out: array<vec4<u64>>;    // [rows, cols]
@group(0) @binding(5) var<storage, read_write> inverse_rms: array<f32>;  // [rows]

@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let cols = params.cols / 8u;
    let has_near = lane < cols;
    let has_far = lane + WIDTH < cols;
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, length_of(params.rows));
    var gains = RowPart();
    if (has_near) {
        gains.near = eight_of(gain[lane]);
    }
    if (has_far) {
        gains.far = eight_of(gain[lane + WIDTH]);
    }
    for (var row = first; row < end; row++) {
        let at = row * cols + lane;
        var part = RowPart();
        if (has_near) {
            part.near = eight_of(x[at]);
        }
        if (has_far) {
            part.far = eight_of(x[at + WIDTH]);
        }
        let mean = row_total(row_product(part, part)) / f32(params.cols);
        let inverse = inverseSqrt(mean + params.eps);
        let value = row_product(row_times(part, inverse), gains);
        if (has_near) {
            out[at] = words_of_eight(value.near);
        }
        if (has_far) {
            out[at + WIDTH] = words_of_eight(value.far);
        }
        if (lane == 0u) {
            inverse_rms[row] = inverse;
        }
    }
}
