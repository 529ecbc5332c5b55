// partial[group] = (sum of squares, 1 if anything is not finite) over the elements of the group as
// in the base, summed in its order: lane l stands for the base's lanes 8 l to 8 l + 7 of every 64.
// For drivers that compute on the processor: eight neighbours to every load, no barriers. The
// length, and that of a group, is whole eights. One group a workgroup.
#import shared/eights

struct Params {
    length: u32,
    group_elements: u32,
    group_count: u32,
    reserved: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(2) var<storage, read> gradient: array<vec4<u64>>;  // [length]
@group(0) @binding(3) var<storage, read_write> partial: array<f32>;   // [group_count, 2]

const WIDTH: u32 = 8u;

// Squares of what is finite, told by its bits, and whether all is.
struct Squares {
    sum: Eight,
    all_finite: bool,
}

fn are_finite(values: vec4<f32>) -> vec4<bool> {
    return (bitcast<vec4<u32>>(values) & vec4<u32>(0x7F800000u)) != vec4<u32>(0x7F800000u);
}

fn plus_squares(before: Squares, at: u32, end: u32) -> Squares {
    if (at >= end) {
        return before;
    }
    let values = eight_of(gradient[at]);
    let lo = are_finite(values.lo);
    let hi = are_finite(values.hi);
    let squares = Eight(
        select(vec4<f32>(), values.lo * values.lo, lo),
        select(vec4<f32>(), values.hi * values.hi, hi));
    return Squares(eight_sum(before.sum, squares), before.all_finite && all(lo) && all(hi));
}

// The sum over the lanes, halves onto halves.
fn over_lanes(values: vec4<f32>) -> vec4<f32> {
    let even = (subgroupBroadcast(values, 0u) + subgroupBroadcast(values, 4u))
        + (subgroupBroadcast(values, 2u) + subgroupBroadcast(values, 6u));
    let odd = (subgroupBroadcast(values, 1u) + subgroupBroadcast(values, 5u))
        + (subgroupBroadcast(values, 3u) + subgroupBroadcast(values, 7u));
    return even + odd;
}

@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let index = group.x + group.y * groups.x;
    if (index >= params.group_count) {
        return;
    }
    let first = index * params.group_elements;
    let end = min(first + params.group_elements, params.length) / 8u;
    var sums_0 = Squares(Eight(), true);
    var sums_1 = Squares(Eight(), true);
    var sums_2 = Squares(Eight(), true);
    var sums_3 = Squares(Eight(), true);
    for (var at = first / 8u; at < end; at += 4u * WIDTH) {
        sums_0 = plus_squares(sums_0, at + lane, end);
        sums_1 = plus_squares(sums_1, at + lane + WIDTH, end);
        sums_2 = plus_squares(sums_2, at + lane + 2u * WIDTH, end);
        sums_3 = plus_squares(sums_3, at + lane + 3u * WIDTH, end);
    }
    let own = eight_sum(eight_sum(sums_0.sum, sums_2.sum), eight_sum(sums_1.sum, sums_3.sum));
    let four = over_lanes(own.lo) + over_lanes(own.hi);
    let two = four.xy + four.zw;
    let own_finite = sums_0.all_finite && sums_1.all_finite && sums_2.all_finite
        && sums_3.all_finite;
    let flags = over_lanes(vec4<f32>(select(1.0, 0.0, own_finite)));
    if (lane == 0u) {
        partial[2u * index] = two.x + two.y;
        partial[2u * index + 1u] = min(flags.x, 1.0);
    }
}
