//! Streams over a predictor that knows what it is going to say.

use super::{Added, ByteEvent, End, OnLimit, Piece, Source, Stops, TextStream, patch_lengths};
use crate::blt::Positions;
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::text::{BOS_ID, EOS_ID, check_ids, decode, encode};
use pollster::block_on;
use proptest::prelude::*;
use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// Says one id of its script after the other, whatever it reads.
pub(super) struct Scripted {
    script: Vec<u32>,
    said_count: usize,
    origin: u64,
    read: Vec<u32>,
    waiting: Vec<u32>,
    /// Every text that it was asked to go on from.
    pub asked: Vec<Vec<u32>>,
    position_limit: usize,
    patch_limit: usize,
    /// A patch closes with every id that is a multiple of this.
    patch_every: u32,
    /// More ids than this are too many for its device.
    device_limit: Option<usize>,
    /// How often a prediction has to be waited for.
    delay: usize,
}

impl Scripted {
    pub fn delayed(script: &[u32], delay: usize) -> Self {
        Self { delay, ..Self::new(script) }
    }

    pub fn new(script: &[u32]) -> Self {
        Self {
            script: script.to_vec(),
            said_count: 0,
            origin: 99,
            read: vec![BOS_ID; 3],
            waiting: Vec::new(),
            asked: Vec::new(),
            position_limit: 1000,
            patch_limit: 2000,
            patch_every: 1,
            device_limit: None,
            delay: 0,
        }
    }
}

impl Source for &mut Scripted {
    fn positions(&self) -> Positions {
        Positions { bytes: self.position_limit, patches: Some(self.patch_limit) }
    }

    fn begin(&mut self, ids: &[u32], origin: u64) -> Result<()> {
        check_ids(ids)?;
        assert!((1..=self.position_limit).contains(&ids.len()), "{} ids to begin with", ids.len());
        (self.read, self.waiting, self.origin) = (ids.to_vec(), Vec::new(), origin);
        Ok(())
    }

    fn push(&mut self, ids: &[u32]) -> Result<()> {
        check_ids(ids)?;
        self.waiting.extend_from_slice(ids);
        Ok(())
    }

    async fn prefill(&mut self) -> Result<()> {
        Ok(())
    }

    async fn step(&mut self) -> Result<Added> {
        for _ in 0..self.delay {
            let mut is_first = true;
            std::future::poll_fn(|context| {
                context.waker().wake_by_ref();
                match std::mem::take(&mut is_first) {
                    true => Poll::Pending,
                    false => Poll::Ready(()),
                }
            })
            .await;
        }
        if let Some(limit) = self.device_limit.filter(|limit| self.read.len() > *limit) {
            let [needed, available] = [self.read.len(), limit].map(|count| count as u64);
            let (limit, hint) = ("elements of a binding".into(), "use another device".into());
            return Err(Error::Limit { limit, needed, available, hint });
        }
        let closed_count = self.read.iter().filter(|id| *id % self.patch_every == 0).count();
        self.positions().check_patches(closed_count + 1)?;
        let was_pushed = !self.waiting.is_empty();
        let id = match (was_pushed, self.script.get(self.said_count)) {
            (true, _) => self.waiting.remove(0),
            (false, None) => return Err(Error::device("script", "has ended")),
            (false, Some(&id)) => {
                self.said_count += 1;
                self.asked.push(self.read.clone());
                id
            }
        };
        assert!(self.read.len() <= self.position_limit, "more was pushed than there is room for");
        self.read.push(id);
        let mut logits = vec![0.0; 260];
        logits[id as usize] = 9.0;
        let starts_patch = !was_pushed && self.said_count.is_multiple_of(2);
        Ok(Added { id, was_pushed, starts_patch, entropy: Some(0.5), logits })
    }
}

pub(super) fn stream<'a>(
    script: &'a mut Scripted,
    stops: &Stops,
    on_limit: OnLimit,
) -> TextStream<&'a mut Scripted> {
    TextStream::new(script, stops, on_limit).unwrap()
}

