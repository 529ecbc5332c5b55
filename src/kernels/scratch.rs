//! Memory that kernels of the CPU engine need while they run, kept by each thread for the next one.
//!
//! A buffer grows to the largest use it has seen and stays: a warm replay takes no memory from the
//! allocator.

use bytemuck::{Pod, Zeroable};
use std::cell::RefCell;

/// A cache line, so that whole vectors lie in one.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

const LINE: usize = 16;

thread_local! {
    /// Buffers that are not in use.
    static FREE: RefCell<Vec<Vec<Line>>> = const { RefCell::new(Vec::new()) };
}

/// Calls `work` with `length` numbers of any values, aligned to 64 bytes.
///
/// Calls may be nested: a thread that waits for others inside `work` may take up other work.
pub fn with_scratch<T>(length: usize, work: impl FnOnce(&mut [f32]) -> T) -> T {
    let mut buffer = FREE.with_borrow_mut(Vec::pop).unwrap_or_default();
    let lines = length.div_ceil(LINE);
    if buffer.len() < lines {
        buffer.resize(lines, Line([0.0; LINE]));
    }
    let result = work(&mut bytemuck::cast_slice_mut(&mut buffer)[..length]);
    FREE.with_borrow_mut(|free| free.push(buffer));
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_buffers_are_apart_and_kept() {
        let place = with_scratch(100, |outer| {
            outer.fill(1.0);
            with_scratch(40, |inner| inner.fill(2.0));
            assert!(outer.len() == 100 && outer.iter().all(|&value| value == 1.0));
            assert!(outer.as_ptr().cast::<Line>().is_aligned());
            outer.as_ptr()
        });
        assert_eq!(with_scratch(7, |again| again.as_ptr()), place);
    }
}
