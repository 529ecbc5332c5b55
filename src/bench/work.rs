//! The sizes of a dispatch in words: what tells a slow shape of a kernel from a fast one.

use crate::graph::Dispatch;
use crate::kernels::dense::matmul;
use crate::kernels::{Access, Counts};

/// `16384 x 1024 x 512 nt` for a product of [m, k] by [k, n], `t` where a side is stored
/// transposed; for other kernels the elements of every binding, written ones behind an arrow.
pub(super) fn work(dispatch: &Dispatch, counts: &Counts) -> String {
    if dispatch.kernel.name == matmul::KERNEL.name {
        let params: matmul::Params = bytemuck::pod_read_unaligned(&dispatch.params);
        let [m, n, k] = [params.m, params.n, params.k].map(|extent| extent.length(counts));
        let side = |transposed| if transposed == 1 { 't' } else { 'n' };
        let (a, b) = (side(params.transpose_a), side(params.transpose_b));
        return format!("{m} x {n} x {k} {a}{b}");
    }
    let bindings = dispatch.kernel.bindings.iter().zip(&dispatch.regions);
    let (read, written): (Vec<_>, Vec<_>) =
        bindings.partition(|(binding, _)| binding.access == Access::Read);
    let lengths = |of: Vec<(_, &crate::graph::Region)>| {
        of.iter().map(|(_, region)| short(region.length)).collect::<Vec<_>>().join(" ")
    };
    format!("{} -> {}", lengths(read), lengths(written)).trim().to_owned()
}

/// `8.4M`: a count of elements in few letters.
fn short(count: usize) -> String {
    match count {
        0..10_000 => count.to_string(),
        10_000..10_000_000 => format!("{:.0}k", count as f64 / 1e3),
        _ => format!("{:.0}M", count as f64 / 1e6),
    }
}
