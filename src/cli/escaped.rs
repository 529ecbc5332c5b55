//! Bytes as arguments: text with the escapes `\n \t \r \\ \xNN`.

use std::str::FromStr;

/// The bytes of a text with its escapes resolved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Escaped(pub Vec<u8>);

impl FromStr for Escaped {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut bytes = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            bytes.extend_from_slice(&rest.as_bytes()[..at]);
            let escape = &rest[at + 1..];
            let (byte, length) = match escape.bytes().next() {
                Some(b'n') => (b'\n', 1),
                Some(b't') => (b'\t', 1),
                Some(b'r') => (b'\r', 1),
                Some(b'\\') => (b'\\', 1),
                Some(b'x') => match escape.get(1..3).and_then(hexadecimal) {
                    Some(byte) => (byte, 3),
                    _ => return Err(unknown(&rest[at..])),
                },
                _ => return Err(unknown(&rest[at..])),
            };
            bytes.push(byte);
            rest = &escape[length..];
        }
        bytes.extend_from_slice(rest.as_bytes());
        Ok(Self(bytes))
    }
}

/// Two digits; a sign is none.
fn hexadecimal(digits: &str) -> Option<u8> {
    let is_plain = digits.bytes().all(|digit| digit.is_ascii_hexdigit());
    is_plain.then(|| u8::from_str_radix(digits, 16).ok())?
}

fn unknown(escape: &str) -> String {
    let shown: String = escape.chars().take(4).collect();
    format!("expected one of \\n \\t \\r \\\\ \\xNN, got {shown:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_resolved() {
        let bytes = |text: &str| text.parse::<Escaped>().map(|it| it.0);
        assert_eq!(bytes(r"a\n\n\\é\xff\x0a"), Ok(b"a\n\n\\\xc3\xa9\xff\n".to_vec()));
        assert_eq!(bytes(""), Ok(Vec::new()));
        for bad in [r"\", r"a\q", r"\x", r"\x4", r"\xzz", r"\xé", r"\x+1"] {
            let message = bytes(bad).unwrap_err();
            assert!(message.starts_with(r"expected one of \n"), "{bad}: {message}");
        }
    }
}
