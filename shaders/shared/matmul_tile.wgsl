// The products of one 64 x 64 tile by 64 invocations. The kernel that imports this has `finish`,
// which says what becomes of two vectors of a row of sums.
// DEEP, with WHOLE_STEPS: four times 64 invocations have a quarter of k each, for products whose
// few tiles would leave most of a GPU idle.
// TRANSPOSE_A: a is stored [k, m]; TRANSPOSE_B: b is stored [n, k].
// WIDE: the stored rows of a and b and the rows of out are whole vectors of four. WHOLE_STEPS: so,
// and k is a multiple of 32; there is no code for other steps.
// PAIRED, with TRANSPOSE_B: b is two matrices one below the other, and the tile has 32 columns of
// the first in its left half and the same 32 of the second in its right half.
// Each invocation owns 8 x 8 outputs, in two groups of four rows and columns 32 apart; k advances
// in steps of 16. Every output is one sum in the order of k, what fixed_order asks of the CPU,
// unless it is DEEP.
#import shared/matmul
#import shared/square_tile
#import shared/wide

@group(0) @binding(2) var<storage, read> a: array<a_type>;  // [batch, m, k]
@group(0) @binding(3) var<storage, read> b: array<b_type>;  // [batch, k, n]

const TILE: u32 = 64u;
const DEPTH: u32 = 16u;

// How far below the rows of b for the left half of the tile those for the right half lie.
fn right_half(stored: Stored) -> u32 {
#ifdef PAIRED
    return stored.rows / 2u;
#else
    return 32u;
#endif
}

#ifndef WHOLE_STEPS
// Four elements of a stored row, zeros beyond its end.
fn a_vector(stored: Stored, row: u32, col: u32) -> vec4<f32> {
    if (row >= stored.rows || col >= stored.cols) {
        return vec4<f32>();
    }
    let at = stored.base + row * stored.cols + col;
#ifdef WIDE
    return vec4<f32>(a[at / 4u]);
#else
    var v = vec4<f32>(f32(a[at]), 0.0, 0.0, 0.0);
    if (col + 1u < stored.cols) {
        v.y = f32(a[at + 1u]);
    }
    if (col + 2u < stored.cols) {
        v.z = f32(a[at + 2u]);
    }
    if (col + 3u < stored.cols) {
        v.w = f32(a[at + 3u]);
    }
    return v;
#endif
}

fn b_vector(stored: Stored, row: u32, col: u32) -> vec4<f32> {
    if (row >= stored.rows || col >= stored.cols) {
        return vec4<f32>();
    }
    let at = stored.base + row * stored.cols + col;
#ifdef WIDE
    return vec4<f32>(b[at / 4u]);
#else
    var v = vec4<f32>(f32(b[at]), 0.0, 0.0, 0.0);
    if (col + 1u < stored.cols) {
        v.y = f32(b[at + 1u]);
    }
    if (col + 2u < stored.cols) {
        v.z = f32(b[at + 2u]);
    }
    if (col + 3u < stored.cols) {
        v.w = f32(b[at + 3u]);
    }
    return v;
#endif
}

// What an invocation brings of a for the step at `depth`.
fn a_part(stored: Stored, start: u32, depth: u32, index: u32) -> Part {
#ifdef TRANSPOSE_A
    let row = depth + index / 16u;
    let col = start + index % 16u * 4u;
    let stride = 4u;
#else
    let row = start + index / 4u;
    let col = depth + index % 4u * 4u;
    let stride = 16u;
#endif
    return Part(
        a_vector(stored, row, col), a_vector(stored, row + stride, col),
        a_vector(stored, row + 2u * stride, col), a_vector(stored, row + 3u * stride, col));
}

// What an invocation brings of b for the step at `depth`.
fn b_part(stored: Stored, start: u32, depth: u32, index: u32) -> Part {
#ifdef TRANSPOSE_B
    let row = start + index / 4u;
    let col = depth + index % 4u * 4u;
    let stride = 16u;
    let right = row + right_half(stored);
#else
    let row = depth + index / 16u;
    let col = start + index % 16u * 4u;
    let stride = 4u;
    let right = row + 8u;
#endif
    return Part(
        b_vector(stored, row, col), b_vector(stored, row + stride, col),
        b_vector(stored, right, col), b_vector(stored, right + stride, col));
}
#endif

