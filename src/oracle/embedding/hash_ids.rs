//! Table rows of the n-grams that end at each byte (spec §2.2), exact in 64-bit arithmetic.

/// The primes of the hash functions, in the order functions are numbered; a function past the last
/// starts again at the first.
pub const PRIMES: [i64; 11] = [
    1_000_000_007,
    5_915_587_277,
    1_500_450_271,
    3_267_000_013,
    5_754_853_343,
    4_093_082_899,
    9_576_890_767,
    3_628_273_133,
    2_860_486_313,
    5_463_458_053,
    3_367_900_313,
];

/// `out[byte, f · sizes.len() + s]` = the hash of the last `sizes[s]` ids up to and including
/// `byte` under function `f`: `Σ w[m] · prime^m` over the window from its oldest id on, wrapping in
/// i64, modulo `vocab` with a result that is never negative.
///
/// `position[byte]` is the byte's index in its row; ids before the row are 0. `ids` and `position`
/// are `[byte_count]`, `out` is `[byte_count, function_count · sizes.len()]`.
pub fn hash_ids(
    ids: &[u32],
    position: &[u32],
    sizes: &[u32],
    function_count: usize,
    vocab: u32,
    out: &mut [u32],
) {
    let table_count = function_count * sizes.len();
    for byte in 0..ids.len() {
        for table in 0..table_count {
            let size = sizes[table % sizes.len()] as usize;
            let prime = PRIMES[table / sizes.len() % PRIMES.len()];
            let mut sum = 0_i64;
            let mut power = 1_i64;
            for m in 0..size {
                let back = size - 1 - m;
                let id = if back > position[byte] as usize { 0 } else { ids[byte - back] };
                sum = sum.wrapping_add(i64::from(id).wrapping_mul(power));
                power = power.wrapping_mul(prime);
            }
            out[byte * table_count + table] = sum.rem_euclid(i64::from(vocab)) as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Spec §25.1.
    const IDS: [u32; 16] =
        [1, 72, 101, 105, 114, 105, 118, 125, 119, 36, 88, 101, 118, 107, 101, 118];
    const SIZES: [u32; 7] = [2, 3, 4, 5, 6, 7, 8];
    #[rustfmt::skip]
    const GOLDEN: [[u32; 16]; 7] = [
        [496009, 212507, 96781, 80838, 44905, 80851, 28933, 995,
         24960, 356373, 148654, 96797, 28929, 72869, 96816, 28929],
        [443987, 348935, 37502, 294216, 274140, 242340, 50093, 202570,
         414224, 201424, 409561, 473651, 66039, 114334, 397866, 66058],
        [437197, 281585, 189712, 127061, 29038, 267201, 129446, 401070,
         26871, 381272, 148156, 250338, 360757, 433492, 455113, 284972],
        [123201, 79613, 382808, 283737, 426389, 123063, 155827, 380477,
         412897, 348081, 187892, 249379, 138964, 297680, 34713, 343739],
        [166353, 302503, 241104, 306205, 90295, 349786, 191529, 178252,
         211792, 252547, 268005, 349383, 317845, 491565, 459171, 103179],
        [34117, 201753, 20286, 95355, 64005, 444548, 244054, 421114,
         106637, 229492, 430315, 485790, 243651, 240330, 112850, 353439],
        [172383, 323061, 340750, 41807, 150805, 85526, 382522, 178197,
         31469, 49357, 48532, 69310, 423764, 206434, 475825, 50824],
    ];

    fn positions(count: u32) -> Vec<u32> {
        (0..count).collect()
    }

    #[test]
    fn golden_ids() {
        let mut out = vec![0; 16 * 7];
        hash_ids(&IDS, &positions(16), &SIZES, 1, 500_002, &mut out);
        for (size, golden) in GOLDEN.iter().enumerate() {
            let got: Vec<u32> = (0..16).map(|byte| out[byte * 7 + size]).collect();
            assert_eq!(got, golden, "n = {}", SIZES[size]);
        }
    }

    #[test]
    fn golden_ids_of_a_small_table() {
        // Spec §25.6.
        let ids = [1, 76, 109, 48, 36, 70, 80, 88, 37, 2, 1, 101, 102, 103, 2];
        let golden = [
            [6, 7, 45, 0, 14, 25, 44, 37, 13, 17, 7, 38, 30, 12, 9],
            [0, 11, 26, 51, 29, 4, 45, 41, 13, 13, 17, 49, 27, 34, 27],
            [29, 2, 9, 3, 28, 31, 1, 9, 32, 18, 42, 10, 18, 25, 39],
        ];
        let mut out = vec![99; 15 * 3];
        hash_ids(&ids, &positions(15), &[3, 4, 5], 1, 53, &mut out);
        for (size, golden) in golden.iter().enumerate() {
            let got: Vec<u32> = (0..15).map(|byte| out[byte * 3 + size]).collect();
            assert_eq!(got, golden);
        }
    }

    #[test]
    fn rows_do_not_see_each_other() {
        let mut alone = vec![0; 16 * 7];
        hash_ids(&IDS, &positions(16), &SIZES, 1, 500_002, &mut alone);
        let twice = [IDS, IDS].concat();
        let position = [positions(16), positions(16)].concat();
        let mut both = vec![0; 32 * 7];
        hash_ids(&twice, &position, &SIZES, 1, 500_002, &mut both);
        assert_eq!(both, [alone.clone(), alone].concat());
    }

    #[test]
    fn functions_come_first_and_start_again_after_eleven() {
        let mut out = vec![0; 16 * 24];
        hash_ids(&IDS, &positions(16), &[2, 3], 12, 500_002, &mut out);
        for row in out.chunks(24) {
            assert_eq!(row[..2], row[22..]);
            assert_ne!(row[..2], row[2..4]);
        }
        // w0 + w1 · p fits in 64 bits: (72 + 101 · 5915587277) mod 500002.
        let expected = (72 + 101 * 5_915_587_277_i64) % 500_002;
        assert_eq!(i64::from(out[2 * 24 + 2]), expected);
    }
}
