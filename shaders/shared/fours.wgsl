// Four numbers of f32 that lie side by side, as one load brings them: on drivers that compute on
// the processor a load is a loop over the lanes, in which two words of 64 bits cost little more
// than one.

fn four_of(words: vec2<u64>) -> vec4<f32> {
    let even = bitcast<vec2<f32>>(vec2<u32>(words));
    let odd = bitcast<vec2<f32>>(vec2<u32>(words >> vec2<u32>(32u)));
    return vec4<f32>(even.x, odd.x, even.y, odd.y);
}

fn words_of_four(values: vec4<f32>) -> vec2<u64> {
    let words = bitcast<vec4<u32>>(values);
    return vec2<u64>(words.xz) | (vec2<u64>(words.yw) << vec2<u32>(32u));
}
