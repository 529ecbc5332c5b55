//! The gated activation of the feed-forward layers (spec §5.5): `silu(gate) · up`.
//!
//! `gate_up [rows, 2·features]` holds the gate in its first `features` columns and `up` in the
//! rest, as one matrix product with both weights writes them; the result is `[rows, features]`.

use crate::oracle::Real;

/// `out = silu(gate) · up`, `silu(a) = a / (1 + e^-a)`.
pub fn swiglu<R: Real>(gate_up: &[R], out: &mut [R], rows: usize, features: usize) {
    for row in 0..rows {
        for feature in 0..features {
            let gate = gate_up[row * 2 * features + feature];
            let up = gate_up[row * 2 * features + features + feature];
            out[row * features + feature] = gate * sigmoid(gate) * up;
        }
    }
}

/// `dgate_up [rows, 2·features]` from `dout [rows, features]`:
/// `dgate = dout · up · s · (1 + gate · (1 - s))`, `dup = dout · gate · s`, `s = sigmoid(gate)`.
pub fn swiglu_grad<R: Real>(
    gate_up: &[R],
    dout: &[R],
    dgate_up: &mut [R],
    rows: usize,
    features: usize,
) {
    for row in 0..rows {
        for feature in 0..features {
            let gate_at = row * 2 * features + feature;
            let up_at = gate_at + features;
            let (gate, up) = (gate_up[gate_at], gate_up[up_at]);
            let d = dout[row * features + feature];
            let s = sigmoid(gate);
            dgate_up[gate_at] = d * up * s * (R::one() + gate * (R::one() - s));
            dgate_up[up_at] = d * gate * s;
        }
    }
}

fn sigmoid<R: Real>(x: R) -> R {
    R::one() / (R::one() + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::finite_difference::{Random, assert_close, assert_gradient, inner};

    #[test]
    fn values_by_hand() {
        // silu(ln 3) = ln 3 · 3/4; the gate comes first.
        let ln3 = 3.0_f64.ln();
        let mut out = [0.0; 2];
        swiglu(&[ln3, -ln3, 2.0, 5.0], &mut out, 1, 2);
        assert_close("swiglu", &[1.5 * ln3, -1.25 * ln3], &out, 1e-15);
    }

    #[test]
    fn large_gates_stay_finite() {
        let mut out = [7.0_f32; 2];
        swiglu(&[-200.0, 200.0, 3.0, 3.0], &mut out, 1, 2);
        assert_eq!(out, [0.0, 600.0]);
        let mut grad = [7.0_f32; 4];
        swiglu_grad(&[-200.0, 200.0, 3.0, 3.0], &[1.0, 1.0], &mut grad, 1, 2);
        assert_eq!(grad, [0.0, 3.0, 0.0, 200.0]);
    }

    #[test]
    fn gradient_agrees_with_finite_differences() {
        let mut random = Random::new(5);
        let (rows, features) = (4, 3);
        let x: Vec<f64> = random.values(rows * 2 * features).iter().map(|x| 3.0 * x).collect();
        let dout = random.values(rows * features);
        let mut dx = vec![0.0; x.len()];
        swiglu_grad(&x, &dout, &mut dx, rows, features);
        assert_gradient("swiglu", &x, &dx, |x| {
            let mut out = vec![0.0; rows * features];
            swiglu(x, &mut out, rows, features);
            inner(&out, &dout)
        });
    }
}
