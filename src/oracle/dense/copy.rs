//! `out = x`, for numbers and indices alike.

/// `out[i] = x[i]`.
pub fn copy<T: Copy>(x: &[T], out: &mut [T]) {
    assert_eq!(x.len(), out.len(), "copy: lengths differ");
    out.copy_from_slice(x);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_every_element() {
        let mut out = [0_u32; 3];
        copy(&[5, 6, 7], &mut out);
        assert_eq!(out, [5, 6, 7]);
    }
}
