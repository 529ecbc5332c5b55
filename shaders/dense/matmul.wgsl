// out = op(a) op(b) + residual_scale * residual (+ out), one 64 x 64 tile a workgroup of 64.
#import shared/matmul_tile

@group(0) @binding(4) var<storage, read> residual: array<residual_type>;  // [batch, m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;      // [batch, m, n]

fn store(row: u32, col: u32, place: Place, values: vec4<f32>) {
    if (row >= place.m || col >= place.n) {
        return;
    }
    let at = place.base + row * place.n + col;
#ifdef WIDE
    var sum = values;
    if (params.residual_scale != 0.0) {
        sum += params.residual_scale * vec4<f32>(residual[at / 4u]);
    }
    if (params.accumulate != 0u) {
        sum += vec4<f32>(out[at / 4u]);
    }
    out[at / 4u] = out_type(sum);
#else
    for (var i = 0u; i < min(4u, place.n - col); i++) {
        var sum = values[i];
        if (params.residual_scale != 0.0) {
            sum += params.residual_scale * f32(residual[at + i]);
        }
        if (params.accumulate != 0u) {
            sum += f32(out[at + i]);
        }
        out[at + i] = out_type(sum);
    }
#endif
}

fn finish(place: Place, row: u32, left: vec4<f32>, right: vec4<f32>) {
    store(place.row + row, place.col, place, left);
    store(place.row + row, place.col + 32u, place, right);
}
