//! Patches and entropies in the text of a terminal, while the text comes.
//!
//! What is drawn is what [`super::paint`] draws of a whole row, in pieces: backgrounds that change
//! with every patch, or that show how hard a byte was to predict; with both, a thin line stands where
//! a patch starts. Without colour it is the same escapes, with `|` at the starts and a digit 0 to 7
//! behind every character for its entropy.

use super::glyph::{self, Glyph, Kind};
use super::paint::{HEAT_BACKGROUNDS, HEAT_STEP_NATS, heat_level, patch_background, push_colored};

/// A thin line at the left of its cell, on the background of what follows.
const BAR: char = '▏';
const RESET: &str = "\x1b[0m";

/// What of a text is shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    /// Where patches start.
    pub patches: bool,
    /// How hard bytes were to predict.
    pub entropy: bool,
    /// With colours.
    pub color: bool,
}

/// A byte of the text, or an id that is none.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LiveByte {
    pub id: u32,
    /// Whether a patch starts with it.
    pub starts_patch: bool,
    /// The uncertainty about it before it was read.
    pub entropy_nats: f32,
}

/// A text that is drawn as it comes.
#[derive(Clone, Debug)]
pub struct LivePaint {
    shown: Shown,
    /// The end of the open patch: what is not drawn yet, and before it what a combining mark may
    /// sit on.
    open: Vec<LiveByte>,
    drawn_count: usize,
    /// Patches before the open one.
    patch_count: usize,
    /// Whether the open patch needs a bar before it.
    needs_bar: bool,
}

impl LivePaint {
    /// In front of a text.
    pub fn new(shown: Shown) -> Self {
        Self { shown, open: Vec::new(), drawn_count: 0, patch_count: 0, needs_bar: false }
    }

    /// Draws whole characters. With colour the output leaves the terminal as it found it.
    pub fn push(&mut self, bytes: &[LiveByte]) -> String {
        let mut text = String::new();
        for &byte in bytes {
            let follows = self.patch_count > 0 || !self.open.is_empty();
            if self.shown.patches && byte.starts_patch && follows {
                self.draw(&mut text);
                self.open.clear();
                self.drawn_count = 0;
                self.patch_count += 1;
                match self.shown.color {
                    true => self.needs_bar = self.shown.entropy,
                    false => text.push('|'),
                }
            }
            self.open.push(byte);
        }
        self.draw(&mut text);
        text
    }

    /// Draws what of the open patch is not drawn.
    fn draw(&mut self, text: &mut String) {
        let ids: Vec<u32> = self.open.iter().map(|byte| byte.id).collect();
        let glyphs = glyph::glyphs(&ids);
        let new = glyphs.iter().position(|it| it.token_index >= self.drawn_count);
        let new = &glyphs[new.unwrap_or(glyphs.len())..];
        match (self.shown.color, self.shown.entropy) {
            (true, true) => {
                let mut needs_bar = self.needs_bar;
                for run in new.chunk_by(|a, b| self.level(a) == self.level(b)) {
                    let background = HEAT_BACKGROUNDS[self.level(&run[0])];
                    if std::mem::take(&mut needs_bar) {
                        text.push_str(&format!("\x1b[38;5;240;48;5;{background}m{BAR}{RESET}"));
                    }
                    push_colored(text, run, background);
                }
            }
            (true, false) => push_colored(text, new, patch_background(self.patch_count)),
            (false, true) => {
                for glyph in new {
                    text.push_str(&format!("{}{}", glyph.plain(), self.level(glyph)));
                }
            }
            (false, false) => new.iter().for_each(|glyph| text.push_str(&glyph.plain())),
        }
        self.needs_bar &= new.is_empty();
        // A mark sits on the last character, and on marks that sit there.
        let is_mark = |glyph: &&Glyph| matches!(glyph.kind, Kind::Mark { alone: false, .. });
        let seat = glyphs.iter().rev().find(|glyph| !is_mark(glyph));
        self.open.drain(..seat.map_or(0, |glyph| glyph.token_index));
        self.drawn_count = self.open.len();
    }

    fn level(&self, glyph: &Glyph) -> usize {
        let tokens = &self.open[glyph.token_index..glyph.token_index + glyph.token_count];
        heat_level(tokens.iter().map(|byte| byte.entropy_nats).fold(0.0, f32::max))
    }
}

