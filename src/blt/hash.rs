//! Rolling hash of byte n-grams: which row of which embedding table a position reads.
//!
//! Every pair of a hash function `f` and a group size `n` has its own table of `rows_per_table`
//! rows; table order is function-major, `table = f * group_sizes.len() + position of n`
//! (spec §2.1). A position reads one row of each table, chosen by the `n` token ids that end
//! there (spec §2.2):
//!
//! ```text
//! S = sum over m in 0..n of window[m] * prime^m     wrapping i64, window[0] the oldest id
//! h = S mod rows_per_table                          floored, so 0 <= h < rows_per_table
//! ```
//!
//! Ids before the first of the row count as 0; document boundaries inside a row do not. The
//! wrap-around is part of the definition, so the device computes the same bits from the wrapped
//! powers, as pairs of `u32` ([`HashConfig::powers`]), and from `2^64 mod rows_per_table`
//! ([`HashConfig::wrap_remainder`]).

use crate::error::{Error, Result};

/// Primes of the hash functions; function `f` uses `PRIMES[f % 11]` (spec §2.2).
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

/// The largest group size: one window is at most this many ids.
pub const MAX_GROUP_SIZE: u32 = 8;

/// Tables have fewer rows than this, so that a remainder shifted by a byte fits 32 bits in WGSL.
pub const ROWS_PER_TABLE_LIMIT: u32 = 1 << 24;

/// The shape of the hashed n-gram embedding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HashConfig {
    /// n-gram sizes, in table order; each in `1..=8`.
    pub group_sizes: Vec<u32>,
    /// Hash functions; each has one table per group size.
    pub function_count: u32,
    /// Rows of each table, `1..2^24`.
    pub rows_per_table: u32,
}

impl HashConfig {
    /// Whether every number is within its limits; [`hash_ids`] and the device rely on it.
    ///
    /// # Errors
    /// A group size outside `1..=8`, no rows or `2^24` and more per table, or more rows in all
    /// tables together than 32 bits can number.
    pub fn check(&self) -> Result<()> {
        if let Some(size) = self.group_sizes.iter().find(|&&n| n == 0 || n > MAX_GROUP_SIZE) {
            return Err(Error::config(
                "hash group sizes",
                format!("expected sizes of 1 to {MAX_GROUP_SIZE} bytes, got {size}"),
            ));
        }
        if self.rows_per_table == 0 {
            return Err(Error::config("hash rows per table", "expected at least 1, got 0"));
        }
        if self.rows_per_table >= ROWS_PER_TABLE_LIMIT {
            return Err(Error::Limit {
                limit: "hash rows per table".into(),
                needed: u64::from(self.rows_per_table),
                available: u64::from(ROWS_PER_TABLE_LIMIT - 1),
                hint: "use fewer rows per table, or more functions or group sizes".into(),
            });
        }
        let row_count = (self.group_sizes.len() as u64)
            .saturating_mul(u64::from(self.function_count))
            .saturating_mul(u64::from(self.rows_per_table));
        if row_count > u64::from(u32::MAX) {
            return Err(Error::Limit {
                limit: "hash rows of all tables".into(),
                needed: row_count,
                available: u64::from(u32::MAX),
                hint: "use fewer rows per table, functions or group sizes".into(),
            });
        }
        Ok(())
    }

    /// Number of tables: functions times group sizes.
    pub fn table_count(&self) -> usize {
        self.group_sizes.len() * self.function_count as usize
    }

    /// Rows of the fused table: all tables one below the other.
    pub fn row_count(&self) -> usize {
        self.table_count() * self.rows_per_table as usize
    }

    /// Group size of each table, `[tables]`.
    pub fn table_sizes(&self) -> Vec<u32> {
        (0..self.function_count).flat_map(|_| self.group_sizes.iter().copied()).collect()
    }

