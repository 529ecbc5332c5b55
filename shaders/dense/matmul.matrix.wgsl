// out = op(a) op(b) + residual_scale * residual (+ out) on cooperative matrices: f16 operands, f32
// sums, one 128 x 128 tile a workgroup of four subgroups, 64 x 64 each.
// TRANSPOSE_A: a is stored [k, m]; TRANSPOSE_B: b is stored [n, k].
// Stored rows of a and b are whole vectors of eight f16, rows of out of four.
//
// What is odd here is for the compilers of drivers. Operands are loaded as words, 16 bytes at once,
// and become f16 in workgroup memory. Sums and fragments are variables, never arrays. Loads reach
// over no edge because their places are clamped; what does not belong to the product is made zero
// when it is stored, so that nothing waits for a load before the products of the step before.
// Workgroup memory stays within 24 KiB, so that two workgroups fit one processor, and every
// variable there is a multiple of 16 bytes: fragments are loaded from such places only.
#import shared/matmul

@group(0) @binding(2) var<storage, read> a: array<vec4<u32>>;             // [batch, m, k]
@group(0) @binding(3) var<storage, read> b: array<vec4<u32>>;             // [batch, k, n]
@group(0) @binding(4) var<storage, read> residual: array<residual_type>;  // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;      // [batch, m, n]

const WIDTH: u32 = 128u;
const LANES: u32 = 32u;
const TILE: u32 = 128u;
const DEPTH: u32 = 16u;

// Two steps of an operand lie side by side: while one is multiplied the other is filled. Stored
// with k along its rows an operand is [TILE, 2 DEPTH] in workgroup memory, else [2 DEPTH, TILE];
// PITCH is the vectors of a row, STEP from one step to the next, FRAGMENT from one fragment to the
// next,
// FAR from the first eight elements of an invocation to its second.
#ifdef TRANSPOSE_A
const A_PITCH: u32 = 34u;
const A_STEP: u32 = DEPTH * A_PITCH;
const A_FRAGMENT: u32 = 4u;
const A_FAR: u32 = 8u * A_PITCH;
#else
const A_PITCH: u32 = 10u;
const A_STEP: u32 = 4u;
const A_FRAGMENT: u32 = 16u * A_PITCH;
const A_FAR: u32 = 64u * A_PITCH;
#endif
#ifdef TRANSPOSE_B
const B_PITCH: u32 = 10u;
const B_STEP: u32 = 4u;
const B_FRAGMENT: u32 = 16u * B_PITCH;
const B_FAR: u32 = 64u * B_PITCH;
#else
const B_PITCH: u32 = 34u;
const B_STEP: u32 = DEPTH * B_PITCH;
const B_FRAGMENT: u32 = 4u;
const B_FAR: u32 = 8u * B_PITCH;
#endif

var<workgroup> a_tile: array<vec4<f16>, 1280>;
var<workgroup> b_tile: array<vec4<f16>, 1280>;
var<workgroup> part: array<vec4<f32>, 256>;  // 16 x 16 sums of each subgroup on their way out

// Where an invocation loads and stores its first eight elements of a step of an operand: row and
// column of the operand as it is stored, counted from the tile, and their place in the tile.
struct Place {
    row: u32,
    col: u32,
    at: u32,
}

// Of an operand stored with k along its rows. Rows are shuffled within eight, so that stores of
// neighbours meet no bank twice.
fn place_along(index: u32) -> Place {
    let i = index / 2u;
    let row = (i & ~7u) | ((i & 3u) << 1u) | ((i >> 2u) & 1u);
    return Place(row, index % 2u * 8u, row * 10u + index % 2u * 2u);
}

// Of an operand stored with k from row to row.
fn place_across(index: u32) -> Place {
    return Place(index / 16u, index % 16u * 8u, index / 16u * 34u + index % 16u * 2u);
}

fn lower(words: vec4<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)));
}

fn upper(words: vec4<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.z), unpack2x16float(words.w)));
}

