// out[i] = x[0] + .. + x[i - 1], wrapping. One workgroup walks over all rows in chunks of WIDTH * 4
// and carries the sum of what lies behind.
#import shared/step

struct Params {
    rows: vec2<u32>,
    reserved_0: u32,
    reserved_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<u32>;          // [rows]
@group(0) @binding(3) var<storage, read_write> out: array<u32>;  // [rows]

const WIDTH: u32 = 256u;
const CHUNK: u32 = 1024u;

// After a scan, [lane] is the sum of the lanes up to and including it.
var<workgroup> sums: array<u32, WIDTH>;

fn x_at(row: u32, row_count: u32) -> u32 {
    if (row >= row_count) {
        return 0u;
    }
    return x[row];
}

fn store(row: u32, row_count: u32, value: u32) {
    if (row < row_count) {
        out[row] = value;
    }
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
    let row_count = length_of(params.rows);
    var carry = 0u;
    for (var row_0 = 0u; row_0 < row_count; row_0 += CHUNK) {
        // Each invocation sums four consecutive elements of its own.
        let row = row_0 + lane * 4u;
        let first = x_at(row, row_count);
        let second = first + x_at(row + 1u, row_count);
        let third = second + x_at(row + 2u, row_count);
        let sum = third + x_at(row + 3u, row_count);
        sums[lane] = sum;
        for (var distance = 1u; distance < WIDTH; distance *= 2u) {
            workgroupBarrier();  // all sums of the last round are there
            var before = 0u;
            if (lane >= distance) {
                before = sums[lane - distance];
            }
            workgroupBarrier();  // everybody has read before anybody adds
            sums[lane] += before;
        }
        workgroupBarrier();  // the scan is complete
        let behind = carry + sums[lane] - sum;
        store(row, row_count, behind);
        store(row + 1u, row_count, behind + first);
        store(row + 2u, row_count, behind + second);
        store(row + 3u, row_count, behind + third);
        carry += sums[WIDTH - 1u];
        workgroupBarrier();  // everybody has the total before the next chunk overwrites it
    }
}
