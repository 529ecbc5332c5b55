//! Kernels that take four columns at a time where every row is a whole number of vectors.
//!
//! Their shaders import `shared/wide`: `WIDE` makes `number` a `vec4<f32>`, and the element types
//! of bindings that may hold f16 vectors too.

/// The injected constant `WIDE` for rows of so many columns.
pub fn wide(cols: u32) -> (&'static str, u32) {
    (WIDE, cols.is_multiple_of(4).into())
}

/// The name of that constant.
pub const WIDE: &str = "WIDE";

/// Columns that an invocation takes at a time.
pub fn lane_count(cols: u32) -> usize {
    if cols.is_multiple_of(4) { 4 } else { 1 }
}
