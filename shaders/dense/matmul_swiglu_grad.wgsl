// dgate_up = the gradient of SwiGLU for dout = a b: a linear layer backwards and the activation in
// front of it, one 64 x 64 tile a workgroup of 64.
#import shared/matmul_tile
#import shared/swiglu_grad

@group(0) @binding(4) var<storage, read> gate_up: array<gate_up_type>;          // [m, 2n]
@group(0) @binding(5) var<storage, read_write> dgate_up: array<dgate_up_type>;  // [m, 2n]

fn finish(place: Place, row_index: u32, left: vec4<f32>, right: vec4<f32>) {
    let row = place.row + row_index;
    let kept_left = kept_at(row, place.col, place);
    let kept_right = kept_at(row, place.col + 32u, place);
    store(row, place.col, place, left, kept_left);
    store(row, place.col + 32u, place, right, kept_right);
}
