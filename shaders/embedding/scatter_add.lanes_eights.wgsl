// table[row - first_row] += sum of dout[entry] over the entries of a touched row, in their order,
// as in the base, eight neighbours to every load and store, for drivers that compute on the
// processor. Rows are whole eights; a lane has eight columns of one touched row.
#import shared/step
#import shared/eights

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
@group(0) @binding(2) var<storage, read> rows: array<u32>;               // [touched], each once
@group(0) @binding(3) var<storage, read> ranges: array<u32>;             // [touched, 2]
@group(0) @binding(4) var<storage, read> entries: array<u32>;            // [entries], rows of dout
@group(0) @binding(5) var<storage, read> dout: array<vec4<u64>>;         // [_, cols]
@group(0) @binding(6) var<storage, read_write> table: array<vec4<u64>>;  // [row_count, cols]

const WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cols = params.cols / 8u;
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, length_of(params.touched) * cols);
    for (var at = first + lane; at < end; at += WIDTH) {
        let touched = at / cols;
        let col = at - touched * cols;
        // A row before the first one wraps around and is far too large.
        let row = rows[touched] - params.first_row;
        if (row < params.row_count) {
            let place = row * cols + col;
            var sum = Eight();
            let last = ranges[2u * touched + 1u];
            for (var entry = ranges[2u * touched]; entry < last; entry++) {
                sum = eight_sum(sum, eight_of(dout[entries[entry] * cols + col]));
            }
            table[place] = words_of_eight(eight_sum(eight_of(table[place]), sum));
        }
    }
}
