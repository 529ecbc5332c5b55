// out = x / sqrt(mean(x^2) + eps) * gain, one row a subgroup of any size, without barriers; the
// inverse root is kept for the backward pass. A lane has SLICES numbers of a row at a time, which
// with 32 lanes is the whole row up to 1024 vectors.
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

const WIDTH: u32 = 128u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroup_count: u32,
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_size) subgroup_lanes: u32,
) {
    let rows = length_of(params.rows);
    let cols = params.cols / LANES;
    // A subgroup larger than the workgroup has no more lanes than that.
    let lane_count = min(subgroup_lanes, WIDTH);
    let chunk = lane_count * SLICES;
    let row_step = groups.x * groups.y * subgroup_count;
    let first_row = (group.x + group.y * groups.x) * subgroup_count + subgroup;
    for (var row = first_row; row < rows; row += row_step) {
        let base = row * cols;
        var values: array<number, SLICES>;
        var sum = number();
        var first = 0u;
        loop {
            for (var i = 0u; i < SLICES; i++) {
                let col = first + lane + i * lane_count;
                // Past the end the last again, which is not summed.
                values[i] = x[base + min(col, cols - 1u)];
            }
            for (var i = 0u; i < SLICES; i++) {
                let is_there = first + lane + i * lane_count < cols;
                sum += select(number(), values[i] * values[i], is_there);
            }
            if (first + chunk >= cols) {
                break;
            }
            first += chunk;
        }
        let squares = subgroupAdd(total(sum));
        let inverse = inverseSqrt(squares / f32(params.cols) + params.eps);
        if (lane == 0u) {
            inverse_rms[row] = inverse;
        }
        // Back from the last chunk, which is still there.
        loop {
            for (var i = 0u; i < SLICES; i++) {
                let col = first + lane + i * lane_count;
                if (col < cols) {
                    out[base + col] = out_type(values[i] * inverse * gain[col]);
                }
            }
            if (first == 0u) {
                break;
            }
            first -= chunk;
            for (var i = 0u; i < SLICES; i++) {
                values[i] = x[base + first + lane + i * lane_count];
            }
        }
    }
}
