//! Exclusive prefix sums of counts: flags to ids, lengths to offsets.

/// `out[i] = values[0] + .. + values[i - 1]`, wrapping. `out` has as many elements as `values`, or
/// one more, which then holds the total.
///
/// With boundary flags the patch of byte i is `out[i + 1] - 1` (spec §4.1); with lengths `out` is
/// the list of offsets.
pub fn prefix_sum(values: &[u32], out: &mut [u32]) {
    let (count, longer) = (values.len(), out.len());
    assert!(longer == count || longer == count + 1, "prefix_sum: lengths differ");
    let mut sum = 0_u32;
    for i in 0..longer {
        out[i] = sum;
        if i < count {
            sum = sum.wrapping_add(values[i]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_become_offsets() {
        let mut out = [9; 5];
        prefix_sum(&[3, 0, 2, 7], &mut out);
        assert_eq!(out, [0, 3, 3, 5, 12]);
        prefix_sum(&[3, 0, 2, 7], &mut out[..4]);
        assert_eq!(out[..4], [0, 3, 3, 5]);
        prefix_sum(&[], &mut out[..1]);
        assert_eq!(out[0], 0);
    }

    #[test]
    fn flags_become_patch_ids() {
        // The example of spec §4.2: lengths 1 1 3 2 2 1 2 2 1, the last one virtual.
        let flags = [1, 1, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1];
        let mut out = [9; 16];
        prefix_sum(&flags, &mut out);
        let ids: Vec<u32> = out[1..].iter().map(|sum| sum - 1).collect();
        assert_eq!(ids, [0, 1, 2, 2, 2, 3, 3, 4, 4, 5, 6, 6, 7, 7, 8]);
    }
}
