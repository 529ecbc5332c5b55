// What a step of AdamW is for all elements alike. Needs the binding train_state.

struct Factors {
    kept: f32,         // of a weight after its decay
    rate: f32,         // learning rate over the bias correction of the first moment
    root_factor: f32,  // one over the root of the bias correction of the second moment
}

fn factors_of(rate: f32, weight_decay: f32) -> Factors {
    return Factors(
        1.0 - rate * weight_decay,
        rate / (1.0 - train_state[BETA1_POWER]),
        1.0 / sqrt(1.0 - train_state[BETA2_POWER]),
    );
}
