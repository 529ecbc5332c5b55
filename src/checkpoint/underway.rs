//! What is on its way to a device.

/// Elements that may be on their way to a device: 128 MiB.
const MOST_ELEMENTS: usize = 32 << 20;

/// Elements that were written to a device since it was last waited for.
#[derive(Debug, Default)]
pub struct Underway(usize);

impl Underway {
    /// Counts a piece that is about to be written; true if the device has to be waited for first,
    /// because with it more than 128 MiB would be on their way.
    #[must_use]
    pub fn is_full_before(&mut self, elements: usize) -> bool {
        let is_full = self.0 > 0 && self.0 + elements > MOST_ELEMENTS;
        self.0 = if is_full { elements } else { self.0 + elements };
        is_full
    }
}

#[cfg(test)]
mod tests {
    use super::super::PIECE_ELEMENTS;
    use super::*;

    #[test]
    fn never_more_than_the_limit_is_on_its_way() {
        for piece in [1 << 20, PIECE_ELEMENTS - 1, PIECE_ELEMENTS] {
            let (mut underway, mut waiting, mut most) = (Underway::default(), 0, 0);
            for _ in 0..1000 {
                if underway.is_full_before(piece) {
                    waiting = 0;
                }
                waiting += piece;
                most = most.max(waiting);
            }
            assert!((MOST_ELEMENTS - piece..=MOST_ELEMENTS).contains(&most), "{piece}: {most}");
        }
        // A row that is larger than all goes alone.
        let mut underway = Underway::default();
        assert!(!underway.is_full_before(MOST_ELEMENTS + 1));
        assert!(underway.is_full_before(1));
        assert!(!underway.is_full_before(1));
    }
}
