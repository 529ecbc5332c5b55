//! The end of a replay whose outputs are read, encoded while the device still runs the replay
//! before: then a step of generation does not wait for the encoder.

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

/// What is encoded ahead of a plan, if anything is.
#[derive(Default)]
pub(super) struct AheadSlot(Mutex<Option<Ahead>>);

impl AheadSlot {
    /// Takes it out, if it reads these regions.
    pub fn take(&self, regions: &[Elements]) -> Option<Ahead> {
        let taken = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.filter(|ahead| ahead.regions == regions)
    }

    pub fn put(&self, ahead: Ahead) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(ahead);
    }
}
