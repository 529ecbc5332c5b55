// out = silu(gate) * up, where [gate | up] = a bᵀ, see matmul_swiglu, on matrix units. A workgroup
// makes 128 x 64 outputs.
#import shared/matmul_matrix
#import shared/sigmoid

@group(0) @binding(4) var<storage, read_write> gate_up: array<gate_up_type>;  // [m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;          // [m, n / 2]

fn first_sums(place: Place) -> Sums {
    return Sums();
}

// Four outputs of a row.
fn store(row: u32, col: u32, place: Place, gate: vec4<f32>, up: vec4<f32>) {
    let features = place.n / 2u;
    if (row >= place.m || col >= features) {
        return;
    }
    out[(row * features + col) / 4u] = out_type(gate * sigmoid(gate) * up);
    if (params.keeps_sums != 0u) {
        let gate_at = row * place.n + col;
        gate_up[gate_at / 4u] = gate_up_type(gate);
        gate_up[(gate_at + features) / 4u] = gate_up_type(up);
    }
}

fn finish_pair(
    row: u32,
    col: u32,
    gate: coop_mat16x16<f32, C>,
    up: coop_mat16x16<f32, C>,
    place: Place,
) {
    let gates = spread(gate, place);
    let ups = spread(up, place);
    store(row, col, place, gates.upper, ups.upper);
    store(row + 8u, col, place, gates.lower, ups.lower);
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
    finish_pair(row, col, c_0, c_2, place);
    finish_pair(row, col + 16u, c_1, c_3, place);
}
