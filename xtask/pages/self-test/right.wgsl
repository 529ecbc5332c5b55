// Must compile: the barrier stands where all invocations of the workgroup come by.
@group(0) @binding(0) var<storage, read_write> values: array<f32>; // [n]
override step: u32 = 32u;
var<workgroup> shared_values: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    shared_values[lane] = values[lane];
    workgroupBarrier();
    values[lane] = shared_values[(lane + step) % 64u];
}
