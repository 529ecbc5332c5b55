// out[byte] = x[byte] and one row of each hash table, in table order. The tables lie one below the
// other and are cut into shards of rows_per_shard rows; this call adds the rows that lie in its
// shards. The call over the first shard starts from x, the others from out: they go on with the
// same bits as one call would. One byte a workgroup.
#import shared/step
#import shared/packed

struct Params {
    bytes: vec2<u32>,
    cols: u32,
    table_count: u32,
    rows_per_table: u32,
    shard_count: u32,
    rows_per_shard: u32,
    first_shard: u32,
    weight_type: u32,
    reserved_0: u32,
    reserved_1: u32,
    reserved_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> hash_ids: array<u32>;      // [bytes, tables]
@group(0) @binding(3) var<storage, read> shard_0: array<stored>;    // [rows_per_shard, cols]
@group(0) @binding(4) var<storage, read> shard_1: array<stored>;    // [rows_per_shard, cols]
@group(0) @binding(5) var<storage, read> shard_2: array<stored>;    // [rows_per_shard, cols]
@group(0) @binding(6) var<storage, read> shard_3: array<stored>;    // [rows_per_shard, cols]
@group(0) @binding(7) var<storage, read> shard_4: array<stored>;    // [rows_per_shard, cols]
@group(0) @binding(8) var<storage, read> x: array<number>;          // [bytes, cols]
@group(0) @binding(9) var<storage, read_write> out: array<number>;  // [bytes, cols]

const WIDTH: u32 = 64u;

var<workgroup> shards: array<u32, WIDTH>;  // shard of the row of each table, from first_shard on
var<workgroup> places: array<u32, WIDTH>;  // which row of its shard that is

fn stored_at(shard: u32, at: u32) -> stored {
    switch (shard) {
        case 0u: { return shard_0[at]; }
        case 1u: { return shard_1[at]; }
        case 2u: { return shard_2[at]; }
        case 3u: { return shard_3[at]; }
        default: { return shard_4[at]; }
    }
}

// Columns of a row of a table, zero if its shard is not bound.
fn table_at(shard: u32, row: u32, col: u32) -> number {
    if (shard >= params.shard_count) {
        return number();
    }
    return number_at(shard, row, col, params.cols);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let byte = group.x + group.y * groups.x;
    if (byte >= length_of(params.bytes)) {
        return;
    }
    let cols = params.cols / LANES;
    for (var table_0 = 0u; table_0 < params.table_count; table_0 += WIDTH) {
        let table = table_0 + lane;
        if (table < params.table_count) {
            let id = hash_ids[byte * params.table_count + table];
            let row = table * params.rows_per_table + id;
            // A shard before the first one wraps around and is far too large.
            shards[lane] = row / params.rows_per_shard - params.first_shard;
            places[lane] = row % params.rows_per_shard;
        }
        workgroupBarrier();  // the rows of these tables are known
        let count = min(params.table_count - table_0, WIDTH);
        for (var col = lane; col < cols; col += WIDTH) {
            var sum = number();
            if (params.first_shard == 0u && table_0 == 0u) {
                sum = x[byte * cols + col];
            } else {
                sum = out[byte * cols + col];
            }
            for (var i = 0u; i < count; i++) {
                sum += table_at(shards[i], places[i], col);
            }
            out[byte * cols + col] = sum;
        }
        workgroupBarrier();  // nobody reads them any more before the next tables take their place
    }
}
