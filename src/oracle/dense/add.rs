//! `out = alpha·a + beta·b`, elementwise, all of one length.

use crate::oracle::Real;

/// `out[i] = alpha · a[i] + beta · b[i]`. Its gradients are `alpha · dout` and `beta · dout`.
pub fn add<R: Real>(a: &[R], alpha: R, b: &[R], beta: R, out: &mut [R]) {
    assert!(a.len() == out.len() && b.len() == out.len(), "add: lengths differ");
    for i in 0..out.len() {
        out[i] = alpha * a[i] + beta * b[i];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weighs_both_sides() {
        let mut out = [9.0; 3];
        add(&[1.0, 2.0, 3.0], 2.0, &[10.0, 20.0, -30.0], 0.5, &mut out);
        assert_eq!(out, [7.0, 14.0, -9.0]);
    }

    #[test]
    #[should_panic(expected = "lengths differ")]
    fn lengths_must_agree() {
        add(&[1.0], 1.0, &[1.0, 2.0], 1.0, &mut [0.0]);
    }
}
