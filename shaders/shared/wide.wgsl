// Four columns at a time where every row is a whole number of vectors, one otherwise: WIDE says
// which. The element types `<name>_type` of bindings that may hold f16 follow it.

#ifdef WIDE
alias number = vec4<f32>;
const LANES: u32 = 4u;

fn total(x: number) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}
#else
alias number = f32;
const LANES: u32 = 1u;

fn total(x: number) -> f32 {
    return x;
}
#endif
