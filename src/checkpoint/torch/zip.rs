//! The directory of a zip file whose entries are not compressed.

use std::collections::BTreeMap;
use std::ops::Range;

/// Signatures, as they stand in the file.
pub(super) const LOCAL_HEADER: u32 = 0x0403_4b50;
pub(super) const DIRECTORY_ENTRY: u32 = 0x0201_4b50;
pub(super) const DIRECTORY_END: u32 = 0x0605_4b50;
pub(super) const DIRECTORY_END_64: u32 = 0x0606_4b50;
pub(super) const DIRECTORY_LOCATOR_64: u32 = 0x0706_4b50;

/// Lengths of the fixed parts.
const END_LENGTH: usize = 22;
const LOCATOR_LENGTH: usize = 20;
const END_64_LENGTH: usize = 56;
const ENTRY_LENGTH: usize = 46;
const LOCAL_LENGTH: usize = 30;

/// The longest comment behind the directory.
const MAX_COMMENT: usize = u16::MAX as usize;

/// The extra field that holds sizes and offsets of 64 bits.
pub(super) const EXTRA_64: u16 = 1;

/// Where the bytes of each entry lie in the file, by name.
///
/// # Errors
///
/// A sentence on what is wrong: no directory, offsets that leave the file, entries that overlap,
/// are compressed or encrypted, or come twice.
pub(super) fn stored_entries(file: &[u8]) -> Result<BTreeMap<String, Range<usize>>, String> {
    let (directory, count) = directory(file)?;
    let mut entries = BTreeMap::new();
    let mut at = directory.start;
    for _ in 0..count {
        let (name, range, next) = entry(file, at, &directory)?;
        // A folder has a name that ends so, and no bytes.
        if !name.ends_with('/') && entries.insert(name.clone(), range).is_some() {
            return Err(format!("the entry {name} is there twice"));
        }
        at = next;
    }
    let mut ranges: Vec<_> = entries.iter().filter(|(_, range)| !range.is_empty()).collect();
    ranges.sort_by_key(|(_, range)| range.start);
    match ranges.windows(2).find(|pair| pair[1].1.start < pair[0].1.end) {
        Some(pair) => Err(format!("the entries {} and {} overlap", pair[0].0, pair[1].0)),
        None => Ok(entries),
    }
}

/// Where the directory lies, and how many entries it lists.
fn directory(file: &[u8]) -> Result<(Range<usize>, u64), String> {
    let none = || "there is no zip directory at its end".to_owned();
    let last = file.len().checked_sub(END_LENGTH).ok_or_else(none)?;
    let first = last.saturating_sub(MAX_COMMENT);
    let is_end = |at: &usize| u32_at(file, *at) == Some(DIRECTORY_END);
    let end = (first..=last).rev().find(is_end).ok_or_else(none)?;
    let cut = || "the zip directory is cut off".to_owned();
    let mut count = u64::from(u16_at(file, end + 10).ok_or_else(cut)?);
    let mut size = u64::from(u32_at(file, end + 12).ok_or_else(cut)?);
    let mut start = u64::from(u32_at(file, end + 16).ok_or_else(cut)?);
    let locator = end.checked_sub(LOCATOR_LENGTH);
    let locator = locator.filter(|at| u32_at(file, *at) == Some(DIRECTORY_LOCATOR_64));
    if let Some(locator) = locator {
        let wide = u64_at(file, locator + 8).and_then(|at| usize::try_from(at).ok());
        let wide = wide.filter(|at| at.checked_add(END_64_LENGTH).is_some_and(|to| to <= locator));
        let wide = wide.filter(|at| u32_at(file, *at) == Some(DIRECTORY_END_64)).ok_or_else(cut)?;
        count = u64_at(file, wide + 32).ok_or_else(cut)?;
        size = u64_at(file, wide + 40).ok_or_else(cut)?;
        start = u64_at(file, wide + 48).ok_or_else(cut)?;
    }
    let outside = || format!("its zip directory of {size} bytes at {start} leaves the file");
    let stop = start.checked_add(size).filter(|stop| *stop <= end as u64).ok_or_else(outside)?;
    if count > size / ENTRY_LENGTH as u64 {
        return Err(format!("its zip directory of {size} bytes cannot list {count} entries"));
    }
    let fits = "it is no more than the length of the file";
    Ok((usize::try_from(start).expect(fits)..usize::try_from(stop).expect(fits), count))
}

