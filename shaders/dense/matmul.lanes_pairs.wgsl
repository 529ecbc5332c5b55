// out = op(a) op(b) + residual_scale * residual (+ out) as in `lanes`, but two neighbours with
// every load and store: on drivers that compute on the processor a load is a loop over the lanes,
// whatever its width. Operands are f32 with stored rows of even length; a and b are not both
// transposed. A workgroup of 8 lanes owns 32 rows, as 4 blocks of 8, and 64 columns: lanes bring
// the rows of op(a), which all take by broadcasts, and each keeps 4 pairs of columns of every row.
#import shared/matmul

@group(0) @binding(2) var<storage, read> a: array<u64>;          // [batch, m, k] in pairs
@group(0) @binding(3) var<storage, read> b: array<u64>;          // [batch, k, n] in pairs
@group(0) @binding(4) var<storage, read> residual: array<u64>;   // [batch, m, n] in pairs
@group(0) @binding(5) var<storage, read_write> out: array<u64>;  // [batch, m, n] in pairs

const WIDTH: u32 = 8u;
const ROWS: u32 = 32u;
const COLS: u32 = 64u;

// Four columns of eight rows.
struct Block {
    r_0: vec4<f32>,
    r_1: vec4<f32>,
    r_2: vec4<f32>,
    r_3: vec4<f32>,
    r_4: vec4<f32>,
    r_5: vec4<f32>,
    r_6: vec4<f32>,
    r_7: vec4<f32>,
}

fn unpacked(pair: u64) -> vec2<f32> {
    return bitcast<vec2<f32>>(vec2<u32>(u32(pair), u32(pair >> 32u)));
}

fn packed(values: vec2<f32>) -> u64 {
    let words = bitcast<vec2<u32>>(values);
    return u64(words.x) | (u64(words.y) << 32u);
}

// The sums with one more term: lane `l` has the number of row `l` in `left`.
fn plus(sums: Block, left: f32, right: vec4<f32>) -> Block {
    return Block(
        fma(vec4<f32>(subgroupBroadcast(left, 0u)), right, sums.r_0),
        fma(vec4<f32>(subgroupBroadcast(left, 1u)), right, sums.r_1),
        fma(vec4<f32>(subgroupBroadcast(left, 2u)), right, sums.r_2),
        fma(vec4<f32>(subgroupBroadcast(left, 3u)), right, sums.r_3),
        fma(vec4<f32>(subgroupBroadcast(left, 4u)), right, sums.r_4),
        fma(vec4<f32>(subgroupBroadcast(left, 5u)), right, sums.r_5),
        fma(vec4<f32>(subgroupBroadcast(left, 6u)), right, sums.r_6),
        fma(vec4<f32>(subgroupBroadcast(left, 7u)), right, sums.r_7));
}

// Where a lane stores: columns from `col` and from `next_col`, rows `row_step` apart.
struct Place {
    m: u32,
    n: u32,
    base: u32,
    row_step: u32,
    col: u32,
    next_col: u32,
}

fn store_pair(place: Place, row: u32, col: u32, values: vec2<f32>) {
    if (row < place.m && col < place.n) {
        let at = (place.base + row * place.n + col) / 2u;
        var sum = values;
#ifdef ADDS
        if (params.residual_scale != 0.0) {
            sum += params.residual_scale * unpacked(residual[at]);
        }
        if (params.accumulate != 0u) {
            sum += unpacked(out[at]);
        }
#endif
        out[at] = packed(sum);
    }
}

fn store_row(place: Place, row: u32, values: vec4<f32>) {
    store_pair(place, row, place.col, values.xy);
    store_pair(place, row, place.next_col, values.zw);
}