/// The steps of the scale of entropies, in one line.
pub fn entropy_scale(color: bool) -> String {
    let mut text = String::new();
    for (level, background) in HEAT_BACKGROUNDS.iter().enumerate() {
        let from = level as f32 * HEAT_STEP_NATS;
        match color {
            true => text.push_str(&format!("\x1b[38;5;16;48;5;{background}m {from:.1} {RESET}")),
            false => text.push_str(&format!("{level}: {from:.1}  ")),
        }
    }
    text.push_str(if color { " nats and more" } else { "nats and more" });
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::paint;
    use crate::text::encode;
    use proptest::prelude::*;

    fn bytes(text: &[u8], starts: &[usize]) -> Vec<LiveByte> {
        let ids = encode(text, false, false).into_iter().enumerate();
        ids.map(|(index, id)| LiveByte {
            id,
            starts_patch: starts.contains(&index),
            entropy_nats: index as f32 / 2.0,
        })
        .collect()
    }

    fn draw(shown: Shown, pieces: &[&[LiveByte]]) -> String {
        let mut paint = LivePaint::new(shown);
        pieces.iter().map(|piece| paint.push(piece)).collect()
    }

    #[test]
    fn plain_forms() {
        let row = bytes("a|é\n".as_bytes(), &[0, 1, 4]);
        let patches = Shown { patches: true, ..Shown::default() };
        assert_eq!(draw(patches, &[&row[..1], &row[1..]]), "a|\\|é|\\n");
        let entropy = Shown { entropy: true, ..Shown::default() };
        assert_eq!(draw(entropy, &[&row]), "a0\\|1é3\\n4");
        assert_eq!(draw(Shown { patches: true, ..entropy }, &[&row]), "a0|\\|1é3|\\n4");
    }

    #[test]
    fn colored_forms() {
        let row = bytes(b"ab", &[1]);
        let both = Shown { patches: true, entropy: true, color: true };
        let expected = "\x1b[38;5;16;48;5;255ma\x1b[0m\
             \x1b[38;5;240;48;5;230m▏\x1b[0m\x1b[38;5;16;48;5;230mb\x1b[0m";
        assert_eq!(draw(both, &[&row]), expected);
        assert_eq!(entropy_scale(true).matches("\x1b[0m").count(), 8);
        assert!(entropy_scale(false).starts_with("0: 0.0  1: 0.5  "));
    }

    /// Every character with the escape that is in force.
    fn cells(text: &str) -> Vec<(String, char)> {
        let (mut cells, mut style, mut rest) = (Vec::new(), String::new(), text);
        while let Some(character) = rest.chars().next() {
            if character == '\x1b' {
                let length = rest.find('m').unwrap() + 1;
                style = rest[..length].to_owned();
                rest = &rest[length..];
            } else {
                cells.push((style.clone(), character));
                rest = &rest[character.len_utf8()..];
            }
        }
        cells
    }

    proptest! {
        /// Characters come whole; a patch may start anywhere, within them too.
        #[test]
        fn pieces_are_drawn_as_the_whole_is(
            characters in proptest::collection::vec(
                prop_oneof![Just('a'), Just('é'), Just('\u{301}'), Just('\n'), Just('日')], 0..30),
            starts in proptest::collection::vec(0_usize..90, 0..20),
            cuts in proptest::collection::vec(0_usize..31, 0..8),
        ) {
            let text: String = characters.iter().collect();
            let row = bytes(text.as_bytes(), &starts);
            let mut ends: Vec<usize> = cuts.iter().map(|&cut| {
                characters.iter().take(cut).map(|it| it.len_utf8()).sum()
            }).collect();
            ends.extend([0, row.len()]);
            ends.sort_unstable();
            let pieces: Vec<&[LiveByte]> =
                ends.windows(2).map(|ends| &row[ends[0]..ends[1]]).collect();
            let ids: Vec<u32> = row.iter().map(|byte| byte.id).collect();
            let mut lengths = Vec::new();
            for (index, byte) in row.iter().enumerate() {
                if index == 0 || byte.starts_patch {
                    lengths.push(0);
                }
                *lengths.last_mut().unwrap() += 1;
            }
            let patches = Shown { patches: true, ..Shown::default() };
            prop_assert_eq!(draw(patches, &pieces), paint::patches(&ids, &lengths, false));
            let nats: Vec<f32> = row.iter().map(|byte| byte.entropy_nats).collect();
            let entropy = Shown { entropy: true, ..Shown::default() };
            prop_assert_eq!(draw(entropy, &pieces), paint::entropy_heat(&ids, &nats, false));
            // In colour a run of one background may be drawn in parts: every cell has the same.
            let colored = draw(Shown { color: true, ..patches }, &pieces);
            prop_assert_eq!(cells(&colored), cells(&paint::patches(&ids, &lengths, true)));
        }
    }
}
