//! Writing a zip file whose entries are stored as they are, in one pass.

use std::io::{self, Write};

use super::zip::{DIRECTORY_END, DIRECTORY_ENTRY, LOCAL_HEADER};

/// The bytes of an entry begin at a multiple of this, as torch has them.
const ALIGNMENT: u64 = 64;

/// The signature of the checksum and lengths that follow an entry.
const DESCRIPTOR: u32 = 0x0807_4b50;

/// An extra field that is there to align what follows; torch names it so.
const PADDING: u16 = 0x4246;

/// Checksum and lengths follow the entry; names are UTF-8.
const FLAGS: u16 = 1 << 3 | 1 << 11;

/// The version of the format that a reader has to know.
const VERSION: u16 = 20;

/// 1980-01-01, the first day there is: the same model gives the same file.
const DATE: u16 = 0x21;

/// A zip file in the making. Numbers in it have 32 bits, so that it ends before 4 GiB.
#[derive(Debug)]
pub(super) struct ZipWriter<W> {
    writer: W,
    written: u64,
    entries: Vec<Entry>,
    crc: Crc,
}

#[derive(Debug)]
struct Entry {
    name: String,
    header_at: u32,
    length: u32,
    crc: u32,
}

impl<W: Write> ZipWriter<W> {
    pub fn new(writer: W) -> Self {
        Self { writer, written: 0, entries: Vec::new(), crc: Crc::new() }
    }

    /// Begins an entry of so many bytes, which must follow.
    pub fn begin(&mut self, name: &str, length: u64) -> io::Result<()> {
        let header_at = narrow(self.written)?;
        let fixed = self.written + 30 + name.len() as u64 + 4;
        let padding = fixed.next_multiple_of(ALIGNMENT) - fixed;
        let mut header = Vec::new();
        put_u32(&mut header, &[LOCAL_HEADER]);
        put_u16(&mut header, &[VERSION, FLAGS, 0, 0, DATE]);
        put_u32(&mut header, &[0; 3]);
        put_u16(&mut header, &[name.len() as u16, 4 + padding as u16]);
        header.extend(name.as_bytes());
        put_u16(&mut header, &[PADDING, padding as u16]);
        header.resize(header.len() + padding as usize, 0);
        self.write(&header)?;
        let length = narrow(length)?;
        self.crc = Crc::new();
        self.entries.push(Entry { name: name.to_owned(), header_at, length, crc: 0 });
        Ok(())
    }

    /// Appends to the entry.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.crc.update(bytes);
        self.write(bytes)
    }

    /// Ends the entry.
    pub fn end(&mut self) -> io::Result<()> {
        let entry = self.entries.last_mut().expect("an entry was begun");
        entry.crc = self.crc.value();
        let mut descriptor = Vec::new();
        put_u32(&mut descriptor, &[DESCRIPTOR, entry.crc, entry.length, entry.length]);
        self.write(&descriptor)
    }

    /// A whole entry.
    pub fn add(&mut self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.begin(name, bytes.len() as u64)?;
        self.push(bytes)?;
        self.end()
    }

    /// Writes the directory.
    pub fn finish(mut self) -> io::Result<W> {
        let start = narrow(self.written)?;
        let mut directory = Vec::new();
        for entry in &self.entries {
            put_u32(&mut directory, &[DIRECTORY_ENTRY]);
            put_u16(&mut directory, &[VERSION, VERSION, FLAGS, 0, 0, DATE]);
            put_u32(&mut directory, &[entry.crc, entry.length, entry.length]);
            put_u16(&mut directory, &[entry.name.len() as u16, 0, 0, 0, 0]);
            put_u32(&mut directory, &[0, entry.header_at]);
            directory.extend(entry.name.as_bytes());
        }
        let length = narrow(directory.len() as u64)?;
        let count = u16::try_from(self.entries.len()).map_err(|_| too_large())?;
        put_u32(&mut directory, &[DIRECTORY_END]);
        put_u16(&mut directory, &[0, 0, count, count]);
        put_u32(&mut directory, &[length, start]);
        put_u16(&mut directory, &[0]);
        self.write(&directory)?;
        self.writer.flush()?;
        Ok(self.writer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len() as u64;
        self.writer.write_all(bytes)
    }
}

fn narrow(number: u64) -> io::Result<u32> {
    u32::try_from(number).map_err(|_| too_large())
}

fn too_large() -> io::Error {
    io::Error::other("a .pth file of 4 GiB or more is not written")
}

fn put_u16(bytes: &mut Vec<u8>, numbers: &[u16]) {
    numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
}

fn put_u32(bytes: &mut Vec<u8>, numbers: &[u32]) {
    numbers.iter().for_each(|number| bytes.extend(number.to_le_bytes()));
}

/// The checksum of zip files, of the reflected polynomial 0xEDB88320.
#[derive(Debug)]
struct Crc {
    table: [u32; 256],
    state: u32,
}

impl Crc {
    fn new() -> Self {
        let table = std::array::from_fn(|byte| {
            (0..8).fold(byte as u32, |crc, _| (crc >> 1) ^ ((crc & 1) * 0xEDB8_8320))
        });
        Self { table, state: u32::MAX }
    }

    fn update(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let index = (self.state ^ u32::from(*byte)) & 0xff;
            self.state = (self.state >> 8) ^ self.table[index as usize];
        }
    }

    fn value(&self) -> u32 {
        !self.state
    }
}

#[cfg(test)]
mod tests {
    use super::super::zip::stored_entries;
    use super::*;

    #[test]
    fn the_checksum_is_that_of_zip() {
        let mut crc = Crc::new();
        crc.update(b"12345");
        crc.update(b"6789");
        // The check value of CRC-32 in every list of such.
        assert_eq!(crc.value(), 0xCBF4_3926);
    }

    #[test]
    fn entries_come_back_aligned() {
        let mut zip = ZipWriter::new(Vec::new());
        zip.add("a/one", b"first").unwrap();
        zip.begin("a/two", 4).unwrap();
        zip.push(b"se").unwrap();
        zip.push(b"cd").unwrap();
        zip.end().unwrap();
        zip.add("a/none", b"").unwrap();
        let file = zip.finish().unwrap();
        let entries = stored_entries(&file).unwrap();
        assert_eq!(entries.len(), 3);
        assert_eq!(&file[entries["a/one"].clone()], b"first");
        assert_eq!(&file[entries["a/two"].clone()], b"secd");
        assert!(entries["a/none"].is_empty());
        assert!(entries.values().all(|range| range.start % 64 == 0));
    }
}
