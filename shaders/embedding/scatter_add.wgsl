// table[row - first_row] += sum of dout[entry] over the entries of a touched row, in their order.
// Rows of other shards are left to other calls. One workgroup takes 128 lanes of columns
// of one touched row.
#import shared/step
#import shared/wide

struct Params {
    touched: vec2<u32>,
    cols: u32,
    first_row: u32,
    row_count: u32,
    reserved_0: u32,
    reserved_1: u32,
    reserved_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> rows: array<u32>;            // [touched], each once
@group(0) @binding(3) var<storage, read> ranges: array<u32>;          // [touched, 2]
@group(0) @binding(4) var<storage, read> entries: array<u32>;         // [entries], rows of dout
@group(0) @binding(5) var<storage, read> dout: array<number>;         // [_, cols]
@group(0) @binding(6) var<storage, read_write> table: array<number>;  // [row_count, cols]

const WIDTH: u32 = 128u;

fn dout_at(entry: u32, col: u32) -> number {
    return dout[entries[entry] * (params.cols / LANES) + col];
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cols = params.cols / LANES;
    let block_count = (cols + WIDTH - 1u) / WIDTH;
    let index = group.x + group.y * groups.x;
    let touched = index / block_count;
    let col = index % block_count * WIDTH + lane;
    if (touched >= length_of(params.touched) || col >= cols) {
        return;
    }
    // A row before the first one wraps around and is far too large.
    let row = rows[touched] - params.first_row;
    if (row >= params.row_count) {
        return;
    }
    var entry = ranges[2u * touched];
    let end = ranges[2u * touched + 1u];
    var sum = number();
    // Four loads are on their way at once; the order of the sum stays that of the entries.
    for (; entry + 4u <= end; entry += 4u) {
        let first = dout_at(entry, col);
        let second = dout_at(entry + 1u, col);
        let third = dout_at(entry + 2u, col);
        let fourth = dout_at(entry + 3u, col);
        sum = (((sum + first) + second) + third) + fourth;
    }
    for (; entry < end; entry++) {
        sum += dout_at(entry, col);
    }
    table[row * cols + col] += sum;
}