fn stop_at(strings: &[&str]) -> Stops {
    let strings = strings.iter().map(|string| string.as_bytes().to_vec()).collect();
    Stops { strings, ..Stops::default() }
}

pub(super) fn say(text: &str) -> Vec<u32> {
    encode(text.as_bytes(), false, true)
}

fn all(stream: &mut TextStream<&mut Scripted>) -> Vec<Piece> {
    stream.pieces().collect::<Result<_>>().unwrap()
}

fn texts(pieces: &[Piece]) -> Vec<&str> {
    pieces.iter().map(|piece| piece.text.as_str()).collect()
}

fn ids_of(events: &[ByteEvent]) -> Vec<u32> {
    events.iter().map(|event| event.id).collect()
}

#[test]
fn pieces_are_whole_characters_and_end_with_the_text() {
    let mut script = Scripted::new(&say("né!"));
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Error);
    stream.push(b"x");
    let pieces = all(&mut stream);
    assert_eq!(texts(&pieces), ["n", "", "é", "!", ""]);
    assert_eq!(ids_of(&pieces[2].events), encode("é".as_bytes(), false, false));
    assert_eq!(ids_of(&pieces[4].events), [EOS_ID]);
    assert_eq!(stream.end(), Some(End::EndOfText));
    assert_eq!(stream.ids(), [encode(b"x", true, false), say("né!")].concat());
    let event = stream.generated()[0];
    let share = 1.0 / (1.0 + 259.0 * (-9_f64).exp());
    assert!((f64::from(event.probability.unwrap()) - share).abs() < 1e-6);
    assert!(event.entropy.unwrap() > 0.0 && event.patch_entropy == Some(0.5));
    let starts: Vec<bool> = stream.generated().iter().map(|it| it.starts_patch).collect();
    assert_eq!(starts, [false, true, false, true, false]);
    assert_eq!(patch_lengths(stream.generated()), [1, 2, 2]);
    assert!(stream.pieces().next().is_none());
}

#[test]
fn a_stop_string_is_held_back_and_stays_in_the_text() {
    let mut script = Scripted::new(&say("a\nb\n\nc"));
    let mut stream = stream(&mut script, &stop_at(&["zz", "\n\n"]), OnLimit::Error);
    stream.push(b"");
    assert_eq!(texts(&all(&mut stream)), ["a", "", "\nb", "", ""]);
    assert_eq!(stream.end(), Some(End::String(1)));
    assert_eq!(decode(stream.ids()), b"a\nb\n\n");
    assert_eq!(stream.generated().len(), 5);
}

#[test]
fn the_count_lets_out_what_was_held_back() {
    let stops = Stops { count: Some(3), ..stop_at(&["bcd"]) };
    let mut script = Scripted::new(&say("abcde"));
    let mut limited = stream(&mut script, &stops, OnLimit::Error);
    limited.push(b"");
    assert_eq!(texts(&all(&mut limited)), ["a", "", "bc"]);
    assert_eq!(limited.end(), Some(End::Count));
    // Another answer has as many.
    limited.push(b"");
    assert_eq!(texts(&all(&mut limited)), ["d", "e", ""]);

    let nothing = Stops { count: Some(0), ..Stops::default() };
    let mut script = Scripted::new(&[]);
    let mut stream = stream(&mut script, &nothing, OnLimit::Error);
    stream.push(b"");
    assert!(all(&mut stream).is_empty() && stream.end() == Some(End::Count));
}

#[test]
fn cancelling_shows_what_there_is() {
    let mut script = Scripted::new(&say("a\n€"));
    let mut cancelled = stream(&mut script, &stop_at(&["\n\n"]), OnLimit::Error);
    cancelled.push(b"");
    for expected in ["a", "", "\n"] {
        assert_eq!(block_on(cancelled.step()).unwrap().unwrap().text, expected);
    }
    let rest = cancelled.cancel();
    assert_eq!((rest.text.as_str(), rest.events.len()), ("\u{fffd}", 1));
    assert_eq!(cancelled.end(), Some(End::Cancelled));
    assert_eq!(cancelled.cancel(), Piece::default());
    assert!(block_on(cancelled.step()).unwrap().is_none());
}

