// Two tiles of 16 x 64 in workgroup memory and their product in registers, for 64 invocations. An
// operand whose rows run along the depth is transposed on the way, its vectors shuffled (see
// `shuffled`) so that the stores meet no bank twice. An invocation owns 8 x 8 outputs: of each tile
// the vector of its number and the one 32 columns further. Sums travel as structs: arrays with
// indices stay in memory, and cost checked shaders.
// DEEP: a workgroup has four times 64 invocations, with tiles of their own from tile_0 on.

const ROW: u32 = 16u;  // vectors in a row of a tile

#ifdef DEEP
const PARTS: u32 = 4u;
var<private> tile_0: u32;
#else
const PARTS: u32 = 1u;
const tile_0: u32 = 0u;
#endif

var<workgroup> a_tile: array<vec4<f32>, 256u * PARTS>;
var<workgroup> b_tile: array<vec4<f32>, 256u * PARTS>;

// What an invocation brings of a tile in one step: a vector of every fourth or every 16th row.
struct Part {
    v_0: vec4<f32>,
    v_1: vec4<f32>,
    v_2: vec4<f32>,
    v_3: vec4<f32>,
}

// Rows 0 to 3 and 32 to 35 of a, columns 0 to 3 and 32 to 35 of b.
struct Sums {
    r0_left: vec4<f32>, r0_right: vec4<f32>,
    r1_left: vec4<f32>, r1_right: vec4<f32>,
    r2_left: vec4<f32>, r2_right: vec4<f32>,
    r3_left: vec4<f32>, r3_right: vec4<f32>,
    r4_left: vec4<f32>, r4_right: vec4<f32>,
    r5_left: vec4<f32>, r5_right: vec4<f32>,
    r6_left: vec4<f32>, r6_right: vec4<f32>,
    r7_left: vec4<f32>, r7_right: vec4<f32>,
}

// Where vector v of row d lies in a tile that was transposed on the way.
fn shuffled(v: u32, d: u32) -> u32 {
    return v ^ (d / 4u % 4u * 2u);
}

fn put_a_transposed(row: u32, depth: u32, v: vec4<f32>) {
    let at = depth * ROW + shuffled(row / 4u, depth);
    a_tile[tile_0 + at][row % 4u] = v.x;
    a_tile[tile_0 + at + ROW][row % 4u] = v.y;
    a_tile[tile_0 + at + 2u * ROW][row % 4u] = v.z;
    a_tile[tile_0 + at + 3u * ROW][row % 4u] = v.w;
}

// Rows index / 4 and every 16th from there.
fn put_rows_a(part: Part, index: u32) {
    put_a_transposed(index / 4u, index % 4u * 4u, part.v_0);
    put_a_transposed(index / 4u + 16u, index % 4u * 4u, part.v_1);
    put_a_transposed(index / 4u + 32u, index % 4u * 4u, part.v_2);
    put_a_transposed(index / 4u + 48u, index % 4u * 4u, part.v_3);
}

fn put_b_transposed(row: u32, depth: u32, v: vec4<f32>) {
    let at = depth * ROW + shuffled(row / 4u, depth);
    b_tile[tile_0 + at][row % 4u] = v.x;
    b_tile[tile_0 + at + ROW][row % 4u] = v.y;
    b_tile[tile_0 + at + 2u * ROW][row % 4u] = v.z;
    b_tile[tile_0 + at + 3u * ROW][row % 4u] = v.w;
}

// Rows index / 4 and every 16th from there.
fn put_rows_b(part: Part, index: u32) {
    put_b_transposed(index / 4u, index % 4u * 4u, part.v_0);
    put_b_transposed(index / 4u + 16u, index % 4u * 4u, part.v_1);
    put_b_transposed(index / 4u + 32u, index % 4u * 4u, part.v_2);
    put_b_transposed(index / 4u + 48u, index % 4u * 4u, part.v_3);
}

// A tile that lies as it was stored.
fn put_stored_a(part: Part, index: u32) {
    a_tile[tile_0 + index] = part.v_0;
    a_tile[tile_0 + index + 64u] = part.v_1;
    a_tile[tile_0 + index + 128u] = part.v_2;
    a_tile[tile_0 + index + 192u] = part.v_3;
}

fn put_stored_b(part: Part, index: u32) {
    b_tile[tile_0 + index] = part.v_0;
    b_tile[tile_0 + index + 64u] = part.v_1;
    b_tile[tile_0 + index + 128u] = part.v_2;
    b_tile[tile_0 + index + 192u] = part.v_3;
}

// The sums with the product of one row of each tile added, from these vectors of them on.
fn square_added(sums: Sums, a_at: u32, b_at: u32) -> Sums {
    let upper = a_tile[tile_0 + a_at];
    let lower = a_tile[tile_0 + a_at + 8u];
    let left = b_tile[tile_0 + b_at];
    let right = b_tile[tile_0 + b_at + 8u];
    return Sums(
        fma(vec4<f32>(upper.x), left, sums.r0_left),
        fma(vec4<f32>(upper.x), right, sums.r0_right),
        fma(vec4<f32>(upper.y), left, sums.r1_left),
        fma(vec4<f32>(upper.y), right, sums.r1_right),
        fma(vec4<f32>(upper.z), left, sums.r2_left),
        fma(vec4<f32>(upper.z), right, sums.r2_right),
        fma(vec4<f32>(upper.w), left, sums.r3_left),
        fma(vec4<f32>(upper.w), right, sums.r3_right),
        fma(vec4<f32>(lower.x), left, sums.r4_left),
        fma(vec4<f32>(lower.x), right, sums.r4_right),
        fma(vec4<f32>(lower.y), left, sums.r5_left),
        fma(vec4<f32>(lower.y), right, sums.r5_right),
        fma(vec4<f32>(lower.z), left, sums.r6_left),
        fma(vec4<f32>(lower.z), right, sums.r6_right),
        fma(vec4<f32>(lower.w), left, sums.r7_left),
        fma(vec4<f32>(lower.w), right, sums.r7_right));
}
