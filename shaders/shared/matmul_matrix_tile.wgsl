// The products of one 128 x 128 tile on matrix units, f16 operands and f32 sums, by a workgroup of
// four subgroups of 32; each owns 64 x 64 of it as 4 x 4 matrices of 16 x 16. k advances in steps
// of 32.
// TRANSPOSE_A: a is stored [k, m]; TRANSPOSE_B: b is stored [n, k]. WHOLE_STEPS: k is a multiple of
// 32, and there is no code for other steps. The stored rows of a and b are whole vectors of eight,
// which are loaded as words. A_BY_FOUR: those of a are whole vectors of four.
// PAIRED, with TRANSPOSE_B: b is two matrices one below the other, and of every 64 columns of the
// tile the first 32 are of the first and the others the same 32 of the second.
// Workgroup memory is 24 KB at most: with more, NVIDIA runs one workgroup an SM instead of two.
#import shared/matmul

#ifdef A_BY_FOUR
@group(0) @binding(2) var<storage, read> a: array<vec2<u32>>;  // [batch, m, k]
const A_UNIT: u32 = 4u;  // elements of a load
#else
@group(0) @binding(2) var<storage, read> a: array<vec4<u32>>;  // [batch, m, k]
const A_UNIT: u32 = 8u;
#endif
@group(0) @binding(3) var<storage, read> b: array<vec4<u32>>;  // [batch, k, n]

const TILE: u32 = 128u;
const DEPTH: u32 = 32u;
#ifdef PAIRED
const WIDTH: u32 = 64u;  // columns of a tile
#else
const WIDTH: u32 = 128u;
#endif

// Tiles lie as their operand is stored: rows of k or rows across. Lengths are in vectors of four;
// a row has 16 bytes more than it needs, so that matrices are read without bank conflicts.
const ALONG: u32 = 10u;  // of k: 32 and padding
const ACROSS: u32 = 34u;  // across: 128 and padding

// From one matrix to the next across, to the next along k, and from pass to pass of `put`.
#ifdef TRANSPOSE_A
const A_SIZE: u32 = 1088u;
const A_NEXT: u32 = 4u;
const A_SLICE: u32 = 544u;
const A_PASS: u32 = 272u;
#else
const A_SIZE: u32 = 1280u;
const A_NEXT: u32 = 160u;
const A_SLICE: u32 = 4u;
const A_PASS: u32 = 320u;
#endif
#ifdef TRANSPOSE_B
const B_SIZE: u32 = 1280u;
const B_NEXT: u32 = 160u;
const B_SLICE: u32 = 4u;
const B_PASS: u32 = 320u;
#else
const B_SIZE: u32 = 1088u;
const B_NEXT: u32 = 4u;
const B_SLICE: u32 = 544u;
const B_PASS: u32 = 272u;
#endif

var<workgroup> a_tile: array<vec4<f16>, A_SIZE>;
var<workgroup> b_tile: array<vec4<f16>, B_SIZE>;

// What an invocation brings of an operand in one step: 4 times 8 elements.
struct Part {
    v_0: vec4<u32>,
    v_1: vec4<u32>,
    v_2: vec4<u32>,
    v_3: vec4<u32>,
}

// The matrices of a subgroup along 16 of k.
struct Slice {
    a_0: coop_mat16x16<f16, A>, a_1: coop_mat16x16<f16, A>,
    a_2: coop_mat16x16<f16, A>, a_3: coop_mat16x16<f16, A>,
    b_0: coop_mat16x16<f16, B>, b_1: coop_mat16x16<f16, B>,
    b_2: coop_mat16x16<f16, B>, b_3: coop_mat16x16<f16, B>,
}

// The sums of a subgroup, row by row. A struct, because arrays of matrices stay in memory.
struct Sums {
    c_00: coop_mat16x16<f32, C>, c_01: coop_mat16x16<f32, C>,
    c_02: coop_mat16x16<f32, C>, c_03: coop_mat16x16<f32, C>,
    c_10: coop_mat16x16<f32, C>, c_11: coop_mat16x16<f32, C>,
    c_12: coop_mat16x16<f32, C>, c_13: coop_mat16x16<f32, C>,
    c_20: coop_mat16x16<f32, C>, c_21: coop_mat16x16<f32, C>,
    c_22: coop_mat16x16<f32, C>, c_23: coop_mat16x16<f32, C>,
    c_30: coop_mat16x16<f32, C>, c_31: coop_mat16x16<f32, C>,
    c_32: coop_mat16x16<f32, C>, c_33: coop_mat16x16<f32, C>,
}

