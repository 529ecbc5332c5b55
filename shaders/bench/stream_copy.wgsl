// out = x in vectors of four, a grid that strides over them: as fast as memory can be copied.
#import shared/step

struct Params {
    vectors: vec2<u32>,
    group_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;          // [vectors, 4]
@group(0) @binding(3) var<storage, read_write> out: array<vec4<f32>>;  // [vectors, 4]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let count = length_of(params.vectors);
    for (var at = id.x; at < count; at += params.group_count * WIDTH) {
        out[at] = x[at];
    }
}
