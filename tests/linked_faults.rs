//! Several steps of a stream in one submission, where something is in their way: a device without
//! room, one that computes wrongly, nothing that may be chosen, a number that nobody takes.

mod support;

use blt_wgpu::Error;
use blt_wgpu::blt::config::PatchingMode;
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::generate::sampling::{Sampler, SamplingOptions};
use blt_wgpu::generate::{CheckForm, SelfCheck, Streams};
use blt_wgpu::kernels::decode::next_step::layout;
use pollster::block_on;
use support::failing::Failing;
use support::streaming::{blt, directory, greedy, ids};

/// Any byte, drawn.
fn drawn() -> Sampler {
    let options =
        SamplingOptions { temperature: 0.9, banned_ids: vec![2], ..SamplingOptions::default() };
    Sampler::new(options, 5).unwrap()
}

/// A device without room for several steps at once is asked once, not in front of every step, and
/// again when a stream has gone.
#[test]
fn a_refusal_is_remembered() {
    let engine = Failing::without_memory_for(HostEngine::<f32>::default(), "linked, 4 steps");
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let texts = |bytes: usize| {
        let streams = Streams::with_bytes_a_submission(&engine, &directory, 2, bytes);
        let mut streams = block_on(streams).unwrap();
        let [first, second] = ["one", "two"].map(|it| streams.open(&ids(it), drawn()).unwrap());
        let mut refused = Vec::new();
        for round in 0..20 {
            if round == 12 {
                streams.close(first);
            }
            for (_, added) in block_on(streams.step()).unwrap() {
                added.unwrap();
            }
            refused.push(engine.refused_count.get());
        }
        assert_eq!(streams.linked_id_count(), 0);
        (streams.ids(second).to_vec(), refused)
    };
    let (expected, none) = texts(1);
    assert_eq!(none, [0; 20]);
    // Both at once, then one by one; later the one that is left: each for all that there is room
    // for, and then for as much as it takes.
    let (got, refused) = texts(4);
    assert_eq!(got, expected);
    assert_eq!(refused, [[6; 12].as_slice(), &[8; 8]].concat());
}

/// A device that closes patches elsewhere is an error and no other text.
#[test]
fn a_patch_that_closes_elsewhere_is_an_error() {
    let engine = Failing::falsifying(HostEngine::<f32>::default(), |name, results| {
        if name == "results" {
            // Of the third step.
            let closes = &mut results[2 * 4 + 3];
            *closes = f32::from_bits(1 - closes.to_bits());
        }
    });
    let directory = directory(&engine, blt(PatchingMode::Space));
    let streams = Streams::with_bytes_a_submission(&engine, &directory, 1, 4);
    let mut streams = block_on(streams).unwrap();
    let id = streams.open(&ids("a"), greedy()).unwrap();
    let error = block_on(streams.step()).unwrap().remove(0).1.unwrap_err();
    assert!(error.to_string().contains("by the rule of the model"), "{error}");
    assert!(error.hint().unwrap().contains("one byte a submission"));
    assert!(streams.generated(id).is_empty());
}

/// A device that stops in front of the first step is an error, and nobody waits for an id.
#[test]
fn a_stop_in_front_of_the_first_step_is_an_error() {
    let engine = Failing::falsifying(HostEngine::<f32>::default(), |name, results| {
        if name == "results" {
            results[1] = f32::from_bits(layout::STOPPED);
        }
    });
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let streams = Streams::with_bytes_a_submission(&engine, &directory, 2, 4);
    let mut streams = block_on(streams).unwrap();
    let [stopped, sound] = ["a", "b"].map(|it| streams.open(&ids(it), greedy()).unwrap());
    let step = block_on(streams.step()).unwrap();
    let error = step[0].1.as_ref().unwrap_err();
    assert!(matches!(error, Error::Device { .. }) && error.hint().is_some(), "{error}");
    assert!(error.to_string().contains("had stopped"), "{error}");
    assert!(step[1].1.is_ok());
    assert_eq!((streams.generated(stopped).len(), streams.generated(sound).len()), (0, 1));
}

