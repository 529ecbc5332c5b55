//! Reductions of slices on the CPU in independent lanes, so that the compiler can use vectors.
//!
//! The order of the additions is fixed: element i goes to lane i mod `LANES`, lanes are added in
//! halves, what is left over at the end is added one by one. All of it is inlined, so that a caller
//! compiled for wide vectors gets them, and the same bits.

/// Running totals side by side.
const LANES: usize = 16;

/// Σ f(`a[i]`).
#[inline(always)]
pub fn sum(a: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for a in blocks {
        for lane in 0..LANES {
            sums[lane] += f(a[lane]);
        }
    }
    let rest: f32 = rest.iter().map(|&a| f(a)).sum();
    total(sums) + rest
}

/// Σ f(`a[i]`, `b[i]`) over slices of one length.
#[inline(always)]
pub fn sum_2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    assert_eq!(a.len(), b.len(), "one length");
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for (a, b) in a_blocks.iter().zip(b_blocks) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane]);
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(&a, &b)| f(a, b)).sum();
    total(sums) + rest
}

/// Σ f(`a[i]`, `b[i]`, `c[i]`) over slices of one length.
#[inline(always)]
pub fn sum_3(a: &[f32], b: &[f32], c: &[f32], f: impl Fn(f32, f32, f32) -> f32) -> f32 {
    assert!(a.len() == b.len() && a.len() == c.len(), "one length");
    let (a_blocks, a_rest) = a.as_chunks::<LANES>();
    let (b_blocks, b_rest) = b.as_chunks::<LANES>();
    let (c_blocks, c_rest) = c.as_chunks::<LANES>();
    let mut sums = [0.0; LANES];
    for ((a, b), c) in a_blocks.iter().zip(b_blocks).zip(c_blocks) {
        for lane in 0..LANES {
            sums[lane] += f(a[lane], b[lane], c[lane]);
        }
    }
    let rest = a_rest.iter().zip(b_rest).zip(c_rest).map(|((&a, &b), &c)| f(a, b, c));
    total(sums) + rest.sum::<f32>()
}

/// The largest element; the least number there is for an empty slice.
#[inline(always)]
pub fn largest(a: &[f32]) -> f32 {
    // Not `f32::max`, whose care for NaN costs instructions.
    let larger = |a: f32, b: f32| if b > a { b } else { a };
    let (blocks, rest) = a.as_chunks::<LANES>();
    let mut most = [f32::MIN; LANES];
    for a in blocks {
        for lane in 0..LANES {
            most[lane] = larger(most[lane], a[lane]);
        }
    }
    most.iter().chain(rest).fold(f32::MIN, |most, &a| larger(most, a))
}

#[inline(always)]
fn total(mut sums: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::values;

    #[test]
    fn lanes_and_rest_are_all_there() {
        for length in [0, 1, 15, 16, 17, 100] {
            let [a, b, c] = [1, 2, 3].map(|seed| values(seed, length));
            let near = |expected: f32, got: f32| assert!((expected - got).abs() < 1e-4);
            near(a.iter().map(|a| a * a).sum(), sum(&a, |a| a * a));
            near(a.iter().zip(&b).map(|(a, b)| a * b).sum(), sum_2(&a, &b, |a, b| a * b));
            let products = a.iter().zip(&b).zip(&c).map(|((a, b), c)| a * b * c);
            near(products.sum(), sum_3(&a, &b, &c, |a, b, c| a * b * c));
            assert_eq!(a.iter().copied().fold(f32::MIN, f32::max), largest(&a));
        }
    }
}
