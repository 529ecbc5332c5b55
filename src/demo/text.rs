//! The text that the demo trains on.

/// A selection from the plays of Shakespeare, 1,115,394 bytes, in the public domain.
pub static SHAKESPEARE: &[u8] = include_bytes!("../../data/tinyshakespeare.txt");
