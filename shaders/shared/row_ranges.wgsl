// Which others the rows of a workgroup see, one contiguous range a row, and what follows from it.
// The importer defines ROWS, a multiple of four, and VECS, the vectors of a head.

const BEYOND: u32 = 0xffffffffu;  // the end of the range of a row that is not there
const MASKED: f32 = -1e30;

var<workgroup> row_start: array<vec4<u32>, ROWS / 4u>;  // first that a row sees
var<workgroup> row_end: array<vec4<u32>, ROWS / 4u>;
var<workgroup> tile_range: vec4<u32>;                   // the union of ranges and what all see

// The ranges of my rows, and their union: [first seen, end seen, first and end of what all see].
fn put_range(row: u32, range: vec2<u32>) {
    row_start[row / 4u][row % 4u] = range.x;
    row_end[row / 4u][row % 4u] = range.y;
}

fn united() -> vec4<u32> {
    var any_start = vec4<u32>(0xffffffffu);
    var any_end = vec4<u32>();
    var all_start = vec4<u32>();
    var all_end = vec4<u32>(0xffffffffu);
    for (var i = 0u; i < ROWS / 4u; i++) {
        let start = row_start[i];
        let end = row_end[i];
        let sees = (start < end) & (end != vec4<u32>(BEYOND));
        any_start = min(any_start, select(vec4<u32>(0xffffffffu), start, sees));
        any_end = max(any_end, select(vec4<u32>(), end, sees));
        all_start = max(all_start, start);
        all_end = min(all_end, end);
    }
    return vec4<u32>(
        min(min(any_start.x, any_start.y), min(any_start.z, any_start.w)),
        max(max(any_end.x, any_end.y), max(any_end.z, any_end.w)),
        max(max(all_start.x, all_start.y), max(all_start.z, all_start.w)),
        min(min(all_end.x, all_end.y), min(all_end.z, all_end.w)));
}

// Columns behind the head are zero: one operand of each product is cut off.
fn within(part: Part, col: u32) -> Part {
    if (HEAD_DIM % 16u == 0u || col < VECS) {
        return part;
    }
    return Part();
}

// Scores of one with the four rows of a vector, without those of rows that do not see it.
fn masked(score: vec4<f32>, other: u32, vector: u32) -> vec4<f32> {
    let seen = (vec4<u32>(other) >= row_start[vector]) & (vec4<u32>(other) < row_end[vector]);
    return select(vec4<f32>(MASKED), score, seen);
}
