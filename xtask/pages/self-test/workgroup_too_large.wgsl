// Must be refused when the pipeline is made: 20 KiB of workgroup memory, where the default limit
// is 16. The module alone is right.
@group(0) @binding(0) var<storage, read_write> values: array<f32>; // [n]
var<workgroup> shared_values: array<f32, 5120>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    shared_values[lane] = values[lane];
    workgroupBarrier();
    values[lane] = shared_values[5119u - lane];
}
