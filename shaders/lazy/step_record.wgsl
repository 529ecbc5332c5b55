// The factors of the step that was decided, for rows that miss it. A skipped step is none.
#import shared/step
#import shared/train_state
#import shared/adamw_factors

struct Params {
    record_count: u32,
    weight_decay: f32,
    learning_rate_scale: f32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> train_state: array<f32>;          // [16]
@group(0) @binding(3) var<storage, read_write> records: array<vec4<f32>>;  // [record_count, 4]

@compute @workgroup_size(1)
fn main() {
    if (train_state[SKIP] != 0.0) {
        return;
    }
    let rate = this_step.learning_rate * params.learning_rate_scale;
    let factors = factors_of(rate, params.weight_decay);
    let record = u32(train_state[APPLIED_STEPS]) % params.record_count;
    records[record] = vec4<f32>(factors.kept, factors.rate, factors.root_factor, 0.0);
}
