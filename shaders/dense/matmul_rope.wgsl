// out = a bᵀ, its pairs of columns up to rotated_cols turned by the angle of the row's position: a
// linear layer and the rotary embedding of what it makes, one 64 x 64 tile a workgroup of 64.
#import shared/matmul_tile
#import shared/matmul_rope

@group(0) @binding(4) var<storage, read> position: array<u32>;        // [m]
@group(0) @binding(5) var<storage, read> table: array<vec4<f32>>;     // [positions, head_dim]
@group(0) @binding(6) var<storage, read_write> out: array<out_type>;  // [m, n]

fn store(row: u32, col: u32, place: Place, values: vec4<f32>) {
    if (row < place.m && col < place.n) {
        out[(row * place.n + col) / 4u] = out_type(turned(values, angles_at(row, col, place)));
    }
}

fn finish(place: Place, row: u32, left: vec4<f32>, right: vec4<f32>) {
    store(place.row + row, place.col, place, left);
    store(place.row + row, place.col + 32u, place, right);
}