#ifdef WIDE
// Where the four vectors of a part lie. What lies beyond the last row or column is read from the
// last one, since its outputs are not stored: tiles at the edges are as fast as all others.
fn a_places(stored: Stored, start: u32, depth: u32, index: u32) -> vec4<u32> {
    let width = stored.cols / 4u;
#ifdef TRANSPOSE_A
    let rows = vec4<u32>(depth + index / 16u) + vec4<u32>(0u, 4u, 8u, 12u);
    let col = min(start / 4u + index % 16u, width - 1u);
#else
    let rows = vec4<u32>(start + index / 4u) + vec4<u32>(0u, 16u, 32u, 48u);
    let col = depth / 4u + index % 4u;
#endif
    return stored.base / 4u + min(rows, vec4<u32>(stored.rows - 1u)) * width + col;
}

fn b_places(stored: Stored, start: u32, depth: u32, index: u32) -> vec4<u32> {
    let width = stored.cols / 4u;
#ifdef TRANSPOSE_B
    let right = right_half(stored);
    let rows = vec4<u32>(start + index / 4u) + vec4<u32>(0u, 16u, right, right + 16u);
    let col = depth / 4u + index % 4u;
#else
    let rows = vec4<u32>(depth + index / 16u) + vec4<u32>(0u, 4u, 8u, 12u);
    let col = min(start / 4u + index % 16u, width - 1u);
#endif
    return stored.base / 4u + min(rows, vec4<u32>(stored.rows - 1u)) * width + col;
}

fn a_part_at(at: vec4<u32>) -> Part {
    return Part(vec4<f32>(a[at.x]), vec4<f32>(a[at.y]), vec4<f32>(a[at.z]), vec4<f32>(a[at.w]));
}

fn b_part_at(at: vec4<u32>) -> Part {
    return Part(vec4<f32>(b[at.x]), vec4<f32>(b[at.y]), vec4<f32>(b[at.z]), vec4<f32>(b[at.w]));
}
#endif

fn put_a(part: Part, index: u32) {
#ifdef TRANSPOSE_A
    put_stored_a(part, index);
#else
    put_rows_a(part, index);
#endif
}

fn put_b(part: Part, index: u32) {
#ifdef TRANSPOSE_B
    put_rows_b(part, index);
#else
    put_stored_b(part, index);
#endif
}

// The sums with the products of depth d added; y and x number the invocation in the tile.
fn advanced(sums: Sums, d: u32, y: u32, x: u32) -> Sums {
#ifdef TRANSPOSE_A
    let row = d * ROW + y;
#else
    let row = d * ROW + shuffled(y, d);
#endif
#ifdef TRANSPOSE_B
    let col = d * ROW + shuffled(x, d);
#else
    let col = d * ROW + x;
#endif
    return square_added(sums, row, col);
}

// The sums with a whole step added.
fn stepped(sums: Sums, y: u32, x: u32) -> Sums {
    var s = advanced(sums, 0u, y, x);
    s = advanced(s, 1u, y, x);
    s = advanced(s, 2u, y, x);
    s = advanced(s, 3u, y, x);
    s = advanced(s, 4u, y, x);
    s = advanced(s, 5u, y, x);
    s = advanced(s, 6u, y, x);
    s = advanced(s, 7u, y, x);
    s = advanced(s, 8u, y, x);
    s = advanced(s, 9u, y, x);
    s = advanced(s, 10u, y, x);
    s = advanced(s, 11u, y, x);
    s = advanced(s, 12u, y, x);
    s = advanced(s, 13u, y, x);
    s = advanced(s, 14u, y, x);
    return advanced(s, 15u, y, x);
}

// Where the outputs of an invocation go: its first row and column, and the matrix they are in.
struct Place {
    row: u32,
    col: u32,
    base: u32,
    m: u32,
    n: u32,
}

#ifdef DEEP
fn put_sums(sums: Sums, index: u32) {
    a_tile[index] = sums.r0_left;
    a_tile[index + 64u] = sums.r0_right;
    a_tile[index + 128u] = sums.r1_left;
    a_tile[index + 192u] = sums.r1_right;
    a_tile[index + 256u] = sums.r2_left;
    a_tile[index + 320u] = sums.r2_right;
    a_tile[index + 384u] = sums.r3_left;
    a_tile[index + 448u] = sums.r3_right;
    a_tile[index + 512u] = sums.r4_left;
    a_tile[index + 576u] = sums.r4_right;
    a_tile[index + 640u] = sums.r5_left;
    a_tile[index + 704u] = sums.r5_right;
    a_tile[index + 768u] = sums.r6_left;
    a_tile[index + 832u] = sums.r6_right;
    a_tile[index + 896u] = sums.r7_left;
    a_tile[index + 960u] = sums.r7_right;
}

