// Must be refused in line 6: an integer is no float.
@group(0) @binding(0) var<storage, read_write> values: array<f32>; // [n]

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
    let half: f32 = lane;
    values[lane] = half;
}
