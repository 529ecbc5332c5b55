// partial[chunk, col] = sum of dout * x * inverse_rms over the rows of the chunk, in order.
// 64 lanes of columns of one chunk a workgroup; a chunk past the last row is zeros.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    chunk_count: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> dout: array<dout_type>;        // [rows, cols]
@group(0) @binding(3) var<storage, read> x: array<number>;              // [rows, cols]
@group(0) @binding(4) var<storage, read> inverse_rms: array<f32>;       // [rows]
@group(0) @binding(5) var<storage, read_write> partial: array<number>;  // [chunk_count, cols]

const WIDTH: u32 = 64u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cols = params.cols / LANES;
    let tile_count = (cols + WIDTH - 1u) / WIDTH;
    let index = group.x + group.y * groups.x;
    let chunk = index / tile_count;
    let col = index % tile_count * WIDTH + lane;
    if (chunk >= params.chunk_count || col >= cols) {
        return;
    }
    // Chunks follow from the rows that are there: a larger plan sums in the same order.
    let rows = length_of(params.rows);
    let rows_per_chunk = (rows + params.chunk_count - 1u) / params.chunk_count;
    let first = chunk * rows_per_chunk;
    let end = min(first + rows_per_chunk, rows);
    var sum = number();
    for (var row = first; row < end; row++) {
        let at = row * cols + col;
        sum += number(dout[at]) * x[at] * inverse_rms[row];
    }
    partial[chunk * cols + col] = sum;
}
