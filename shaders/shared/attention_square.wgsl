// What variants of attention have in common whose workgroups own 64 queries and 64 columns of one
// head, and have the scores of 64 keys in registers, transposed: an invocation those of 8 keys, 4 y
// to 4 y + 3 and the same 32 further, and 8 queries, by x. The importer declares q, kv, out and its
// type, ROWS and VECS.
#import shared/register_tile
#import shared/row_ranges

const KEYS: u32 = 64u;
const COL_PARTS: u32 = (HEAD_DIM + 63u) / 64u;
const LOG2_E: f32 = 1.4426950408889634;

var<workgroup> parts: array<vec4<f32>, 128>;  // [8, ROWS / 4]: maxima or sums of 8 keys

// What stands for a row: four rows from 4 x on, and the same 32 further.
struct Rows {
    left: vec4<f32>,
    right: vec4<f32>,
}

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn q_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(q[min(row, last) * stride + at]),
        vec4<f32>(q[min(row + 16u, last) * stride + at]),
        vec4<f32>(q[min(row + 32u, last) * stride + at]),
        vec4<f32>(q[min(row + 48u, last) * stride + at]));
}

// Vector `at` of row `row` and of every 16th from there, none behind `last`.
fn kv_part(row: u32, last: u32, at: u32, stride: u32) -> Part {
    return Part(
        vec4<f32>(kv[min(row, last) * stride + at]),
        vec4<f32>(kv[min(row + 16u, last) * stride + at]),
        vec4<f32>(kv[min(row + 32u, last) * stride + at]),
        vec4<f32>(kv[min(row + 48u, last) * stride + at]));
}

fn masked_scores(s: Sums, key: u32, x: u32) -> Sums {
    return Sums(
        masked(s.r0_left, key + 0u, x), masked(s.r0_right, key + 0u, x + 8u),
        masked(s.r1_left, key + 1u, x), masked(s.r1_right, key + 1u, x + 8u),
        masked(s.r2_left, key + 2u, x), masked(s.r2_right, key + 2u, x + 8u),
        masked(s.r3_left, key + 3u, x), masked(s.r3_right, key + 3u, x + 8u),
        masked(s.r4_left, key + 32u, x), masked(s.r4_right, key + 32u, x + 8u),
        masked(s.r5_left, key + 33u, x), masked(s.r5_right, key + 33u, x + 8u),
        masked(s.r6_left, key + 34u, x), masked(s.r6_right, key + 34u, x + 8u),
        masked(s.r7_left, key + 35u, x), masked(s.r7_right, key + 35u, x + 8u));
}

fn largest_of(s: Sums) -> Rows {
    return Rows(
        max(
            max(max(s.r0_left, s.r1_left), max(s.r2_left, s.r3_left)),
            max(max(s.r4_left, s.r5_left), max(s.r6_left, s.r7_left))),
        max(
            max(max(s.r0_right, s.r1_right), max(s.r2_right, s.r3_right)),
            max(max(s.r4_right, s.r5_right), max(s.r6_right, s.r7_right))));
}

fn put_parts(mine: Rows, y: u32, x: u32) {
    parts[y * 16u + x] = mine.left;
    parts[y * 16u + x + 8u] = mine.right;
}

fn largest_parts(vector: u32) -> vec4<f32> {
    return max(
        max(max(parts[vector], parts[vector + 16u]), max(parts[vector + 32u], parts[vector + 48u])),
        max(max(parts[vector + 64u], parts[vector + 80u]),
            max(parts[vector + 96u], parts[vector + 112u])));
}

fn scaled(s: Sums, factor: Rows) -> Sums {
    return Sums(
        factor.left.x * s.r0_left, factor.left.x * s.r0_right,
        factor.left.y * s.r1_left, factor.left.y * s.r1_right,
        factor.left.z * s.r2_left, factor.left.z * s.r2_right,
        factor.left.w * s.r3_left, factor.left.w * s.r3_right,
        factor.right.x * s.r4_left, factor.right.x * s.r4_right,
        factor.right.y * s.r5_left, factor.right.y * s.r5_right,
        factor.right.z * s.r6_left, factor.right.z * s.r6_right,
        factor.right.w * s.r7_left, factor.right.w * s.r7_right);
}

fn store(row: u32, count: u32, head: u32, vec: u32, left: vec4<f32>, right: vec4<f32>) {
    if (row < count) {
        let at = (row * params.head_count + head) * VECS + vec;
        if (vec < VECS) {
            out[at] = out_type(left);
        }
        if (vec + 8u < VECS) {
            out[at + 8u] = out_type(right);
        }
    }
}
