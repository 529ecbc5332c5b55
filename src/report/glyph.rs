//! Ids and patch lengths as things that can be drawn.
//!
//! A row of `[N]` ids cut by patch lengths becomes patches of glyphs. A character is one glyph only
//! if it lies whole inside one patch; where a cut goes through it, each of its bytes is a glyph of
//! its own, so that nobody downstream can print half a character.

use crate::text::{BOE_ID, BOS_ID, BPE_ID, BYTE_OFFSET, EOS_ID};

/// Tokens of one patch, in order.
pub(super) type Patch = Vec<Glyph>;

/// The smallest thing that is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Glyph {
    /// Index of its first token in the row.
    pub token_index: usize,
    /// Tokens it stands for: the bytes of a character, else one.
    pub token_count: usize,
    pub kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A character that shows by itself.
    Char(char),
    /// A combining mark; `alone` where nothing stands before it in its patch to sit on.
    Mark {
        mark: char,
        alone: bool,
    },
    Space,
    Newline,
    Tab,
    /// A character that shows nothing, or changes how others are shown.
    Invisible(char),
    /// A byte of invalid UTF-8, or of a character that a cut goes through.
    Byte(u8),
    /// An id that is no byte.
    Special(u32),
}

impl Glyph {
    /// In printable characters on one line, with the escapes of [`super::paint`].
    pub fn plain(self) -> String {
        match self.kind {
            Kind::Char('\\') => "\\\\".into(),
            Kind::Char('|') => "\\|".into(),
            Kind::Char(shown) | Kind::Mark { mark: shown, alone: false } => shown.into(),
            Kind::Mark { mark, alone: true } => format!("◌{mark}"),
            Kind::Space => " ".into(),
            Kind::Newline => "\\n".into(),
            Kind::Tab => "\\t".into(),
            Kind::Invisible('\r') => "\\r".into(),
            Kind::Invisible(hidden) if hidden.is_ascii() => {
                format!("\\x{:02x}", u32::from(hidden))
            }
            Kind::Invisible(hidden) => format!("\\u{{{:04x}}}", u32::from(hidden)),
            Kind::Byte(byte) => format!("\\x{byte:02x}"),
            Kind::Special(id) => format!("<{}>", special_name(id)),
        }
    }
}

/// Cuts `[N]` ids into patches of glyphs.
///
/// Empty patches vanish, lengths beyond the row (the virtual token of spec §3.1) count for nothing,
/// and tokens that no length covers become one last patch: a picture is drawn in any case.
pub(super) fn patches(ids: &[u32], patch_lengths: &[u32]) -> Vec<Patch> {
    let mut patches = Vec::new();
    let mut start = 0usize;
    for &length in patch_lengths.iter().chain(std::iter::once(&u32::MAX)) {
        let end = ids.len().min(start.saturating_add(length as usize));
        if end > start {
            patches.push(glyphs_between(ids, start, end));
        }
        start = end;
    }
    patches
}

/// Glyphs of a row that nothing cuts.
pub(super) fn glyphs(ids: &[u32]) -> Vec<Glyph> {
    glyphs_between(ids, 0, ids.len())
}

/// The name of a special id (spec §1).
pub(super) fn special_name(id: u32) -> String {
    match id {
        BOE_ID => "boe".into(),
        BOS_ID => "bos".into(),
        EOS_ID => "eos".into(),
        BPE_ID => "bpe".into(),
        _ => format!("id {id}"),
    }
}

/// Whether a character shows nothing or rearranges its neighbours: controls, format characters,
/// separators, variation selectors, tags.
fn is_invisible(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
            | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}' | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
        || (character.is_whitespace() && character != ' ')
        || (u32::from(character) & 0xfffe) == 0xfffe
}

fn is_combining_mark(character: char) -> bool {
    matches!(character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{591}'..='\u{5bd}'
        | '\u{64b}'..='\u{65f}' | '\u{93a}'..='\u{94d}' | '\u{e31}' | '\u{e34}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
        | '\u{20d0}'..='\u{20ff}' | '\u{3099}'..='\u{309a}' | '\u{fe20}'..='\u{fe2f}')
}

/// Whether a mark that follows has something to sit on.
fn carries_marks(kind: Kind) -> bool {
    matches!(kind, Kind::Char(_) | Kind::Mark { alone: false, .. })
}

