//! Constants of the model family and the limits of this implementation.
//!
//! Values that belong to the architecture come from the released models and from the defaults of
//! the `transformers` configuration; limits say how far this program goes, and running into one is
//! an error that names it.

/// Rows of the byte embedding and columns of the logits.
pub const VOCABULARY_SIZE: usize = crate::text::VOCABULARY_SIZE as usize;

/// Entropy in nats above which a byte starts a patch, in every released model.
pub const DEFAULT_PATCHING_THRESHOLD: f64 = 1.335_442_066_192_627;

/// Base of the rotary angles in the local encoder, latent transformer and local decoder.
pub const LOCAL_THETA: f64 = 500_000.0;

/// Base of the rotary angles in the entropy model.
pub const PATCHER_THETA: f64 = 10_000.0;

/// Sizes of the hashed byte n-grams when a configuration names none.
pub const IMPLIED_GROUP_SIZES: [usize; 6] = [3, 4, 5, 6, 7, 8];

/// The shortest hashed byte n-gram.
pub const MIN_HASH_GROUP_SIZE: usize = 2;

/// The longest hashed byte n-gram; generation keeps this many ids less one.
pub const MAX_HASH_GROUP_SIZE: usize = 8;

/// There are eleven primes, one a hash function.
pub const MAX_HASH_FUNCTION_COUNT: usize = 11;

/// Rows of one hash table stay below this, so that row ids survive 24-bit arithmetic.
pub const MAX_ROWS_PER_TABLE: usize = (1 << 24) - 1;

/// The widest hidden size, FFN width or concatenated patch vector.
pub const MAX_WIDTH: usize = 1 << 20;

/// The widest attention head: a query and its sum stay in one workgroup's memory.
pub const MAX_HEAD_DIM: usize = 128;

/// The most layers in one of the transformers.
pub const MAX_LAYER_COUNT: usize = 1 << 12;

/// The most positions of one row, in bytes or patches.
pub const MAX_POSITIONS: usize = 1 << 22;

/// The most numbers of a rotary table, positions times head width: 256 MiB of them.
pub const MAX_ROTARY_NUMBERS: usize = 1 << 26;
