// One head of 32 columns by loads of eight neighbours: a lane loads its own head with four of them,
// or a subgroup of at least 8 lanes brings two, of which all take the rest by broadcasts.
#import shared/eights
#import shared/lane_head

// The head that lanes 0 to 3 have.
fn lower_head(own: Eight) -> LaneHead {
    return LaneHead(
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 0u), subgroupBroadcast(own.lo.y, 0u),
            subgroupBroadcast(own.lo.z, 0u), subgroupBroadcast(own.lo.w, 0u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 0u), subgroupBroadcast(own.hi.y, 0u),
            subgroupBroadcast(own.hi.z, 0u), subgroupBroadcast(own.hi.w, 0u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 1u), subgroupBroadcast(own.lo.y, 1u),
            subgroupBroadcast(own.lo.z, 1u), subgroupBroadcast(own.lo.w, 1u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 1u), subgroupBroadcast(own.hi.y, 1u),
            subgroupBroadcast(own.hi.z, 1u), subgroupBroadcast(own.hi.w, 1u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 2u), subgroupBroadcast(own.lo.y, 2u),
            subgroupBroadcast(own.lo.z, 2u), subgroupBroadcast(own.lo.w, 2u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 2u), subgroupBroadcast(own.hi.y, 2u),
            subgroupBroadcast(own.hi.z, 2u), subgroupBroadcast(own.hi.w, 2u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 3u), subgroupBroadcast(own.lo.y, 3u),
            subgroupBroadcast(own.lo.z, 3u), subgroupBroadcast(own.lo.w, 3u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 3u), subgroupBroadcast(own.hi.y, 3u),
            subgroupBroadcast(own.hi.z, 3u), subgroupBroadcast(own.hi.w, 3u)));
}

// The head that lanes 4 to 7 have.
fn upper_head(own: Eight) -> LaneHead {
    return LaneHead(
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 4u), subgroupBroadcast(own.lo.y, 4u),
            subgroupBroadcast(own.lo.z, 4u), subgroupBroadcast(own.lo.w, 4u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 4u), subgroupBroadcast(own.hi.y, 4u),
            subgroupBroadcast(own.hi.z, 4u), subgroupBroadcast(own.hi.w, 4u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 5u), subgroupBroadcast(own.lo.y, 5u),
            subgroupBroadcast(own.lo.z, 5u), subgroupBroadcast(own.lo.w, 5u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 5u), subgroupBroadcast(own.hi.y, 5u),
            subgroupBroadcast(own.hi.z, 5u), subgroupBroadcast(own.hi.w, 5u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 6u), subgroupBroadcast(own.lo.y, 6u),
            subgroupBroadcast(own.lo.z, 6u), subgroupBroadcast(own.lo.w, 6u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 6u), subgroupBroadcast(own.hi.y, 6u),
            subgroupBroadcast(own.hi.z, 6u), subgroupBroadcast(own.hi.w, 6u)),
        vec4<f32>(
            subgroupBroadcast(own.lo.x, 7u), subgroupBroadcast(own.lo.y, 7u),
            subgroupBroadcast(own.lo.z, 7u), subgroupBroadcast(own.lo.w, 7u)),
        vec4<f32>(
            subgroupBroadcast(own.hi.x, 7u), subgroupBroadcast(own.hi.y, 7u),
            subgroupBroadcast(own.hi.z, 7u), subgroupBroadcast(own.hi.w, 7u)));
}

// Four of them.
struct FourHeads {
    h_0: LaneHead,
    h_1: LaneHead,
    h_2: LaneHead,
    h_3: LaneHead,
}

// The products of a head and four others.
fn head_products(a: LaneHead, b: FourHeads) -> vec4<f32> {
    return vec4<f32>(
        head_product(a, b.h_0), head_product(a, b.h_1),
        head_product(a, b.h_2), head_product(a, b.h_3));
}

fn plus_columns(
    sum: vec4<f32>, f: vec4<f32>, b_0: vec4<f32>, b_1: vec4<f32>, b_2: vec4<f32>, b_3: vec4<f32>,
) -> vec4<f32> {
    let sum_0 = fma(vec4<f32>(f.x), b_0, sum);
    let sum_1 = fma(vec4<f32>(f.y), b_1, sum_0);
    let sum_2 = fma(vec4<f32>(f.z), b_2, sum_1);
    return fma(vec4<f32>(f.w), b_3, sum_2);
}

// a + f.x * b.h_0 + f.y * b.h_1 + ..., by columns, so that each sum is in a register once.
fn head_plus_four(a: LaneHead, f: vec4<f32>, b: FourHeads) -> LaneHead {
    return LaneHead(
        plus_columns(a.c_0, f, b.h_0.c_0, b.h_1.c_0, b.h_2.c_0, b.h_3.c_0),
        plus_columns(a.c_1, f, b.h_0.c_1, b.h_1.c_1, b.h_2.c_1, b.h_3.c_1),
        plus_columns(a.c_2, f, b.h_0.c_2, b.h_1.c_2, b.h_2.c_2, b.h_3.c_2),
        plus_columns(a.c_3, f, b.h_0.c_3, b.h_1.c_3, b.h_2.c_3, b.h_3.c_3),
        plus_columns(a.c_4, f, b.h_0.c_4, b.h_1.c_4, b.h_2.c_4, b.h_3.c_4),
        plus_columns(a.c_5, f, b.h_0.c_5, b.h_1.c_5, b.h_2.c_5, b.h_3.c_5),
        plus_columns(a.c_6, f, b.h_0.c_6, b.h_1.c_6, b.h_2.c_6, b.h_3.c_6),
        plus_columns(a.c_7, f, b.h_0.c_7, b.h_1.c_7, b.h_2.c_7, b.h_3.c_7));
}
