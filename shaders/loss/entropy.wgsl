// out = -sum p ln p with p = softmax(logits), one row a workgroup. With d = logit - largest that is
// ln sum exp(d) - sum(d exp(d)) / sum exp(d); of a row with a logit that is not finite it is NaN.
#import shared/step
#import shared/finite

struct Params {
    rows: vec2<u32>,
    classes: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> logits: array<f32>;     // [rows, classes]
@group(0) @binding(3) var<storage, read_write> out: array<f32>;  // [rows]

const WIDTH: u32 = 64u;
// More than any finite logit counts as.
const BROKEN: f32 = 3.4e38;
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
        let logit = logits[base + id];
        most = max(most, select(BROKEN, min(logit, 1e38), is_finite(logit)));
    }
    let largest = largest_of_row(lane, most);
    var sum = 0.0;
    var weighted = 0.0;
    for (var id = lane; id < params.classes; id += WIDTH) {
        // Beyond 80 the term is long zero beside that of the largest.
        let below = max(logits[base + id] - largest, -80.0);
        let exponential = exp(below);
        sum += exponential;
        weighted += below * exponential;
    }
    let total = sum_of_row(lane, sum);
    let mean = sum_of_row(lane, weighted) / total;
    if (lane == 0u) {
        let entropy = log(total) - mean;
        // All ones of the exponent and one more bit, beside bits that are known here only: no
        // constant may be NaN.
        let nan = bitcast<f32>(bitcast<u32>(total) | 0x7FC00000u);
        out[row] = select(entropy, nan, largest == BROKEN);
    }
}
