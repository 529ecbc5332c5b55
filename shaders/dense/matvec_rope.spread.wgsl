// A linear layer for a few rows with the norm in front of it, whose columns are rotated by position
// and kept in a cache, by many lanes.
#import shared/matvec_spread
#import shared/matvec_rope
