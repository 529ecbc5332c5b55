//! `--set a.b=c`: one value of a configuration, changed from the command line.

use toml::{Table, Value};

use crate::error::{Error, Result};

/// Applies `key=value` to a configuration that is not resolved yet.
///
/// The key is a dotted TOML key (`data.sources."a.txt"`); tables on the way are made when absent.
/// The value is TOML; what is not valid TOML is taken as a string, so that `device=vulkan` needs
/// no quotes. A table given as a value replaces the table that was there.
///
/// # Errors
/// `Config` when there is no `=`, the key is no TOML key, or it goes through something that is no
/// table.
pub fn apply_override(table: &mut Table, assignment: &str) -> Result<()> {
    let (key, value) = split(assignment)?;
    let (last, groups) = key.split_last().expect("a parsed key has a part");
    let mut table = table;
    for (depth, group) in groups.iter().enumerate() {
        let entry = table.entry(group).or_insert_with(|| Value::Table(Table::new()));
        let kind = entry.type_str();
        table = entry.as_table_mut().ok_or_else(|| {
            let problem = format!("expected a table, because of `--set {assignment}`, got {kind}");
            Error::config(groups[..=depth].join("."), problem)
        })?;
    }
    table.insert(last.clone(), value);
    Ok(())
}

/// The parts of the key, and the value. The key ends at the first `=` that leaves a valid one: a
/// quoted part may hold one too.
fn split(assignment: &str) -> Result<(Vec<String>, Value)> {
    for (at, _) in assignment.match_indices('=') {
        if let Some(key) = parse_key(&assignment[..at]) {
            return Ok((key, parse_value(&assignment[at + 1..])));
        }
    }
    let problem = format!("expected key=value with a dotted key, got `{assignment}`");
    Err(Error::config("--set", problem))
}

/// Lets the TOML parser read a key, by giving it a value to go with.
fn parse_key(key: &str) -> Option<Vec<String>> {
    // On lines of its own it would be a document rather than a key.
    if key.contains(['\n', '\r']) {
        return None;
    }
    let mut table = toml::from_str::<Table>(&format!("{key} = 0")).ok()?;
    let mut parts = Vec::new();
    loop {
        let mut entries = table.into_iter();
        let (part, value) = entries.next().filter(|_| entries.len() == 0)?;
        parts.push(part);
        match value {
            Value::Table(inner) => table = inner,
            Value::Integer(0) => return Some(parts),
            _ => return None,
        }
    }
}

fn parse_value(text: &str) -> Value {
    let text = text.trim();
    let parsed = toml::from_str::<Table>(&format!("value = {text}"));
    match parsed.ok().filter(|table| table.len() == 1).and_then(|mut t| t.remove("value")) {
        Some(value) => value,
        None => Value::String(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(before: &str, assignment: &str, after: &str) {
        let mut table: Table = toml::from_str(before).unwrap();
        apply_override(&mut table, assignment).unwrap();
        assert_eq!(table, toml::from_str::<Table>(after).unwrap());
    }

    #[test]
    fn values_are_toml_or_else_strings() {
        check("a = 1", "a=2", "a = 2");
        check("", "a=1e-4", "a = 1e-4");
        check("", "a = true", "a = true");
        check("", "a=[1, 2]", "a = [1, 2]");
        check("", "a=\"7\"", "a = '7'");
        check("", "a=vulkan/radv x=1", "a = 'vulkan/radv x=1'");
        check("", "a=C:\\texts\\b.txt", "a = 'C:\\texts\\b.txt'");
        check("", "a=", "a = ''");
        check("", "a=1\nb=2", "a = \"1\\nb=2\"");
    }

    #[test]
    fn keys_reach_into_tables() {
        check("[a]\nb = 1\nc = 2", "a.b=3", "[a]\nb = 3\nc = 2");
        check("", "a.b.c=x", "[a.b]\nc = 'x'");
        check("[a]\nb = 1", "a={c = 2}", "[a]\nc = 2");
        check("", "s.\"x.txt\"=0.5", "[s]\n'x.txt' = 0.5");
        check("", "s.\"x=y\"=0.5", "[s]\n'x=y' = 0.5");
    }

    #[test]
    fn refusals_name_the_key() {
        let mut table: Table = toml::from_str("a = 1").unwrap();
        for (assignment, needle) in [
            ("a.b=1", "a: expected a table"),
            ("a", "--set: expected key=value"),
            ("=1", "--set"),
            ("a..b=1", "--set"),
            ("a b=1", "--set"),
            ("[a]\nb=1", "--set"),
        ] {
            let message = apply_override(&mut table, assignment).unwrap_err().to_string();
            assert!(message.starts_with(needle), "{assignment}: {message}");
        }
        assert_eq!(table, toml::from_str::<Table>("a = 1").unwrap());
    }
}
