// out = silu(gate) * up, where [gate | up] = a bᵀ: the first layer of a SwiGLU with its activation.
// With keeps_sums the backward pass finds gate and up in gate_up. A workgroup of 64 makes 64 x 32
// outputs.
#import shared/matmul_tile
#import shared/sigmoid

@group(0) @binding(4) var<storage, read_write> gate_up: array<gate_up_type>;  // [m, n]
@group(0) @binding(5) var<storage, read_write> out: array<out_type>;          // [m, n / 2]

fn finish(place: Place, row_index: u32, gate: vec4<f32>, up: vec4<f32>) {
    let features = place.n / 2u;
    let row = place.row + row_index;
    if (row >= place.m || place.col >= features) {
        return;
    }
    out[(row * features + place.col) / 4u] = out_type(gate * sigmoid(gate) * up);
    if (params.keeps_sums != 0u) {
        let gate_at = row * place.n + place.col;
        gate_up[gate_at / 4u] = gate_up_type(gate);
        gate_up[(gate_at + features) / 4u] = gate_up_type(up);
    }
}