fn store(place: Place, row: u32, sums: Block) {
    let step = place.row_step;
    store_row(place, row, sums.r_0);
    store_row(place, row + step, sums.r_1);
    store_row(place, row + 2u * step, sums.r_2);
    store_row(place, row + 3u * step, sums.r_3);
    store_row(place, row + 4u * step, sums.r_4);
    store_row(place, row + 5u * step, sums.r_5);
    store_row(place, row + 6u * step, sums.r_6);
    store_row(place, row + 7u * step, sums.r_7);
}

@compute @workgroup_size(WIDTH)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let m = length_of(params.m);
    let n = length_of(params.n);
    let k = length_of(params.k);
    let row_0 = group.y * ROWS;
    if (row_0 >= m) {
        return;  // rows that a larger plan would have
    }
    let batch = group.z / params.split_count;
    let piece = piece_of(group.z, k);
    // Pairs that are not there are read where the last ones are and not stored.
    let col = group.x * COLS + 2u * lane;
    let cols = min(vec4<u32>(col) + vec4<u32>(0u, 16u, 32u, 48u), vec4<u32>(n - 2u));
#ifdef TRANSPOSE_A
    // A load brings one number of two rows that lie side by side.
    let a_base = batch * m * k + piece.x * m;
    let rows = min(vec2<u32>(row_0 + 2u * lane) + vec2<u32>(0u, 16u), vec2<u32>(m - 2u));
    var a_at = (vec2<u32>(a_base) + rows) / 2u;
    let a_step = m / 2u;
#else
    // A load brings two numbers of one row.
    let a_base = batch * m * k + piece.x;
    let own_rows = vec4<u32>(row_0 + lane) + vec4<u32>(0u, 8u, 16u, 24u);
    let rows = min(own_rows, vec4<u32>(m - 1u));
    var a_at = (vec4<u32>(a_base) + k * rows) / 2u;
#endif
#ifdef TRANSPOSE_B
    let b_base = batch * k * n + piece.x;
    var b_even = (vec4<u32>(b_base) + k * cols) / 2u;
    var b_odd = (vec4<u32>(b_base) + k * (cols + vec4<u32>(1u))) / 2u;
#else
    let b_base = batch * k * n + piece.x * n;
    var b_at = (vec4<u32>(b_base) + cols) / 2u;
    let b_step = n / 2u;
#endif
    var sums_0_0 = Block();
    var sums_0_1 = Block();
    var sums_1_0 = Block();
    var sums_1_1 = Block();
    var sums_2_0 = Block();
    var sums_2_1 = Block();
    var sums_3_0 = Block();
    var sums_3_1 = Block();
#ifdef TRANSPOSE_A
    for (var depth = piece.x; depth < piece.y; depth++) {
        let left_0 = unpacked(a[a_at.x]);
        let left_1 = unpacked(a[a_at.y]);
        let right_0 = vec4<f32>(unpacked(b[b_at.x]), unpacked(b[b_at.y]));
        let right_1 = vec4<f32>(unpacked(b[b_at.z]), unpacked(b[b_at.w]));
        sums_0_0 = plus(sums_0_0, left_0.x, right_0);
        sums_0_1 = plus(sums_0_1, left_0.x, right_1);
        sums_1_0 = plus(sums_1_0, left_0.y, right_0);
        sums_1_1 = plus(sums_1_1, left_0.y, right_1);
        sums_2_0 = plus(sums_2_0, left_1.x, right_0);
        sums_2_1 = plus(sums_2_1, left_1.x, right_1);
        sums_3_0 = plus(sums_3_0, left_1.y, right_0);
        sums_3_1 = plus(sums_3_1, left_1.y, right_1);
        a_at += vec2<u32>(a_step);
        b_at += vec4<u32>(b_step);
    }
