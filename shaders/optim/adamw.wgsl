// AdamW with decoupled weight decay, a grid that strides over the elements. A skipped update leaves
// weights and moments alone; the gradient is cleared either way.
#import shared/step
#import shared/wide
#import shared/train_state
#import shared/adamw

struct Params {
    length: u32,
    beta1: f32,
    beta2: f32,
    eps: f32,
    weight_decay: f32,
    learning_rate_scale: f32,
    reserved_0: u32,
    reserved_1: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> train_state: array<f32>;        // [16]
@group(0) @binding(3) var<storage, read_write> weight: array<number>;    // [length]
@group(0) @binding(4) var<storage, read_write> gradient: array<number>;  // [length]
@group(0) @binding(5) var<storage, read_write> moment1: array<number>;   // [length]
@group(0) @binding(6) var<storage, read_write> moment2: array<number>;   // [length]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(global_invocation_id) id: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
) {
    let length = params.length / LANES;
    if (train_state[SKIP] != 0.0) {
        for (var at = id.x; at < length; at += groups.x * WIDTH) {
            gradient[at] = number();
        }
        return;
    }
    let scale = train_state[GRADIENT_SCALE];
    let rate = this_step.learning_rate * params.learning_rate_scale;
    let factors = factors_of(rate, params.weight_decay);
    for (var at = id.x; at < length; at += groups.x * WIDTH) {
        let before = Element(weight[at], moment1[at], moment2[at]);
        let after = adamw_step(before, gradient[at] * scale, factors);
        weight[at] = after.weight;
        moment1[at] = after.moment1;
        moment2[at] = after.moment2;
        gradient[at] = number();
    }
}
