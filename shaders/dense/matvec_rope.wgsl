// A linear layer for a few rows with the norm in front of it, whose columns are rotated by position
// and kept in a cache.
#import shared/matvec_sums
#import shared/matvec_rope