#else
    for (var depth = piece.x; depth < piece.y; depth += 2u) {
        let left_0 = unpacked(a[a_at.x]);
        let left_1 = unpacked(a[a_at.y]);
        let left_2 = unpacked(a[a_at.z]);
        let left_3 = unpacked(a[a_at.w]);
#ifdef TRANSPOSE_B
        let col_0 = unpacked(b[b_even.x]);
        let col_1 = unpacked(b[b_odd.x]);
        let col_2 = unpacked(b[b_even.y]);
        let col_3 = unpacked(b[b_odd.y]);
        let col_4 = unpacked(b[b_even.z]);
        let col_5 = unpacked(b[b_odd.z]);
        let col_6 = unpacked(b[b_even.w]);
        let col_7 = unpacked(b[b_odd.w]);
        let right_0_0 = vec4<f32>(col_0.x, col_1.x, col_2.x, col_3.x);
        let right_0_1 = vec4<f32>(col_4.x, col_5.x, col_6.x, col_7.x);
        let right_1_0 = vec4<f32>(col_0.y, col_1.y, col_2.y, col_3.y);
        let right_1_1 = vec4<f32>(col_4.y, col_5.y, col_6.y, col_7.y);
        b_even += vec4<u32>(1u);
        b_odd += vec4<u32>(1u);
#else
        let b_next = b_at + vec4<u32>(b_step);
        let right_0_0 = vec4<f32>(unpacked(b[b_at.x]), unpacked(b[b_at.y]));
        let right_0_1 = vec4<f32>(unpacked(b[b_at.z]), unpacked(b[b_at.w]));
        let right_1_0 = vec4<f32>(unpacked(b[b_next.x]), unpacked(b[b_next.y]));
        let right_1_1 = vec4<f32>(unpacked(b[b_next.z]), unpacked(b[b_next.w]));
        b_at = b_next + vec4<u32>(b_step);
#endif
        a_at += vec4<u32>(1u);
        sums_0_0 = plus(sums_0_0, left_0.x, right_0_0);
        sums_0_0 = plus(sums_0_0, left_0.y, right_1_0);
        sums_0_1 = plus(sums_0_1, left_0.x, right_0_1);
        sums_0_1 = plus(sums_0_1, left_0.y, right_1_1);
        sums_1_0 = plus(sums_1_0, left_1.x, right_0_0);
        sums_1_0 = plus(sums_1_0, left_1.y, right_1_0);
        sums_1_1 = plus(sums_1_1, left_1.x, right_0_1);
        sums_1_1 = plus(sums_1_1, left_1.y, right_1_1);
        sums_2_0 = plus(sums_2_0, left_2.x, right_0_0);
        sums_2_0 = plus(sums_2_0, left_2.y, right_1_0);
        sums_2_1 = plus(sums_2_1, left_2.x, right_0_1);
        sums_2_1 = plus(sums_2_1, left_2.y, right_1_1);
        sums_3_0 = plus(sums_3_0, left_3.x, right_0_0);
        sums_3_0 = plus(sums_3_0, left_3.y, right_1_0);
        sums_3_1 = plus(sums_3_1, left_3.x, right_0_1);
        sums_3_1 = plus(sums_3_1, left_3.y, right_1_1);
    }
#endif
    let base = group.z * m * n;
#ifdef TRANSPOSE_A
    let row_step = 2u;
    let rows_between = vec4<u32>(0u, 1u, 16u, 17u);
#else
    let row_step = 1u;
    let rows_between = vec4<u32>(0u, 8u, 16u, 24u);
#endif
    let place_0 = Place(m, n, base, row_step, col, col + 16u);
    let place_1 = Place(m, n, base, row_step, col + 32u, col + 48u);
    let first_rows = vec4<u32>(row_0) + rows_between;
    store(place_0, first_rows.x, sums_0_0);
    store(place_1, first_rows.x, sums_0_1);
    store(place_0, first_rows.y, sums_1_0);
    store(place_1, first_rows.y, sums_1_1);
    store(place_0, first_rows.z, sums_2_0);
    store(place_1, first_rows.z, sums_2_1);
    store(place_0, first_rows.w, sums_3_0);
    store(place_1, first_rows.w, sums_3_1);
}
