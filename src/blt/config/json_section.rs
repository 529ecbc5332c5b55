//! Typed reads from one object of a `config.json`. A null counts as an absent key.
//!
//! A section notes which keys it was asked for, so that the list of known keys is the code that
//! reads them, and no second one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};

use crate::error::{Error, Result};

/// The keys that were asked for, by the path of their object: empty, or such as
/// `encoder_config.rope_parameters.`, with the point at its end.
#[derive(Debug, Default)]
pub(super) struct Reading {
    asked: RefCell<BTreeMap<String, BTreeSet<String>>>,
}

impl Reading {
    /// The keys asked for, by path.
    pub fn asked(self) -> BTreeMap<String, BTreeSet<String>> {
        self.asked.into_inner()
    }
}

/// One JSON object and where it stands in the file.
pub(super) struct Section<'a> {
    path: String,
    map: Option<&'a Map<String, Value>>,
    reading: &'a Reading,
}

impl<'a> Section<'a> {
    /// The whole file.
    pub fn top(value: &'a Value, reading: &'a Reading) -> Result<Self> {
        match value {
            Value::Object(map) => Ok(Self { path: String::new(), map: Some(map), reading }),
            other => Err(Error::config(
                "config.json",
                format!("expected an object at the top, got {}", kind(other)),
            )),
        }
    }

    /// The object under `key`; an absent one reads as if empty.
    pub fn child(&self, key: &str) -> Result<Self> {
        let map = match self.get(key) {
            None => None,
            Some(Value::Object(map)) => Some(map),
            Some(other) => return Err(self.wrong(key, "an object", other)),
        };
        Ok(Self { path: format!("{}{key}.", self.path), map, reading: self.reading })
    }

    /// The value under `key`, unless it is null.
    pub fn get(&self, key: &str) -> Option<&'a Value> {
        self.value(key).filter(|value| !value.is_null())
    }

    /// Whether the key is written, be it as null.
    pub fn has(&self, key: &str) -> bool {
        self.value(key).is_some()
    }

    /// A whole number of zero or more.
    pub fn size(&self, key: &str) -> Result<Option<usize>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let whole = value.as_u64().or_else(|| {
            // Python writes some counts as floats; 4.0 is as good as 4.
            value
                .as_f64()
                .filter(|it| it.fract() == 0.0 && (0.0..1e15).contains(it))
                .map(|it| it as u64)
        });
        match whole.and_then(|whole| usize::try_from(whole).ok()) {
            Some(size) => Ok(Some(size)),
            None => Err(self.wrong(key, "a whole number", value)),
        }
    }

    /// A number.
    pub fn number(&self, key: &str) -> Result<Option<f64>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_f64().map(Some).ok_or_else(|| self.wrong(key, "a number", value))
    }

    /// True or false.
    pub fn flag(&self, key: &str) -> Result<Option<bool>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_bool().map(Some).ok_or_else(|| self.wrong(key, "true or false", value))
    }

    /// A string.
    pub fn text(&self, key: &str) -> Result<Option<&'a str>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        value.as_str().map(Some).ok_or_else(|| self.wrong(key, "a string", value))
    }

    /// A list of whole numbers.
    pub fn sizes(&self, key: &str) -> Result<Option<Vec<usize>>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        let wrong = || self.wrong(key, "a list of whole numbers", value);
        let list = value.as_array().ok_or_else(wrong)?;
        let item = |item: &Value| item.as_u64().and_then(|it| usize::try_from(it).ok());
        list.iter().map(item).collect::<Option<Vec<_>>>().map(Some).ok_or_else(wrong)
    }

    /// A key that repeats a number must repeat it rightly.
    pub fn agree(&self, key: &str, expected: usize) -> Result<()> {
        match self.size(key)? {
            Some(got) if got != expected => {
                Err(self.error(key, format!("expected {expected}, got {got}")))
            }
            _ => Ok(()),
        }
    }

    /// An error about `key`, which it names with its full path.
    pub fn error(&self, key: &str, problem: impl Into<String>) -> Error {
        Error::config(format!("config.json: {}{key}", self.path), problem)
    }

    fn value(&self, key: &str) -> Option<&'a Value> {
        let mut asked = self.reading.asked.borrow_mut();
        asked.entry(self.path.clone()).or_default().insert(key.to_owned());
        self.map?.get(key)
    }

    fn wrong(&self, key: &str, expected: &str, got: &Value) -> Error {
        self.error(key, format!("expected {expected}, got {}", shown(got)))
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

/// A short value as it stands, a long one by its kind.
fn shown(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 { text } else { kind(value).into() }
}
