//! The list of all kernels.

use super::{
    Kernel, attention, bench, decode, dense, embedding, lazy, loss, norm, optim, patch, reduce,
};

/// Every kernel there is, in the order of the families.
pub static REGISTRY: &[&Kernel] = &[
    &dense::matmul::KERNEL,
    &dense::matmul_rope::KERNEL,
    &dense::matmul_swiglu::KERNEL,
    &dense::matmul_swiglu_grad::KERNEL,
    &dense::matvec::KERNEL,
    &dense::matvec_rope::KERNEL,
    &dense::add::KERNEL,
    &dense::fill::KERNEL,
    &dense::copy::KERNEL,
    &dense::unpack::KERNEL,
    &dense::swiglu::KERNEL,
    &dense::swiglu_grad::KERNEL,
    &norm::rms_norm::KERNEL,
    &norm::rms_norm_grad::KERNEL,
    &reduce::sum::KERNEL,
    &reduce::sum_rows::KERNEL,
    &attention::rope::KERNEL,
    &attention::attention::KERNEL,
    &attention::attention_row::KERNEL,
    &attention::attention_query_grad::KERNEL,
    &attention::attention_key_grad::KERNEL,
    &patch::patch_pool::KERNEL,
    &patch::patch_pool_grad::KERNEL,
    &patch::patch_boundary::KERNEL,
    &patch::prefix_sum::KERNEL,
    &embedding::hash_ids::KERNEL,
    &embedding::byte_embedding::KERNEL,
    &embedding::hash_embedding::KERNEL,
    &embedding::scatter_add::KERNEL,
    &embedding::gather_rows::KERNEL,
    &decode::cache_rows::KERNEL,
    &decode::rope_cache::KERNEL,
    &decode::choose::KERNEL,
    &decode::next_step::KERNEL,
    &loss::cross_entropy::KERNEL,
    &loss::cross_entropy_grad::KERNEL,
    &loss::entropy::KERNEL,
    &optim::grad_norm::KERNEL,
    &optim::update_decision::KERNEL,
    &optim::adamw::KERNEL,
    &lazy::step_record::KERNEL,
    &lazy::catch_up_rows::KERNEL,
    &lazy::sweep_rows::KERNEL,
    &lazy::grad_norm_rows::KERNEL,
    &lazy::adamw_rows::KERNEL,
    &bench::stream_copy::KERNEL,
    &bench::stream_read::KERNEL,
    &bench::stream_write::KERNEL,
    &bench::fma_f32::KERNEL,
    &bench::fma_f16::KERNEL,
    &bench::matrix_f16::KERNEL,
];

/// The kernel of this name.
pub fn find(name: &str) -> Option<&'static Kernel> {
    REGISTRY.iter().find(|kernel| kernel.name == name).copied()
}
