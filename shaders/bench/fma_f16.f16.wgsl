// The chains of fma_f32 in f16: as fast as f16 can be multiplied and added outside the matrix unit.
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
    let a = vec4<f16>(vec4<f32>(params.a));
    let b = vec4<f16>(vec4<f32>(params.b));
    let first = vec4<f16>(vec4<f32>(x[id.x]) + vec4<f32>(0.0, 1.0, 2.0, 3.0) / 32.0);
    var x0 = first;
    var x1 = first + 4.0h / 32.0h;
    var x2 = first + 8.0h / 32.0h;
    var x3 = first + 12.0h / 32.0h;
    var x4 = first + 16.0h / 32.0h;
    var x5 = first + 20.0h / 32.0h;
    var x6 = first + 24.0h / 32.0h;
    var x7 = first + 28.0h / 32.0h;
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
    let low = (vec4<f32>(x0) + vec4<f32>(x1)) + (vec4<f32>(x2) + vec4<f32>(x3));
    let high = (vec4<f32>(x4) + vec4<f32>(x5)) + (vec4<f32>(x6) + vec4<f32>(x7));
    let sum = low + high;
    out[id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
