// Must be refused in line 11: the bound of the loop is a value of a buffer that is written to, so
// not all invocations of the workgroup need come by the barrier. naga takes this; browsers do not.
@group(0) @binding(0) var<storage, read_write> counts: array<u32>; // [n]
@group(0) @binding(1) var<storage, read_write> values: array<f32>; // [n]
var<workgroup> shared_values: array<f32, 64>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    for (var i = 0u; i < counts[0]; i += 1u) {
        shared_values[lane] = values[lane];
        workgroupBarrier();
        values[lane] = shared_values[63u - lane];
    }
}
