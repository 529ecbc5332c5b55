//! A number that changes when any shader does.

use super::REGISTRY;
use crate::shader::FRAGMENTS;

/// A hash (FNV-1a, 64 bits) of the text and constants of every variant of every kernel, in
/// hexadecimal. What was measured or compiled with other shaders is told by it.
pub fn fingerprint() -> String {
    let mut hash = Hash::default();
    let mut add = |text: &str| hash.add(text.as_bytes());
    for (name, text) in FRAGMENTS {
        add(name);
        add(text);
    }
    for kernel in REGISTRY {
        add(kernel.name);
        for variant in kernel.variants {
            add(variant.name);
            add(variant.source);
            for (name, value) in variant.defines {
                add(&format!("{name} = {value}"));
            }
        }
    }
    hash.to_hex()
}

/// FNV-1a of 64 bits over pieces.
#[derive(Clone, Copy, Debug)]
pub struct Hash(u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    /// One more piece.
    pub fn add(&mut self, piece: &[u8]) {
        // Its length counts too, or "ab", "c" would be "a", "bc".
        for byte in piece.iter().copied().chain(piece.len().to_le_bytes()) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    /// 16 digits.
    pub fn to_hex(self) -> String {
        format!("{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn where_pieces_end_counts() {
        let hash = |pieces: &[&[u8]]| {
            let mut hash = Hash::default();
            pieces.iter().for_each(|piece| hash.add(piece));
            hash.to_hex()
        };
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
        assert_eq!(hash(&[b"ab", b"c"]), hash(&[b"ab", b"c"]));
    }

    #[test]
    fn it_is_a_number_of_64_bits_and_the_same_twice() {
        let fingerprint = super::fingerprint();
        assert_eq!(fingerprint.len(), 16);
        assert!(u64::from_str_radix(&fingerprint, 16).is_ok_and(|number| number != 0));
        assert_eq!(fingerprint, super::fingerprint());
    }
}
