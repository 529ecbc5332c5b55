// Eight numbers of f32 that lie side by side, as one load brings them: on drivers that compute on
// the processor a load is a loop over the lanes, in which four words of 64 bits cost little more
// than one number.
#import shared/wide

struct Eight {
    lo: vec4<f32>,
    hi: vec4<f32>,
}

fn eight_of(words: vec4<u64>) -> Eight {
    let even = bitcast<vec4<f32>>(vec4<u32>(words));
    let odd = bitcast<vec4<f32>>(vec4<u32>(words >> vec4<u32>(32u)));
    return Eight(
        vec4<f32>(even.x, odd.x, even.y, odd.y), vec4<f32>(even.z, odd.z, even.w, odd.w));
}

fn words_of_eight(values: Eight) -> vec4<u64> {
    let lo = bitcast<vec4<u32>>(values.lo);
    let hi = bitcast<vec4<u32>>(values.hi);
    let even = vec4<u64>(vec4<u32>(lo.x, lo.z, hi.x, hi.z));
    let odd = vec4<u64>(vec4<u32>(lo.y, lo.w, hi.y, hi.w));
    return even | (odd << vec4<u32>(32u));
}

fn eight_sum(a: Eight, b: Eight) -> Eight {
    return Eight(a.lo + b.lo, a.hi + b.hi);
}

fn eight_product(a: Eight, b: Eight) -> Eight {
    return Eight(a.lo * b.lo, a.hi * b.hi);
}

fn eight_times(a: Eight, factor: f32) -> Eight {
    return Eight(a.lo * factor, a.hi * factor);
}
