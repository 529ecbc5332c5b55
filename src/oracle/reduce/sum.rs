//! All elements of `x` into the one element `out[0]`.

use crate::oracle::Real;

/// `out[0] = Σ x` (`accumulate`: added to what `out[0]` holds). No elements sum to zero.
pub fn sum<R: Real>(x: &[R], out: &mut [R], accumulate: bool) {
    let mut total = R::zero();
    for i in 0..x.len() {
        total += x[i];
    }
    out[0] = if accumulate { out[0] + total } else { total };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overwrites_or_adds() {
        let mut out = [10.0];
        sum(&[1.0, 2.5, -0.25], &mut out, true);
        assert_eq!(out, [13.25]);
        sum(&[1.0, 2.5, -0.25], &mut out, false);
        assert_eq!(out, [3.25]);
        sum(&[], &mut out, true);
        assert_eq!(out, [3.25]);
        sum(&[], &mut out, false);
        assert_eq!(out, [0.0]);
    }
}