    /// Wrapped powers of each table's prime as `(low, high)` halves, `[tables, 8, 2]`.
    ///
    /// Slot `m` of a table of group size `n` multiplies the id `n - 1 - m` positions back; slots
    /// from `n` on are 0.
    pub fn powers(&self) -> Vec<u32> {
        let mut powers = Vec::with_capacity(self.table_count() * MAX_GROUP_SIZE as usize * 2);
        for (prime, size) in self.tables() {
            let wrapped = wrapped_powers(prime);
            for (m, &power) in wrapped.iter().enumerate() {
                let bits = if m < size { power as u64 } else { 0 };
                powers.extend([bits as u32, (bits >> 32) as u32]);
            }
        }
        powers
    }

    /// `2^64 mod rows_per_table`: what a negative sum, read as unsigned, has too much.
    pub fn wrap_remainder(&self) -> u32 {
        ((1u128 << 64) % u128::from(self.rows_per_table)) as u32
    }

    /// Prime and group size of each table, in table order.
    fn tables(&self) -> impl Iterator<Item = (i64, usize)> + '_ {
        (0..self.function_count as usize).flat_map(|function| {
            let prime = PRIMES[function % PRIMES.len()];
            self.group_sizes.iter().map(move |&size| (prime, size as usize))
        })
    }
}

/// Row numbers of one row of `N` ids, `[N, tables]` row-major, each below `rows_per_table`.
///
/// Only the last eight ids matter to the last position, so an incremental caller hashes those
/// and keeps the last line.
///
/// # Panics
/// If `config` does not pass [`HashConfig::check`].
pub fn hash_ids(ids: &[u32], config: &HashConfig) -> Vec<u32> {
    config.check().expect("the hash config was checked when it was made");
    let table_count = config.table_count();
    let rows = i64::from(config.rows_per_table);
    let history = MAX_GROUP_SIZE as usize - 1;
    let mut padded = vec![0i64; history];
    padded.extend(ids.iter().map(|&id| i64::from(id)));
    let mut hashes = vec![0u32; ids.len() * table_count];
    for (table, (prime, size)) in config.tables().enumerate() {
        let powers = wrapped_powers(prime);
        for index in 0..ids.len() {
            let end = index + history + 1;
            let window = &padded[end - size..end];
            let sum = window
                .iter()
                .zip(&powers)
                .fold(0i64, |sum, (&id, &power)| sum.wrapping_add(id.wrapping_mul(power)));
            hashes[index * table_count + table] = sum.rem_euclid(rows) as u32;
        }
    }
    hashes
}

