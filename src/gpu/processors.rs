//! How many workgroups a device wants: no API says how many processors it has, so that names that
//! are known say it, and the kind of device where they are not.

use super::caps::DeviceKind;

/// Multiprocessors or compute units by what drivers call the device, the special name before the
/// general one. As their vendors state them.
const KNOWN: &[(&str, u32)] = &[
    ("H100 PCIe", 114),
    ("H100", 132),
    ("H200", 132),
    ("A100", 108),
    ("L40S", 142),
    ("L4", 58),
    ("V100", 80),
    ("T4", 40),
    ("RTX 4090", 128),
    ("RTX 3090", 82),
    ("RX 7900 XTX", 96),
    ("MI300X", 304),
];

/// Processors that take workgroups side by side. A wrong guess costs time and no result: work is
/// cut into too few parts, or into so many that adding them up shows.
pub(super) fn processors(name: &str, kind: DeviceKind) -> u32 {
    let words: Vec<&str> = name.split([' ', '-']).collect();
    let is_named = |known: &str| {
        let known: Vec<&str> = known.split(' ').collect();
        words.windows(known.len()).any(|words| words == known)
    };
    let known = KNOWN.iter().find(|(known, _)| is_named(known));
    match (known, kind) {
        // A driver in software computes whatever it is called.
        (_, DeviceKind::Software) => SOFTWARE,
        (Some((_, count)), _) => *count,
        (None, DeviceKind::Discrete | DeviceKind::Virtual) => 64,
        (None, DeviceKind::Integrated) => 12,
        (None, DeviceKind::Unknown) => 24,
    }
}

/// Enough for the threads of a processor.
const SOFTWARE: u32 = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_known_and_kinds_say_how_many() {
        let discrete = |name| processors(name, DeviceKind::Discrete);
        assert_eq!(discrete("NVIDIA H100 80GB HBM3"), 132);
        assert_eq!(discrete("NVIDIA H100 PCIe"), 114, "the special name comes first");
        assert_eq!(discrete("NVIDIA A100-SXM4-80GB"), 108);
        assert_eq!((discrete("NVIDIA L4"), discrete("NVIDIA L40S")), (58, 142));
        assert_eq!(discrete("AMD Radeon RX 7900 XTX (RADV NAVI31)"), 96);
        assert_eq!(discrete("a card of tomorrow"), 64);
        assert_eq!(processors("Apple M1", DeviceKind::Integrated), 12);
        assert_eq!(processors("", DeviceKind::Unknown), 24);
        assert_eq!(processors("llvmpipe H100", DeviceKind::Software), 8);
    }
}
