// dlogits = scale * weight * (softmax(logits) - onehot(target)), scale = loss weight of the step *
// loss scale; one row a workgroup. A row of weight 0 is zeros: its target may be no class at all.
#import shared/step
#import shared/train_state

struct Params {
    rows: vec2<u32>,
    classes: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;                  // [rows, classes]
@group(0) @binding(3) var<storage, read> targets: array<u32>;                 // [rows]
@group(0) @binding(4) var<storage, read> weights: array<f32>;                 // [rows]
@group(0) @binding(5) var<storage, read> train_state: array<f32>;             // [16]
@group(0) @binding(6) var<storage, read_write> dlogits: array<dlogits_type>;  // [rows, classes]

const WIDTH: u32 = 64u;
#import shared/row_reduce

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = group.x + group.y * groups.x;
    if (row >= length_of(params.rows)) {
        return;
    }
    let base = row * params.classes;
    var most = -1e30;
    for (var id = lane; id < params.classes; id += WIDTH) {
        most = max(most, logits[base + id]);
    }
    let largest = largest_of_row(lane, most);
    var sum = 0.0;
    for (var id = lane; id < params.classes; id += WIDTH) {
        sum += exp(logits[base + id] - largest);
    }
    let total = sum_of_row(lane, sum);
    let factor = this_step.loss_weight * train_state[LOSS_SCALE] * weights[row];
    let target_id = targets[row];
    for (var id = lane; id < params.classes; id += WIDTH) {
        let onehot = select(0.0, 1.0, id == target_id);
        let probability = exp(logits[base + id] - largest) / total;
        dlogits[base + id] = dlogits_type(factor * (probability - onehot));
    }
}
