//! The preprocessor: `#import`, `#ifdef`/`#ifndef`/`#else`/`#endif`, injected constants, header.
//!
//! `#import shared/step` puts `shaders/shared/step.wgsl` there, once. `#ifdef NAME` keeps its lines
//! if NAME is an injected constant that is not zero. Constants become `const NAME: u32 = ..;` lines
//! at the top. A binding that may hold f16 has an element type `<name>_type` instead of `f32`, an
//! alias that is injected, a vector of four under the constant `WIDE`; its numbers are converted,
//! `f32(x[i])`, `out_type(sum)`. Errors name the kernel and the line; they are mistakes in our own
//! shaders.

use crate::kernels::{Element, Halves, Kernel, Needs, WIDE};

/// Who will compile the text. naga takes subgroup builtins without a directive and refuses it;
/// browsers demand it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// wgpu on native backends, through naga.
    Native,
    /// A browser's own compiler.
    Browser,
}

/// The complete WGSL of one variant of a kernel for these parameters and types of its bindings.
///
/// # Panics
/// If the shader imports something unknown or its conditionals do not nest.
pub fn assemble(
    kernel: &Kernel,
    variant: usize,
    params: &[u8],
    halves: Halves,
    target: Target,
) -> String {
    let mut text = header(kernel.needs(variant, halves), target);
    let variant = &kernel.variants[variant];
    let mut constants = (kernel.constants)(params);
    constants.retain(|(name, _)| !variant.defines.iter().any(|(other, _)| other == name));
    constants.extend_from_slice(variant.defines);
    let wide = constants.contains(&(WIDE, 1));
    for (index, binding) in kernel.bindings.iter().enumerate() {
        if binding.may_be_half {
            let half = kernel.element(index, halves) == Element::F16;
            let ty = if half { "f16" } else { "f32" };
            let ty = if wide { format!("vec4<{ty}>") } else { ty.to_owned() };
            text += &format!("alias {}_type = {ty};\n", binding.name);
        }
    }
    for (name, value) in &constants {
        text += &format!("const {name}: u32 = {value}u;\n");
    }
    let mut imported = Vec::new();
    expand(kernel.name, variant.source, &constants, &mut imported, &mut text);
    text
}

/// Fragments that kernels share, by the name they are imported under.
const FRAGMENTS: &[(&str, &str)] = &[
    ("shared/attention", include_str!("../../shaders/shared/attention.wgsl")),
    ("shared/lane_head", include_str!("../../shaders/shared/lane_head.wgsl")),
    ("shared/matmul", include_str!("../../shaders/shared/matmul.wgsl")),
    ("shared/finite", include_str!("../../shaders/shared/finite.wgsl")),
    ("shared/row_reduce", include_str!("../../shaders/shared/row_reduce.wgsl")),
    ("shared/sigmoid", include_str!("../../shaders/shared/sigmoid.wgsl")),
    ("shared/step", include_str!("../../shaders/shared/step.wgsl")),
    ("shared/train_state", include_str!("../../shaders/shared/train_state.wgsl")),
    ("shared/wide", include_str!("../../shaders/shared/wide.wgsl")),
];

fn header(needs: Needs, target: Target) -> String {
    let mut text = String::new();
    if needs.f16 {
        text += "enable f16;\n";
    }
    if needs.subgroups && target == Target::Browser {
        text += "enable subgroups;\n";
    }
    if needs.cooperative_matrix {
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
