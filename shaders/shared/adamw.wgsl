// One step of AdamW. Everything that steps does it here, so that compilers have the same text
// before them. Needs shared/wide, params.beta1, beta2 and eps, and the binding train_state.
#import shared/adamw_factors

struct Element {
    weight: number,
    moment1: number,
    moment2: number,
}

fn adamw_step(before: Element, g: number, factors: Factors) -> Element {
    let m = params.beta1 * before.moment1 + (1.0 - params.beta1) * g;
    let v = params.beta2 * before.moment2 + (1.0 - params.beta2) * g * g;
    let root = sqrt(v) * factors.root_factor + params.eps;
    return Element(before.weight * factors.kept - factors.rate * m / root, m, v);
}
