// The rotary embedding of four columns of a row, two pairs; the kernel has `position` and `table`.
fn turned(row: u32, col: u32, values: vec4<f32>) -> vec4<f32> {
    if (col >= params.rotated_cols) {
        return values;
    }
    let angles = table[(position[row] * params.head_dim + col % params.head_dim) / 4u];
    let cosine = angles.xz;
    let sine = angles.yw;
    let left = values.xz * cosine - values.yw * sine;
    let right = values.xz * sine + values.yw * cosine;
    return vec4<f32>(left.x, right.x, left.y, right.y);
}
