//! The types in which the weights of a model may lie, on disk and on a device.

/// How weights are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WeightType {
    F32,
    F16,
    Bf16,
    /// Blocks of eight-bit numbers with a scale each.
    Int8,
    /// Blocks of four-bit numbers with a scale each.
    Q4,
}

/// Neighbouring elements of a row that share a scale in [`WeightType::Int8`] and
/// [`WeightType::Q4`]; the last block of a row may be shorter.
pub const WEIGHT_BLOCK_SIZE: usize = 32;

impl WeightType {
    /// Every type, in the order in which they are documented.
    pub const ALL: [Self; 5] = [Self::F32, Self::F16, Self::Bf16, Self::Int8, Self::Q4];

    /// The name on the command line and in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
            Self::Int8 => "int8",
            Self::Q4 => "q4",
        }
    }

    /// The type of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|known| known.name() == name)
    }

    /// Whether elements are blocks with a scale.
    pub fn is_blocks(self) -> bool {
        matches!(self, Self::Int8 | Self::Q4)
    }

    /// Whether elements are smaller than a word.
    pub fn is_packed(self) -> bool {
        self != Self::F32
    }

    /// The number that stands for it in the parameters of kernels.
    pub fn number(self) -> u32 {
        self as u32
    }

    /// The type of that number.
    ///
    /// # Panics
    /// If there is none.
    pub fn from_number(number: u32) -> Self {
        Self::ALL[number as usize]
    }

    /// Elements of four bytes that a row takes: numbers of f32, or words.
    pub fn row_length(self, cols: usize) -> usize {
        match self {
            Self::F32 => cols,
            Self::F16 | Self::Bf16 => cols.div_ceil(2),
            Self::Int8 | Self::Q4 => self.code_words(cols) + self.row_scales(cols).div_ceil(2),
        }
    }

    /// Words of the codes of a row of blocks.
    pub(super) fn code_words(self, cols: usize) -> usize {
        self.row_code_bytes(cols).div_ceil(4)
    }

    /// Bytes of the codes of a row of blocks.
    pub fn row_code_bytes(self, cols: usize) -> usize {
        if self == Self::Q4 { cols.div_ceil(2) } else { cols }
    }

    /// Scales of a row of blocks.
    pub fn row_scales(self, cols: usize) -> usize {
        cols.div_ceil(WEIGHT_BLOCK_SIZE)
    }

    /// The code of zero in blocks.
    pub(super) fn zero_code(self) -> i32 {
        if self == Self::Q4 { 8 } else { 128 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_names_and_numbers() {
        for weights in WeightType::ALL {
            assert_eq!(WeightType::from_name(weights.name()), Some(weights));
            assert_eq!(WeightType::from_number(weights.number()), weights);
        }
        assert_eq!(WeightType::from_name("f64"), None);
    }

    #[test]
    fn rows_are_whole_words() {
        let lengths = |cols| WeightType::ALL.map(|weights| weights.row_length(cols));
        assert_eq!(lengths(1), [1, 1, 1, 2, 2]);
        assert_eq!(lengths(32), [32, 16, 16, 9, 5]);
        assert_eq!(lengths(65), [65, 33, 33, 17 + 2, 9 + 2]);
        assert_eq!(lengths(512), [512, 256, 256, 128 + 8, 64 + 8]);
    }
}