#[test]
fn a_prompt_in_between_loses_nothing() {
    let mut script = Scripted::new(&[say("a\n"), say("b")].concat());
    let mut stream = stream(&mut script, &stop_at(&["\n!"]), OnLimit::Error);
    stream.push(b"one");
    block_on(stream.step()).unwrap();
    block_on(stream.step()).unwrap();
    stream.push(b"two");
    let piece = block_on(stream.step()).unwrap().unwrap();
    assert_eq!((piece.text.as_str(), piece.events.len()), ("\n", 2));
    assert_eq!((stream.end(), ids_of(stream.generated())), (Some(End::EndOfText), vec![EOS_ID]));
    // Behind the end of a text the next one has a begin.
    stream.push(b"three");
    assert_eq!(texts(&all(&mut stream)), ["b", ""]);
    let first = encode(b"onea\ntwo", true, true);
    assert_eq!(stream.ids(), [first, encode(b"threeb", true, true)].concat());
    assert!(stream.push_ids(&[7, 260]).unwrap_err().to_string().contains("260"));
}

#[test]
fn a_step_that_is_dropped_is_done_again() {
    let mut script = Scripted { delay: 2, ..Scripted::new(&say("né!")) };
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Error);
    stream.push(b"x");
    let (mut text, mut context) = (String::new(), Context::from_waker(Waker::noop()));
    while stream.end().is_none() {
        for poll_count in 0..3 {
            let mut future = pin!(stream.step());
            for _ in 0..poll_count {
                assert!(future.as_mut().poll(&mut context).is_pending());
            }
        }
        text.push_str(&block_on(stream.step()).unwrap().unwrap().text);
    }
    assert_eq!(text, "né!");
    assert_eq!(stream.ids(), [encode(b"x", true, false), say("né!")].concat());
    let read: Vec<usize> = script.asked.iter().map(Vec::len).collect();
    assert_eq!(read, [2, 3, 4, 5, 6], "every id was handed over once");
    assert_eq!(script.origin, 0);
}

/// A clock that goes on by a tenth of a second whenever somebody looks at it.
#[derive(Default)]
struct Ticking {
    looks: Cell<u32>,
    stops_at: Option<u32>,
}

impl Platform for Ticking {
    fn monotonic_seconds(&self) -> f64 {
        self.looks.set(self.looks.get() + 1);
        f64::from(self.looks.get()) / 10.0
    }

    fn unix_seconds(&self) -> u64 {
        0
    }

    fn is_stop_requested(&self) -> bool {
        self.stops_at.is_some_and(|looks| self.looks.get() >= looks)
    }
}

#[test]
fn run_for_steps_until_the_time_is_up() {
    let mut script = Scripted::new(&say("0123456789"));
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Error);
    stream.push(b"x");
    let mut run = |seconds: f64, stops_at| {
        let platform = Ticking { stops_at, ..Ticking::default() };
        let piece = block_on(stream.run_for(Duration::from_secs_f64(seconds), &platform));
        piece.unwrap().map(|piece| piece.text)
    };
    assert_eq!(run(0.0, None).as_deref(), Some("0"), "at least one step");
    assert_eq!(run(0.35, None).as_deref(), Some("1234"));
    assert_eq!(run(0.35, Some(3)).as_deref(), Some("56"), "somebody asked to stop");
    assert_eq!(run(9.0, None).as_deref(), Some("789"));
    assert_eq!(run(9.0, None), None);
}

#[test]
fn an_error_loses_no_text() {
    let mut script = Scripted::new(&encode(b"abc", false, false));
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Error);
    stream.push(b"x");
    let platform = Ticking::default();
    assert!(block_on(stream.run_for(Duration::from_secs(9), &platform)).is_err());
    assert!(block_on(stream.step()).is_err(), "as before");
    assert_eq!(stream.pieces().count(), 1, "one error, then nothing");
    assert_eq!(stream.cancel().text, "abc");
}

