//! A number that changes when any shader does.

use super::REGISTRY;
use crate::shader::FRAGMENTS;

/// A hash (FNV-1a, 64 bits) of the text and constants of every variant of every kernel, in
/// hexadecimal. What was measured or compiled with other shaders is told by it.
pub fn fingerprint() -> String {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut add = |text: &str| {
        // The end of a text counts too, or "ab", "c" would be "a", "bc".
        for byte in text.bytes().chain([0xff]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    };
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
    format!("{hash:016x}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn it_is_a_number_of_64_bits_and_the_same_twice() {
        let fingerprint = super::fingerprint();
        assert_eq!(fingerprint.len(), 16);
        assert!(u64::from_str_radix(&fingerprint, 16).is_ok_and(|number| number != 0));
        assert_eq!(fingerprint, super::fingerprint());
    }
}
