// out = step_count times the sum over i and j of a[i] b[j], 16 x 16 each, in f32: what the matrix
// unit is compared with. A workgroup computes one slot, an invocation one element.
#import shared/step

struct Params {
    slots: vec2<u32>,
    step_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> a: array<f32>;          // [4, 16, 16]
@group(0) @binding(3) var<storage, read> b: array<f32>;          // [4, 16, 16]
@group(0) @binding(4) var<storage, read_write> out: array<f32>;  // [slots, 16, 16]

const WIDTH: u32 = 256u;

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
) {
    let slot = group.x + group.y * groups.x;
    if (slot >= length_of(params.slots)) {
        return;
    }
    let row = index / 16u;
    let col = index % 16u;
    var sum = 0.0;
    for (var step = 0u; step < params.step_count; step++) {
        for (var tile = 0u; tile < 16u; tile++) {
            for (var k = 0u; k < 16u; k++) {
                let left = a[tile / 4u * 256u + row * 16u + k];
                sum += left * b[tile % 4u * 256u + k * 16u + col];
            }
        }
    }
    out[slot * WIDTH + index] = sum;
}