#[test]
fn without_sliding_the_limit_is_an_error() {
    let mut script = Scripted { position_limit: 4, ..Scripted::new(&say("abcdefgh")) };
    let mut tight = stream(&mut script, &Stops::default(), OnLimit::Error);
    tight.push(b"xy");
    assert!(tight.check_room(2).is_ok());
    let message = tight.check_room(3).unwrap_err().to_string();
    assert!(message.contains("5 needed, 4 available"), "{message}");
    assert_eq!(texts(&[block_on(tight.step()).unwrap().unwrap()]), ["a"]);
    assert_eq!(texts(&[block_on(tight.step()).unwrap().unwrap()]), ["b"]);
    let message = block_on(tight.step()).unwrap_err().to_string();
    assert!(message.contains("5 needed, 4 available"), "{message}");
}

/// The windows that a text of ids 10, 11, .. is read in, by the script's own record.
fn windows(mut script: Scripted, prompts: &[usize]) -> Vec<(u32, usize)> {
    let stops = Stops { count: Some(1), ..Stops::default() };
    let mut next = 10;
    let mut sliding = stream(&mut script, &stops, OnLimit::Slide);
    for &count in prompts {
        let ids: Vec<u32> = (next..next + count as u32).collect();
        next += count as u32;
        sliding.push_ids(&ids).unwrap();
        assert!(sliding.check_room(1_000_000).is_ok());
        next += u32::from(block_on(sliding.step()).is_ok());
    }
    script.asked.iter().map(|read| (read[0] - 10, read.len())).collect()
}

#[test]
fn a_sliding_text_is_read_from_multiples_of_half_the_positions() {
    // 8 ids fit; 9 to 12 are read from 4 on, 13 to 16 from 8 on.
    let read = |prompts: &[usize], script: &[u32]| {
        windows(Scripted { position_limit: 8, ..Scripted::new(script) }, prompts)
    };
    let at_once = |prompt: usize| read(&[prompt], &[10])[0];
    let expected = [(0, 8), (4, 5), (4, 8), (8, 5), (8, 8), (12, 5)];
    assert_eq!([8, 9, 12, 13, 16, 17].map(at_once), expected);
    assert_eq!(at_once(103), (96, 7));
    // In parts, each followed by an answer of the id that is next: 7, 11 and 20 ids.
    assert_eq!(read(&[7, 3, 8], &[17, 21, 30]), [(0, 7), (4, 7), (12, 8)]);
}

#[test]
fn a_text_slides_by_half_of_what_surely_fits_where_patches_run_out_first() {
    let read = |prompt: usize, patch_limit, patch_every| {
        let script =
            Scripted { position_limit: 24, patch_limit, patch_every, ..Scripted::new(&[9]) };
        windows(script, &[prompt])
    };
    // 8 ids of a patch each and an open one are 9: a multiple of 4.
    assert_eq!(read(8, 9, 1), [(0, 8)]);
    assert_eq!(read(9, 9, 1), [(4, 5)]);
    assert_eq!(read(24, 9, 1), [(16, 8)]);
    assert_eq!(read(30, 9, 1), [(24, 6)]);
    // Where patches are longer more of the text is read.
    assert_eq!(read(24, 9, 3), [(0, 24)]);
    assert_eq!(read(26, 9, 3), [(4, 22)]);
    // A model for which nothing fits has nothing to slide to.
    assert_eq!(read(8, 1, 1), []);
}

#[test]
fn only_positions_let_a_text_slide() {
    let mut script = Scripted { device_limit: Some(4), ..Scripted::new(&[10; 3]) };
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Slide);
    stream.push_ids(&[10; 6]).unwrap();
    let error = block_on(stream.step()).unwrap_err();
    assert!(matches!(error, Error::Limit { .. }), "{error}");
    assert_eq!((stream.window_start(), error.hint()), (0, Some("use another device")));
}

