// The logistic function. The exponent is capped where the result has long been zero beside one,
// so that no infinity arises: WGSL may assume there is none.

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(min(-x, 80.0)));
}
