//! The preprocessor: `#import`, `#ifdef`/`#ifndef`/`#else`/`#endif`, injected constants, header.
//!
//! `#import shared/step` puts `shaders/shared/step.wgsl` there, once. `#ifdef NAME` keeps its lines
//! if NAME is an injected constant that is not zero. Constants become `const NAME: u32 = ..;` lines
//! at the top. A binding that may hold f16 has an element type `<name>_type` instead of `f32`, an
//! alias that is injected, a vector of four under the constant `WIDE`; its numbers are converted,
//! `f32(x[i])`, `out_type(sum)`. Errors name the kernel and the line; they are mistakes in our own
//! shaders.

/// Who will compile the text. naga takes subgroup builtins without a directive and refuses it;
/// browsers demand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// wgpu on native backends, through naga.
    Native,
    /// A browser's own compiler.
    Browser,
}

/// What a text is made of.
#[derive(Clone, Copy, Debug)]
pub struct Parts<'a> {
    /// The kernel, for errors.
    pub name: &'a str,
    /// The WGSL as it stands in its file.
    pub source: &'a str,
    pub extensions: Extensions,
    /// Element types that are the dispatch's to choose: name of the binding, type in WGSL.
    pub types: &'a [(&'a str, &'a str)],
    /// Injected constants.
    pub constants: &'a [(&'a str, u32)],
}

/// What the text uses beyond core WGSL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extensions {
    pub f16: bool,
    pub subgroups: bool,
    pub cooperative_matrix: bool,
}

/// The complete WGSL.
///
/// # Panics
/// If the shader imports something unknown or its conditionals do not nest.
pub fn assemble(parts: &Parts<'_>, target: Target) -> String {
    let mut text = header(parts.extensions, target);
    for (name, ty) in parts.types {
        text += &format!("alias {name}_type = {ty};\n");
    }
    for (name, value) in parts.constants {
        text += &format!("const {name}: u32 = {value}u;\n");
    }
    expand(parts.name, parts.source, parts.constants, &mut Vec::new(), &mut text);
    text
}

/// Fragments that kernels share, by the name they are imported under.
pub const FRAGMENTS: &[(&str, &str)] = &[
    ("shared/adamw", include_str!("../../shaders/shared/adamw.wgsl")),
    ("shared/adamw_factors", include_str!("../../shaders/shared/adamw_factors.wgsl")),
    ("shared/attention", include_str!("../../shaders/shared/attention.wgsl")),
    ("shared/attention_square", include_str!("../../shaders/shared/attention_square.wgsl")),
    ("shared/attention_cache", include_str!("../../shaders/shared/attention_cache.wgsl")),
    ("shared/attention_matrix", include_str!("../../shaders/shared/attention_matrix.wgsl")),
    ("shared/eight_head", include_str!("../../shaders/shared/eight_head.wgsl")),
    ("shared/eight_row", include_str!("../../shaders/shared/eight_row.wgsl")),
    ("shared/eights", include_str!("../../shaders/shared/eights.wgsl")),
    ("shared/fours", include_str!("../../shaders/shared/fours.wgsl")),
    ("shared/lane_head", include_str!("../../shaders/shared/lane_head.wgsl")),
    ("shared/lane_walk", include_str!("../../shaders/shared/lane_walk.wgsl")),
    ("shared/matmul", include_str!("../../shaders/shared/matmul.wgsl")),
    ("shared/matmul_matrix", include_str!("../../shaders/shared/matmul_matrix.wgsl")),
    ("shared/matmul_matrix_tile", include_str!("../../shaders/shared/matmul_matrix_tile.wgsl")),
    ("shared/matmul_rope", include_str!("../../shaders/shared/matmul_rope.wgsl")),
    ("shared/matmul_tile", include_str!("../../shaders/shared/matmul_tile.wgsl")),
    ("shared/finite", include_str!("../../shaders/shared/finite.wgsl")),
    ("shared/hash", include_str!("../../shaders/shared/hash.wgsl")),
    ("shared/matvec", include_str!("../../shaders/shared/matvec.wgsl")),
    ("shared/matvec_finish", include_str!("../../shaders/shared/matvec_finish.wgsl")),
    ("shared/matvec_rope", include_str!("../../shaders/shared/matvec_rope.wgsl")),
    ("shared/matvec_spread", include_str!("../../shaders/shared/matvec_spread.wgsl")),
    ("shared/matvec_sums", include_str!("../../shaders/shared/matvec_sums.wgsl")),
    ("shared/packed", include_str!("../../shaders/shared/packed.wgsl")),
    ("shared/register_tile", include_str!("../../shaders/shared/register_tile.wgsl")),
    ("shared/replay", include_str!("../../shaders/shared/replay.wgsl")),
    ("shared/row_ranges", include_str!("../../shaders/shared/row_ranges.wgsl")),
    ("shared/row_reduce", include_str!("../../shaders/shared/row_reduce.wgsl")),
    ("shared/sigmoid", include_str!("../../shaders/shared/sigmoid.wgsl")),
    ("shared/square_tile", include_str!("../../shaders/shared/square_tile.wgsl")),
    ("shared/step", include_str!("../../shaders/shared/step.wgsl")),
    ("shared/swiglu_grad", include_str!("../../shaders/shared/swiglu_grad.wgsl")),
    ("shared/train_state", include_str!("../../shaders/shared/train_state.wgsl")),
    ("shared/wide", include_str!("../../shaders/shared/wide.wgsl")),
];

