// The gradient of rms_norm, see there: a workgroup walks the rows of a chunk. Subgroups add up a
// row with one barrier, and the next row is on its way before this one is reduced and stored.
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

// What each subgroup has of a row, of even rows and of odd ones.
var<workgroup> subgroup_sums: array<f32, 128>;

// What a lane reads of a row, as it is stored: converted at once it would be waited for.
struct Row {
    upstream: array<dout_type, SLICES>,
    values: array<number, SLICES>,
    added: array<residual_type, SLICES>,
    inverse: f32,
}

fn fetch(row: u32, lane: u32, to: ptr<function, Row>) {
    let cols = params.cols / LANES;
    (*to).inverse = inverse_rms[row];
    for (var i = 0u; i < SLICES; i++) {
        let at = row * cols + min(lane + i * WIDTH, cols - 1u);  // past the end the last again
        (*to).upstream[i] = dout[at];
        (*to).values[i] = x[at];
    }
    if (params.residual_scale != 0.0) {
        for (var i = 0u; i < SLICES; i++) {
            (*to).added[i] = residual[row * cols + min(lane + i * WIDTH, cols - 1u)];
        }
    }
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroup_count: u32,
    @builtin(subgroup_invocation_id) subgroup_lane: u32,
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
    var next: Row;
    if (first < end) {
        fetch(first, lane, &next);
    }
    for (var row = first; row < end; row++) {
        var this_row = next;
        if (row + 1u < end) {
            fetch(row + 1u, lane, &next);
        }
        var sum = number();
        for (var i = 0u; i < SLICES; i++) {
            let col = lane + i * WIDTH;
            let upstream = number(this_row.upstream[i]);
            let product = gain[min(col, cols - 1u)] * upstream * this_row.values[i];
            sum += select(number(), product, col < cols);
        }
        let place = row % 2u * WIDTH;
        let subgroup_sum = subgroupAdd(total(sum));
        if (subgroup_lane == 0u) {
            subgroup_sums[place + subgroup] = subgroup_sum;
        }
        // The sums are complete. Those of the row after the next one take their place, and between
        // them and the loop below lies the barrier of the next row.
        workgroupBarrier();
        var row_sum = 0.0;
        for (var i = 0u; i < subgroup_count; i++) {
            row_sum += subgroup_sums[place + i];
        }
        let inverse = this_row.inverse;
        let slope = row_sum * inverse * inverse / f32(params.cols);
        for (var i = 0u; i < SLICES; i++) {
            let col = lane + i * WIDTH;
            if (col < cols) {
                let upstream = number(this_row.upstream[i]);
                var value = inverse * (gain[col] * upstream - this_row.values[i] * slope);
                if (params.residual_scale != 0.0) {
                    value += params.residual_scale * number(this_row.added[i]);
                }
                dx[row * cols + col] = value;
                if (params.with_half != 0u) {
                    dx_half[row * cols + col] = dx_half_type(value);
                }
                gain_sums[i] += upstream * this_row.values[i] * inverse;
            }
        }
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
