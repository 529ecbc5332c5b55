//! `out = x`.

/// `out[i] = x[i]`.
pub fn stream_copy<T: Copy>(x: &[T], out: &mut [T]) {
    assert_eq!(x.len(), out.len(), "stream_copy: lengths differ");
    out.copy_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_every_element() {
        let mut out = [0.0; 4];
        stream_copy(&[1.0, -2.0, 3.5, 0.0], &mut out);
        assert_eq!(out, [1.0, -2.0, 3.5, 0.0]);
    }
}
