// out = x, a grid that strides over the elements; a cast where the types differ.
#import shared/step
#import shared/wide

struct Params {
    rows: vec2<u32>,
    cols: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<x_type>;            // [rows, cols]
@group(0) @binding(3) var<storage, read_write> out: array<out_type>;  // [rows, cols]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let count = length_of(params.rows) * params.cols / LANES;
    for (var at = id.x; at < count; at += groups.x * WIDTH) {
        out[at] = out_type(x[at]);
    }
}
