// The logistic function. The exponent is capped where the result has long been zero beside one,
// so that no infinity arises: WGSL may assume there is none.

#import shared/wide

fn sigmoid(x: number) -> number {
    return 1.0 / (1.0 + exp(min(-x, number(80.0))));
}