/// An id that is none is an error, and no row of a table that is read, nor a bit that is set:
/// behind the first step of a submission too.
#[test]
fn an_id_that_a_device_makes_up_is_an_error() {
    let [wide, narrow]: [fn(&str, &mut [f32]); 2] = [
        |name, words| {
            if ["chosen", "results"].contains(&name) {
                words[0] = f32::from_bits(300);
            }
        },
        |name, words| {
            if ["chosen", "results"].contains(&name) {
                words[0] = f32::from_bits(265);
            }
        },
    ];
    let second: fn(&str, &mut [f32]) = |name, words| {
        if name == "results" {
            words[4] = f32::from_bits(300);
        }
    };
    for (falsify, bytes, id) in
        [(wide, 1, 300), (wide, 4, 300), (narrow, 1, 265), (narrow, 4, 265), (second, 4, 300)]
    {
        let engine = Failing::falsifying(HostEngine::<f32>::default(), falsify);
        let directory = directory(&engine, blt(PatchingMode::Entropy));
        let streams = Streams::with_bytes_a_submission(&engine, &directory, 1, bytes);
        let mut streams = block_on(streams).unwrap();
        let stream = streams.open(&ids("a"), drawn()).unwrap();
        for _ in 0..2 {
            let error = block_on(streams.step()).unwrap().remove(0).1.unwrap_err();
            assert!(matches!(error, Error::Device { .. }) && error.hint().is_some(), "{error}");
            let expected = format!("it chose id {id}, expected less than 260");
            assert!(error.to_string().contains(&expected), "{error}");
        }
        assert!(streams.generated(stream).is_empty());
    }
}

/// `blt devices --check` finds wrong steps behind the first of a submission.
#[test]
fn the_check_of_a_device_finds_wrong_steps() {
    let check = |falsify: fn(&str, &mut [f32])| {
        let engine = Failing::falsifying(HostEngine::<f32>::default(), falsify);
        let mut own = block_on(SelfCheck::new(&engine, CheckForm::Short)).unwrap();
        block_on(own.check(PatchingMode::Entropy, 1)).unwrap();
        block_on(own.check(PatchingMode::Entropy, 4))
    };
    let found = check(|_, _| {}).unwrap();
    assert_eq!((found.id_count, found.bytes_a_submission), (210, 4));
    let wrong = |falsify| check(falsify).unwrap_err().to_string();
    // A result is id, status, entropy and whether a patch closes; of three streams, the second
    // step.
    let id = wrong(|name, values| {
        if name == "results" {
            values[3 * 4] = f32::from_bits(values[3 * 4].to_bits() ^ 1);
        }
    });
    assert!(id.contains("id") || id.contains("patch"), "{id}");
    let entropy = wrong(|name, values| {
        if name == "results" {
            let entropy = &mut values[3 * 4 + 2];
            *entropy = f32::from_bits(entropy.to_bits() ^ 1);
        }
    });
    assert!(entropy.contains("entropy"), "{entropy}");
    let logits = wrong(|name, values| {
        if name == "logits.2" {
            values[77] += 1e-3;
        }
    });
    assert!(logits.contains("id 77 the logit"), "{logits}");
}

/// A number of bytes that no device is asked for is an error.
#[test]
fn bytes_a_submission_are_1_to_64() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Space));
    for bytes in [0, 65, usize::MAX] {
        let refused = block_on(Streams::with_bytes_a_submission(&engine, &directory, 1, bytes));
        let error = refused.err().unwrap().to_string();
        assert_eq!(error, format!("bytes a submission: expected 1 to 64, got {bytes}"));
    }
    for bytes in [1, 64] {
        block_on(Streams::with_bytes_a_submission(&engine, &directory, 1, bytes)).unwrap();
    }
}

/// What cannot go on is told so, and stands where it stood.
#[test]
fn a_stream_that_cannot_choose_is_told_so() {
    let engine = HostEngine::<f32>::default();
    let directory = directory(&engine, blt(PatchingMode::Entropy));
    let options = SamplingOptions { banned_ids: (0..260).collect(), ..SamplingOptions::default() };
    let nothing = Sampler::new(options, 0).unwrap();
    let streams = Streams::with_bytes_a_submission(&engine, &directory, 2, 4);
    let mut streams = block_on(streams).unwrap();
    let none = streams.open(&ids("a"), nothing).unwrap();
    let some = streams.open(&ids("a"), drawn()).unwrap();
    for round in 1..8 {
        let step = block_on(streams.step()).unwrap();
        let error = step[0].1.as_ref().unwrap_err().to_string();
        assert_eq!(error, "logits: every id is banned, expected at least one choice");
        assert_eq!((streams.generated(none).len(), streams.generated(some).len()), (0, round));
    }
    // Forced ids are read all the same.
    streams.push(none, &[80, 81]).unwrap();
    for pushed in [80, 81] {
        let step = block_on(streams.step()).unwrap();
        assert_eq!(step[0].1.as_ref().unwrap().id, pushed);
    }
    assert!(block_on(streams.step()).unwrap()[0].1.is_err());
}
