// A product on matrix units, a tile a workgroup, see matmul_matrix_tile. The kernel that imports
// this has `first_sums`, what the sums of a tile begin with, and `finish`, which says what becomes
// of a row of four matrices.
#import shared/matmul_matrix_tile

const BAND: u32 = 8u;

var<workgroup> block: array<vec4<f32>, 256>;  // a 16 x 16 block of each subgroup

// Where the outputs of a subgroup go: its first row and column, and the matrix they are in. The
// columns of pairs are counted once.
struct Place {
    row: u32,
    col: u32,
    base: u32,
    m: u32,
    n: u32,
    subgroup: u32,
    lane: u32,
    // Whether the whole tile lies in the matrix.
    is_inside: bool,
}

// What a lane has of a matrix of sums: four columns, from 4 (lane % 4) on, of rows lane / 4 and
// eight further.
struct Spread {
    upper: vec4<f32>,
    lower: vec4<f32>,
}

// A matrix by rows, through workgroup memory: the layout in registers is the driver's own.
fn spread(c: coop_mat16x16<f32, C>, place: Place) -> Spread {
    let mine = place.subgroup * 64u;
    let stride = 4u;
    workgroupBarrier();  // the matrix before is read
    coopStoreT(c, &block[mine], stride);
    workgroupBarrier();  // this one is written
    return Spread(block[mine + place.lane], block[mine + place.lane + 32u]);
}

fn tiles_across(shape: Shape) -> u32 {
    return (shape.n + TILE - 1u) / TILE;
}

// Tile `index` of matrix z. Tiles that are made at the same time lie in bands of BAND rows of
// tiles, so that they share columns of b as well as rows of a in the cache.
fn tile_of(index: u32, z: u32, shape: Shape) -> Tile {
    let across = tiles_across(shape);
    let first = index / (BAND * across) * BAND;
    let count = (shape.m + TILE - 1u) / TILE;
    let rows = clamp(count - min(first, count), 1u, BAND);
    let place = index % (BAND * across);
    let piece = piece_of(z, shape.k);
    return Tile(
        (first + place % rows) * TILE, place / rows * WIDTH, z, piece.x, piece.y);
}

fn place_of(tile: Tile, shape: Shape, subgroup: u32, lane: u32) -> Place {
    return Place(
        tile.row + subgroup / 2u * 64u, tile.col + subgroup % 2u * (WIDTH / 2u),
        tile.z * shape.m * shape.n, shape.m, shape.n, subgroup, lane,
        tile.row + TILE <= shape.m && tile.col + WIDTH <= shape.n);
}

fn finish_all(sums: Sums, place: Place) {
    finish(0u, sums.c_00, sums.c_01, sums.c_02, sums.c_03, place);
    finish(1u, sums.c_10, sums.c_11, sums.c_12, sums.c_13, place);
    finish(2u, sums.c_20, sums.c_21, sums.c_22, sums.c_23, place);
    finish(3u, sums.c_30, sums.c_31, sums.c_32, sums.c_33, place);
}

// naga takes places that depend on the lane for control flow that does.
@compute @workgroup_size(128)
@diagnostic(off, derivative_uniformity)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) index: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    let shape = shape_now();
    let tile = tile_of(group.y * groups.x + group.x, group.z, shape);
    if (tile.row >= shape.m || tile.col >= shape.n) {
        return;  // tiles that a larger plan would have
    }
    let place = place_of(tile, shape, subgroup, lane);
    var sums = first_sums(place);
    if (has_whole_step(tile)) {
        let slab = first_slab(tile, shape, index);
        sums = after_whole_steps(sums, slab, tile, shape, index, subgroup);
    }
#ifndef WHOLE_STEPS
    sums = after_last_step(sums, tile, shape, index, subgroup);
#endif
    finish_all(sums, place);
}
