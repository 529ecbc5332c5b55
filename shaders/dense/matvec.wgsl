// out = norm(x) weightᵀ + residual_scale * residual for a few rows of x, or silu(gate) * up of what
// that makes.
#import shared/matvec_sums
#import shared/matvec_finish
