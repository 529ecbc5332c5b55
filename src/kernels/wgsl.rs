//! The WGSL of a kernel: which constants, types and extensions go into the text of a variant.

use super::{Element, Halves, Kernel, WIDE};
use crate::shader::{Extensions, Parts, Target, assemble};

impl Kernel {
    /// The complete WGSL of one variant for these parameters and types of its bindings.
    ///
    /// # Panics
    /// If the shader imports something unknown or its conditionals do not nest.
    pub fn wgsl(&self, variant: usize, params: &[u8], halves: Halves, target: Target) -> String {
        let needs = self.needs(variant, halves);
        let variant = &self.variants[variant];
        let mut constants = (self.constants)(params);
        constants.retain(|(name, _)| !variant.defines.iter().any(|(other, _)| other == name));
        constants.extend_from_slice(variant.defines);
        let wide = constants.contains(&(WIDE, 1));
        let types = self.bindings.iter().enumerate().filter(|(_, binding)| binding.may_be_half);
        let types = types.map(|(index, binding)| {
            let half = self.element(index, halves) == Element::F16;
            let ty = match (half, wide) {
                (false, false) => "f32",
                (false, true) => "vec4<f32>",
                (true, false) => "f16",
                (true, true) => "vec4<f16>",
            };
            (binding.name, ty)
        });
        let parts = Parts {
            name: self.name,
            source: variant.source,
            extensions: Extensions {
                f16: needs.f16,
                subgroups: needs.subgroups,
                cooperative_matrix: needs.cooperative_matrix,
            },
            types: &types.collect::<Vec<_>>(),
            constants: &constants,
        };
        assemble(&parts, target)
    }
}