fn with_put(sums: Sums, index: u32) -> Sums {
    return Sums(
        sums.r0_left + a_tile[index], sums.r0_right + a_tile[index + 64u],
        sums.r1_left + a_tile[index + 128u], sums.r1_right + a_tile[index + 192u],
        sums.r2_left + a_tile[index + 256u], sums.r2_right + a_tile[index + 320u],
        sums.r3_left + a_tile[index + 384u], sums.r3_right + a_tile[index + 448u],
        sums.r4_left + a_tile[index + 512u], sums.r4_right + a_tile[index + 576u],
        sums.r5_left + a_tile[index + 640u], sums.r5_right + a_tile[index + 704u],
        sums.r6_left + a_tile[index + 768u], sums.r6_right + a_tile[index + 832u],
        sums.r7_left + a_tile[index + 896u], sums.r7_right + a_tile[index + 960u]);
}

// The sums of all parts, part after part; the first part gets them.
fn gathered(sums: Sums, part: u32, index: u32) -> Sums {
    var all = sums;
    for (var other = 1u; other < PARTS; other++) {
        if (part == other) {
            put_sums(sums, index);
        }
        workgroupBarrier();  // the sums of a part are there, in the place of all tiles
        if (part == 0u) {
            all = with_put(all, index);
        }
        workgroupBarrier();  // they are read
    }
    return all;
}
#endif

@compute @workgroup_size(64u * PARTS)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) invocation: u32,
) {
    let index = invocation % 64u;
    let shape = shape_now();
    let row_0 = group.y * TILE;
#ifdef PAIRED
    let col_0 = group.x * 32u;
#else
    let col_0 = group.x * TILE;
#endif
    if (row_0 >= shape.m) {
        return;  // rows that a larger plan would have
    }
    let piece = piece_of(group.z, shape.k);
    var depth = piece.x;
    var depth_end = piece.y;
#ifdef DEEP
    let part = invocation / 64u;
    tile_0 = part * 256u;
    let quarter = (depth_end - depth) / PARTS;
    depth_end = depth + quarter;
    let begin = depth + part * quarter;
#else
    let begin = depth;
#endif
    let a_stored = stored_a(group.z, shape);
    let b_stored = stored_b(group.z, shape);

    // Invocation (y, x) owns rows 4 y to 4 y + 3 and the same 32 below; columns likewise.
    let y = index / 8u;
    let x = index % 8u;
    var sums = Sums();
#ifdef WIDE
    if (depth + DEPTH <= depth_end) {
        // Whole steps of k. The loads of the next step are on their way while products are
        // computed; the last step loads its own again, for a branch would delay all.
#ifdef TRANSPOSE_A
        let a_step = DEPTH * (shape.m / 4u);
#else
        let a_step = DEPTH / 4u;
#endif
#ifdef TRANSPOSE_B
        let b_step = DEPTH / 4u;
#else
        let b_step = DEPTH * (shape.n / 4u);
#endif
        var a_from = a_places(a_stored, row_0, begin, index);
        var b_from = b_places(b_stored, col_0, begin, index);
        let steps = (depth_end - depth) / DEPTH;
        var a_next = a_part_at(a_from);
        var b_next = b_part_at(b_from);
        for (var step = 0u; step < steps; step++) {
            put_a(a_next, index);
            put_b(b_next, index);
            workgroupBarrier();  // the tiles are complete
            if (step + 1u < steps) {
                a_from += a_step;
                b_from += b_step;
            }
            a_next = a_part_at(a_from);
            b_next = b_part_at(b_from);
            sums = stepped(sums, y, x);
            workgroupBarrier();  // everybody has read the tiles before they are overwritten
        }
        depth += steps * DEPTH;
    }
#endif
#ifndef WHOLE_STEPS
    // The step that reaches over the end of k, or all of them.
    for (; depth < depth_end; depth += DEPTH) {
        put_a(a_part(a_stored, row_0, depth, index), index);
        put_b(b_part(b_stored, col_0, depth, index), index);
        workgroupBarrier();  // the tiles are complete
        sums = stepped(sums, y, x);
        workgroupBarrier();  // everybody has read the tiles before they are overwritten
    }
#endif

#ifdef DEEP
    sums = gathered(sums, part, index);
    if (part > 0u) {
        return;
    }
#endif
    let place = Place(
        row_0 + y * 4u, col_0 + x * 4u, group.z * shape.m * shape.n, shape.m, shape.n);
    finish(place, 0u, sums.r0_left, sums.r0_right);
    finish(place, 1u, sums.r1_left, sums.r1_right);
    finish(place, 2u, sums.r2_left, sums.r2_right);
    finish(place, 3u, sums.r3_left, sums.r3_right);
    finish(place, 32u, sums.r4_left, sums.r4_right);
    finish(place, 33u, sums.r5_left, sums.r5_right);
    finish(place, 34u, sums.r6_left, sums.r6_right);
    finish(place, 35u, sums.r7_left, sums.r7_right);
}
