// out = a bᵀ, its columns up to rotated_cols turned, see matmul_rope, on matrix units.
#import shared/matmul_matrix
#import shared/matmul_rope

@group(0) @binding(4) var<storage, read> position: array<u32>;        // [m]
@group(0) @binding(5) var<storage, read> table: array<vec4<f32>>;     // [positions, head_dim]
@group(0) @binding(6) var<storage, read_write> out: array<out_type>;  // [m, n]

fn first_sums(place: Place) -> Sums {
    return Sums();
}

// Four outputs of a row.
fn store(row: u32, col: u32, place: Place, values: vec4<f32>) {
    if (row < place.m && col < place.n) {
        out[(row * place.n + col) / 4u] = out_type(turned(row, col, values));
    }
}

fn finish_matrix(row: u32, col: u32, c: coop_mat16x16<f32, C>, place: Place) {
    let values = spread(c, place);
    store(row, col, place, values.upper);
    store(row + 8u, col, place, values.lower);
}

fn finish(
    i: u32,
    c_0: coop_mat16x16<f32, C>,
    c_1: coop_mat16x16<f32, C>,
    c_2: coop_mat16x16<f32, C>,
    c_3: coop_mat16x16<f32, C>,
    place: Place,
) {
    let row = place.row + i * 16u + place.lane / 4u;
    let col = place.col + place.lane % 4u * 4u;
    finish_matrix(row, col, c_0, place);
    finish_matrix(row, col + 16u, c_1, place);
    finish_matrix(row, col + 32u, c_2, place);
    finish_matrix(row, col + 48u, c_3, place);
}
