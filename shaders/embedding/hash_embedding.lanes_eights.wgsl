// out[byte] = x[byte] and one row of each hash table, in table order, where all tables are one
// shard of f32: for drivers that compute on the processor, without barriers, eight neighbours to
// every load and store. Rows are whole eights. A workgroup takes a chunk of eights of out.
#import shared/step
#import shared/eights

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
@group(0) @binding(2) var<storage, read> hash_ids: array<u32>;         // [bytes, tables]
@group(0) @binding(3) var<storage, read> shard_0: array<vec4<u64>>;    // [rows_per_shard, cols]
@group(0) @binding(4) var<storage, read> shard_1: array<vec4<u64>>;    // [_], not read
@group(0) @binding(5) var<storage, read> shard_2: array<vec4<u64>>;    // [_], not read
@group(0) @binding(6) var<storage, read> shard_3: array<vec4<u64>>;    // [_], not read
@group(0) @binding(7) var<storage, read> shard_4: array<vec4<u64>>;    // [_], not read
@group(0) @binding(8) var<storage, read> x: array<vec4<u64>>;          // [bytes, cols]
@group(0) @binding(9) var<storage, read_write> out: array<vec4<u64>>;  // [bytes, cols]

const WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let cols = params.cols / 8u;
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, length_of(params.bytes) * cols);
    for (var at = first + lane; at < end; at += WIDTH) {
        let byte = at / cols;
        let col = at - byte * cols;
        var sum = eight_of(x[at]);
        for (var table = 0u; table < params.table_count; table++) {
            let row = table * params.rows_per_table + hash_ids[byte * params.table_count + table];
            sum = eight_sum(sum, eight_of(shard_0[row * cols + col]));
        }
        out[at] = words_of_eight(sum);
    }
}
