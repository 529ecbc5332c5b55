// The sum of what every invocation of a grid reads in vectors of four: as fast as memory can be
// read. One sum an invocation, so that nothing waits for anything.
#import shared/step

struct Params {
    vectors: vec2<u32>,
    group_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<vec4<f32>>;    // [vectors, 4]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [group_count, 256]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let count = length_of(params.vectors);
    if (id.x >= params.group_count * WIDTH) {
        return;
    }
    var sum = vec4<f32>();
    for (var at = id.x; at < count; at += params.group_count * WIDTH) {
        sum += x[at];
    }
    out[id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
