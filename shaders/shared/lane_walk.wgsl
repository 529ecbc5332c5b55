// Which rows the lanes of an attention without barriers own, and what they walk together.

const WIDTH: u32 = 32u;
const ROWS: u32 = 2u * WIDTH;

// The two rows of a lane. A subgroup larger than the workgroup has no more lanes than that.
fn rows_of(row_0: u32, subgroup: u32, lane: u32, subgroup_lanes: u32) -> vec2<u32> {
    let lane_count = min(subgroup_lanes, WIDTH);
    let near = row_0 + subgroup * 2u * lane_count + lane;
    return vec2<u32>(near, near + lane_count);
}

// From the first to the last that any lane of the subgroup sees of the other side.
fn union_of(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = min(select(0xffffffffu, a.x, a.x < a.y), select(0xffffffffu, b.x, b.x < b.y));
    let high = max(select(0u, a.y, a.x < a.y), select(0u, b.y, b.x < b.y));
    return vec2<u32>(subgroupMin(low), subgroupMax(high));
}
