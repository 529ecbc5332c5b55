// nats = weight * (ln sum exp(logits) - logits[target]), one row a lane, without barriers, for
// drivers that compute on the processor. A row of weight 0 is masked: its target may be no class at
// all.
#import shared/step

struct Params {
    rows: vec2<u32>,
    classes: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;      // [rows, classes]
@group(0) @binding(3) var<storage, read> targets: array<u32>;     // [rows]
@group(0) @binding(4) var<storage, read> weights: array<f32>;     // [rows]
@group(0) @binding(5) var<storage, read_write> nats: array<f32>;  // [rows]

const WIDTH: u32 = 32u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * WIDTH + lane;
    if (row >= length_of(params.rows)) {
        return;
    }
    let base = row * params.classes;
    var largest = -1e30;
    for (var id = 0u; id < params.classes; id++) {
        largest = max(largest, logits[base + id]);
    }
    var total = 0.0;
    for (var id = 0u; id < params.classes; id++) {
        total += exp(logits[base + id] - largest);
    }
    let weight = weights[row];
    if (weight == 0.0) {
        nats[row] = 0.0;
        return;
    }
    nats[row] = weight * (largest - logits[base + targets[row]] + log(total));
}