// The order in which eight rows of k are filled, so that stores of 128 bytes meet every bank once.
fn shuffled(row: u32) -> u32 {
    return (row & 0xfffffff8u) | ((row >> 1u) & 3u) | ((row & 1u) << 2u);
}

// From the rows of the first 32 columns of the tile to those of every 32 columns, where b is stored
// [n, k].
fn b_rows(stored: Stored) -> vec4<u32> {
#ifdef PAIRED
    let second = stored.rows / 2u;
    return vec4<u32>(0u, second, 32u, second + 32u);
#else
    return vec4<u32>(0u, 32u, 64u, 96u);
#endif
}

#ifndef WHOLE_STEPS
// Eight elements of a stored row, zeros beyond its end.
fn a_vector(stored: Stored, row: u32, col: u32) -> vec4<u32> {
    if (row >= stored.rows || col >= stored.cols) {
        return vec4<u32>();
    }
    let at = (stored.base + row * stored.cols + col) / A_UNIT;
#ifdef A_BY_FOUR
    if (col + 4u >= stored.cols) {
        return vec4<u32>(a[at], 0u, 0u);
    }
    return vec4<u32>(a[at], a[at + 1u]);
#else
    return a[at];
#endif
}

fn b_vector(stored: Stored, row: u32, col: u32) -> vec4<u32> {
    if (row >= stored.rows || col >= stored.cols) {
        return vec4<u32>();
    }
    return b[(stored.base + row * stored.cols + col) / 8u];
}

// What an invocation brings of a for the step at `depth`.
fn a_part(stored: Stored, start: u32, depth: u32, index: u32) -> Part {
#ifdef TRANSPOSE_A
    let row = depth + index / 16u;
    let col = start + index % 16u * 8u;
    let stride = 8u;
#else
    let row = start + shuffled(index / 4u);
    let col = depth + index % 4u * 8u;
    let stride = 32u;
#endif
    return Part(
        a_vector(stored, row, col), a_vector(stored, row + stride, col),
        a_vector(stored, row + 2u * stride, col), a_vector(stored, row + 3u * stride, col));
}

// What an invocation brings of b for the step at `depth`.
fn b_part(stored: Stored, start: u32, depth: u32, index: u32) -> Part {
#ifdef TRANSPOSE_B
    let rows = start + shuffled(index / 4u) + b_rows(stored);
    let col = depth + index % 4u * 8u;
#else
    let rows = depth + index / 16u + vec4<u32>(0u, 8u, 16u, 24u);
    let col = start + index % 16u * 8u;
#endif
    return Part(
        b_vector(stored, rows.x, col), b_vector(stored, rows.y, col),
        b_vector(stored, rows.z, col), b_vector(stored, rows.w, col));
}
#endif

// The words of two halves as f16. The compiler must not know that they are halves before they are
// stored, or it waits for the loads ahead of the products: hence the zero, known only at run time.
fn left_half(v: vec4<u32>) -> vec4<f16> {
    let w = v.xy ^ vec2<u32>(params.transpose_a >> 1u);
    return vec4<f16>(vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)));
}

fn right_half(v: vec4<u32>) -> vec4<f16> {
    let w = v.zw ^ vec2<u32>(params.transpose_a >> 1u);
    return vec4<f16>(vec4<f32>(unpack2x16float(w.x), unpack2x16float(w.y)));
}

fn put_a(part: Part, index: u32) {
#ifdef TRANSPOSE_A
    let at = index / 16u * ACROSS + index % 16u * 2u;
#else
    let at = shuffled(index / 4u) * ALONG + index % 4u * 2u;
#endif
    a_tile[at] = left_half(part.v_0);
    a_tile[at + 1u] = right_half(part.v_0);
    a_tile[at + A_PASS] = left_half(part.v_1);
    a_tile[at + A_PASS + 1u] = right_half(part.v_1);
    a_tile[at + 2u * A_PASS] = left_half(part.v_2);
    a_tile[at + 2u * A_PASS + 1u] = right_half(part.v_2);
    a_tile[at + 3u * A_PASS] = left_half(part.v_3);
    a_tile[at + 3u * A_PASS + 1u] = right_half(part.v_3);
}

fn put_b(part: Part, index: u32) {
#ifdef TRANSPOSE_B
    let at = shuffled(index / 4u) * ALONG + index % 4u * 2u;
#else
    let at = index / 16u * ACROSS + index % 16u * 2u;
#endif
    b_tile[at] = left_half(part.v_0);
    b_tile[at + 1u] = right_half(part.v_0);
    b_tile[at + B_PASS] = left_half(part.v_1);
    b_tile[at + B_PASS + 1u] = right_half(part.v_1);
    b_tile[at + 2u * B_PASS] = left_half(part.v_2);
    b_tile[at + 2u * B_PASS + 1u] = right_half(part.v_2);
    b_tile[at + 3u * B_PASS] = left_half(part.v_3);
    b_tile[at + 3u * B_PASS + 1u] = right_half(part.v_3);
}

