//! Which bytes of a text file are the document: how a file is divided into training and held-out
//! text.

use std::ops::Range;

use crate::error::{Error, Result};

/// A contiguous piece of a text. Cuts are at bytes, not characters: bytes are the model's units,
/// and two pieces that share a cut lose and double none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Part {
    /// All of it.
    #[default]
    Whole,
    /// These bytes of it.
    Bytes(Range<usize>),
    /// What lies in front of the byte at `numerator / denominator` of its length, rounded down.
    Before { numerator: u32, denominator: u32 },
    /// The rest: from that byte on.
    From { numerator: u32, denominator: u32 },
}

impl Part {
    /// The first nine tenths: training text. With [`Part::LAST_TENTH`] it makes the whole.
    pub const ALL_BUT_LAST_TENTH: Self = Self::Before { numerator: 9, denominator: 10 };
    /// The last tenth: held-out text.
    pub const LAST_TENTH: Self = Self::From { numerator: 9, denominator: 10 };

    /// The byte range that this piece is in a text of `text_bytes` bytes.
    ///
    /// # Errors
    /// A range that ends before it starts or beyond the text; a fraction over one or over zero.
    pub fn range_in(&self, text_bytes: usize) -> Result<Range<usize>> {
        match self {
            Self::Whole => Ok(0..text_bytes),
            Self::Bytes(range) if range.start <= range.end && range.end <= text_bytes => {
                Ok(range.clone())
            }
            Self::Bytes(range) => Err(Error::input(
                "byte range",
                format!("expected a range within 0..{text_bytes}, got {range:?}"),
            )),
            &Self::Before { numerator, denominator } => {
                Ok(0..cut(text_bytes, numerator, denominator)?)
            }
            &Self::From { numerator, denominator } => {
                Ok(cut(text_bytes, numerator, denominator)?..text_bytes)
            }
        }
    }
}

/// `text_bytes * numerator / denominator`, rounded down, with no overflow on the way.
fn cut(text_bytes: usize, numerator: u32, denominator: u32) -> Result<usize> {
    if numerator > denominator || denominator == 0 {
        return Err(Error::input(
            "part of a text",
            format!("expected a fraction in 0..=1, got {numerator}/{denominator}"),
        ));
    }
    let cut = text_bytes as u128 * u128::from(numerator) / u128::from(denominator);
    Ok(usize::try_from(cut).expect("a fraction of a usize is a usize"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_cut_make_the_whole() {
        for text_bytes in [0, 1, 9, 10, 11, 1_115_394, usize::MAX] {
            let head = Part::ALL_BUT_LAST_TENTH.range_in(text_bytes).unwrap();
            let tail = Part::LAST_TENTH.range_in(text_bytes).unwrap();
            assert_eq!((head.start, head.end, tail.end), (0, tail.start, text_bytes));
        }
        assert_eq!(Part::LAST_TENTH.range_in(1_115_394).unwrap(), 1_003_854..1_115_394);
        assert_eq!(Part::Whole.range_in(5).unwrap(), 0..5);
    }

    #[test]
    fn ranges_stay_within_the_text() {
        assert_eq!(Part::Bytes(2..5).range_in(5).unwrap(), 2..5);
        let message = Part::Bytes(2..6).range_in(5).unwrap_err().to_string();
        assert_eq!(message, "byte range: expected a range within 0..5, got 2..6");
        #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
        let backwards = Part::Bytes(3..2);
        assert!(backwards.range_in(5).is_err());
        assert!(Part::Before { numerator: 3, denominator: 2 }.range_in(5).is_err());
        assert!(Part::From { numerator: 0, denominator: 0 }.range_in(5).is_err());
    }
}
