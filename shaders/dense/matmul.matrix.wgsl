// out = op(a) op(b) + residual_scale * residual (+ out) on matrix units: f16 operands, f32 sums.
// The rows of out are whole vectors of four.
#import shared/matmul_matrix

@group(0) @binding(4) var<storage, read> residual: array<residual_type>;  // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;      // [batch, m, n]

// Where matrix j of row i of a subgroup begins, in vectors.
fn first_vector(i: u32, j: u32, place: Place) -> u32 {
    return (place.base + (place.row + i * 16u) * place.n + place.col) / 4u + j * 4u;
}

#ifdef BEGINS_WITH_RESIDUAL
fn first_matrix(i: u32, j: u32, place: Place) -> coop_mat16x16<f32, C> {
    let at = first_vector(i, j, place);
    let stride = place.n / 4u;
    return coopLoadT<coop_mat16x16<f32, C>>(&residual[at], stride) * params.residual_scale;
}
#endif

// Where the tile is whole its sums begin with a residual in f32: memory brings it while the first
// products are loaded, and nothing waits for it at the end.
fn first_sums(place: Place) -> Sums {
#ifdef BEGINS_WITH_RESIDUAL
    if (place.is_inside) {
        return Sums(
            first_matrix(0u, 0u, place), first_matrix(0u, 1u, place),
            first_matrix(0u, 2u, place), first_matrix(0u, 3u, place),
            first_matrix(1u, 0u, place), first_matrix(1u, 1u, place),
            first_matrix(1u, 2u, place), first_matrix(1u, 3u, place),
            first_matrix(2u, 0u, place), first_matrix(2u, 1u, place),
            first_matrix(2u, 2u, place), first_matrix(2u, 3u, place),
            first_matrix(3u, 0u, place), first_matrix(3u, 1u, place),
            first_matrix(3u, 2u, place), first_matrix(3u, 3u, place));
    }
#endif
    return Sums();
}

// What is added to the outputs that a lane stores of a row of four matrices: two vectors of each.
struct Added {
    v_00: vec4<f32>, v_01: vec4<f32>,
    v_10: vec4<f32>, v_11: vec4<f32>,
    v_20: vec4<f32>, v_21: vec4<f32>,
    v_30: vec4<f32>, v_31: vec4<f32>,
}

fn added_at(row: u32, col: u32, place: Place) -> vec4<f32> {
    if (row >= place.m || col >= place.n) {
        return vec4<f32>();
    }
    let at = (place.base + row * place.n + col) / 4u;
    var sum = vec4<f32>();
    if (params.residual_scale != 0.0) {
        sum = params.residual_scale * vec4<f32>(residual[at]);
    }
    if (params.accumulate != 0u) {
        sum += vec4<f32>(out[at]);
    }
    return sum;
}

// All loads of a row of matrices are on their way before the first one is stored.
fn added_to(row: u32, col: u32, place: Place) -> Added {
    if (params.residual_scale == 0.0 && params.accumulate == 0u) {
        return Added();
    }
#ifdef BEGINS_WITH_RESIDUAL
    if (place.is_inside) {
        return Added();
    }
#endif
    return Added(
        added_at(row, col, place), added_at(row + 8u, col, place),
        added_at(row, col + 16u, place), added_at(row + 8u, col + 16u, place),
        added_at(row, col + 32u, place), added_at(row + 8u, col + 32u, place),
        added_at(row, col + 48u, place), added_at(row + 8u, col + 48u, place));
}

// Four outputs of a row.
fn store(row: u32, col: u32, place: Place, values: vec4<f32>) {
    if (row < place.m && col < place.n) {
        out[(place.base + row * place.n + col) / 4u] = out_type(values);
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
#ifdef BEGINS_WITH_RESIDUAL
    if (place.is_inside) {
        let at_0 = first_vector(i, 0u, place);
        let at_1 = first_vector(i, 1u, place);
        let at_2 = first_vector(i, 2u, place);
        let at_3 = first_vector(i, 3u, place);
        let stride = place.n / 4u;
        coopStoreT(c_0, &out[at_0], stride);
        coopStoreT(c_1, &out[at_1], stride);
        coopStoreT(c_2, &out[at_2], stride);
        coopStoreT(c_3, &out[at_3], stride);
        return;
    }
#endif
    let row = place.row + i * 16u + place.lane / 4u;
    let col = place.col + place.lane % 4u * 4u;
    let added = added_to(row, col, place);
    let v_0 = spread(c_0, place);
    store(row, col, place, v_0.upper + added.v_00);
    store(row + 8u, col, place, v_0.lower + added.v_01);
    let v_1 = spread(c_1, place);
    store(row, col + 16u, place, v_1.upper + added.v_10);
    store(row + 8u, col + 16u, place, v_1.lower + added.v_11);
    let v_2 = spread(c_2, place);
    store(row, col + 32u, place, v_2.upper + added.v_20);
    store(row + 8u, col + 32u, place, v_2.lower + added.v_21);
    let v_3 = spread(c_3, place);
    store(row, col + 48u, place, v_3.upper + added.v_30);
    store(row + 8u, col + 48u, place, v_3.lower + added.v_31);
}