fn wrapped_powers(prime: i64) -> [i64; MAX_GROUP_SIZE as usize] {
    let mut powers = [1i64; MAX_GROUP_SIZE as usize];
    for m in 1..powers.len() {
        powers[m] = powers[m - 1].wrapping_mul(prime);
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TOKENS: [u32; 16] =
        [1, 72, 101, 105, 114, 105, 118, 125, 119, 36, 88, 101, 118, 107, 101, 118];

    /// Spec §25.1, n = 2 to 8.
    const GOLDEN: [[u32; 16]; 7] = [
        [
            496009, 212507, 96781, 80838, 44905, 80851, 28933, 995, 24960, 356373, 148654, 96797,
            28929, 72869, 96816, 28929,
        ],
        [
            443987, 348935, 37502, 294216, 274140, 242340, 50093, 202570, 414224, 201424, 409561,
            473651, 66039, 114334, 397866, 66058,
        ],
        [
            437197, 281585, 189712, 127061, 29038, 267201, 129446, 401070, 26871, 381272, 148156,
            250338, 360757, 433492, 455113, 284972,
        ],
        [
            123201, 79613, 382808, 283737, 426389, 123063, 155827, 380477, 412897, 348081, 187892,
            249379, 138964, 297680, 34713, 343739,
        ],
        [
            166353, 302503, 241104, 306205, 90295, 349786, 191529, 178252, 211792, 252547, 268005,
            349383, 317845, 491565, 459171, 103179,
        ],
        [
            34117, 201753, 20286, 95355, 64005, 444548, 244054, 421114, 106637, 229492, 430315,
            485790, 243651, 240330, 112850, 353439,
        ],
        [
            172383, 323061, 340750, 41807, 150805, 85526, 382522, 178197, 31469, 49357, 48532,
            69310, 423764, 206434, 475825, 50824,
        ],
    ];

    fn config(sizes: &[u32], function_count: u32, rows_per_table: u32) -> HashConfig {
        HashConfig { group_sizes: sizes.to_vec(), function_count, rows_per_table }
    }

    fn column(hashes: &[u32], table_count: usize, table: usize) -> Vec<u32> {
        hashes.iter().skip(table).step_by(table_count).copied().collect()
    }

    #[test]
    fn hashes_equal_the_golden_vectors_of_every_size() {
        let config = config(&[2, 3, 4, 5, 6, 7, 8], 1, 500_002);
        let hashes = hash_ids(&TOKENS, &config);
        for (table, expected) in GOLDEN.iter().enumerate() {
            assert_eq!(column(&hashes, 7, table), expected, "n = {}", table + 2);
        }
    }

    #[test]
    fn hashes_equal_the_golden_vectors_of_the_tiny_model() {
        let tokens = [1, 76, 109, 48, 36, 70, 80, 88, 37, 2, 1, 101, 102, 103, 2];
        let hashes = hash_ids(&tokens, &config(&[3, 4, 5], 1, 53));
        let expected: [[u32; 15]; 3] = [
            [6, 7, 45, 0, 14, 25, 44, 37, 13, 17, 7, 38, 30, 12, 9],
            [0, 11, 26, 51, 29, 4, 45, 41, 13, 13, 17, 49, 27, 34, 27],
            [29, 2, 9, 3, 28, 31, 1, 9, 32, 18, 42, 10, 18, 25, 39],
        ];
        for (table, expected) in expected.iter().enumerate() {
            assert_eq!(column(&hashes, 3, table), expected);
        }
    }

    #[test]
    fn unsigned_and_big_integer_arithmetic_give_the_known_wrong_answers() {
        // Spec §25.1 lists what a wrong port computes; ours must differ from the first wrong one.
        let powers = wrapped_powers(PRIMES[0]);
        let window = |index: usize, size: usize, m: usize| {
            (index + m + 1).checked_sub(size).map_or(0, |at| TOKENS[at])
        };
        let unsigned = |index: usize, size: usize| {
            let term = |m: usize| u64::from(window(index, size, m)).wrapping_mul(powers[m] as u64);
            ((0..size).fold(0u64, |sum, m| sum.wrapping_add(term(m))) % 500_002) as u32
        };
        let exact = |index: usize, size: usize| {
            let term =
                |m: usize| u128::from(window(index, size, m)) * 1_000_000_007u128.pow(m as u32);
            ((0..size).map(term).sum::<u128>() % 500_002) as u32
        };
        assert_eq!([0, 1, 2, 3].map(|i| unsigned(i, 3)), [443987, 252437, 37502, 197718]);
        assert_eq!([0, 1, 2].map(|i| unsigned(i, 4)), [340699, 185087, 93214]);
        assert_eq!([0, 1, 2].map(|i| exact(i, 3)), [443987, 462945, 55014]);
        assert_eq!([0, 1, 2].map(|i| exact(i, 4)), [167001, 468011, 329978]);
        let hashes = hash_ids(&TOKENS, &config(&[3, 4], 1, 500_002));
        let (three, four) = (column(&hashes, 2, 0), column(&hashes, 2, 1));
        assert!(three[1] != unsigned(1, 3) && three[1] != exact(1, 3));
        assert!(four[0] != unsigned(0, 4) && four[0] != exact(0, 4));
    }

    #[test]
    fn powers_wrap_and_stop_at_the_group_size() {
        let expected = [
            1,
            1_000_000_007,
            1_000_000_014_000_000_049,
            -4_377_642_754_154_037_417,
            2_173_964_608_407_773_537,
            7_232_439_895_113_528_231,
            1_423_083_718_267_137_937,
            9_015_250_055_358_150_391,
        ];
        assert_eq!(wrapped_powers(PRIMES[0]), expected);
        let powers = config(&[5, 8], 1, 53).powers();
        assert_eq!(powers.len(), 2 * 8 * 2);
        for (slot, &value) in expected.iter().enumerate() {
            let pair = |table: usize| &powers[(table * 8 + slot) * 2..][..2];
            let bits = [value as u64 as u32, (value as u64 >> 32) as u32];
            assert_eq!(pair(0), if slot < 5 { bits } else { [0, 0] });
            assert_eq!(pair(1), bits);
        }
    }

    #[test]
    fn tables_are_function_major_and_primes_cycle() {
        let many = config(&[3, 5], 12, 997);
        assert_eq!(many.table_sizes()[..4], [3, 5, 3, 5]);
        assert_eq!((many.table_count(), many.row_count()), (24, 24 * 997));
        let hashes = hash_ids(&TOKENS, &many);
        let first = hash_ids(&TOKENS, &config(&[3, 5], 1, 997));
        for table in 0..2 {
            assert_eq!(column(&hashes, 24, table), column(&first, 2, table));
            assert_eq!(column(&hashes, 24, 22 + table), column(&first, 2, table));
            assert_ne!(column(&hashes, 24, 2 + table), column(&first, 2, table));
        }
    }

    #[test]
    fn limits_are_errors() {
        let problem = |config: HashConfig| config.check().unwrap_err().to_string();
        assert!(problem(config(&[3], 1, 1 << 24)).contains("16777216 needed, 16777215 available"));
        assert!(problem(config(&[3], 1, 0)).contains("at least 1"));
        assert!(problem(config(&[3, 9], 1, 53)).contains("got 9"));
        assert!(problem(config(&[0], 1, 53)).contains("got 0"));
        assert!(problem(config(&[3], 300, (1 << 24) - 1)).contains("all tables"));
        assert!(config(&[3], 1, (1 << 24) - 1).check().is_ok());
        assert!(hash_ids(&TOKENS, &config(&[], 1, 53)).is_empty());
    }

    /// What the shader does: 32-bit operations only, on the tables that are uploaded.
    fn device_hash(ids: &[u32], index: usize, table: usize, config: &HashConfig) -> u32 {
        let (size, rows) = (config.table_sizes()[table] as usize, config.rows_per_table);
        let powers = config.powers();
        let (mut low, mut high) = (0u32, 0u32);
        for m in 0..size {
            let id = (index + m + 1).checked_sub(size).map_or(0, |at| ids[at]);
            let pair = &powers[(table * 8 + m) * 2..][..2];
            let (bottom, top) = ((pair[0] & 0xffff) * id, (pair[0] >> 16) * id);
            let product_low = bottom.wrapping_add(top << 16);
            let carry = (top >> 16) + u32::from(product_low < bottom);
            let product_high = pair[1].wrapping_mul(id).wrapping_add(carry);
            low = low.wrapping_add(product_low);
            high = high.wrapping_add(product_high).wrapping_add(u32::from(low < product_low));
        }
        let mut remainder = high % rows;
        for shift in [24, 16, 8, 0] {
            remainder = ((remainder << 8) | ((low >> shift) & 0xff)) % rows;
        }
        if high >> 31 == 1 {
            remainder = (remainder + rows - config.wrap_remainder()) % rows;
        }
        remainder
    }

    proptest! {
        #[test]
        fn the_device_tables_give_the_same_rows(
            ids in prop::collection::vec(0u32..260, 1..24),
            rows_per_table in prop_oneof![1u32..300, 1u32..(1 << 24), Just((1 << 24) - 1)],
            function_count in 1u32..13,
        ) {
            let config = config(&[1, 2, 3, 8], function_count, rows_per_table);
            let hashes = hash_ids(&ids, &config);
            for (at, &hash) in hashes.iter().enumerate() {
                let (index, table) = (at / config.table_count(), at % config.table_count());
                prop_assert!(hash < rows_per_table);
                prop_assert_eq!(hash, device_hash(&ids, index, table, &config));
            }
        }

        #[test]
        fn eight_ids_are_enough_for_the_last_position(
            ids in prop::collection::vec(0u32..260, 8..24),
        ) {
            let config = config(&[3, 4, 5, 6, 7, 8], 2, 500_002);
            let whole = hash_ids(&ids, &config);
            let last = hash_ids(&ids[ids.len() - 8..], &config);
            prop_assert_eq!(&whole[whole.len() - 12..], &last[last.len() - 12..]);
        }
    }
}