// Index of eight elements of a stored operand [rows, cols], clamped to what there is.
fn clamped(base: u32, row: u32, col: u32, rows: u32, cols: u32) -> u32 {
    return (base + min(row, max(rows, 1u) - 1u) * cols + min(col, cols - 8u)) / 8u;
}

// The first or, with far 1, the second eight elements that an invocation loads of a for the step
// at `depth`, and whether they lie before `end`.
fn a_words(base: u32, place: Place, row_0: u32, depth: u32, far: u32, m: u32, k: u32) -> vec4<u32> {
#ifdef TRANSPOSE_A
    return a[clamped(base, depth + place.row + 8u * far, row_0 + place.col, k, m)];
#else
    return a[clamped(base, row_0 + place.row + 64u * far, depth + place.col, m, k)];
#endif
}

fn a_kept(place: Place, depth: u32, far: u32, end: u32) -> bool {
#ifdef TRANSPOSE_A
    return depth + place.row + 8u * far < end;
#else
    return depth + place.col < end;
#endif
}

// The same for b.
fn b_words(base: u32, place: Place, col_0: u32, depth: u32, far: u32, n: u32, k: u32) -> vec4<u32> {
#ifdef TRANSPOSE_B
    return b[clamped(base, col_0 + place.row + 64u * far, depth + place.col, n, k)];
#else
    return b[clamped(base, depth + place.row + 8u * far, col_0 + place.col, k, n)];
#endif
}

fn b_kept(place: Place, depth: u32, far: u32, end: u32) -> bool {
#ifdef TRANSPOSE_B
    return depth + place.col < end;
#else
    return depth + place.row + 8u * far < end;
#endif
}

fn put_a(at: u32, words: vec4<u32>, kept: bool) {
    let values = select(vec4<u32>(), words, kept);
    a_tile[at] = lower(values);
    a_tile[at + 1u] = upper(values);
}

fn put_b(at: u32, words: vec4<u32>, kept: bool) {
    let values = select(vec4<u32>(), words, kept);
    b_tile[at] = lower(values);
    b_tile[at + 1u] = upper(values);
}

// Brings the 16 x 16 sums of a subgroup, in `part` from `start` on, to row_0 and col_0 of out.
fn bring_out(start: u32, lane: u32, row_0: u32, col_0: u32, base: u32, m: u32, n: u32) {
    for (var i = 0u; i < 2u; i++) {
        let row = row_0 + lane / 4u + 8u * i;
        let col = col_0 + lane % 4u * 4u;
        if (row < m && col < n) {
            let at = (base + row * n + col) / 4u;
            var sum = part[start + lane + 32u * i];
            if (params.residual_scale != 0.0) {
                sum += params.residual_scale * vec4<f32>(residual[at]);
            }
            if (params.accumulate != 0u) {
                sum += vec4<f32>(out[at]);
            }
            out[at] = out_type(sum);
        }
    }
}

