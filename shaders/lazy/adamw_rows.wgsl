// AdamW on touched rows of a table, whose gradients lie in slots. Rows of other shards are left to
// other calls. A skipped update leaves all but the gradient alone. One workgroup takes one row.
#import shared/step
#import shared/wide
#import shared/train_state
#import shared/adamw

struct Params {
    touched: vec2<u32>,
    cols: u32,
    first_row: u32,
    row_count: u32,
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
@group(0) @binding(3) var<storage, read> rows: array<u32>;               // [touched], increasing
@group(0) @binding(4) var<storage, read> slots: array<u32>;              // [touched]
@group(0) @binding(5) var<storage, read_write> gradient: array<number>;  // [slots, cols]
@group(0) @binding(6) var<storage, read_write> last_step: array<u32>;    // [table rows]
@group(0) @binding(7) var<storage, read_write> weight: array<number>;    // [row_count, cols]
@group(0) @binding(8) var<storage, read_write> moment1: array<number>;   // [row_count, cols]
@group(0) @binding(9) var<storage, read_write> moment2: array<number>;   // [row_count, cols]

const WIDTH: u32 = 128u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if (index >= length_of(params.touched)) {
        return;
    }
    // A row before the first one wraps around and is far too large.
    let row = rows[index] - params.first_row;
    if (row >= params.row_count) {
        return;
    }
    let is_skipped = train_state[SKIP] != 0.0;
    let scale = train_state[GRADIENT_SCALE];
    let rate = this_step.learning_rate * params.learning_rate_scale;
    let factors = factors_of(rate, params.weight_decay);
    let cols = params.cols / LANES;
    for (var col = lane; col < cols; col += WIDTH) {
        let place = slots[index] * cols + col;
        if (!is_skipped) {
            let at = row * cols + col;
            let before = Element(weight[at], moment1[at], moment2[at]);
            let after = adamw_step(before, gradient[place] * scale, factors);
            weight[at] = after.weight;
            moment1[at] = after.moment1;
            moment2[at] = after.moment2;
        }
        gradient[place] = number();
    }
    if (lane == 0u && !is_skipped) {
        last_step[rows[index]] = u32(train_state[APPLIED_STEPS]);
    }
}
