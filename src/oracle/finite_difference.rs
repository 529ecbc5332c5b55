//! How a gradient function is checked: central differences of a random linear functional.
//!
//! For `y = f(x)` and random `w`, the number `s(x) = Σ w·f(x)` has the gradient that the function
//! under test returns for `dout = w`. Everything runs in `f64`, where a step of 1e-5 leaves an
//! error near 1e-10 and a wrong formula leaves one near 1.

/// A seeded source of test values (the finaliser of SplitMix64 over a counter).
pub(crate) struct Random {
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self { counter: seed.wrapping_mul(0xD134_2543_DE82_EF95) }
    }

    fn next(&mut self) -> u64 {
        self.counter = self.counter.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = self.counter;
        let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// Uniform in -1..1.
    pub(crate) fn value(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 52) as f64 - 1.0
    }

    /// `count` numbers uniform in -1..1.
    pub(crate) fn values(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.value()).collect()
    }

    /// Uniform in 0..bound.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// `count` indices uniform in 0..bound.
    pub(crate) fn indices(&mut self, count: usize, bound: usize) -> Vec<u32> {
        (0..count).map(|_| self.below(bound) as u32).collect()
    }
}

/// `Σ a·b`: the linear functional that turns an output into one number.
pub(crate) fn inner(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// Asserts that `gradient` is the derivative of `function` at `x`, and that it is not all zero.
pub(crate) fn assert_gradient(
    subject: &str,
    x: &[f64],
    gradient: &[f64],
    function: impl Fn(&[f64]) -> f64,
) {
    assert_eq!(x.len(), gradient.len(), "{subject}: one derivative per input");
    let mut moved = x.to_vec();
    let mut largest = 0.0_f64;
    for i in 0..x.len() {
        let step = 1e-5 * x[i].abs().max(1.0);
        moved[i] = x[i] + step;
        let above = function(&moved);
        moved[i] = x[i] - step;
        let below = function(&moved);
        moved[i] = x[i];
        let expected = (above - below) / (2.0 * step);
        let got = gradient[i];
        assert!(
            (expected - got).abs() <= 1e-7 * (1.0 + expected.abs()),
            "{subject}: derivative {i}: expected {expected}, got {got}"
        );
        largest = largest.max(expected.abs());
    }
    assert!(largest > 1e-3, "{subject}: the derivatives are too small to prove anything");
}

/// Asserts that two slices agree within `tolerance`, relative where values are above one.
pub(crate) fn assert_close(subject: &str, expected: &[f64], got: &[f64], tolerance: f64) {
    assert_eq!(expected.len(), got.len(), "{subject}: lengths differ");
    for (i, (e, g)) in expected.iter().zip(got).enumerate() {
        assert!(
            (e - g).abs() <= tolerance * e.abs().max(1.0),
            "{subject}: element {i}: expected {e}, got {g}"
        );
    }
}

#[test]
fn a_right_gradient_passes() {
    let x = Random::new(1).values(5);
    let gradient: Vec<f64> = x.iter().map(|x| 3.0 * x * x).collect();
    assert_gradient("cube", &x, &gradient, |x| x.iter().map(|x| x * x * x).sum());
}

#[test]
#[should_panic(expected = "derivative 0")]
fn a_zero_gradient_fails() {
    let x = Random::new(1).values(5);
    assert_gradient("cube", &x, &[0.0; 5], |x| x.iter().map(|x| x * x * x).sum());
}

#[test]
#[should_panic(expected = "too small")]
fn a_function_that_does_not_move_proves_nothing() {
    assert_gradient("constant", &[1.0, 2.0], &[0.0; 2], |_| 1.0);
}

#[test]
fn random_values_fill_their_interval() {
    let values = Random::new(7).values(4000);
    assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
    assert!(values.iter().any(|v| *v < -0.99) && values.iter().any(|v| *v > 0.99));
    assert!(values.iter().sum::<f64>().abs() < 100.0);
}