/// Name and bytes of the entry that the directory describes at `at`, and where the next one begins.
fn entry(
    file: &[u8],
    at: usize,
    directory: &Range<usize>,
) -> Result<(String, Range<usize>, usize), String> {
    let cut = || "the zip directory is damaged".to_owned();
    let list = &file[..directory.end];
    if u32_at(list, at) != Some(DIRECTORY_ENTRY) {
        return Err(cut());
    }
    let short = |offset: usize| u16_at(list, at + offset).ok_or_else(cut);
    let long = |offset: usize| u32_at(list, at + offset).map(u64::from).ok_or_else(cut);
    let (flags, method) = (short(8)?, short(10)?);
    let (name_length, extra_length) = (usize::from(short(28)?), usize::from(short(30)?));
    let next = at + ENTRY_LENGTH + name_length + extra_length + usize::from(short(32)?);
    let name_at = at + ENTRY_LENGTH;
    let name = list.get(name_at..name_at + name_length).ok_or_else(cut)?;
    let name = str::from_utf8(name).map_err(|_| "the name of an entry is no UTF-8".to_owned())?;
    let extra_at = name_at + name_length;
    let mut wide = Wide::find(list.get(extra_at..extra_at + extra_length).ok_or_else(cut)?);
    let whole = wide.resolve(long(24)?)?;
    let stored = wide.resolve(long(20)?)?;
    let header = wide.resolve(long(42)?)?;
    if flags & 1 != 0 {
        return Err(format!("the entry {name} is encrypted"));
    }
    if method != 0 || whole != stored {
        return Err(format!(
            "the entry {name} is compressed; torch.save stores entries as they are"
        ));
    }
    let outside = || format!("the entry {name} leaves the file");
    let header = usize::try_from(header).map_err(|_| outside())?;
    let before = &file[..directory.start];
    if u32_at(before, header) != Some(LOCAL_HEADER) {
        return Err(outside());
    }
    let skipped = |offset: usize| u16_at(before, header + offset).map(usize::from);
    let start =
        skipped(26).zip(skipped(28)).map(|(name, extra)| header + LOCAL_LENGTH + name + extra);
    let start = start.ok_or_else(outside)?;
    let stop = usize::try_from(stored).ok().and_then(|stored| start.checked_add(stored));
    let stop = stop.filter(|stop| *stop <= directory.start).ok_or_else(outside)?;
    Ok((name.to_owned(), start..stop, next))
}

/// What is left of the extra field with numbers of 64 bits.
struct Wide<'a>(&'a [u8]);

impl<'a> Wide<'a> {
    fn find(mut extra: &'a [u8]) -> Self {
        while let (Some(kind), Some(length)) = (u16_at(extra, 0), u16_at(extra, 2)) {
            let Some(body) = extra.get(4..4 + usize::from(length)) else { break };
            if kind == EXTRA_64 {
                return Self(body);
            }
            extra = &extra[4 + body.len()..];
        }
        Self(&[])
    }

    /// The number itself, or the next wide one where it says that there is one.
    fn resolve(&mut self, number: u64) -> Result<u64, String> {
        if number != u64::from(u32::MAX) {
            return Ok(number);
        }
        let wide = u64_at(self.0, 0).ok_or("the zip directory lacks a number of 64 bits")?;
        self.0 = &self.0[8..];
        Ok(wide)
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}
