//! Strict reading of one table of a configuration.
//!
//! A section hands out its keys one by one and remembers which it was asked for; what is left when
//! it closes is unknown. So the list of known keys is the code that reads them, and no second one.

use std::ops::RangeBounds;
use std::path::PathBuf;

use toml::{Table, Value};

use super::nearest::nearest;
use crate::error::{Error, Result};

/// What has been found out while the sections of a configuration were read.
#[derive(Debug, Default)]
pub struct Reading {
    known: Vec<String>,
    unknown: Vec<String>,
    ignored: Vec<String>,
}

/// One table that is being read.
pub struct Section<'a> {
    /// Dotted name of the table, empty for the whole configuration.
    path: String,
    /// The keys that were not asked for yet.
    table: Table,
    reading: &'a mut Reading,
}

impl Reading {
    /// Reads a whole configuration; every key of it that `read` does not ask for is unknown.
    ///
    /// # Errors
    /// Those of `read`; then `Config` for the first unknown key.
    pub fn read<T>(
        &mut self,
        table: Table,
        read: impl FnOnce(&mut Section<'_>) -> Result<T>,
    ) -> Result<T> {
        let mut section = Section { path: String::new(), table, reading: self };
        let value = read(&mut section)?;
        section.close();
        match self.unknown.first() {
            Some(key) => Err(self.unknown_key(key)),
            None => Ok(value),
        }
    }

    /// The keys that were there and do nothing, dotted.
    pub fn ignored(&self) -> &[String] {
        &self.ignored
    }

    fn unknown_key(&self, key: &str) -> Error {
        match nearest(key, self.known.iter().map(String::as_str)) {
            Some(known) => {
                Error::config(key, format!("unknown key; the nearest known one is `{known}`"))
            }
            None => Error::config(key, "unknown key"),
        }
    }
}

impl Section<'_> {
    /// Reads the table `key`, as empty when it is absent.
    pub fn within<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&mut Section<'_>) -> Result<T>,
    ) -> Result<T> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(other) => return Err(self.wrong(key, "a table", &other)),
        };
        let mut section = Section { path: self.dotted(key), table, reading: self.reading };
        let value = read(&mut section)?;
        section.close();
        Ok(value)
    }

    /// The keys that were not asked for yet.
    pub fn keys(&self) -> Vec<String> {
        self.table.keys().cloned().collect()
    }

    /// The value of a key, whatever its type.
    pub fn take(&mut self, key: &str) -> Option<Value> {
        let dotted = self.dotted(key);
        self.reading.known.push(dotted);
        self.table.remove(key)
    }

    /// Passes over keys that do nothing here; a pattern may end in `*`.
    pub fn ignore(&mut self, patterns: &[&str]) {
        let found: Vec<String> =
            self.table.keys().filter(|key| matches_any(key, patterns)).cloned().collect();
        for key in found {
            self.table.remove(&key);
            let dotted = self.dotted(&key);
            self.reading.ignored.push(dotted);
        }
    }

    /// Takes out the rest of the table for someone else to parse; keys not in `known` are unknown.
    pub fn take_rest(&mut self, known: &[&str]) -> Table {
        known.iter().filter_map(|key| Some((key.to_string(), self.take(key)?))).collect()
    }

    /// A whole number.
    pub fn count(&mut self, key: &str, default: u64, range: impl RangeBounds<u64>) -> Result<u64> {
        Ok(self.optional_count(key, range)?.unwrap_or(default))
    }

    /// A whole number that may be absent.
    pub fn optional_count(
        &mut self,
        key: &str,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<u64>> {
        let expected = "a whole number";
        let Some(value) = self.take(key) else { return Ok(None) };
        let Value::Integer(integer) = value else { return Err(self.wrong(key, expected, &value)) };
        match u64::try_from(integer) {
            Ok(count) if range.contains(&count) => Ok(Some(count)),
            _ => Err(self.wrong(key, &format!("{expected}{}", bounds(&range)), &value)),
        }
    }

    /// A whole number that counts things in memory.
    pub fn size(
        &mut self,
        key: &str,
        default: usize,
        range: impl RangeBounds<u64>,
    ) -> Result<usize> {
        Ok(self.optional_size(key, range)?.unwrap_or(default))
    }

    /// A whole number that counts things in memory and may be absent.
    pub fn optional_size(
        &mut self,
        key: &str,
        range: impl RangeBounds<u64>,
    ) -> Result<Option<usize>> {
        let Some(count) = self.optional_count(key, range)? else { return Ok(None) };
        let size = usize::try_from(count);
        size.map(Some).map_err(|_| {
            Error::config(self.dotted(key), format!("expected at most {}, got {count}", usize::MAX))
        })
    }

    /// A finite number, written with or without a point.
    pub fn number(&mut self, key: &str, default: f64, range: impl RangeBounds<f64>) -> Result<f64> {
        Ok(self.optional_number(key, range)?.unwrap_or(default))
    }

    /// A finite number that may be absent.
    pub fn optional_number(
        &mut self,
        key: &str,
        range: impl RangeBounds<f64>,
    ) -> Result<Option<f64>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let number = match value {
            Value::Integer(integer) => integer as f64,
            Value::Float(float) => float,
            _ => return Err(self.wrong(key, "a number", &value)),
        };
        if number.is_finite() && range.contains(&number) {
            return Ok(Some(number));
        }
        Err(self.wrong(key, &format!("a finite number{}", bounds(&range)), &value))
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &str, default: bool) -> Result<bool> {
        match self.take(key) {
            None => Ok(default),
            Some(Value::Boolean(flag)) => Ok(flag),
            Some(other) => Err(self.wrong(key, "true or false", &other)),
        }
    }

    /// A string that may be absent.
    pub fn optional_string(&mut self, key: &str) -> Result<Option<String>> {
        match self.take(key) {
            None => Ok(None),
            Some(Value::String(string)) => Ok(Some(string)),
            Some(other) => Err(self.wrong(key, "a string", &other)),
        }
    }

    /// A string.
    pub fn string(&mut self, key: &str, default: &str) -> Result<String> {
        Ok(self.optional_string(key)?.unwrap_or_else(|| default.into()))
    }

    /// A string or a list of strings; none when absent.
    pub fn strings(&mut self, key: &str) -> Result<Vec<String>> {
        let expected = "a string or a list of strings";
        let values = match self.take(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(values)) => values,
            Some(value) => vec![value],
        };
        let string = |value: Value| match value {
            Value::String(string) => Ok(string),
            other => Err(self.wrong(key, expected, &other)),
        };
        values.into_iter().map(string).collect()
    }

    /// A path that may be absent.
    pub fn optional_path(&mut self, key: &str) -> Result<Option<PathBuf>> {
        Ok(self.optional_string(key)?.map(PathBuf::from))
    }

    /// One of several names; absent is `None`.
    pub fn choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Result<Option<T>> {
        let Some(value) = self.take(key) else { return Ok(None) };
        let found = choices.iter().find(|(name, _)| value.as_str() == Some(name));
        if let Some((_, choice)) = found {
            return Ok(Some(*choice));
        }
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        Err(self.wrong(key, &format!("one of {}", names.join(", ")), &value))
    }

    /// The error that a key has another value than it should.
    pub fn wrong(&self, key: &str, expected: &str, got: &Value) -> Error {
        wrong(&self.dotted(key), expected, got)
    }

    /// The full name of a key of this section.
    pub fn dotted(&self, key: &str) -> String {
        if self.path.is_empty() { key.into() } else { format!("{}.{key}", self.path) }
    }

    fn close(self) {
        let unknown: Vec<String> = self.table.keys().map(|key| self.dotted(key)).collect();
        self.reading.unknown.extend(unknown);
    }
}

