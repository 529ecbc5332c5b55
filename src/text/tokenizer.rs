//! The byte tokenizer: id = byte + 4, and four ids that are no bytes. Spec §1.
//!
//! `[bytes]` in, `[bytes + BOS + EOS]` out. Every byte string has ids and comes back unchanged; it
//! need not be UTF-8.

use crate::error::{Error, Result};

/// Begin of example: filler, and what rows of a batch are padded with. Never a prediction target.
pub const BOE_ID: u32 = 0;
/// Begin of a document.
pub const BOS_ID: u32 = 1;
/// End of a document.
pub const EOS_ID: u32 = 2;
/// The mark of the BPE-delimiter patching mode: a subword starts after it.
pub const BPE_ID: u32 = 3;
/// What is added to a byte to get its id; the ids below it are the four above.
pub const BYTE_OFFSET: u32 = 4;
/// Number of ids: four special ones and 256 bytes.
pub const VOCABULARY_SIZE: u32 = BYTE_OFFSET + 256;

/// The ids of `bytes`, with `BOS_ID` in front and `EOS_ID` behind where asked for.
///
/// Documents for training and evaluation have both; a prompt has only the first.
pub fn encode(bytes: &[u8], add_bos: bool, add_eos: bool) -> Vec<u32> {
    let mut ids = Vec::with_capacity(bytes.len() + 2);
    ids.extend(add_bos.then_some(BOS_ID));
    ids.extend(bytes.iter().map(|&byte| u32::from(byte) + BYTE_OFFSET));
    ids.extend(add_eos.then_some(EOS_ID));
    ids
}

/// The bytes of `ids`; ids that are no bytes (special ones, or outside the vocabulary) are dropped.
///
/// The result need not be UTF-8: see [`Utf8Stream`](super::Utf8Stream) for showing it.
pub fn decode(ids: &[u32]) -> Vec<u8> {
    ids.iter().filter_map(|&id| byte_of(id)).collect()
}

/// The bytes of `ids` in front of the first `EOS_ID`, or of all of them where there is none.
pub fn decode_until_eos(ids: &[u32]) -> Vec<u8> {
    let end = ids.iter().position(|&id| id == EOS_ID).unwrap_or(ids.len());
    decode(&ids[..end])
}

/// That every id is below [`VOCABULARY_SIZE`]: device code indexes tables with ids unchecked.
///
/// # Errors
/// Names the first id that is not, and its index.
pub fn check_ids(ids: &[u32]) -> Result<()> {
    match ids.iter().position(|&id| id >= VOCABULARY_SIZE) {
        None => Ok(()),
        Some(index) => Err(Error::input(
            format!("ids[{index}]"),
            format!("expected an id in 0..{VOCABULARY_SIZE}, got {}", ids[index]),
        )
        .with_hint("an id is a byte value plus 4; 0 to 3 are BOE, BOS, EOS and BPE")),
    }
}

/// The byte that an id stands for, if it stands for one.
pub fn byte_of(id: u32) -> Option<u8> {
    id.checked_sub(BYTE_OFFSET).and_then(|byte| u8::try_from(byte).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_sentence() {
        let golden = [
            1, 80, 105, 120, 43, 119, 36, 103, 108, 105, 103, 111, 36, 109, 106, 36, 120, 108, 105,
            119, 105, 36, 120, 115, 111, 105, 114, 109, 126, 105, 118, 119, 36, 113, 101, 120, 103,
            108, 37, 2,
        ];
        let text = b"Let's check if these tokenizers match!";
        assert_eq!(encode(text, true, true), golden);
        assert_eq!(encode(text, true, false), golden[..golden.len() - 1]);
        assert_eq!(encode(text, false, false), golden[1..golden.len() - 1]);
        assert_eq!(decode(&golden), text);
    }

    #[test]
    fn the_largest_byte_has_the_largest_id() {
        assert_eq!(encode(&[0, 255], false, false), [4, VOCABULARY_SIZE - 1]);
        assert_eq!(encode(b"", true, true), [BOS_ID, EOS_ID]);
    }

    #[test]
    fn decoding_drops_what_is_no_byte() {
        assert_eq!(decode(&[0, 1, 2, 3, 4, 259, 260, u32::MAX]), [0, 255]);
    }

    #[test]
    fn decoding_stops_at_the_first_eos() {
        assert_eq!(decode_until_eos(&[1, 101, 2, 102, 2]), b"a");
        assert_eq!(decode_until_eos(&[1, 101, 102]), b"ab");
        assert_eq!(decode_until_eos(&[2, 101]), b"");
    }

    #[test]
    fn the_first_foreign_id_is_named_with_its_index() {
        assert!(check_ids(&[0, 1, 2, 3, 259]).is_ok());
        assert!(check_ids(&[]).is_ok());
        let message = check_ids(&[1, 259, 260, 999]).unwrap_err().to_string();
        assert_eq!(message, "ids[2]: expected an id in 0..260, got 260");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_come_back(
            bytes: Vec<u8>, add_bos: bool, add_eos: bool, after: Vec<u8>,
        ) {
            let ids = encode(&bytes, add_bos, add_eos);
            prop_assert_eq!(ids.len(), bytes.len() + usize::from(add_bos) + usize::from(add_eos));
            prop_assert!(check_ids(&ids).is_ok());
            prop_assert_eq!(&decode(&ids), &bytes);
            let mut more = encode(&bytes, add_bos, true);
            more.extend(encode(&after, add_bos, add_eos));
            prop_assert_eq!(&decode_until_eos(&more), &bytes);
        }
    }
}
