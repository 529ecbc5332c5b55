// Whether a number is neither an infinity nor NaN, told by its bits: WGSL may assume that there
// are none and fold any comparison away.

fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7F800000u) != 0x7F800000u;
}