#[test]
fn any_count_of_ids_can_be_asked_for() {
    let mut script = Scripted::new(&[]);
    let mut stream = stream(&mut script, &Stops::default(), OnLimit::Error);
    stream.push(b"x");
    assert!(matches!(stream.check_room(usize::MAX).unwrap_err(), Error::Positions { .. }));
    assert!(stream.check_room(999).is_ok());
}

proptest! {
    /// What is read of a text follows from the text, not from how it came.
    #[test]
    fn windows_do_not_depend_on_the_way(
        parts in proptest::collection::vec(1_usize..18, 1..12),
        position_limit in 2_usize..40,
        patch_limit in 3_usize..30,
        patch_every in 1_u32..6,
    ) {
        let limits = |script: &[u32]| {
            Scripted { position_limit, patch_limit, patch_every, ..Scripted::new(script) }
        };
        // Each part is followed by an answer of the id that is next.
        let answered = |count: usize| parts[..=count].iter().sum::<usize>() + count;
        let lengths: Vec<usize> = (0..parts.len()).map(answered).collect();
        let script: Vec<u32> = lengths.iter().map(|&length| 10 + length as u32).collect();
        let in_parts = windows(limits(&script), &parts);
        let at_once = |&length: &usize| windows(limits(&[10]), &[length])[0];
        prop_assert_eq!(in_parts, lengths.iter().map(at_once).collect::<Vec<_>>());
    }

    #[test]
    fn pieces_add_up_to_the_answer(
        script in proptest::collection::vec(
            prop_oneof![
                9 => Just(101), 9 => Just(102), 3 => 4_u32..260, 1 => Just(3), 1 => Just(2)
            ],
            1..60,
        ),
        strings in proptest::collection::vec(proptest::collection::vec(97_u8..99, 1..5), 0..3),
        count in prop_oneof![Just(None), (0_usize..60).prop_map(Some)],
    ) {
        let stops = Stops { count, strings: strings.clone() };
        let mut scripted = Scripted::new(&[script.clone(), vec![EOS_ID]].concat());
        let mut stream = stream(&mut scripted, &stops, OnLimit::Error);
        stream.push(b"ab");
        let pieces = all(&mut stream);
        // The answer ends at the first of: a string, EOS, the count.
        let script = [script, vec![EOS_ID]].concat();
        let mut seen = 0;
        let mut expected = End::Count;
        while seen < count.unwrap_or(usize::MAX) {
            seen += 1;
            let bytes = decode(&script[..seen]);
            if script[seen - 1] == EOS_ID {
                expected = End::EndOfText;
                break;
            }
            let is_byte = script[seen - 1] >= 4;
            if let Some(index) = strings.iter().position(|it| is_byte && bytes.ends_with(it)) {
                expected = End::String(index);
                break;
            }
        }
        let mut bytes = decode(&script[..seen]);
        if let End::String(index) = &mut expected {
            let ending = |it: &&Vec<u8>| bytes.ends_with(it);
            let longest = strings.iter().filter(ending).map(Vec::len).max().unwrap();
            let is_it = |it: &Vec<u8>| bytes.ends_with(it) && it.len() == longest;
            *index = strings.iter().position(is_it).unwrap();
            bytes.truncate(bytes.len() - longest);
        }
        prop_assert_eq!(stream.end(), Some(expected));
        prop_assert_eq!(ids_of(stream.generated()), &script[..seen]);
        let sum = pieces.iter().map(|it| it.text.as_str()).collect::<String>();
        prop_assert_eq!(sum, String::from_utf8_lossy(&bytes));
        let given: Vec<u32> = pieces.iter().flat_map(|piece| ids_of(&piece.events)).collect();
        prop_assert!(script.starts_with(&given));
        prop_assert_eq!(decode(&given), bytes);
        for piece in &pieces {
            let own = decode(&ids_of(&piece.events));
            prop_assert_eq!(&piece.text, &String::from_utf8_lossy(&own));
        }
    }
}
