//! Work that is done in parts, and a part in halves where it is too much for a device at once: so
//! that what one stream asks for is refused to that stream alone.

use crate::error::{Error, Result};

/// Parts that are left, the next one last.
pub(super) struct Parts<T> {
    left: Vec<Vec<T>>,
}

impl<T> Parts<T> {
    /// Consecutive items whose sizes together are at most `most`, or one that is larger.
    pub fn new(
        items: impl IntoIterator<Item = T>,
        most: usize,
        size: impl Fn(&T) -> usize,
    ) -> Self {
        let mut left: Vec<Vec<T>> = Vec::new();
        let mut held = 0_usize;
        for item in items {
            let size = size(&item);
            held = held.saturating_add(size);
            match left.last_mut() {
                Some(part) if held <= most => part.push(item),
                _ => {
                    left.push(vec![item]);
                    held = size;
                }
            }
        }
        left.reverse();
        Self { left }
    }

    /// The next part, which is not empty.
    pub fn next(&mut self) -> Option<Vec<T>> {
        self.left.pop()
    }

    /// Puts a part back in halves that was too much at once; one item that is too much by itself
    /// comes back with its error.
    ///
    /// # Errors
    /// An error that less at a time does not help against.
    pub fn halve(&mut self, part: Vec<T>, error: Error) -> Result<Option<(T, Error)>> {
        match error.is_shortage() {
            true => Ok(self.split(part).map(|item| (item, error))),
            false => Err(error),
        }
    }

    /// Puts a part back in halves; one item alone comes back.
    pub fn split(&mut self, mut part: Vec<T>) -> Option<T> {
        let second = part.split_off(part.len() / 2);
        if part.is_empty() {
            return second.into_iter().next();
        }
        self.left.extend([second, part]);
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shortage() -> Error {
        Error::OutOfMemory { subject: "x".into(), hint: "less".into() }
    }

    #[test]
    fn parts_are_as_large_as_may_be_in_their_order() {
        let mut parts = Parts::new([5, 3, 20, 1, 1, 8], 10, |&size| size);
        let all: Vec<_> = std::iter::from_fn(|| parts.next()).collect();
        assert_eq!(all, [vec![5, 3], vec![20], vec![1, 1, 8]]);
        assert!(Parts::new([0; 0], 10, |&size| size).next().is_none());
    }

    /// 13 is too much by itself, and so is any sum above 10.
    #[test]
    fn what_is_too_much_is_done_in_halves_and_refused_alone() {
        let mut parts = Parts::new([4, 5, 13, 3, 6], usize::MAX, |&size| size);
        let (mut done, mut refused) = (Vec::new(), Vec::new());
        while let Some(part) = parts.next() {
            match part.iter().sum::<usize>() <= 10 {
                true => done.push(part),
                false => refused.extend(parts.halve(part, shortage()).unwrap()),
            }
        }
        assert_eq!(done, [vec![4, 5], vec![3, 6]]);
        assert_eq!(refused.iter().map(|(size, _)| *size).collect::<Vec<_>>(), [13]);
    }

    #[test]
    fn a_lost_device_is_not_asked_again() {
        let mut parts = Parts::new([1, 2], 9, |&size| size);
        let part = parts.next().unwrap();
        assert!(parts.halve(part, Error::lost("gpu", "reset")).is_err());
        assert!(parts.next().is_none());
    }
}
