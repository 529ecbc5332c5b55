// The gradient of SwiGLU for four columns of a row of dout; the kernel has `gate_up` and
// `dgate_up`, both [m, 2n].
#import shared/sigmoid

// What the forward pass has kept of four columns.
struct Kept {
    gate: vec4<f32>,
    up: vec4<f32>,
}

fn kept_at(row: u32, col: u32, place: Place) -> Kept {
    if (row >= place.m || col >= place.n) {
        return Kept();
    }
    let at = (row * 2u * place.n + col) / 4u;
    return Kept(vec4<f32>(gate_up[at]), vec4<f32>(gate_up[at + place.n / 4u]));
}

fn store(row: u32, col: u32, place: Place, dout: vec4<f32>, kept: Kept) {
    if (row >= place.m || col >= place.n) {
        return;
    }
    let s = sigmoid(kept.gate);
    let at = (row * 2u * place.n + col) / 4u;
    dgate_up[at] = dgate_up_type(dout * kept.up * s * (1.0 + kept.gate * (1.0 - s)));
    dgate_up[at + place.n / 4u] = dgate_up_type(dout * kept.gate * s);
}
