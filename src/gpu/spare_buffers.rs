//! Buffers that are kept for the next time, up to a number of them and of their bytes.

use std::sync::{Mutex, PoisonError};

/// Most buffers that are kept: as many as are on their way at once while a run scores text for its
/// next updates.
const MOST_KEPT: usize = 16;

/// What has a size in bytes.
pub(super) trait HasBytes {
    fn bytes(&self) -> u64;
}

impl HasBytes for wgpu::Buffer {
    fn bytes(&self) -> u64 {
        self.size()
    }
}

/// Spare buffers, of which all together hold a number of bytes at most.
pub(super) struct SpareBuffers<B> {
    most_bytes: u64,
    kept: Mutex<Vec<B>>,
}

impl<B: HasBytes> SpareBuffers<B> {
    pub fn new(most_bytes: u64) -> Self {
        Self { most_bytes, kept: Mutex::default() }
    }

    /// The smallest that holds so many bytes, which is kept no longer.
    pub fn take(&self, bytes: u64) -> Option<B> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let holding = kept.iter().enumerate().filter(|(_, buffer)| buffer.bytes() >= bytes);
        let index = holding.min_by_key(|(_, buffer)| buffer.bytes())?.0;
        Some(kept.remove(index))
    }

    /// Keeps one more; in its favour those go that were left lying longest.
    pub fn keep(&self, buffer: B) {
        if buffer.bytes() > self.most_bytes {
            return;
        }
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.push(buffer);
        while kept.len() > MOST_KEPT || kept.iter().map(B::bytes).sum::<u64>() > self.most_bytes {
            kept.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Buffer(u64);

    impl HasBytes for Buffer {
        fn bytes(&self) -> u64 {
            self.0
        }
    }

    #[test]
    fn a_small_reading_leaves_the_large_buffer_where_it_is() {
        let spare = SpareBuffers::new(1000);
        [64, 4, 16].into_iter().for_each(|bytes| spare.keep(Buffer(bytes)));
        assert_eq!(spare.take(1), Some(Buffer(4)));
        assert_eq!(spare.take(5), Some(Buffer(16)));
        assert_eq!(spare.take(65), None);
        assert_eq!(spare.take(5), Some(Buffer(64)));
        assert_eq!(spare.take(1), None);
    }

    #[test]
    fn what_is_kept_is_bounded_in_bytes_and_in_number() {
        let spare = SpareBuffers::new(100);
        [60, 30, 101, 20].into_iter().for_each(|bytes| spare.keep(Buffer(bytes)));
        assert_eq!(*spare.kept.lock().unwrap(), [Buffer(30), Buffer(20)]);
        (0..20).for_each(|_| spare.keep(Buffer(1)));
        assert_eq!(spare.kept.lock().unwrap().len(), MOST_KEPT);
    }
}
