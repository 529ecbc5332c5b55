// From the partial sums of grad_norm to the state of this update: skip it, or step with which
// multiplier. One workgroup; its first lane decides.
#import shared/finite
#import shared/train_state

struct Params {
    partial_count: u32,
    clip: f32,
    beta1: f32,
    beta2: f32,
    dynamic_loss_scale: u32,
    growth_interval: u32,
    min_loss_scale: f32,
    max_loss_scale: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> partial: array<f32>;            // [partial_count, 2]
@group(0) @binding(3) var<storage, read_write> train_state: array<f32>;  // [16]

const WIDTH: u32 = 256u;

var<workgroup> lanes: array<vec2<f32>, WIDTH>;  // squares, flags

fn skip() {
    train_state[SKIP] = 1.0;
    train_state[SKIPPED_STEPS] += 1.0;
    train_state[GOOD_STEPS] = 0.0;
    train_state[GRADIENT_SCALE] = 0.0;
    train_state[GRAD_NORM] = 0.0;
    if (params.dynamic_loss_scale != 0u) {
        train_state[LOSS_SCALE] = max(train_state[LOSS_SCALE] * 0.5, params.min_loss_scale);
    }
}

fn advance(squares: f32) {
    let scale = train_state[LOSS_SCALE];
    let norm = sqrt(squares) / scale;
    var clipped = 1.0;
    if (params.clip > 0.0) {
        clipped = min(1.0, params.clip / (norm + 1e-6));
    }
    train_state[SKIP] = 0.0;
    train_state[APPLIED_STEPS] += 1.0;
    train_state[BETA1_POWER] *= params.beta1;
    train_state[BETA2_POWER] *= params.beta2;
    train_state[GRAD_NORM] = norm;
    train_state[GRADIENT_SCALE] = clipped / scale;
    train_state[GOOD_STEPS] += 1.0;
    let grows = train_state[GOOD_STEPS] >= f32(params.growth_interval);
    if (params.dynamic_loss_scale != 0u && grows) {
        train_state[LOSS_SCALE] = min(scale * 2.0, params.max_loss_scale);
        train_state[GOOD_STEPS] = 0.0;
    }
}

@compute @workgroup_size(WIDTH)
fn main(@builtin(local_invocation_index) lane: u32) {
    var sums = vec2<f32>();
    for (var index = lane; index < params.partial_count; index += WIDTH) {
        sums += vec2<f32>(partial[2u * index], partial[2u * index + 1u]);
    }
    lanes[lane] = sums;
    for (var half = WIDTH / 2u; half > 0u; half /= 2u) {
        workgroupBarrier();  // the upper half is complete before the lower half adds it
        if (lane < half) {
            lanes[lane] += lanes[lane + half];
        }
    }
    // Lane 0 wrote the total itself.
    if (lane == 0u) {
        if (lanes[0].y > 0.0 || !is_finite(lanes[0].x)) {
            skip();
        } else {
            advance(lanes[0].x);
        }
    }
}
