//! Lists of numbers as arguments: `1,76,109`.

use blt_wgpu::text::VOCABULARY_SIZE;
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

/// Ids separated by commas, each in the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ids(pub Vec<u32>);

impl FromStr for Ids {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let Numbers(ids) = text.parse()?;
        match ids.iter().find(|id| **id >= VOCABULARY_SIZE) {
            None => Ok(Self(ids)),
            Some(id) => Err(format!(
                "expected ids in 0..{VOCABULARY_SIZE}, got {id}; an id is a byte value plus 4, \
                 0 to 3 are BOE, BOS, EOS and BPE"
            )),
        }
    }
}

/// `1 id`, `2 ids`, `2 patches`.
pub fn counted(count: impl TryInto<u64>, noun: &str) -> String {
    let count = count.try_into().unwrap_or(u64::MAX);
    let end = match (count, noun.ends_with("ch")) {
        (1, _) => "",
        (_, true) => "es",
        (_, false) => "s",
    };
    format!("{count} {noun}{end}")
}

/// A count that cannot be 0.
pub fn at_least_one(text: &str) -> Result<usize, String> {
    let count: Option<usize> = text.parse().ok().filter(|count| *count > 0);
    count.ok_or_else(|| format!("expected at least 1, got {text}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_in_the_vocabulary() {
        assert_eq!("1,259".parse(), Ok(Ids(vec![1, 259])));
        let refused = "1,260".parse::<Ids>().unwrap_err();
        assert!(refused.starts_with("expected ids in 0..260, got 260"), "{refused}");
        assert_eq!([0_u64, 1, 2].map(|it| counted(it, "id")), ["0 ids", "1 id", "2 ids"]);
        assert_eq!([1_usize, 2].map(|it| counted(it, "patch")), ["1 patch", "2 patches"]);
        assert_eq!(at_least_one("3"), Ok(3));
        assert_eq!(at_least_one("0").unwrap_err(), "expected at least 1, got 0");
    }

    #[test]
    fn lists_of_numbers() {
        assert_eq!("1,76, 109".parse(), Ok(Numbers(vec![1, 76, 109])));
        assert_eq!("".parse(), Ok(Numbers(Vec::new())));
        for bad in ["1,,2", "a", "-1", "1.5", "4294967296", "1,"] {
            assert!(bad.parse::<Numbers>().unwrap_err().starts_with("expected whole numbers"));
        }
    }
}
