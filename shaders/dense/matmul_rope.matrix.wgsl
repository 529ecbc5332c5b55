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
        out[(row * place.n + col) / 4u] = out_type(values);
    }
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
    // All angles are on their way before the first matrix is stored.
    let upper_0 = angles_at(row, col, place);
    let lower_0 = angles_at(row + 8u, col, place);
    let upper_1 = angles_at(row, col + 16u, place);
    let lower_1 = angles_at(row + 8u, col + 16u, place);
    let upper_2 = angles_at(row, col + 32u, place);
    let lower_2 = angles_at(row + 8u, col + 32u, place);
    let upper_3 = angles_at(row, col + 48u, place);
    let lower_3 = angles_at(row + 8u, col + 48u, place);
    let v_0 = spread(c_0, place);
    store(row, col, place, turned(v_0.upper, upper_0));
    store(row + 8u, col, place, turned(v_0.lower, lower_0));
    let v_1 = spread(c_1, place);
    store(row, col + 16u, place, turned(v_1.upper, upper_1));
    store(row + 8u, col + 16u, place, turned(v_1.lower, lower_1));
    let v_2 = spread(c_2, place);
    store(row, col + 32u, place, turned(v_2.upper, upper_2));
    store(row + 8u, col + 32u, place, turned(v_2.lower, lower_2));
    let v_3 = spread(c_3, place);
    store(row, col + 48u, place, turned(v_3.upper, upper_3));
    store(row + 8u, col + 48u, place, turned(v_3.lower, lower_3));
}
