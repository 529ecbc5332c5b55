// Rows of at most 128 columns by a subgroup of 8 lanes: a lane has eight columns of the first 64,
// and eight of the others where there are so many. What is not there is zero.
#import shared/eights

const WIDTH: u32 = 8u;

struct RowPart {
    near: Eight,
    far: Eight,
}

// The sum of all numbers of a row.
fn row_total(part: RowPart) -> f32 {
    let own = total((part.near.lo + part.near.hi) + (part.far.lo + part.far.hi));
    return ((subgroupBroadcast(own, 0u) + subgroupBroadcast(own, 1u))
        + (subgroupBroadcast(own, 2u) + subgroupBroadcast(own, 3u)))
        + ((subgroupBroadcast(own, 4u) + subgroupBroadcast(own, 5u))
        + (subgroupBroadcast(own, 6u) + subgroupBroadcast(own, 7u)));
}

fn row_sum(a: RowPart, b: RowPart) -> RowPart {
    return RowPart(eight_sum(a.near, b.near), eight_sum(a.far, b.far));
}

fn row_product(a: RowPart, b: RowPart) -> RowPart {
    return RowPart(eight_product(a.near, b.near), eight_product(a.far, b.far));
}

fn row_times(a: RowPart, factor: f32) -> RowPart {
    return RowPart(eight_times(a.near, factor), eight_times(a.far, factor));
}
