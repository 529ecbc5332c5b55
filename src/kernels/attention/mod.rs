//! Rotary embedding, and attention in which every query sees one contiguous range of keys.

#[allow(clippy::module_inception)] // a kernel's file bears the kernel's name
pub mod attention;
pub mod attention_delta;
pub mod attention_key_grad;
pub mod attention_query_grad;
pub mod attention_row;
mod cached;
mod cases;
pub mod fast_exp;
mod faster;
mod few;
mod heads;
mod lanes;
mod ranges;
pub mod rope;
mod score_tile;
