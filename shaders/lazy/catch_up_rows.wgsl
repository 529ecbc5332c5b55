// Listed rows of a table replay the steps that they have missed. Rows of other shards are left to
// other calls. One workgroup takes one row, because it says what the row is up to.
#import shared/step
#import shared/wide
#import shared/train_state
#import shared/adamw
#import shared/replay

struct Params {
    touched: vec2<u32>,
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
@group(0) @binding(4) var<storage, read> rows: array<u32>;               // [touched], increasing
@group(0) @binding(5) var<storage, read_write> last_step: array<u32>;    // [table rows]
@group(0) @binding(6) var<storage, read_write> weight: array<number>;    // [row_count, cols]
@group(0) @binding(7) var<storage, read_write> moment1: array<number>;   // [row_count, cols]
@group(0) @binding(8) var<storage, read_write> moment2: array<number>;   // [row_count, cols]

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if (index >= length_of(params.touched)) {
        return;
    }
    // A row before the first one wraps around and is far too large.
    let row = rows[index] - params.first_row;
    if (row >= params.row_count) {
        return;
    }
    let applied = u32(train_state[APPLIED_STEPS]);
    replay(row, last_step[rows[index]], applied, lane);
    storageBarrier();  // every lane has read what the row was up to
    if (lane == 0u) {
        last_step[rows[index]] = applied;
    }
}
