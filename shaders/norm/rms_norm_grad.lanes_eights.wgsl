// dx = inverse_rms * (gain * dout - xh * mean(gain * dout * xh)) + residual_scale * residual with
// xh = x * inverse_rms, rows of at most 128 columns by 8 lanes, without barriers, for drivers that
// compute on the processor: eight neighbours to every load and store, and a row is loaded once.
// partial[chunk, col] is the sum of dout * xh over the rows of the chunk, zeros where it has none.
#import shared/step
#import shared/eight_row

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
@group(0) @binding(2) var<storage, read> dout: array<vec4<u64>>;              // [rows, cols]
@group(0) @binding(3) var<storage, read> x: array<vec4<u64>>;                 // [rows, cols]
@group(0) @binding(4) var<storage, read> gain: array<vec4<u64>>;              // [cols]
@group(0) @binding(5) var<storage, read> inverse_rms: array<f32>;             // [rows]
@group(0) @binding(6) var<storage, read> residual: array<vec4<u64>>;          // [rows, cols]
@group(0) @binding(7) var<storage, read_write> dx: array<vec4<u64>>;          // [rows, cols]
@group(0) @binding(8) var<storage, read_write> dx_half: array<dx_half_type>;  // [_], not written
@group(0) @binding(9) var<storage, read_write> partial: array<vec4<u64>>;     // [chunks, cols]

@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
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
    let cols = params.cols / 8u;
    let has_near = lane < cols;
    let has_far = lane + WIDTH < cols;
    var gains = RowPart();
    if (has_near) {
        gains.near = eight_of(gain[lane]);
    }
    if (has_far) {
        gains.far = eight_of(gain[lane + WIDTH]);
    }
    var sums = RowPart();
    for (var row = first; row < end; row++) {
        let at = row * cols + lane;
        var upstream = RowPart();
        var part = RowPart();
        var added = RowPart();
        if (has_near) {
            upstream.near = eight_of(dout[at]);
            part.near = eight_of(x[at]);
            if (params.residual_scale != 0.0) {
                added.near = eight_of(residual[at]);
            }
        }
        if (has_far) {
            upstream.far = eight_of(dout[at + WIDTH]);
            part.far = eight_of(x[at + WIDTH]);
            if (params.residual_scale != 0.0) {
                added.far = eight_of(residual[at + WIDTH]);
            }
        }
        let inverse = inverse_rms[row];
        let scaled = row_product(gains, upstream);
        let slope = row_total(row_product(scaled, part)) * inverse * inverse / f32(params.cols);
        let change = row_times(row_sum(scaled, row_times(part, -slope)), inverse);
        let value = row_sum(change, row_times(added, params.residual_scale));
        if (has_near) {
            dx[at] = words_of_eight(value.near);
        }
        if (has_far) {
            dx[at + WIDTH] = words_of_eight(value.far);
        }
        sums = row_sum(sums, row_times(row_product(upstream, part), inverse));
    }
    if (params.with_gain != 0u) {
        let place = chunk * cols + lane;
        if (has_near) {
            partial[place] = words_of_eight(sums.near);
        }
        if (has_far) {
            partial[place + WIDTH] = words_of_eight(sums.far);
        }
    }
}
