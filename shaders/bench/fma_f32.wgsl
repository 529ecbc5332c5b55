// Thirty-two chains of x = a x + b an invocation, in registers: as fast as f32 can be multiplied
// and added. The chains start apart, so that none can be computed from another.
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
    let a = vec4<f32>(params.a);
    let b = vec4<f32>(params.b);
    let first = vec4<f32>(x[id.x]) + vec4<f32>(0.0, 1.0, 2.0, 3.0) / 32.0;
    var x0 = first;
    var x1 = first + 4.0 / 32.0;
    var x2 = first + 8.0 / 32.0;
    var x3 = first + 12.0 / 32.0;
    var x4 = first + 16.0 / 32.0;
    var x5 = first + 20.0 / 32.0;
    var x6 = first + 24.0 / 32.0;
    var x7 = first + 28.0 / 32.0;
    for (var step = 0u; step < params.step_count; step += 2u) {
        x0 = fma(x0, a, b);
        x1 = fma(x1, a, b);
        x2 = fma(x2, a, b);
        x3 = fma(x3, a, b);
        x4 = fma(x4, a, b);
        x5 = fma(x5, a, b);
        x6 = fma(x6, a, b);
        x7 = fma(x7, a, b);
        x0 = fma(x0, a, b);
        x1 = fma(x1, a, b);
        x2 = fma(x2, a, b);
        x3 = fma(x3, a, b);
        x4 = fma(x4, a, b);
        x5 = fma(x5, a, b);
        x6 = fma(x6, a, b);
        x7 = fma(x7, a, b);
    }
    let sum = ((x0 + x1) + (x2 + x3)) + ((x4 + x5) + (x6 + x7));
    out[id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
