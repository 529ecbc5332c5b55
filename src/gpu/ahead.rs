//! The end of a replay whose outputs are read, encoded while the device still runs the replay
//! before: then a step of generation does not wait for the encoder.
//!
//! A replay of which other elements are read than of the one before, as of prompts of other
//! lengths, lets nothing be encoded: the next one would hardly read the same either.

use std::sync::{Mutex, PoisonError};

/// Elements of four bytes of a buffer: (buffer, first, count).
pub(super) type Elements = (wgpu::Buffer, usize, usize);

/// Commands that leave what is read in a mappable buffer, one region behind the other.
pub(super) struct Ahead {
    pub commands: wgpu::CommandBuffer,
    pub regions: Vec<Elements>,
    pub staging: wgpu::Buffer,
}

impl Ahead {
    /// Elements of all regions together.
    pub fn length(&self) -> usize {
        self.regions.iter().map(|(_, _, count)| count).sum()
    }
}

/// What is encoded ahead of a plan, if anything is, and what the last replay read.
pub(super) struct AheadSlot<R = Elements, A = Ahead>(Mutex<Known<R, A>>);

struct Known<R, A> {
    regions: Vec<R>,
    ahead: Option<A>,
}

/// What a replay finds.
#[derive(Debug, PartialEq)]
pub(super) struct Found<A> {
    /// Its end.
    pub ahead: Option<A>,
    /// Whether the replay before has read the same, so that the next one will.
    pub is_repeated: bool,
}

impl<R, A> Default for AheadSlot<R, A> {
    fn default() -> Self {
        Self(Mutex::new(Known { regions: Vec::new(), ahead: None }))
    }
}

impl<R: Clone + PartialEq, A> AheadSlot<R, A> {
    /// Takes out what reads these regions.
    pub fn take(&self, regions: &[R]) -> Found<A> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ahead = known.ahead.take();
        let is_repeated = known.regions == regions;
        if !is_repeated {
            known.regions = regions.to_vec();
        }
        Found { ahead: ahead.filter(|_| is_repeated), is_repeated }
    }

    /// Puts in what reads the regions that were asked for last.
    pub fn put(&self, ahead: A) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).ahead = Some(ahead);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_read_again_is_encoded_ahead() {
        let slot = AheadSlot::<u32, &str>::default();
        let nothing = |is_repeated| Found { ahead: None, is_repeated };
        // Prompts of several lengths.
        assert_eq!(slot.take(&[30, 7]), nothing(false));
        assert_eq!(slot.take(&[31, 7]), nothing(false));
        // Steps: from the second on one more is expected, and from the third on it is there.
        assert_eq!(slot.take(&[1, 7]), nothing(false));
        assert_eq!(slot.take(&[1, 7]), nothing(true));
        slot.put("a step");
        assert_eq!(slot.take(&[1, 7]), Found { ahead: Some("a step"), is_repeated: true });
        slot.put("another");
        // Of more streams: what is there reads something else.
        assert_eq!(slot.take(&[2, 7]), nothing(false));
        assert_eq!(slot.take(&[1, 7]), nothing(false));
    }
}
