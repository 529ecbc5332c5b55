//! The mean size of a patch, as every figure called bytes per patch counts it.
//!
//! Bytes are those of bits per byte (spec §12): the targets of a document, that is all its ids but
//! the first, so its bytes and its end. Patches are those that hold an id: that of the first id is
//! one, and one that holds nothing but the virtual token is none.

/// Bytes over patches; 0 where there is no patch.
pub fn bytes_per_patch(byte_count: u64, patch_count: u64) -> f64 {
    if patch_count == 0 { 0.0 } else { byte_count as f64 / patch_count as f64 }
}

/// The bytes and the patches of one document, for [`bytes_per_patch`]. The lengths sum to
/// `id_count` or, with the virtual token, to one more.
pub fn bytes_and_patches(id_count: usize, patch_lengths: &[u32]) -> (u64, u64) {
    let starts = patch_lengths.iter().scan(0, |next, &length| {
        let start = *next;
        *next += length as usize;
        Some(start)
    });
    let patch_count = starts.filter(|&start| start < id_count).count();
    (id_count.saturating_sub(1) as u64, patch_count as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_is_no_byte_and_the_virtual_token_no_patch() {
        // BOS "a b" EOS cut at spaces, without and with the virtual token.
        assert_eq!(bytes_and_patches(5, &[1, 2, 2]), (4, 3));
        assert_eq!(bytes_and_patches(5, &[1, 2, 2, 1]), (4, 3));
        assert_eq!(bytes_and_patches(5, &[1, 2, 3]), (4, 3));
        assert_eq!(bytes_and_patches(1, &[1]), (0, 1));
        assert_eq!(bytes_per_patch(9, 2), 4.5);
        assert_eq!(bytes_per_patch(0, 0), 0.0);
    }
}
