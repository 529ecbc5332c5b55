//! How much text is looked at at once.

use crate::failure::{Failure, Kind};

/// Most bytes of a text that is cut: a page that colours every byte has to draw them too.
pub const MOST_TEXT_BYTES: usize = 1 << 20;

/// That a text is not too long.
///
/// # Errors
/// [`Kind::Limit`] with what it has and what may be.
pub fn check(text: &[u8]) -> Result<(), Failure> {
    match text.len() <= MOST_TEXT_BYTES {
        true => Ok(()),
        false => {
            let message =
                format!("bytes of a text: {} needed, {MOST_TEXT_BYTES} available", text.len());
            Err(Failure::new(Kind::Limit, message).with_hint("take a part of the text"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_too_long_says_how_much_may_be() {
        assert!(check(&[b'x'; 100]).is_ok());
        let failure = check(&vec![b'x'; MOST_TEXT_BYTES + 1]).unwrap_err();
        assert_eq!(failure.kind, Kind::Limit);
        assert!(failure.message.contains("1048577 needed, 1048576 available"), "{failure}");
    }
}
