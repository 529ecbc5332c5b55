// AdamW as in the base, eight neighbours to every load and store, for drivers that compute on the
// processor. The length is whole eights.
#import shared/step
#import shared/eights
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
@group(0) @binding(2) var<storage, read> train_state: array<f32>;           // [16]
@group(0) @binding(3) var<storage, read_write> weight: array<vec4<u64>>;    // [length]
@group(0) @binding(4) var<storage, read_write> gradient: array<vec4<u64>>;  // [length]
@group(0) @binding(5) var<storage, read_write> moment1: array<vec4<u64>>;   // [length]
@group(0) @binding(6) var<storage, read_write> moment2: array<vec4<u64>>;   // [length]

const WIDTH: u32 = 8u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * CHUNK;
    let end = min(first + CHUNK, params.length / 8u);
    if (train_state[SKIP] != 0.0) {
        for (var at = first + lane; at < end; at += WIDTH) {
            gradient[at] = vec4<u64>();
        }
        return;
    }
    let scale = train_state[GRADIENT_SCALE];
    let rate = this_step.learning_rate * params.learning_rate_scale;
    let factors = factors_of(rate, params.weight_decay);
    for (var at = first + lane; at < end; at += WIDTH) {
        let w = eight_of(weight[at]);
        let m = eight_of(moment1[at]);
        let v = eight_of(moment2[at]);
        let g = eight_of(gradient[at]);
        let lo = adamw_step(Element(w.lo, m.lo, v.lo), g.lo * scale, factors);
        let hi = adamw_step(Element(w.hi, m.hi, v.hi), g.hi * scale, factors);
        weight[at] = words_of_eight(Eight(lo.weight, hi.weight));
        moment1[at] = words_of_eight(Eight(lo.moment1, hi.moment1));
        moment2[at] = words_of_eight(Eight(lo.moment2, hi.moment2));
        gradient[at] = vec4<u64>();
    }
}
