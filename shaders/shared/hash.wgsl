// 64-bit numbers as pairs of u32, (low, high): what hashes of n-grams take.

// value * id of 64 bits, wrapping; an id has 16 bits at most.
fn multiply(value: vec2<u32>, id: u32) -> vec2<u32> {
    let bottom = (value.x & 0xFFFFu) * id;
    let top = (value.x >> 16u) * id;
    let low = bottom + (top << 16u);
    let carry = (top >> 16u) + select(0u, 1u, low < bottom);
    return vec2<u32>(low, value.y * id + carry);
}

// a + b of 64 bits, wrapping.
fn add(a: vec2<u32>, b: vec2<u32>) -> vec2<u32> {
    let low = a.x + b.x;
    return vec2<u32>(low, a.y + b.y + select(0u, 1u, low < b.x));
}

// The remainder of a signed number, never negative. rows < 2^24, so that a remainder shifted by
// eight bits still fits; wrap is 2^64 mod rows, what a negative number read as unsigned has more.
fn remainder_of(value: vec2<u32>, rows: u32, wrap: u32) -> u32 {
    var remainder = value.y % rows;
    remainder = ((remainder << 8u) | (value.x >> 24u)) % rows;
    remainder = ((remainder << 8u) | ((value.x >> 16u) & 0xFFu)) % rows;
    remainder = ((remainder << 8u) | ((value.x >> 8u) & 0xFFu)) % rows;
    remainder = ((remainder << 8u) | (value.x & 0xFFu)) % rows;
    if ((value.y >> 31u) == 1u) {
        remainder = (remainder + rows - wrap) % rows;
    }
    return remainder;
}
