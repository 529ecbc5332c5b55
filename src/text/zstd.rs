//! Reads a zstd file: any number of frames one after another, and skippable ones between them.
//!
//! Parallel compressors and `cat` both write several frames, which the decoder underneath takes one
//! at a time. The checksum of every frame that has one is compared.

use std::io::{self, BufRead, BufReader, Read};

use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};

/// How much is decoded in advance; what one zstd block holds at most.
const DECODE_AHEAD_BYTES: usize = 128 * 1024;

/// The decompressed bytes of a zstd stream.
pub(super) struct ZstdReader<R> {
    compressed: BufReader<R>,
    decoder: FrameDecoder,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// In front of the first frame: an empty file is not a zstd file.
    Start,
    InFrame,
    BetweenFrames,
    End,
}

impl<R: Read> ZstdReader<R> {
    /// Nothing is read before the first `read`.
    pub(super) fn new(compressed: R) -> Self {
        Self {
            compressed: BufReader::new(compressed),
            decoder: FrameDecoder::new(),
            state: State::Start,
        }
    }

    /// Goes on to the next frame with content, or to the end.
    fn start_frame(&mut self) -> io::Result<()> {
        loop {
            if self.compressed.fill_buf()?.is_empty() {
                if self.state == State::Start {
                    return Err(invalid("expected a zstd stream, got no bytes at all"));
                }
                self.state = State::End;
                return Ok(());
            }
            match self.decoder.reset(&mut self.compressed) {
                Ok(()) => {
                    self.state = State::InFrame;
                    return Ok(());
                }
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    skip(&mut self.compressed, u64::from(length))?;
                    self.state = State::BetweenFrames;
                }
                Err(error) => return Err(described(&error)),
            }
        }
    }

    /// Compares the checksum that the frame carries with that of what was decoded.
    fn finish_frame(&mut self) -> io::Result<()> {
        let calculated = self.decoder.get_calculated_checksum();
        match self.decoder.get_checksum_from_data() {
            Some(stored) if Some(stored) != calculated => {
                Err(invalid("zstd checksum differs: the file is damaged"))
            }
            _ => {
                self.state = State::BetweenFrames;
                Ok(())
            }
        }
    }
}

impl<R: Read> Read for ZstdReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        loop {
            match self.state {
                State::End => return Ok(0),
                State::Start | State::BetweenFrames => self.start_frame()?,
                State::InFrame => {
                    if self.decoder.can_collect() > 0 {
                        return self.decoder.read(out);
                    }
                    if self.decoder.is_finished() {
                        self.finish_frame()?;
                        continue;
                    }
                    self.decoder
                        .decode_blocks(
                            &mut self.compressed,
                            BlockDecodingStrategy::UptoBytes(DECODE_AHEAD_BYTES),
                        )
                        .map_err(|error| described(&error))?;
                }
            }
        }
    }
}

/// Reads over `byte_count` bytes, which must be there.
fn skip(reader: &mut impl Read, byte_count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut reader.take(byte_count), &mut io::sink())?;
    if skipped < byte_count { Err(truncated()) } else { Ok(()) }
}

/// The decoder's error, or, where the bytes ran out, a plain word on that.
fn described(error: &FrameDecoderError) -> io::Error {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return match inner.kind() {
                io::ErrorKind::UnexpectedEof => truncated(),
                kind => io::Error::new(kind, inner.to_string()),
            };
        }
        cause = inner.source();
    }
    invalid(&format!("not valid zstd: {error}"))
}

fn truncated() -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, "the zstd stream is truncated")
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    /// 600 kB that compress: several blocks.
    fn text() -> Vec<u8> {
        (0..60_000_u32).flat_map(|i| format!("{:09} ", i.wrapping_mul(i)).into_bytes()).collect()
    }

    fn compress(bytes: &[u8]) -> Vec<u8> {
        compress_to_vec(bytes, CompressionLevel::Fastest)
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        ZstdReader::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    #[test]
    fn frames_follow_each_other() {
        let skippable = [&[0x52, 0x2a, 0x4d, 0x18, 3, 0, 0, 0][..], b"xyz"].concat();
        let text = text();
        let file = [
            &skippable[..],
            &compress(&text),
            &compress(b""),
            &skippable,
            &compress(b"and more"),
            &skippable,
        ]
        .concat();
        assert_eq!(decompress(&file).unwrap(), [&text[..], b"and more"].concat());
        assert_eq!(decompress(&skippable).unwrap(), b"");
    }

    #[test]
    fn a_cut_anywhere_is_noticed() {
        let whole = compress(&text());
        for kept in (0..whole.len()).step_by(997).chain(whole.len() - 5..whole.len()) {
            let error = decompress(&whole[..kept]).unwrap_err();
            let expected = if kept == 0 {
                "expected a zstd stream, got no bytes at all"
            } else {
                "the zstd stream is truncated"
            };
            assert_eq!(error.to_string(), expected, "{kept} of {} bytes kept", whole.len());
        }
        let skippable = [0x50, 0x2a, 0x4d, 0x18, 9, 0, 0, 0, 1];
        assert_eq!(decompress(&skippable).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn damage_is_noticed() {
        let mut file = compress(&text());
        let last = file.len() - 1;
        file[last] ^= 1;
        let message = decompress(&file).unwrap_err().to_string();
        assert_eq!(message, "zstd checksum differs: the file is damaged");
        let message = decompress(b"plain text").unwrap_err().to_string();
        assert!(message.starts_with("not valid zstd"), "{message}");
    }
}
