//! Which known key someone may have meant.

/// The known dotted key nearest to an unknown one, or `None` when none is known.
///
/// Names are compared by the number of single-letter insertions, deletions, replacements and swaps
/// of neighbours between them, blind to case and to `-` for `_`. The last part of a key counts
/// double, so that `lr` finds `optim.lr`; of equally near keys the first is taken.
pub fn nearest<'a>(unknown: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    known.into_iter().min_by_key(|key| distance(unknown, key))
}

fn distance(a: &str, b: &str) -> usize {
    let ((a_group, a_name), (b_group, b_name)) = (split(a), split(b));
    2 * edit_distance(a_name, b_name) + edit_distance(a_group, b_group).min(1)
}

/// Group and last part of a dotted key.
fn split(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// Edits between two names (optimal string alignment).
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b) = (letters(a), letters(b));
    // rows[i][j] is the distance between the first i letters of a and the first j of b.
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    rows[0] = (0..=b.len()).collect();
    for i in 1..=a.len() {
        rows[i][0] = i;
        for j in 1..=b.len() {
            let replaced = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = replaced.min(rows[i - 1][j] + 1).min(rows[i][j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(rows[i - 2][j - 2] + 1);
            }
            rows[i][j] = least;
        }
    }
    rows[a.len()][b.len()]
}

fn letters(name: &str) -> Vec<char> {
    name.chars().map(|c| if c == '-' { '_' } else { c.to_ascii_lowercase() }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn edits() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("warmup", "wramup", 1),
            ("batch-size", "Batch_Size", 0),
            ("lr", "clip", 3),
        ] {
            assert_eq!(edit_distance(a, b), expected, "{a} {b}");
            assert_eq!(edit_distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn finds_typos_and_missing_groups() {
        let known = ["seed", "steps", "data", "data.seed", "data.seq_len", "optim", "optim.lr"];
        for (unknown, expected) in [
            ("step", "steps"),
            ("seq_len", "data.seq_len"),
            ("data.seqlen", "data.seq_len"),
            ("data.sead", "data.seed"),
            ("sead", "seed"),
            ("lr", "optim.lr"),
            ("optm", "optim"),
            ("optim.seed", "seed"),
        ] {
            assert_eq!(nearest(unknown, known), Some(expected), "{unknown}");
        }
        assert_eq!(nearest("x", []), None);
    }
}