// Where the four vectors of a part lie. What lies beyond the last row or column is read from the
// last one, since its outputs are not stored: tiles at the edges are as fast as all others.
fn a_places(stored: Stored, start: u32, depth: u32, index: u32) -> vec4<u32> {
    let width = stored.cols / A_UNIT;
#ifdef TRANSPOSE_A
    let rows = vec4<u32>(depth + index / 16u) + vec4<u32>(0u, 8u, 16u, 24u);
    let col = min((start + index % 16u * 8u) / A_UNIT, width - 1u);
#else
    let rows = vec4<u32>(start + shuffled(index / 4u)) + vec4<u32>(0u, 32u, 64u, 96u);
    let col = (depth + index % 4u * 8u) / A_UNIT;
#endif
    return stored.base / A_UNIT + min(rows, vec4<u32>(stored.rows - 1u)) * width + col;
}

fn b_places(stored: Stored, start: u32, depth: u32, index: u32) -> vec4<u32> {
    let width = stored.cols / 8u;
#ifdef TRANSPOSE_B
    let rows = start + shuffled(index / 4u) + b_rows(stored);
    let col = depth / 8u + index % 4u;
#else
    let rows = vec4<u32>(depth + index / 16u) + vec4<u32>(0u, 8u, 16u, 24u);
    let col = min(start / 8u + index % 16u, width - 1u);
#endif
    return stored.base / 8u + min(rows, vec4<u32>(stored.rows - 1u)) * width + col;
}

#ifdef A_BY_FOUR
// The second four of eight elements lie `second` loads behind the first: at the end of a row there
// are none, and the first are loaded again.
fn a_part_at(places: vec4<u32>, second: u32) -> Part {
    let others = places + second;
    return Part(
        vec4<u32>(a[places.x], a[others.x]), vec4<u32>(a[places.y], a[others.y]),
        vec4<u32>(a[places.z], a[others.z]), vec4<u32>(a[places.w], a[others.w]));
}
#else
fn a_part_at(places: vec4<u32>, second: u32) -> Part {
    return Part(a[places.x], a[places.y], a[places.z], a[places.w]);
}
#endif

fn a_second(stored: Stored, start: u32, index: u32) -> u32 {
#ifdef TRANSPOSE_A
    return select(0u, 1u, start + index % 16u * 8u + 4u < stored.cols);
#else
    return 1u;
#endif
}

fn b_part_at(places: vec4<u32>) -> Part {
    return Part(b[places.x], b[places.y], b[places.z], b[places.w]);
}

fn a_matrix(at: u32) -> coop_mat16x16<f16, A> {
#ifdef TRANSPOSE_A
    return coopLoad<coop_mat16x16<f16, A>>(&a_tile[at], ACROSS);
#else
    return coopLoadT<coop_mat16x16<f16, A>>(&a_tile[at], ALONG);
#endif
}

fn b_matrix(at: u32) -> coop_mat16x16<f16, B> {
#ifdef TRANSPOSE_B
    return coopLoad<coop_mat16x16<f16, B>>(&b_tile[at], ALONG);
#else
    return coopLoadT<coop_mat16x16<f16, B>>(&b_tile[at], ACROSS);
#endif
}

fn slice_at(a_at: u32, b_at: u32) -> Slice {
    return Slice(
        a_matrix(a_at), a_matrix(a_at + A_NEXT),
        a_matrix(a_at + 2u * A_NEXT), a_matrix(a_at + 3u * A_NEXT),
        b_matrix(b_at), b_matrix(b_at + B_NEXT),
        b_matrix(b_at + 2u * B_NEXT), b_matrix(b_at + 3u * B_NEXT));
}

