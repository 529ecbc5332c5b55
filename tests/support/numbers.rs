//! Comparing tensors, with the place of the worst difference in the message.

/// Index and size of the largest absolute difference; NaN is the largest there is.
pub fn worst(expected: &[f32], got: &[f32]) -> (usize, f64) {
    assert_eq!(expected.len(), got.len(), "as many numbers");
    let differences = expected.iter().zip(got).map(|(&expected, &got)| {
        let difference = (f64::from(expected) - f64::from(got)).abs();
        if difference.is_nan() { f64::INFINITY } else { difference }
    });
    let worst = differences.enumerate().max_by(|a, b| a.1.total_cmp(&b.1));
    worst.unwrap_or((0, 0.0))
}

/// That no element is off by more than `tolerance`.
#[track_caller]
pub fn assert_close(what: &str, expected: &[f32], got: &[f32], tolerance: f64) {
    let (at, difference) = worst(expected, got);
    assert!(
        difference <= tolerance,
        "{what}[{at}]: expected {}, got {}, {difference:.1e} off, {tolerance:.1e} allowed",
        expected[at],
        got[at]
    );
}

/// Norm of the difference over the norm of what is expected.
pub fn relative_distance(expected: &[f32], got: &[f32]) -> f64 {
    assert_eq!(expected.len(), got.len(), "as many numbers");
    let square = |value: f64| value * value;
    let apart = expected.iter().zip(got).map(|(&a, &b)| square(f64::from(a) - f64::from(b)));
    let apart: f64 = apart.sum();
    let norm: f64 = expected.iter().map(|&value| square(f64::from(value))).sum();
    (apart / norm.max(f64::MIN_POSITIVE)).sqrt()
}
