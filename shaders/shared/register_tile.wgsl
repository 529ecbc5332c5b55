// Products of the two tiles of `square_tile` in registers for attention, some of them of a tile of
// 32 rows: an invocation then owns 4 x 8 or 8 x 4 outputs. A loop whose end has `params.zero` in it
// is not unrolled.
#import shared/square_tile

// What an invocation brings of a tile of 32 rows.
struct HalfPart {
    v_0: vec4<f32>,
    v_1: vec4<f32>,
}

// Rows 0 to 3 of a, columns 0 to 3 and 32 to 35 of b.
struct FlatSums {
    r0_left: vec4<f32>, r0_right: vec4<f32>,
    r1_left: vec4<f32>, r1_right: vec4<f32>,
    r2_left: vec4<f32>, r2_right: vec4<f32>,
    r3_left: vec4<f32>, r3_right: vec4<f32>,
}

// Rows 0 to 3 and 32 to 35 of a, columns 0 to 3 of b.
struct TallSums {
    r0: vec4<f32>,
    r1: vec4<f32>,
    r2: vec4<f32>,
    r3: vec4<f32>,
    r4: vec4<f32>,
    r5: vec4<f32>,
    r6: vec4<f32>,
    r7: vec4<f32>,
}

fn put_half_rows_b(part: HalfPart, index: u32) {
    put_b_transposed(index / 4u, index % 4u * 4u, part.v_0);
    put_b_transposed(index / 4u + 16u, index % 4u * 4u, part.v_1);
}

// Two of the 16 rows of a by which a product goes on: those of my group of rows, for my vectors.
fn put_pair(
    group: u32, vector: u32,
    left_0: vec4<f32>, right_0: vec4<f32>, left_1: vec4<f32>, right_1: vec4<f32>,
) {
    let at = 2u * group * ROW + vector;
    a_tile[at] = left_0;
    a_tile[at + 8u] = right_0;
    a_tile[at + ROW] = left_1;
    a_tile[at + ROW + 8u] = right_1;
}

// The same of a tile of 32 columns.
fn put_half_pair(group: u32, vector: u32, value_0: vec4<f32>, value_1: vec4<f32>) {
    a_tile[2u * group * ROW + vector] = value_0;
    a_tile[2u * group * ROW + vector + ROW] = value_1;
}

// The row of 64 that stands in row `slot` of piece `piece` of 16, as `put_pair` takes them from
// the sums: each group gives its first two rows to piece 0, the next two to piece 1 and so on.
fn row_of(piece: u32, slot: u32) -> u32 {
    return piece / 2u * 32u + slot / 2u * 4u + piece % 2u * 2u + slot % 2u;
}

// Where an invocation reads its vector for four depths and for the next four.
fn places(vector: u32, half: u32) -> vec2<u32> {
    return half * 8u * ROW + vec2<u32>(vector, vector + 4u * ROW);
}

fn shuffled_places(vector: u32, half: u32) -> vec2<u32> {
    let near = vector ^ (half * 4u);
    return half * 8u * ROW + vec2<u32>(near, (near ^ 2u) + 4u * ROW);
}

fn square_eight(sums: Sums, a: vec2<u32>, b: vec2<u32>) -> Sums {
    var s = square_added(sums, a.x, b.x);
    s = square_added(s, a.x + ROW, b.x + ROW);
    s = square_added(s, a.x + 2u * ROW, b.x + 2u * ROW);
    s = square_added(s, a.x + 3u * ROW, b.x + 3u * ROW);
    s = square_added(s, a.y, b.y);
    s = square_added(s, a.y + ROW, b.y + ROW);
    s = square_added(s, a.y + 2u * ROW, b.y + 2u * ROW);
    return square_added(s, a.y + 3u * ROW, b.y + 3u * ROW);
}

// A whole step over tiles that were both transposed on the way.
fn square_shuffled_step(sums: Sums, row: u32, col: u32) -> Sums {
    var s = sums;
    for (var half = 0u; half < 2u + params.zero; half++) {
        s = square_eight(s, shuffled_places(row, half), shuffled_places(col, half));
    }
    return s;
}

// A whole step over tiles of which neither was.
fn square_step(sums: Sums, row: u32, col: u32) -> Sums {
    var s = sums;
    for (var half = 0u; half < 2u + params.zero; half++) {
        s = square_eight(s, places(row, half), places(col, half));
    }
    return s;
}

fn flat_added(sums: FlatSums, a_at: u32, b_at: u32) -> FlatSums {
    let upper = a_tile[a_at];
    let left = b_tile[b_at];
    let right = b_tile[b_at + 8u];
    return FlatSums(
        sums.r0_left + upper.x * left, sums.r0_right + upper.x * right,
        sums.r1_left + upper.y * left, sums.r1_right + upper.y * right,
        sums.r2_left + upper.z * left, sums.r2_right + upper.z * right,
        sums.r3_left + upper.w * left, sums.r3_right + upper.w * right);
}

fn flat_eight(sums: FlatSums, a: vec2<u32>, b: vec2<u32>) -> FlatSums {
    var s = flat_added(sums, a.x, b.x);
    s = flat_added(s, a.x + ROW, b.x + ROW);
    s = flat_added(s, a.x + 2u * ROW, b.x + 2u * ROW);
    s = flat_added(s, a.x + 3u * ROW, b.x + 3u * ROW);
    s = flat_added(s, a.y, b.y);
    s = flat_added(s, a.y + ROW, b.y + ROW);
    s = flat_added(s, a.y + 2u * ROW, b.y + 2u * ROW);
    return flat_added(s, a.y + 3u * ROW, b.y + 3u * ROW);
}

// A whole step over tiles of which neither was.
fn flat_step(sums: FlatSums, row: u32, col: u32) -> FlatSums {
    let s = flat_eight(sums, places(row, 0u), places(col, 0u));
    return flat_eight(s, places(row, 1u), places(col, 1u));
}

fn tall_added(sums: TallSums, a_at: u32, b_at: u32) -> TallSums {
    let upper = a_tile[a_at];
    let lower = a_tile[a_at + 8u];
    let left = b_tile[b_at];
    return TallSums(
        sums.r0 + upper.x * left,
        sums.r1 + upper.y * left,
        sums.r2 + upper.z * left,
        sums.r3 + upper.w * left,
        sums.r4 + lower.x * left,
        sums.r5 + lower.y * left,
        sums.r6 + lower.z * left,
        sums.r7 + lower.w * left);
}

fn tall_eight(sums: TallSums, a: vec2<u32>, b: vec2<u32>) -> TallSums {
    var s = tall_added(sums, a.x, b.x);
    s = tall_added(s, a.x + ROW, b.x + ROW);
    s = tall_added(s, a.x + 2u * ROW, b.x + 2u * ROW);
    s = tall_added(s, a.x + 3u * ROW, b.x + 3u * ROW);
    s = tall_added(s, a.y, b.y);
    s = tall_added(s, a.y + ROW, b.y + ROW);
    s = tall_added(s, a.y + 2u * ROW, b.y + 2u * ROW);
    return tall_added(s, a.y + 3u * ROW, b.y + 3u * ROW);
}

// A whole step over tiles that were both transposed on the way.
fn tall_shuffled_step(sums: TallSums, row: u32, col: u32) -> TallSums {
    let s = tall_eight(sums, shuffled_places(row, 0u), shuffled_places(col, 0u));
    return tall_eight(s, shuffled_places(row, 1u), shuffled_places(col, 1u));
}