// naga takes the bounds of the loop for different from lane to lane, which they are not.
@compute @workgroup_size(WIDTH)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
) {
    let m = length_of(params.m);
    let n = length_of(params.n);
    let k = length_of(params.k);
    let row_0 = group.y * TILE;
    let col_0 = group.x * TILE;
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
    let a_base = batch * m * k;
    let b_base = batch * k * n;
    var c00 = coop_mat16x16<f32, C>();
    var c01 = coop_mat16x16<f32, C>();
    var c02 = coop_mat16x16<f32, C>();
    var c03 = coop_mat16x16<f32, C>();
    var c10 = coop_mat16x16<f32, C>();
    var c11 = coop_mat16x16<f32, C>();
    var c12 = coop_mat16x16<f32, C>();
    var c13 = coop_mat16x16<f32, C>();
    var c20 = coop_mat16x16<f32, C>();
    var c21 = coop_mat16x16<f32, C>();
    var c22 = coop_mat16x16<f32, C>();
    var c23 = coop_mat16x16<f32, C>();
    var c30 = coop_mat16x16<f32, C>();
    var c31 = coop_mat16x16<f32, C>();
    var c32 = coop_mat16x16<f32, C>();
    var c33 = coop_mat16x16<f32, C>();

    if (piece.x < piece.y) {
#ifdef TRANSPOSE_A
        let a_place = place_across(index);
#else
        let a_place = place_along(index);
#endif
#ifdef TRANSPOSE_B
        let b_place = place_along(index);
#else
        let b_place = place_across(index);
#endif
        let end = piece.y;
        var depth = piece.x;
        var a_near = a_words(a_base, a_place, row_0, depth, 0u, m, k);
        var a_far = a_words(a_base, a_place, row_0, depth, 1u, m, k);
        var b_near = b_words(b_base, b_place, col_0, depth, 0u, n, k);
        var b_far = b_words(b_base, b_place, col_0, depth, 1u, n, k);
        put_a(a_place.at, a_near, a_kept(a_place, depth, 0u, end));
        put_a(a_place.at + A_FAR, a_far, a_kept(a_place, depth, 1u, end));
        put_b(b_place.at, b_near, b_kept(b_place, depth, 0u, end));
        put_b(b_place.at + B_FAR, b_far, b_kept(b_place, depth, 1u, end));
        depth += DEPTH;
        a_near = a_words(a_base, a_place, row_0, depth, 0u, m, k);
        a_far = a_words(a_base, a_place, row_0, depth, 1u, m, k);
        b_near = b_words(b_base, b_place, col_0, depth, 0u, n, k);
        b_far = b_words(b_base, b_place, col_0, depth, 1u, n, k);
        workgroupBarrier();  // the first step is complete
        // `depth` is that of the words in hand; the step before it lies in workgroup memory.
        for (var step = 0u; depth < end + DEPTH; step = 1u - step) {
            let a_at = a_place.at + (1u - step) * A_STEP;
            let b_at = b_place.at + (1u - step) * B_STEP;
            put_a(a_at, a_near, a_kept(a_place, depth, 0u, end));
            put_a(a_at + A_FAR, a_far, a_kept(a_place, depth, 1u, end));
            put_b(b_at, b_near, b_kept(b_place, depth, 0u, end));
            put_b(b_at + B_FAR, b_far, b_kept(b_place, depth, 1u, end));
            depth += DEPTH;
            a_near = a_words(a_base, a_place, row_0, depth, 0u, m, k);
            a_far = a_words(a_base, a_place, row_0, depth, 1u, m, k);
            b_near = b_words(b_base, b_place, col_0, depth, 0u, n, k);
            b_far = b_words(b_base, b_place, col_0, depth, 1u, n, k);
            let a_from = subgroup / 2u * 4u * A_FRAGMENT + step * A_STEP;
            let b_from = subgroup % 2u * 4u * B_FRAGMENT + step * B_STEP;
#ifdef TRANSPOSE_A
            let a0 = coopLoad<coop_mat16x16<f16, A>>(&a_tile[a_from], A_PITCH);
            let a1 = coopLoad<coop_mat16x16<f16, A>>(&a_tile[a_from + A_FRAGMENT], A_PITCH);
            let a2 = coopLoad<coop_mat16x16<f16, A>>(&a_tile[a_from + 2u * A_FRAGMENT], A_PITCH);
            let a3 = coopLoad<coop_mat16x16<f16, A>>(&a_tile[a_from + 3u * A_FRAGMENT], A_PITCH);
#else
            let a0 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[a_from], A_PITCH);
            let a1 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[a_from + A_FRAGMENT], A_PITCH);
            let a2 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[a_from + 2u * A_FRAGMENT], A_PITCH);
            let a3 = coopLoadT<coop_mat16x16<f16, A>>(&a_tile[a_from + 3u * A_FRAGMENT], A_PITCH);
#endif
#ifdef TRANSPOSE_B
            let b0 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[b_from], B_PITCH);
