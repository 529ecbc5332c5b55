// dx = inverse_rms * (gain * dout - xh * mean(gain * dout * xh)) + residual_scale * residual with
// xh = x * inverse_rms; dx_half is the same in another type, for products. partial[chunk, col] is
// the sum of dout * xh over the rows of a chunk; a chunk past the last row is zeros. A workgroup
// walks the rows of one chunk, in each of which a lane has SLICES numbers.
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

const WIDTH: u32 = 64u;

var<workgroup> lane_sums: array<f32, WIDTH>;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let chunk = group.x + group.y * groups.x;
    if (chunk >= params.chunk_count) {
        return;
    }
    // Chunks follow from the rows that are there: a larger plan sums in the same order.
    let rows = length_of(params.rows);
    let rows_per_chunk = (rows + params.chunk_count - 1u) / params.chunk_count;
    let first = chunk * rows_per_chunk;
    let end = min(first + rows_per_chunk, rows);
    let cols = params.cols / LANES;
    var gain_sums: array<number, SLICES>;
    for (var row = first; row < end; row++) {
        let base = row * cols;
        let inverse = inverse_rms[row];
        // Everything is read before anything is written: a load does not pass a store.
        var upstream: array<number, SLICES>;
        var values: array<number, SLICES>;
        var added: array<number, SLICES>;
        var sum = number();
        for (var i = 0u; i < SLICES; i++) {
            let mine = lane + i * WIDTH;
            let col = min(mine, cols - 1u);  // past the end the last again, which is not summed
            upstream[i] = number(dout[base + col]);
            values[i] = x[base + col];
            if (params.residual_scale != 0.0) {
                added[i] = params.residual_scale * number(residual[base + col]);
            }
            sum += select(number(), gain[col] * upstream[i] * values[i], mine < cols);
        }
        lane_sums[lane] = total(sum);
        for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
            workgroupBarrier();  // the upper half is complete before the lower half adds it
            if (lane < half) {
                lane_sums[lane] += lane_sums[lane + half];
            }
        }
        workgroupBarrier();  // lane_sums[0] is the sum of the row
        let slope = lane_sums[0] * inverse * inverse / f32(params.cols);
        for (var i = 0u; i < SLICES; i++) {
            let col = lane + i * WIDTH;
            if (col < cols) {
                let value = inverse * (gain[col] * upstream[i] - values[i] * slope) + added[i];
                dx[base + col] = value;
                if (params.with_half != 0u) {
                    dx_half[base + col] = dx_half_type(value);
                }
                gain_sums[i] += upstream[i] * values[i] * inverse;
            }
        }
        workgroupBarrier();  // everybody has read the sum before the next row's are written
    }
    if (params.with_gain != 0u) {
        for (var i = 0u; i < SLICES; i++) {
            let col = lane + i * WIDTH;
            if (col < cols) {
                partial[chunk * cols + col] = gain_sums[i];
            }
        }
    }
}
