// out = the numbers of packed weights, a grid that strides over them.
#import shared/step
#import shared/packed

struct Params {
    rows: vec2<u32>,
    cols: u32,
    weight_type: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> weight: array<stored>;       // [rows, cols], packed
@group(0) @binding(3) var<storage, read_write> out: array<out_type>;  // [rows, cols]

const WIDTH: u32 = 256u;

fn stored_at(shard: u32, at: u32) -> stored {
    return weight[at];
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let cols = params.cols / LANES;
    let count = length_of(params.rows) * cols;
    for (var at = id.x; at < count; at += groups.x * WIDTH) {
        out[at] = out_type(number_at(0u, at / cols, at % cols, params.cols));
    }
}
