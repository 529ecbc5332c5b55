// partial[group] = (sum of squares, 1 if anything is not finite) over the elements of the group,
// one group a workgroup. What is not finite counts as 0.
#import shared/finite

struct Params {
    length: u32,
    group_elements: u32,
    group_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gradient: array<f32>;       // [length]
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;  // [group_count, 2]

const WIDTH: u32 = 256u;

var<workgroup> lanes: array<vec2<f32>, WIDTH>;  // squares, flag

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if (index >= params.group_count) {
        return;
    }
    let first = index * params.group_elements;
    let end = min(first + params.group_elements, params.length);
    var sums = vec2<f32>();
    for (var at = first + lane; at < end; at += WIDTH) {
        let value = gradient[at];
        if (is_finite(value)) {
            sums.x += value * value;
        } else {
            sums.y = 1.0;
        }
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
        partial[2u * index] = lanes[0].x;
        partial[2u * index + 1u] = min(lanes[0].y, 1.0);
    }
}
