//! Reads a gzip file: any number of members one after another, as parallel compressors and `cat`
//! write them. The checksum of every member is compared.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;

/// The decompressed bytes of a gzip stream.
pub(super) struct GzipReader<R> {
    state: State<R>,
}

enum State<R> {
    /// In front of the first member: an empty file is not a gzip file.
    Start(BufReader<R>),
    Open(Box<MultiGzDecoder<BufReader<R>>>),
    /// Something was wrong and was said.
    Broken,
}

impl<R: Read> GzipReader<R> {
    /// Nothing is read before the first `read`.
    pub(super) fn new(compressed: R) -> Self {
        Self { state: State::Start(BufReader::new(compressed)) }
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if matches!(self.state, State::Start(_))
            && let State::Start(mut compressed) = std::mem::replace(&mut self.state, State::Broken)
        {
            if compressed.fill_buf()?.is_empty() {
                let problem = "expected a gzip stream, got no bytes at all";
                return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
            }
            self.state = State::Open(Box::new(MultiGzDecoder::new(compressed)));
        }
        match &mut self.state {
            State::Open(decoder) => decoder.read(out).map_err(described),
            _ => Err(io::Error::new(io::ErrorKind::InvalidData, "the gzip stream is damaged")),
        }
    }
}

/// The decoder's error in plain words.
fn described(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(io::ErrorKind::UnexpectedEof, "the gzip stream is truncated")
        }
        kind @ (io::ErrorKind::InvalidInput | io::ErrorKind::InvalidData) => {
            io::Error::new(kind, format!("not valid gzip: {error}"))
        }
        _ => error,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use std::io::Write;

    pub fn compress(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decompress(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut out = Vec::new();
        GzipReader::new(bytes).read_to_end(&mut out)?;
        Ok(out)
    }

    fn text() -> Vec<u8> {
        (0..60_000_u32).flat_map(|i| format!("{:09} ", i.wrapping_mul(i)).into_bytes()).collect()
    }

    #[test]
    fn members_follow_each_other() {
        let text = text();
        let file = [compress(&text), compress(b""), compress(b"and more")].concat();
        assert_eq!(decompress(&file).unwrap(), [&text[..], b"and more"].concat());
        assert_eq!(decompress(&compress(b"")).unwrap(), b"");
    }

    #[test]
    fn a_cut_anywhere_is_noticed() {
        let whole = compress(&text());
        for kept in (0..whole.len()).step_by(997).chain(whole.len() - 9..whole.len()) {
            let error = decompress(&whole[..kept]).unwrap_err();
            let expected = if kept == 0 {
                "expected a gzip stream, got no bytes at all"
            } else {
                "the gzip stream is truncated"
            };
            assert_eq!(error.to_string(), expected, "{kept} of {} bytes kept", whole.len());
        }
    }

    #[test]
    fn damage_is_noticed() {
        let mut file = compress(&text());
        let checksum = file.len() - 8;
        file[checksum] ^= 1;
        let message = decompress(&file).unwrap_err().to_string();
        assert!(message.starts_with("not valid gzip"), "{message}");
        let message = decompress(b"plain text, no gzip").unwrap_err().to_string();
        assert!(message.starts_with("not valid gzip"), "{message}");
    }
}