/// The error that the key of this full name has another value than it should.
pub fn wrong(dotted: &str, expected: &str, got: &Value) -> Error {
    Error::config(dotted, format!("expected {expected}, got {}", describe(got)))
}

fn describe(value: &Value) -> String {
    match value {
        Value::String(string) => format!("the string {string:?}"),
        Value::Integer(integer) => integer.to_string(),
        Value::Float(float) => format!("{float:?}"),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(datetime) => format!("the date {datetime}"),
        Value::Array(_) => "an array".into(),
        Value::Table(_) => "a table".into(),
    }
}

fn matches_any(key: &str, patterns: &[&str]) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(prefix) => key.starts_with(prefix),
        None => key == *pattern,
    })
}

/// A range in words, with a leading space; empty for the whole line.
fn bounds<T: std::fmt::Display>(range: &impl RangeBounds<T>) -> String {
    use std::ops::Bound::{Excluded, Included, Unbounded};
    let least = match range.start_bound() {
        Included(least) => format!(" from {least}"),
        Excluded(least) => format!(" above {least}"),
        Unbounded => String::new(),
    };
    let most = match range.end_bound() {
        Included(most) => format!(" up to {most}"),
        Excluded(most) => format!(" below {most}"),
        Unbounded => String::new(),
    };
    least + &most
}
