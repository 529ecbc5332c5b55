// partial[chunk, col] = sum of dout * x * inverse_rms over the rows of the chunk; one past the last
// row is zeros. 64 lanes of columns of one chunk a workgroup, each by four invocations that take
// every fourth row, in order, and are summed in theirs.
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
const ROWS: u32 = 4u;

var<workgroup> sums: array<number, WIDTH * ROWS>;

@compute @workgroup_size(WIDTH, ROWS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let cols = params.cols / LANES;
    let tile_count = (cols + WIDTH - 1u) / WIDTH;
    let tile = group.x + group.y * groups.x;
    let chunk = tile / tile_count;
    let col = tile % tile_count * WIDTH + local.x;
    if (chunk >= params.chunk_count) {
        return;
    }
    // Chunks follow from the rows that are there: a larger plan sums in the same order.
    let rows = length_of(params.rows);
    let rows_per_chunk = (rows + params.chunk_count - 1u) / params.chunk_count;
    let first = chunk * rows_per_chunk;
    let end = min(first + rows_per_chunk, rows);
    var sum = number();
    if (col < cols) {
        for (var row = first + local.y; row < end; row += ROWS) {
            let at = row * cols + col;
            sum += number(dout[at]) * x[at] * inverse_rms[row];
        }
    }
    sums[index] = sum;
    workgroupBarrier();  // the sums of all four are there before the first adds them
    if (local.y == 0u && col < cols) {
        let rest = (sums[index + WIDTH] + sums[index + 2u * WIDTH]) + sums[index + 3u * WIDTH];
        partial[chunk * cols + col] = sum + rest;
    }
}
