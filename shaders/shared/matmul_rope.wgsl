// The rotary embedding of four columns of a row, two pairs; the kernel has `position` and `table`.

// Cosine and sine of both pairs; those of no angle where nothing is turned.
fn angles_at(row: u32, col: u32, place: Place) -> vec4<f32> {
    if (row >= place.m || col >= params.rotated_cols) {
        return vec4<f32>(1.0, 0.0, 1.0, 0.0);
    }
    return table[(position[row] * params.head_dim + col % params.head_dim) / 4u];
}

fn turned(values: vec4<f32>, angles: vec4<f32>) -> vec4<f32> {
    let left = values.xz * angles.xz - values.yw * angles.yw;
    let right = values.xz * angles.yw + values.yw * angles.xz;
    return vec4<f32>(left.x, right.x, left.y, right.y);
}
