// Gradients of `silu(gate) up` from the gradient of the product.
#import shared/sigmoid

struct GateUp {
    gate: number,
    up: number,
}

fn swiglu_grad(dout: number, gate: number, up: number) -> GateUp {
    let s = sigmoid(gate);
    return GateUp(dout * up * s * (1.0 + gate * (1.0 - s)), dout * gate * s);
}
