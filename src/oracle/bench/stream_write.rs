//! One value in every element.

/// `out[i] = value`.
pub fn stream_write<T: Copy>(value: T, out: &mut [T]) {
    for i in 0..out.len() {
        out[i] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_every_element() {
        let mut out = [0.0; 5];
        stream_write(2.5, &mut out);
        assert_eq!(out, [2.5; 5]);
    }
}
