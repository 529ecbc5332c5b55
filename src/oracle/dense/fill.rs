//! One value in every element of `out`.

/// `out[i] = value`.
pub fn fill<T: Copy>(value: T, out: &mut [T]) {
    for i in 0..out.len() {
        out[i] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fills_every_element() {
        let mut out = [1.0_f32, 2.0, 3.0];
        fill(-0.5, &mut out);
        assert_eq!(out, [-0.5; 3]);
    }
}
