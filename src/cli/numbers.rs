//! Lists of numbers as arguments: `1,76,109`.

use std::str::FromStr;

/// Numbers separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Numbers(pub Vec<u32>);

impl FromStr for Numbers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self(Vec::new()));
        }
        let number = |part: &str| {
            let part = part.trim();
            part.parse().map_err(|_| format!("expected whole numbers like 1,76,109, got {part:?}"))
        };
        text.split(',').map(number).collect::<Result<_, _>>().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_numbers() {
        assert_eq!("1,76, 109".parse(), Ok(Numbers(vec![1, 76, 109])));
        assert_eq!("".parse(), Ok(Numbers(Vec::new())));
        for bad in ["1,,2", "a", "-1", "1.5", "4294967296", "1,"] {
            assert!(bad.parse::<Numbers>().unwrap_err().starts_with("expected whole numbers"));
        }
    }
}