fn advanced(c: Sums, s: Slice) -> Sums {
    return Sums(
        coopMultiplyAdd(s.a_0, s.b_0, c.c_00), coopMultiplyAdd(s.a_0, s.b_1, c.c_01),
        coopMultiplyAdd(s.a_0, s.b_2, c.c_02), coopMultiplyAdd(s.a_0, s.b_3, c.c_03),
        coopMultiplyAdd(s.a_1, s.b_0, c.c_10), coopMultiplyAdd(s.a_1, s.b_1, c.c_11),
        coopMultiplyAdd(s.a_1, s.b_2, c.c_12), coopMultiplyAdd(s.a_1, s.b_3, c.c_13),
        coopMultiplyAdd(s.a_2, s.b_0, c.c_20), coopMultiplyAdd(s.a_2, s.b_1, c.c_21),
        coopMultiplyAdd(s.a_2, s.b_2, c.c_22), coopMultiplyAdd(s.a_2, s.b_3, c.c_23),
        coopMultiplyAdd(s.a_3, s.b_0, c.c_30), coopMultiplyAdd(s.a_3, s.b_1, c.c_31),
        coopMultiplyAdd(s.a_3, s.b_2, c.c_32), coopMultiplyAdd(s.a_3, s.b_3, c.c_33));
}

// What one pass makes: 128 x WIDTH outputs from this row and column on of matrix z of out, from
// these terms of k.
struct Tile {
    row: u32,
    col: u32,
    z: u32,
    depth: u32,
    depth_end: u32,
}

// What an invocation brings of both operands in one step, and from where.
struct Slab {
    a_from: vec4<u32>,
    b_from: vec4<u32>,
    a: Part,
    b: Part,
}

fn has_whole_step(tile: Tile) -> bool {
    return tile.depth + DEPTH <= tile.depth_end;
}

// That of the first step, a whole one.
fn first_slab(tile: Tile, shape: Shape, index: u32) -> Slab {
    let a_stored = stored_a(tile.z, shape);
    let a_from = a_places(a_stored, tile.row, tile.depth, index);
    let b_from = b_places(stored_b(tile.z, shape), tile.col, tile.depth, index);
    let second = a_second(a_stored, tile.row, index);
    return Slab(a_from, b_from, a_part_at(a_from, second), b_part_at(b_from));
}

// The sums with the products of all whole steps added. The loads of the next step are on their way
// while products are computed. With a branch for edges beside them the compiler would wait for them
// first.
fn after_whole_steps(
    sums: Sums,
    first: Slab,
    tile: Tile,
    shape: Shape,
    index: u32,
    subgroup: u32,
) -> Sums {
#ifdef TRANSPOSE_A
    let a_step = DEPTH * (shape.m / A_UNIT);
#else
    let a_step = DEPTH / A_UNIT;
#endif
#ifdef TRANSPOSE_B
    let b_step = DEPTH / 8u;
#else
    let b_step = DEPTH * (shape.n / 8u);
#endif
    let a_at = subgroup / 2u * 4u * A_NEXT;
    let b_at = subgroup % 2u * 4u * B_NEXT;
    let second = a_second(stored_a(tile.z, shape), tile.row, index);
    var c = sums;
    var a_from = first.a_from;
    var b_from = first.b_from;
    var a_next = first.a;
    var b_next = first.b;
    // Counted in f32: the compiler unrolls an integer loop until registers spill.
    let steps = f32((tile.depth_end - tile.depth) / DEPTH);
    for (var step = 0.0; step < steps; step += 1.0) {
        put_a(a_next, index);
        put_b(b_next, index);
        workgroupBarrier();  // the tiles are complete
        if (step + 1.0 < steps) {
            a_from += a_step;
            b_from += b_step;
            a_next = a_part_at(a_from, second);
            b_next = b_part_at(b_from);
        }
        c = advanced(c, slice_at(a_at, b_at));
        c = advanced(c, slice_at(a_at + A_SLICE, b_at + B_SLICE));
        workgroupBarrier();  // everybody has read the tiles before they are overwritten
    }
    return c;
}

#ifndef WHOLE_STEPS
// The sums with the products of the step added that reaches over the end of k.
fn after_last_step(sums: Sums, tile: Tile, shape: Shape, index: u32, subgroup: u32) -> Sums {
    let a_at = subgroup / 2u * 4u * A_NEXT;
    let b_at = subgroup % 2u * 4u * B_NEXT;
    var c = sums;
    let whole = (tile.depth_end - tile.depth) / DEPTH * DEPTH;
    for (var depth = tile.depth + whole; depth < tile.depth_end; depth += DEPTH) {
        put_a(a_part(stored_a(tile.z, shape), tile.row, depth, index), index);
        put_b(b_part(stored_b(tile.z, shape), tile.col, depth, index), index);
        workgroupBarrier();  // the tiles are complete
        c = advanced(c, slice_at(a_at, b_at));
        c = advanced(c, slice_at(a_at + A_SLICE, b_at + B_SLICE));
        workgroupBarrier();  // everybody has read the tiles before they are overwritten
    }
    return c;
}
#endif
