//! Values on their way to JavaScript and back.

use crate::{Failure, Kind};
use js_sys::{Array, Object, Reflect};
use serde::Serialize;
use serde::de::DeserializeOwned;
use wasm_bindgen::prelude::*;

/// What a method gives JavaScript: a value, or an object `{ kind, message, hint }` that is thrown.
pub type Given<T = JsValue> = Result<T, JsValue>;

/// An object that is thrown.
pub fn thrown(failure: Failure) -> JsValue {
    plain(&failure)
}

/// A value as JavaScript's plain objects.
pub fn plain(value: &impl Serialize) -> JsValue {
    let text = serde_json::to_string(value).expect("plain data is written to a string");
    js_sys::JSON::parse(&text).expect("JSON is parsed")
}

/// Options from the text of a JSON object.
///
/// # Errors
/// [`Kind::Input`] naming the key that is wrong.
pub fn options<T: DeserializeOwned>(json: &str) -> Result<T, Failure> {
    serde_json::from_str(json)
        .map_err(|problem| Failure::new(Kind::Input, format!("options: {problem}")))
}

/// An object with these members.
pub fn object<const N: usize>(members: [(&str, JsValue); N]) -> JsValue {
    let object = Object::new();
    for (name, value) in members {
        // It fails for frozen objects and proxies only.
        let _ = Reflect::set(&object, &name.into(), &value);
    }
    object.into()
}

/// An array of truth values.
pub fn booleans(values: &[bool]) -> JsValue {
    values.iter().map(|&value| JsValue::from_bool(value)).collect::<Array>().into()
}
