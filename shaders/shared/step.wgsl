// What changes from step to step: how long each axis is, and the scalars of the optimiser.
// An extent is (axis, factor): factor times the count of that axis. Axis 0 always counts one.

struct Step {
    counts: array<vec4<u32>, 2>,
    loss_weight: f32,
    learning_rate: f32,
    seed: u32,
    reserved_0: u32,
    reserved_1: vec4<u32>,
}

@group(0) @binding(1) var<uniform> this_step: Step;

fn length_of(extent: vec2<u32>) -> u32 {
    return this_step.counts[extent.x / 4u][extent.x % 4u] * extent.y;
}
