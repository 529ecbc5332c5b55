//! Weights as they are stored: numbers of 32 bits, or fewer bits packed into words.
//!
//! A matrix [rows, cols] is packed row by row, each row a whole number of words of 32 bits:
//!
//! | type | a row |
//! |---|---|
//! | `f16`, `bf16` | two numbers a word, the even column in the low half |
//! | `int8`, `q4` | four or eight codes a word, the first in the lowest bits, then its scales |
//!
//! A block of neighbours has a scale of type f16; two of them are a word, like two numbers.
//! An element of a block is `(code - 128) * scale` or `(code - 8) * scale`. These are the bytes of
//! the files, see `docs/checkpoints.md`; only that codes and scales of a row lie side by side here,
//! so that one binding shows both. Every number is one of f32, exactly.

mod blocks;
mod rows;
mod weight_type;

pub use blocks::encode_block_row;
pub use rows::{pack_rows, unpack_rows, words_are_finite};
pub use weight_type::{WEIGHT_BLOCK_SIZE, WeightType};
