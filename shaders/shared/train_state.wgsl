// Indices of the fields in the buffer train_state, as in src/kernels/optim/train_state.rs.

const LOSS_SCALE: u32 = 0u;
const GOOD_STEPS: u32 = 1u;
const SKIPPED_STEPS: u32 = 2u;
const APPLIED_STEPS: u32 = 3u;
const SKIP: u32 = 4u;
const GRADIENT_SCALE: u32 = 5u;
const GRAD_NORM: u32 = 6u;
const BETA1_POWER: u32 = 7u;
const BETA2_POWER: u32 = 8u;