/// Glyphs of `ids[start..end]`, decoded without a look at what lies outside.
fn glyphs_between(ids: &[u32], start: usize, end: usize) -> Patch {
    let mut glyphs = Patch::new();
    let mut bytes = Vec::new();
    for (offset, &id) in ids[start..end].iter().enumerate() {
        match id.checked_sub(BYTE_OFFSET).and_then(|value| u8::try_from(value).ok()) {
            Some(byte) => bytes.push(byte),
            None => {
                let index = start + offset;
                push_text(&mut glyphs, &bytes, index - bytes.len());
                bytes.clear();
                glyphs.push(Glyph { token_index: index, token_count: 1, kind: Kind::Special(id) });
            }
        }
    }
    push_text(&mut glyphs, &bytes, end - bytes.len());
    glyphs
}

/// Appends the glyphs of bytes whose first token has index `first_index`.
fn push_text(glyphs: &mut Patch, bytes: &[u8], first_index: usize) {
    let mut token_index = first_index;
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            let token_count = character.len_utf8();
            let alone = !glyphs.last().is_some_and(|glyph| carries_marks(glyph.kind));
            let kind = match character {
                ' ' => Kind::Space,
                '\n' => Kind::Newline,
                '\t' => Kind::Tab,
                _ if is_invisible(character) => Kind::Invisible(character),
                _ if is_combining_mark(character) => Kind::Mark { mark: character, alone },
                _ => Kind::Char(character),
            };
            glyphs.push(Glyph { token_index, token_count, kind });
            token_index += token_count;
        }
        for &byte in chunk.invalid() {
            glyphs.push(Glyph { token_index, token_count: 1, kind: Kind::Byte(byte) });
            token_index += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::encode;

    fn byte_ids(bytes: &[u8]) -> Vec<u32> {
        encode(bytes, false, false)
    }

    fn kinds(ids: &[u32], patch_lengths: &[u32]) -> Vec<Vec<Kind>> {
        let kinds_of = |patch: Patch| patch.iter().map(|glyph| glyph.kind).collect();
        patches(ids, patch_lengths).into_iter().map(kinds_of).collect()
    }

    #[test]
    fn a_character_in_one_patch_is_one_glyph() {
        let row = patches(&byte_ids("aé日".as_bytes()), &[1, 5]);
        assert_eq!(row[1][0], Glyph { token_index: 1, token_count: 2, kind: Kind::Char('é') });
        assert_eq!(row[1][1], Glyph { token_index: 3, token_count: 3, kind: Kind::Char('日') });
    }

    #[test]
    fn a_character_that_a_cut_goes_through_is_bytes() {
        let found = kinds(&byte_ids("é!".as_bytes()), &[1, 2]);
        let expected =
            [vec![Kind::Byte(0xc3)], vec![Kind::Byte(0xa9), Kind::Char('!')]].map(Vec::from);
        assert_eq!(found, expected);
    }

    #[test]
    fn every_token_is_drawn_once() {
        let mut ids = byte_ids(b"x\xff\xe6\x97 \xf0\x9f\x99\x82\n\x00");
        ids.insert(0, 1);
        ids.insert(5, 300);
        ids.push(2);
        for length in 1..=ids.len() as u32 {
            let lengths = vec![length; ids.len()];
            let mut next = 0;
            for glyph in patches(&ids, &lengths).into_iter().flatten() {
                assert_eq!(glyph.token_index, next);
                next += glyph.token_count;
            }
            assert_eq!(next, ids.len());
        }
    }

    #[test]
    fn lengths_may_be_short_long_or_empty() {
        let ids = byte_ids(b"abc");
        assert_eq!(patches(&ids, &[1, 0]).len(), 2);
        assert_eq!(patches(&ids, &[2, 2, 5]).len(), 2);
        assert_eq!(patches(&ids, &[]).len(), 1);
        assert!(patches(&[], &[1]).is_empty());
    }

    #[test]
    fn what_does_not_show_is_told_apart() {
        let text = "\u{202e}\u{200b}\r\u{301}e\u{301} \t";
        let found = kinds(&byte_ids(text.as_bytes()), &[99]);
        let expected = [
            Kind::Invisible('\u{202e}'),
            Kind::Invisible('\u{200b}'),
            Kind::Invisible('\r'),
            Kind::Mark { mark: '\u{301}', alone: true },
            Kind::Char('e'),
            Kind::Mark { mark: '\u{301}', alone: false },
            Kind::Space,
            Kind::Tab,
        ];
        assert_eq!(found, [expected]);
        assert_eq!(kinds(&[1, 700], &[2]), [[Kind::Special(1), Kind::Special(700)]]);
    }
}
