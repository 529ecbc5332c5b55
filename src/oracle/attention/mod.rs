//! Rotary position embedding and range attention.

#[allow(clippy::module_inception)] // a kernel's file bears the kernel's name
pub mod attention;
pub mod attention_key_grad;
pub mod attention_query_grad;
pub mod attention_row;
#[cfg(test)]
mod case;
pub mod rope;

pub use attention::{AttentionInput, AttentionShape, Columns, ColumnsMut, NO_KEYS, attention};
pub use attention_key_grad::attention_key_grad;
pub use attention_query_grad::{AttentionUpstream, attention_delta, attention_query_grad};
pub use attention_row::attention_row;
pub use rope::{RopeShape, rope};
