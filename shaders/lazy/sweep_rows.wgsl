// The rows whose turn it is replay the steps that they have missed: one of part_count parts of the
// table. Rows of other shards are left to other calls. One workgroup takes one row, because it says
// what the row is up to.
#import shared/step
#import shared/wide
#import shared/train_state
#import shared/adamw
#import shared/replay

struct Params {
    table_rows: u32,
    part_count: u32,
    cols: u32,
    first_row: u32,
    row_count: u32,
    record_count: u32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    reserved_0: u32,
    reserved_1: u32,
    reserved_2: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> train_state: array<f32>;        // [16]
@group(0) @binding(3) var<storage, read> records: array<vec4<f32>>;      // [record_count, 4]
@group(0) @binding(4) var<storage, read_write> last_step: array<u32>;    // [table_rows]
@group(0) @binding(5) var<storage, read_write> weight: array<number>;    // [row_count, cols]
@group(0) @binding(6) var<storage, read_write> moment1: array<number>;   // [row_count, cols]
@group(0) @binding(7) var<storage, read_write> moment2: array<number>;   // [row_count, cols]

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let applied = u32(train_state[APPLIED_STEPS]);
    let turn = (applied + u32(train_state[SKIPPED_STEPS])) % params.part_count;
    let part_rows = (params.table_rows + params.part_count - 1u) / params.part_count;
    let first = max(turn * part_rows, params.first_row);
    let shard_end = min(params.first_row + params.row_count, params.table_rows);
    let row = first + group.x + group.y * groups.x;
    if (row >= min((turn + 1u) * part_rows, shard_end)) {
        return;
    }
    replay(row - params.first_row, last_step[row], applied, lane);
    storageBarrier();  // every lane has read what the row was up to
    if (lane == 0u) {
        last_step[row] = applied;
    }
}
