// out[byte, table] = the row of the table that the n-gram ending at the byte chooses: the sum over
// m of window[m] * prime^m in wrapping signed 64-bit arithmetic, modulo rows_per_table (floored).
// 64-bit numbers are pairs of u32, (low, high). One invocation a byte and table.
#import shared/step
#import shared/hash

struct Params {
    bytes: vec2<u32>,
    table_count: u32,
    rows_per_table: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;        // [bytes]
@group(0) @binding(3) var<storage, read> row_start: array<u32>;  // [bytes]
@group(0) @binding(4) var<storage, read> powers: array<u32>;     // [tables, 18]
@group(0) @binding(5) var<storage, read_write> out: array<u32>;  // [bytes, tables]

const WIDTH: u32 = 64u;

// Words of a table: group size, 2^64 mod rows_per_table, then eight powers of its prime.
const TABLE_WORDS: u32 = 18u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.x + group.y * groups.x) * WIDTH + lane;
    if (index >= length_of(params.bytes) * params.table_count) {
        return;
    }
    let byte = index / params.table_count;
    let words = index % params.table_count * TABLE_WORDS;
    let size = powers[words];
    // Ids before the row are zero: the window begins with as many as the row is too short.
    let missing = size - min(size, byte + 1u - row_start[byte]);
    var sum = vec2<u32>();
    for (var m = missing; m < size; m++) {
        let power = vec2<u32>(powers[words + 2u + 2u * m], powers[words + 3u + 2u * m]);
        sum = add(sum, multiply(power, ids[byte + 1u + m - size]));
    }
    out[index] = remainder_of(sum, params.rows_per_table, powers[words + 1u]);
}