#else
            let b0 = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[b_from], B_PITCH);
#endif
            c00 = coopMultiplyAdd(a0, b0, c00);
            c10 = coopMultiplyAdd(a1, b0, c10);
            c20 = coopMultiplyAdd(a2, b0, c20);
            c30 = coopMultiplyAdd(a3, b0, c30);
#ifdef TRANSPOSE_B
            let b1 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[b_from + B_FRAGMENT], B_PITCH);
#else
            let b1 = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[b_from + B_FRAGMENT], B_PITCH);
#endif
            c01 = coopMultiplyAdd(a0, b1, c01);
            c11 = coopMultiplyAdd(a1, b1, c11);
            c21 = coopMultiplyAdd(a2, b1, c21);
            c31 = coopMultiplyAdd(a3, b1, c31);
#ifdef TRANSPOSE_B
            let b2 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[b_from + 2u * B_FRAGMENT], B_PITCH);
#else
            let b2 = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[b_from + 2u * B_FRAGMENT], B_PITCH);
#endif
            c02 = coopMultiplyAdd(a0, b2, c02);
            c12 = coopMultiplyAdd(a1, b2, c12);
            c22 = coopMultiplyAdd(a2, b2, c22);
            c32 = coopMultiplyAdd(a3, b2, c32);
#ifdef TRANSPOSE_B
            let b3 = coopLoad<coop_mat16x16<f16, B>>(&b_tile[b_from + 3u * B_FRAGMENT], B_PITCH);
#else
            let b3 = coopLoadT<coop_mat16x16<f16, B>>(&b_tile[b_from + 3u * B_FRAGMENT], B_PITCH);
#endif
            c03 = coopMultiplyAdd(a0, b3, c03);
            c13 = coopMultiplyAdd(a1, b3, c13);
            c23 = coopMultiplyAdd(a2, b3, c23);
            c33 = coopMultiplyAdd(a3, b3, c33);
            workgroupBarrier();  // the next step is complete, and this one is read
        }
    }

    let lane = index % LANES;
    let start = subgroup * 64u;
    let base = group.z * m * n;
    let row = row_0 + subgroup / 2u * 64u;
    let col = col_0 + subgroup % 2u * 64u;
    // Each part is complete before it is brought out, and read before the next one takes its place.
    coopStoreT(c00, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row, col, base, m, n);
    workgroupBarrier();
    coopStoreT(c01, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row, col + 16u, base, m, n);
    workgroupBarrier();
    coopStoreT(c02, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row, col + 32u, base, m, n);
    workgroupBarrier();
    coopStoreT(c03, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row, col + 48u, base, m, n);
    workgroupBarrier();
    coopStoreT(c10, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 16u, col, base, m, n);
    workgroupBarrier();
    coopStoreT(c11, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 16u, col + 16u, base, m, n);
    workgroupBarrier();
    coopStoreT(c12, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 16u, col + 32u, base, m, n);
    workgroupBarrier();
    coopStoreT(c13, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 16u, col + 48u, base, m, n);
    workgroupBarrier();
    coopStoreT(c20, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 32u, col, base, m, n);
    workgroupBarrier();
    coopStoreT(c21, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 32u, col + 16u, base, m, n);
    workgroupBarrier();
    coopStoreT(c22, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 32u, col + 32u, base, m, n);
    workgroupBarrier();
    coopStoreT(c23, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 32u, col + 48u, base, m, n);
    workgroupBarrier();
    coopStoreT(c30, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 48u, col, base, m, n);
    workgroupBarrier();
    coopStoreT(c31, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 48u, col + 16u, base, m, n);
    workgroupBarrier();
    coopStoreT(c32, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 48u, col + 32u, base, m, n);
    workgroupBarrier();
    coopStoreT(c33, &part[start], 4u);
    workgroupBarrier();
    bring_out(start, lane, row + 48u, col + 48u, base, m, n);
    workgroupBarrier();
}