fn header(extensions: Extensions, target: Target) -> String {
    let mut text = String::new();
    if extensions.f16 {
        text += "enable f16;\n";
    }
    if extensions.subgroups && target == Target::Browser {
        text += "enable subgroups;\n";
    }
    if extensions.cooperative_matrix {
        text += "enable wgpu_cooperative_matrix;\n";
    }
    text
}

fn expand(
    name: &str,
    source: &str,
    constants: &[(&str, u32)],
    imported: &mut Vec<&'static str>,
    text: &mut String,
) {
    let holds =
        |constant: &str| constants.iter().any(|&(name, value)| name == constant && value != 0);
    // One entry an open conditional: whether its lines are kept.
    let mut open: Vec<bool> = Vec::new();
    for (index, line) in source.lines().enumerate() {
        let place = || format!("{name} line {}", index + 1);
        let mut words = line.split_whitespace();
        match (words.next(), words.next()) {
            (Some("#ifdef"), Some(constant)) => open.push(holds(constant)),
            (Some("#ifndef"), Some(constant)) => open.push(!holds(constant)),
            (Some("#else"), _) => {
                let last = open.last_mut().unwrap_or_else(|| panic!("{}: #else alone", place()));
                *last = !*last;
            }
            (Some("#endif"), _) => {
                open.pop().unwrap_or_else(|| panic!("{}: #endif alone", place()));
            }
            _ if open.contains(&false) => {}
            (Some("#import"), Some(path)) => {
                let fragment = FRAGMENTS.iter().find(|(name, _)| *name == path);
                let &(path, source) =
                    fragment.unwrap_or_else(|| panic!("{}: no fragment {path}", place()));
                if !imported.contains(&path) {
                    imported.push(path);
                    expand(path, source, constants, imported, text);
                }
            }
            _ => {
                text.push_str(line);
                text.push('\n');
            }
        }
    }
    assert!(open.is_empty(), "{name}: a conditional is not closed");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expanded(source: &str, constants: &[(&str, u32)]) -> String {
        let mut text = String::new();
        expand("test", source, constants, &mut Vec::new(), &mut text);
        text
    }

    #[test]
    fn conditionals_keep_the_right_lines() {
        let source = "a\n#ifdef X\nb\n#ifdef Y\nc\n#else\nd\n#endif\n#else\ne\n#endif\nf\n";
        assert_eq!(expanded(source, &[("X", 1)]), "a\nb\nd\nf\n");
        assert_eq!(expanded(source, &[("X", 1), ("Y", 2)]), "a\nb\nc\nf\n");
        assert_eq!(expanded(source, &[("X", 0), ("Y", 1)]), "a\ne\nf\n");
        assert_eq!(expanded("#ifndef X\na\n#endif\n", &[]), "a\n");
    }

    #[test]
    fn a_fragment_is_imported_once() {
        let text = expanded("#import shared/step\n#import shared/step\n", &[]);
        assert_eq!(text.matches("struct Step").count(), 1);
    }

    #[test]
    #[should_panic(expected = "no fragment shared/nothing")]
    fn an_unknown_fragment_is_named() {
        expanded("#import shared/nothing\n", &[]);
    }
}
