//! Numbers as they are stored, from and to f32.

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};
use safetensors::tensor::Dtype;

/// A type of stored numbers that weights may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElementType {
    F32,
    F16,
    Bf16,
}

impl ElementType {
    /// The type of that name in a header.
    pub fn of(dtype: Dtype) -> Option<Self> {
        match dtype {
            Dtype::F32 => Some(Self::F32),
            Dtype::F16 => Some(Self::F16),
            Dtype::BF16 => Some(Self::Bf16),
            _ => None,
        }
    }

    /// Its name in a header.
    pub fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F16 => Dtype::F16,
            Self::Bf16 => Dtype::BF16,
        }
    }

    /// Bytes of one number.
    pub fn size(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
        }
    }

    /// What torch calls a storage of it.
    pub(super) fn torch_storage(self) -> &'static str {
        match self {
            Self::F32 => "FloatStorage",
            Self::F16 => "HalfStorage",
            Self::Bf16 => "BFloat16Storage",
        }
    }
}

/// The nearest numbers of a type, little-endian, in the place of what `out` held.
///
/// # Errors
///
/// A sentence, if a finite number is too large for the type.
pub(super) fn encode(
    kind: ElementType,
    elements: &[f32],
    out: &mut Vec<u8>,
) -> std::result::Result<(), String> {
    out.clear();
    match kind {
        ElementType::F32 if cfg!(target_endian = "little") => {
            out.extend_from_slice(bytemuck::cast_slice(elements));
            Ok(())
        }
        ElementType::F32 => {
            elements.iter().for_each(|it| out.extend(it.to_le_bytes()));
            Ok(())
        }
        ElementType::F16 => {
            let mut halves = vec![f16::ZERO; elements.len()];
            halves.convert_from_f32_slice(elements);
            halves.iter().for_each(|it| out.extend(it.to_le_bytes()));
            fits(kind, elements, |index| halves[index].is_finite())
        }
        ElementType::Bf16 => {
            out.reserve(2 * elements.len());
            let mut all = true;
            for element in elements {
                let half = bf16::from_f32(*element);
                all &= half.is_finite();
                out.extend(half.to_le_bytes());
            }
            if all {
                Ok(())
            } else {
                fits(kind, elements, |at| bf16::from_f32(elements[at]).is_finite())
            }
        }
    }
}

/// Every finite number is still finite.
fn fits(
    kind: ElementType,
    elements: &[f32],
    is_finite: impl Fn(usize) -> bool,
) -> std::result::Result<(), String> {
    let too_large = (0..elements.len()).find(|at| elements[*at].is_finite() && !is_finite(*at));
    match too_large {
        None => Ok(()),
        Some(at) => Err(format!("{} is too large for {}", elements[at], kind.dtype())),
    }
}

/// Decodes as many numbers as `out` has; there must be enough bytes.
pub(super) fn decode(kind: ElementType, bytes: &[u8], out: &mut [f32]) {
    match kind {
        ElementType::F32 => decode_each(bytes, out, f32::from_le_bytes),
        ElementType::F16 => decode_each(bytes, out, |it| f16::from_le_bytes(it).to_f32()),
        ElementType::Bf16 => decode_each(bytes, out, |it| bf16::from_le_bytes(it).to_f32()),
    }
}

fn decode_each<const SIZE: usize>(
    bytes: &[u8],
    out: &mut [f32],
    element: impl Fn([u8; SIZE]) -> f32,
) {
    let (chunks, _) = bytes.as_chunks::<SIZE>();
    for (value, chunk) in out.iter_mut().zip(chunks) {
        *value = element(*chunk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_survive_their_types() {
        let values = [0.0f32, -0.0, 1.0, -2.5, 6.5e4, 6.1e-5, 0.333];
        for kind in [ElementType::F32, ElementType::F16, ElementType::Bf16] {
            let (mut bytes, mut back) = (Vec::new(), [0.0; 7]);
            encode(kind, &values, &mut bytes).unwrap();
            assert_eq!(bytes.len(), 7 * kind.size());
            decode(kind, &bytes, &mut back);
            for (value, back) in values.iter().zip(back) {
                let step = [0.0, 4.9e-4, 3.9e-3][kind as usize];
                assert!((value - back).abs() <= step * value.abs(), "{kind:?}: {value} {back}");
            }
            let mut again = Vec::new();
            encode(kind, &back, &mut again).unwrap();
            assert_eq!(again, bytes, "{kind:?}: what fits is kept");
        }
        let error = encode(ElementType::F16, &[1.0, 7e4], &mut Vec::new()).unwrap_err();
        assert_eq!(error, "70000 is too large for F16");
        let error = encode(ElementType::Bf16, &[f32::MAX], &mut Vec::new()).unwrap_err();
        assert!(error.ends_with("too large for BF16"), "{error}");
    }
}
