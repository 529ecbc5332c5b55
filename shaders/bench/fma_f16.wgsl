// The chains of fma_f32 for devices without f16, in f32: what the variant f16 is compared with, not
// how fast anything is.
#import shared/step

struct Params {
    invocations: vec2<u32>,
    step_count: u32,  // even
    a: f32,
    b: f32,
    reserved_0: u32,
    reserved_1: vec2<u32>,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> x: array<f32>;          // [invocations]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [invocations]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= length_of(params.invocations)) {
        return;
    }
    var sum = vec4<f32>();
    for (var chain = 0u; chain < 32u; chain += 4u) {
        let apart = vec4<f32>(0.0, 1.0, 2.0, 3.0) + f32(chain);
        var value = vec4<f32>(x[id.x]) + apart / 32.0;
        for (var step = 0u; step < params.step_count; step++) {
            value = fma(value, vec4<f32>(params.a), vec4<f32>(params.b));
        }
        sum += value;
    }
    out[id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
