// out = norm(x) weightᵀ + residual_scale * residual for a few rows of x, or silu(gate) * up of what
// that makes, by many lanes.
#import shared/matvec_spread
#import shared/matvec_finish
