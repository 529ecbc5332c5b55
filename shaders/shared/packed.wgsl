// Numbers of a matrix of weights as it is stored, see src/packed: f32, HALF_PAIRS of f16 or of BF16
// in words, or BLOCKS of codes of eight bits or, with Q4, four, the scales behind the codes of a
// row. Who imports this has `stored_at(shard, at)`, the element `at` of a buffer; `shard` says of
// which, where there are several. `number_at` gives the columns from k * LANES on of a row.
#import shared/wide

#ifdef HALF_PAIRS
#ifdef WIDE
alias stored = vec2<u32>;
#else
alias stored = u32;
#endif

fn numbers_of(word: u32) -> vec2<f32> {
#ifdef BF16
    return vec2<f32>(bitcast<f32>(word << 16u), bitcast<f32>(word & 0xFFFF0000u));
#else
    return unpack2x16float(word);
#endif
}

fn number_at(shard: u32, row: u32, k: u32, cols: u32) -> number {
#ifdef WIDE
    let words = stored_at(shard, row * (cols / 4u) + k);
    return vec4<f32>(numbers_of(words.x), numbers_of(words.y));
#else
    let numbers = numbers_of(stored_at(shard, row * ((cols + 1u) / 2u) + k / 2u));
    return select(numbers.x, numbers.y, k % 2u == 1u);
#endif
}
#else
#ifdef BLOCKS
alias stored = u32;

const BLOCK: u32 = 32u;  // columns that share a scale
#ifdef Q4
const CODE_BITS: u32 = 4u;
const ZERO: f32 = 8.0;
#else
const CODE_BITS: u32 = 8u;
const ZERO: f32 = 128.0;
#endif
const CODES: u32 = 32u / CODE_BITS;  // of a word
const CODE_MASK: u32 = (1u << CODE_BITS) - 1u;

fn number_at(shard: u32, row: u32, k: u32, cols: u32) -> number {
    let code_words = (cols + CODES - 1u) / CODES;
    let scale_words = (cols + 2u * BLOCK - 1u) / (2u * BLOCK);
    let row_0 = row * (code_words + scale_words);
    let col = k * LANES;
    let word = stored_at(shard, row_0 + col / CODES) >> (col % CODES * CODE_BITS);
    let pair = unpack2x16float(stored_at(shard, row_0 + code_words + col / (2u * BLOCK)));
    let scale = select(pair.x, pair.y, col / BLOCK % 2u == 1u);
#ifdef WIDE
    let codes = vec4<u32>(
        word, word >> CODE_BITS, word >> (2u * CODE_BITS), word >> (3u * CODE_BITS));
    return (vec4<f32>(codes & vec4<u32>(CODE_MASK)) - ZERO) * scale;
#else
    return (f32(word & CODE_MASK) - ZERO) * scale;
#endif
}
#else
alias stored = number;

fn number_at(shard: u32, row: u32, k: u32, cols: u32) -> number {
    return stored_at(shard, row * (cols / LANES) + k);
}
#endif
#endif
