//! The sizes of a dispatch in words: what tells a slow shape of a kernel from a fast one.

use crate::graph::Dispatch;
use crate::kernels::attention::{attention, attention_key_grad, attention_query_grad};
use crate::kernels::dense::matmul;
use crate::kernels::{Access, Counts};

/// `16384 x 1024 x 512 nt` for a product of [m, k] by [k, n], `t` where a side is stored
/// transposed; rows and heads of an attention; for other kernels the elements of every binding,
/// written ones behind an arrow.
pub(super) fn work(dispatch: &Dispatch, counts: &Counts) -> String {
    if dispatch.kernel.name == matmul::KERNEL.name {
        let params: matmul::Params = bytemuck::pod_read_unaligned(&dispatch.params);
        let [m, n, k] = [params.m, params.n, params.k].map(|extent| extent.length(counts));
        let side = |transposed| if transposed == 1 { 't' } else { 'n' };
        let (a, b) = (side(params.transpose_a), side(params.transpose_b));
        return format!("{m} x {n} x {k} {a}{b}");
    }
    if ATTENTION.contains(&dispatch.kernel.name) {
        let params: attention::Params = bytemuck::pod_read_unaligned(&dispatch.params);
        let [queries, keys] = [params.queries, params.keys].map(|extent| extent.length(counts));
        let (heads, head_dim) = (params.head_count, params.head_dim);
        return format!("{queries} queries x {keys} keys, {heads} heads of {head_dim}");
    }
    let bindings = dispatch.kernel.bindings.iter().zip(&dispatch.regions);
    let (read, written): (Vec<_>, Vec<_>) =
        bindings.partition(|(binding, _)| binding.access == Access::Read);
    let lengths = |of: Vec<(_, &crate::graph::Region)>| {
        of.iter().map(|(_, region)| short(region.length)).collect::<Vec<_>>().join(" ")
    };
    format!("{} -> {}", lengths(read), lengths(written)).trim().to_owned()
}

/// Kernels with the parameters of an attention.
const ATTENTION: [&str; 3] =
    [attention::KERNEL.name, attention_query_grad::KERNEL.name, attention_key_grad::KERNEL.name];

/// `8.4M`: a count of elements in few letters.
fn short(count: usize) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{:.0}k", count as f64 / 1e3),
        _ => format!("{:.0}M", count as f64 / 1e6),
    }
}
