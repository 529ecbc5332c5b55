//! The shapes that a page may train.

use crate::{Failure, Kind, Result};
use blt_wgpu::demo::Shape;

/// Their names, small to large.
pub const PRESETS: [&str; 2] = ["tiny", "small"];

/// The shape of that name: those of the demo, the first with fewer layers, for software adapters
/// and phones.
///
/// # Errors
/// [`Kind::Input`] with the names that there are.
pub fn preset(name: &str) -> Result<Shape> {
    let small = Shape::all().remove(0);
    match name {
        "tiny" => Ok(Shape {
            name: name.into(),
            entropy_layer_count: 1,
            decoder_layer_count: 1,
            latent_layer_count: 1,
            row_patch_count: 96,
            batch_bytes: 1024,
            ..small
        }),
        "small" => Ok(Shape { name: name.into(), ..small }),
        other => {
            let message = format!("preset: expected one of {}, got {other:?}", PRESETS.join(", "));
            Err(Failure::new(Kind::Input, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_have_their_names() {
        for name in PRESETS {
            assert_eq!(preset(name).unwrap().name, name);
        }
        assert!(preset("huge").unwrap_err().message.contains("tiny, small"));
    }
}
