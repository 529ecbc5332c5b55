//! Event files as TensorBoard reads them: records of TensorFlow around `Event` messages of protocol
//! buffers, of both what a run needs.
//!
//! A record is its length (u64), a checksum of that, the message, and a checksum of the message,
//! all little-endian. Checksums are CRC-32C, rotated and shifted by a constant ("masked"), so that
//! a checksum of data that holds checksums is no weaker. Field numbers are those of TensorFlow's
//! `event.proto`, `summary.proto` and `tensor.proto`.

/// The version that a file begins with.
const FILE_VERSION: &str = "brain.Event:2";
/// `DT_STRING` of TensorFlow's `types.proto`.
const STRING_TYPE: u64 = 7;
/// `START` of `SessionLog.SessionStatus`.
const SESSION_START: u64 = 1;

/// What an event says.
#[derive(Clone, Debug, PartialEq)]
pub enum What<'a> {
    /// That a file begins; the first event of every file.
    Version,
    /// That a run begins, or goes on: events of this step and later ones from before are no longer
    /// true.
    Start,
    /// A number under a name.
    Scalar(&'a str, f32),
    /// A text under a name, in Markdown.
    Text(&'a str, &'a str),
    /// How often every whole number from 0 came, under a name.
    Counts(&'a str, &'a [u64]),
}

/// The record of an event of a step, at a time in seconds since 1970.
pub fn record(unix_seconds: f64, step: u64, what: &What<'_>) -> Vec<u8> {
    let mut event = Message::default();
    event.double(1, unix_seconds);
    event.integer(2, step);
    match what {
        What::Version => event.bytes(3, FILE_VERSION.as_bytes()),
        What::Start => event.message(7, |session| session.integer(1, SESSION_START)),
        What::Scalar(name, value) => event.message(5, |summary| {
            summary.message(1, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.float(2, *value);
            });
        }),
        What::Text(name, text) => event.message(5, |summary| {
            summary.message(1, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.message(8, |tensor| {
                    tensor.integer(1, STRING_TYPE);
                    tensor.message(2, |shape| shape.message(2, |axis| axis.integer(1, 1)));
                    tensor.bytes(8, text.as_bytes());
                });
                entry.message(9, |about| about.message(1, |plugin| plugin.bytes(1, b"text")));
            });
        }),
        What::Counts(name, counts) => event.message(5, |summary| {
            summary.message(1, |entry| {
                entry.bytes(1, name.as_bytes());
                entry.message(5, |histogram| counted(histogram, counts));
            });
        }),
    }
    framed(&event.0)
}

/// A histogram whose bucket `i` ends in the middle between `i` and `i + 1`.
fn counted(histogram: &mut Message, counts: &[u64]) {
    let present = || counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let sum = |of: fn(f64) -> f64| {
        present().map(|(value, count)| of(value as f64) * *count as f64).sum::<f64>()
    };
    histogram.double(1, present().next().map_or(0.0, |(value, _)| value as f64));
    histogram.double(2, present().next_back().map_or(0.0, |(value, _)| value as f64));
    histogram.double(3, sum(|_| 1.0));
    histogram.double(4, sum(|value| value));
    histogram.double(5, sum(|value| value * value));
    histogram.doubles(6, (0..counts.len()).map(|value| value as f64 + 0.5));
    histogram.doubles(7, counts.iter().map(|&count| count as f64));
}

/// The bytes of a message, growing by fields.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn double(&mut self, field: u64, value: f64) {
        self.key(field, 1);
        self.0.extend(value.to_le_bytes());
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend(bytes);
    }

    fn doubles(&mut self, field: u64, values: impl Iterator<Item = f64>) {
        let bytes: Vec<u8> = values.flat_map(f64::to_le_bytes).collect();
        self.bytes(field, &bytes);
    }

    fn message(&mut self, field: u64, fill: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        fill(&mut inner);
        self.bytes(field, &inner.0);
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend(masked_checksum(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_checksum(message).to_le_bytes());
    record
}

fn masked_checksum(bytes: &[u8]) -> u32 {
    checksum(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// CRC-32C: the polynomial of Castagnoli, reflected, bit by bit; events are small.
fn checksum(bytes: &[u8]) -> u32 {
    let mut sum = !0_u32;
    for &byte in bytes {
        sum ^= u32::from(byte);
        for _ in 0..8 {
            sum = sum >> 1 ^ if sum & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    #[test]
    fn checksums_are_those_of_rfc_3720() {
        // Appendix B.4.
        assert_eq!(checksum(&[0; 32]), 0x8a91_36aa);
        assert_eq!(checksum(&[0xff; 32]), 0x62a8_ab43);
        let rising: Vec<u8> = (0..32).collect();
        assert_eq!(checksum(&rising), 0x46dd_794e);
        assert_eq!(checksum(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn messages_are_those_of_the_format() {
        // Lengths and keys worked out by hand from the encoding of protocol buffers.
        let version = record(1.0, 0, &What::Version);
        let message = "09000000000000f03f10001a0d627261696e2e4576656e743a32";
        assert_eq!(hex(&version[..8]), "1a00000000000000");
        assert_eq!(hex(&version[12..12 + 26]), message);
        assert_eq!(version.len(), 8 + 4 + 26 + 4);
        let scalar = record(0.0, 300, &What::Scalar("ab", 1.5));
        let message = "09000000000000000010ac022a0b0a090a026162150000c03f";
        assert_eq!(hex(&scalar[12..scalar.len() - 4]), message);
        let start = record(0.0, 1, &What::Start);
        assert_eq!(hex(&start[12..start.len() - 4]), "09000000000000000010013a020801");
    }

    #[test]
    fn counts_say_what_they_are_of() {
        let record = record(0.0, 1, &What::Counts("n", &[0, 3, 1]));
        let doubles: Vec<f64> = (0..record.len() - 8)
            .map(|at| f64::from_le_bytes(record[at..at + 8].try_into().unwrap()))
            .collect();
        // Least, most, number, sum, sum of squares: 1 three times and 2 once.
        let begin = record.windows(2).position(|it| it == [5 << 3 | 2, 45 + 2 * 26]).unwrap() + 2;
        let fields: Vec<f64> = (0..5).map(|field| doubles[begin + 1 + 9 * field]).collect();
        assert_eq!(fields, [1.0, 2.0, 4.0, 5.0, 7.0]);
    }
}
