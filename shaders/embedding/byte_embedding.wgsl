// out[row] = table[ids[row]], one row a workgroup.
#import shared/step
#import shared/packed

struct Params {
    rows: vec2<u32>,
    cols: u32,
    weight_type: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> ids: array<u32>;           // [rows]
@group(0) @binding(3) var<storage, read> table: array<stored>;      // [vocabulary, cols]
@group(0) @binding(4) var<storage, read_write> out: array<number>;  // [rows, cols]

const WIDTH: u32 = 64u;

fn stored_at(shard: u32, at: u32) -> stored {
    return table[at];
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if (row >= length_of(params.rows)) {
        return;
    }
    let cols = params.cols / LANES;
    let id = ids[row];
    let to_0 = row * cols;
    for (var col = lane; col < cols; col += WIDTH) {
        out[to_0 + col] = number_at(0u, id, col, params.cols);
    }
}
