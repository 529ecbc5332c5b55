//! Finding the key that was probably meant.

use crate::error::Error;

/// The known key nearest to `key` by edit distance, if any is near enough to be worth naming.
///
/// Near enough means that at most a third of the letters, and at least one, may differ.
pub fn nearest_key<'a>(key: &str, known: &[&'a str]) -> Option<&'a str> {
    let allowed = (key.chars().count() / 3).max(1);
    known
        .iter()
        .map(|candidate| (edit_distance(key, candidate), *candidate))
        .filter(|(distance, _)| *distance <= allowed)
        .min()
        .map(|(_, candidate)| candidate)
}

/// The error for a key nobody knows, with the nearest known one as its hint.
pub fn unknown_key(table: &str, key: &str, known: &[&str]) -> Error {
    let error = Error::config(format!("{table}.{key}"), "unknown key");
    match nearest_key(key, known) {
        Some(nearest) => error.with_hint(format!("did you mean `{nearest}`?")),
        None => error.with_hint(format!("no key of `{table}` has a name like that")),
    }
}

/// Levenshtein distance: insertions, deletions and replacements of characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (i, a) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(a != *b);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        assert_eq!(edit_distance("", "abc"), 3);
        assert_eq!(edit_distance("kitten", "sitting"), 3);
        assert_eq!(edit_distance("same", "same"), 0);
    }

    #[test]
    fn a_slip_is_recognised_and_nonsense_is_not() {
        let known = ["dim_global", "dim_local_encoder", "rope_theta"];
        assert_eq!(nearest_key("dim_globl", &known), Some("dim_global"));
        assert_eq!(nearest_key("rope_thata", &known), Some("rope_theta"));
        assert_eq!(nearest_key("zzzzzz", &known), None);
        let error = unknown_key("model", "rope_tetha", &known);
        assert_eq!(error.to_string(), "model.rope_tetha: unknown key");
        assert_eq!(error.hint(), Some("did you mean `rope_theta`?"));
    }
}
