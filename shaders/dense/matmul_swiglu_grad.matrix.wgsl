// dgate_up = the gradient of SwiGLU for dout = a b, see matmul_swiglu_grad, on matrix units.
#import shared/matmul_matrix
#import shared/swiglu_grad

@group(0) @binding(4) var<storage, read> gate_up: array<gate_up_type>;          // [m, 2n]
@group(0) @binding(5) var<storage, read_write> dgate_up: array<dgate_up_type>;  // [m, 2n]

fn first_sums(place: Place) -> Sums {
    return Sums();
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
    // All of a row of matrices is on its way before the first matrix is stored.
    let upper_0 = kept_at(row, col, place);
    let lower_0 = kept_at(row + 8u, col, place);
    let upper_1 = kept_at(row, col + 16u, place);
    let lower_1 = kept_at(row + 8u, col + 16u, place);
    let upper_2 = kept_at(row, col + 32u, place);
    let lower_2 = kept_at(row + 8u, col + 32u, place);
    let upper_3 = kept_at(row, col + 48u, place);
    let lower_3 = kept_at(row + 8u, col + 48u, place);
    let v_0 = spread(c_0, place);
    store(row, col, place, v_0.upper, upper_0);
    store(row + 8u, col, place, v_0.lower, lower_0);
    let v_1 = spread(c_1, place);
    store(row, col + 16u, place, v_1.upper, upper_1);
    store(row + 8u, col + 16u, place, v_1.lower, lower_1);
    let v_2 = spread(c_2, place);
    store(row, col + 32u, place, v_2.upper, upper_2);
    store(row + 8u, col + 32u, place, v_2.lower, lower_2);
    let v_3 = spread(c_3, place);
    store(row, col + 48u, place, v_3.upper, upper_3);
    store(row + 8u, col + 48u, place, v_3.lower, lower_3);
}
