// One head of 32 columns in the registers of an invocation, and how a subgroup of at least 8 lanes
// brings one: lane `l` loads the columns `l % 8` of every eight, which all take by broadcasts.

struct LaneHead {
    c_0: vec4<f32>,
    c_1: vec4<f32>,
    c_2: vec4<f32>,
    c_3: vec4<f32>,
    c_4: vec4<f32>,
    c_5: vec4<f32>,
    c_6: vec4<f32>,
    c_7: vec4<f32>,
}

fn lower_lanes(value: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(value, 0u), subgroupBroadcast(value, 1u),
        subgroupBroadcast(value, 2u), subgroupBroadcast(value, 3u));
}

fn upper_lanes(value: f32) -> vec4<f32> {
    return vec4<f32>(
        subgroupBroadcast(value, 4u), subgroupBroadcast(value, 5u),
        subgroupBroadcast(value, 6u), subgroupBroadcast(value, 7u));
}

// The head of which every lane brings four columns: its own of each eight.
fn gathered(own: vec4<f32>) -> LaneHead {
    return LaneHead(
        lower_lanes(own.x), upper_lanes(own.x), lower_lanes(own.y), upper_lanes(own.y),
        lower_lanes(own.z), upper_lanes(own.z), lower_lanes(own.w), upper_lanes(own.w));
}

fn head_product(a: LaneHead, b: LaneHead) -> f32 {
    var sum = a.c_0 * b.c_0;
    sum = fma(a.c_1, b.c_1, sum);
    sum = fma(a.c_2, b.c_2, sum);
    sum = fma(a.c_3, b.c_3, sum);
    sum = fma(a.c_4, b.c_4, sum);
    sum = fma(a.c_5, b.c_5, sum);
    sum = fma(a.c_6, b.c_6, sum);
    sum = fma(a.c_7, b.c_7, sum);
    return sum.x + sum.y + sum.z + sum.w;
}

fn head_times(a: LaneHead, factor: f32) -> LaneHead {
    return LaneHead(
        factor * a.c_0, factor * a.c_1, factor * a.c_2, factor * a.c_3,
        factor * a.c_4, factor * a.c_5, factor * a.c_6, factor * a.c_7);
}

// a + factor * b
fn head_plus(a: LaneHead, factor: f32, b: LaneHead) -> LaneHead {
    let f = vec4<f32>(factor);
    return LaneHead(
        fma(f, b.c_0, a.c_0), fma(f, b.c_1, a.c_1), fma(f, b.c_2, a.c_2), fma(f, b.c_3, a.c_3),
        fma(f, b.c_4, a.c_4), fma(f, b.c_5, a.c_5), fma(f, b.c_6, a.c_6), fma(f, b.c_7, a.c_7));
}
