// What matvec makes of its results: the residual is added, or the gate applied.
@group(0) @binding(5) var<storage, read> residual: array<f32>;   // [rows, features]
@group(0) @binding(6) var<storage, read_write> out: array<f32>;  // [rows, features]

fn activated(gate: f32, up: f32) -> f32 {
    return gate * (1.0 / (1.0 + exp(min(-gate, 80.0)))) * up;
}

fn finish(row_0: u32, rows: u32, col_0: u32, lane: u32) {
    let row = row_0 + lane / FEATURES;
    let feature = col_0 + lane % FEATURES;
    if (lane >= ROWS * FEATURES || row >= rows || feature >= params.features) {
        return;
    }
    let result = lane / FEATURES * COLS + lane % FEATURES;
    var value = results[result];
    let at = row * params.features + feature;
#ifdef GATED
    value = activated(value, results[result + FEATURES]);
#else
    if (params.residual_scale != 0.0) {
        value += params.residual_scale * residual[at];
    }
#endif
    out[at] = value;
}
