//! A made-up run for tests: the shapes and sizes of a real one, and text of every awkward kind.

use serde_json::json;

use super::data::*;
use crate::text::encode;

/// Public domain, from the first two scenes of The Tempest; then characters of every length.
const EXCERPT: &str = "GONZALO:\nNow would I give a thousand furlongs of sea for an\nacre of \
    barren \
    ground, long heath, brown furze, any\nthing. The wills above be done! but I would fain\ndie a \
    dry death.\n\nMIRANDA:\nIf by your art, my dearest father, you have\nPut the wild waters in \
    this \
    roar, allay them.\nThe sky, it seems, would pour down stinking pitch,\nBut that the sea, \
    mounting \
    to the welkin's cheek,\nDashes the fire out. Caf\u{e9} \u{2014} \u{65e5}\u{672c}\u{8a9e} \
    \u{1f642} <b>&amp;\ttab</b>\n";
const WRITTEN: &str = " the king is come to me.\n\nKING RICHARD III:\nWhat is the world and all \
    the \
    people shall be so\nThe sense of heaven and the common hour,\nAnd we will stand the fortune of \
    the day.\n\nQUEEN MARGARET:\nI would not have the heart of such a man,\nNor I to thee, nor \
    thou to \
    me again.\n\nGLOUCESTER:\nThen let him speak; the night is not so long\n";

/// A three-minute demo on a laptop.
pub(crate) fn sample_run() -> RunReport {
    let strip = strip();
    let counts = patch_length_counts();
    RunReport {
        title: "A Byte Latent Transformer in three minutes".into(),
        program: Program {
            name: "blt".into(),
            version: "0.1.0".into(),
            commit: Some("4f1c9ae".into()),
            started_at: Some("2026-03-01 14:05 UTC".into()),
            command: "blt demo --device cpu".into(),
        },
        device: Device {
            name: "AMD EPYC 7763, 2 threads".into(),
            backend: "cpu".into(),
            driver: None,
            memory_bytes: Some(16_777_216_000),
            thread_count: Some(2),
        },
        corpus: Corpus {
            name: "tiny Shakespeare".into(),
            train_bytes: 1_003_854,
            held_out_bytes: 111_540,
        },
        result: Figures { bpb: 2.4183, entropy_bpb: 2.6127, bytes_per_patch: 4.52, seconds: 168.4 },
        baselines: vec![
            Baseline {
                name: "order-2 byte counts".into(),
                bpb: 2.924,
                note: "two bytes of context".into(),
            },
            Baseline { name: "zstd -19".into(), bpb: 3.287, note: "held-out part alone".into() },
        ],
        entropy_model: entropy_card(),
        blt: blt_card(),
        entropy_curve: curve(700, 3.1, 46.0, 2.5962, 3.0e-3, 1.2e6),
        blt_curve: curve(1450, 56.5, 157.0, 2.4018, 2.0e-3, 2.9e5),
        patching: Patching {
            mode: "entropy".into(),
            threshold_nats: Some(1.412),
            target_bytes_per_patch: Some(4.5),
            max_patch_length: None,
            calibration: calibration(),
            length_counts: counts,
        },
        strip: Some(strip),
        samples: samples(),
        phases: phases(),
        replay: Replay {
            command: "blt demo --device cpu --replay blt-demo/record.json".into(),
            file_name: "record.json".into(),
            record: json!({
                "seed": 20260301, "device": "cpu", "note": "</script><script>alert(1)</script>",
                "entropy": {"steps": 700, "batch": 16, "context": 256},
                "blt": {"steps": 1450, "batch": 8, "context": 512},
                "kernels": {"matmul": "cpu.gemm", "attention": "cpu.online"}
            }),
        },
    }
}

/// The smallest report there can be.
pub(crate) fn empty_run() -> RunReport {
    RunReport { title: "nothing".into(), ..RunReport::default() }
}

/// A repeatable number from 0 to 1 that looks like noise.
fn noise(seed: u64) -> f64 {
    let mixed = (seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    ((mixed ^ (mixed >> 32)) & 0xffff) as f64 / 65_535.0
}

/// Few enough digits for JSON to give the same number back.
fn rounded(value: f64) -> f64 {
    (value * 1e7).round() / 1e7
}

fn curve(steps: u64, begin: f64, end: f64, last_bpb: f64, rate: f64, speed: f64) -> Curve {
    let point = |step: u64| {
        let share = step as f64 / steps as f64;
        let ideal = last_bpb - 0.06
            + (8.05 - last_bpb) * (-share * 22.0).exp()
            + 1.1 * (-share * 4.2).exp() * (1.0 - (-share * 40.0).exp());
        let train_bpb = ideal + (noise(step ^ steps) - 0.5) * 0.22;
        let cosine = (share * std::f64::consts::PI).cos();
        let is_scored = step.is_multiple_of(steps / 10);
        CurvePoint {
            step,
            seconds: rounded(begin + (end - begin) * share),
            loss_nats: rounded(train_bpb * std::f64::consts::LN_2),
            train_bpb: rounded(train_bpb),
            held_out_bpb: is_scored.then_some(rounded(ideal + 0.06)),
            learning_rate: rounded(rate * (share * 20.0).min(0.55 + 0.45 * cosine)),
            gradient_norm: rounded(0.35 + 4.0 * (-share * 30.0).exp() + noise(step * 7) * 0.25),
            bytes_per_second: rounded(speed * (0.96 + 0.06 * noise(step * 3))),
        }
    };
    Curve { points: (1..=steps).map(point).collect() }
}

/// Hard at the head of a word and after a new line, easier with each letter.
fn entropies(text: &[u8]) -> Vec<f32> {
    let mut run = 0;
    let mut entropies = Vec::new();
    for (index, &byte) in text.iter().enumerate() {
        let before = if index == 0 { b'\n' } else { text[index - 1] };
        run = if before.is_ascii_alphanumeric() || before >= 128 { run + 1 } else { 0 };
        let ease = [2.3, 1.25, 0.85, 0.6, 0.45, 0.3];
        let base = if byte == b' ' && run > 1 { 0.35 } else { ease[run.min(ease.len() - 1)] };
        // A lead byte is a surprise, what continues it is not, but for one that is.
        let (base, rare) = match byte {
            0x97 => (2.2, 0.0),
            128..192 => (0.3, 0.0),
            192.. => (base, 1.2),
            _ => (base, 0.0),
        };
        entropies.push((base + rare + (noise(index as u64 * 13) - 0.5) * 0.9).max(0.02) as f32);
    }
    entropies
}

fn cut(entropies: &[f32], threshold: f32) -> Vec<u32> {
    let mut lengths = vec![0];
    for (index, &nats) in entropies.iter().enumerate() {
        if index > 0 && nats > threshold {
            lengths.push(0);
        }
        *lengths.last_mut().unwrap() += 1;
    }
    lengths
}

fn strip() -> EntropyStrip {
    let mut bytes = EXCERPT.as_bytes().to_vec();
    bytes.extend(b"odd \xff\xe6\x97 bytes \x00\x1b");
    let mut entropies_nats = entropies(&bytes);
    let mut patch_lengths = cut(&entropies_nats, 1.412);
    let mut ids = encode(&bytes, false, false);
    ids.push(2);
    entropies_nats.push(0.4);
    *patch_lengths.last_mut().unwrap() += 1;
    EntropyStrip {
        ids,
        entropies_nats,
        patch_lengths,
        threshold_nats: Some(1.412),
        source: "Held-out text".into(),
    }
}

fn patch_length_counts() -> Vec<u64> {
    let share =
        |length: f64| (-(length - 3.4f64).powi(2) / 9.0).exp() + 0.5 * (-length / 5.5).exp();
    let count = |length: u32| (5200.0 * share(length.into())) as u64;
    (0..34).map(|length| if length == 0 { 0 } else { count(length) }).collect()
}

fn calibration() -> Vec<CalibrationPoint> {
    let point = |index: u32| {
        let threshold_nats = 0.6 + 0.2 * f64::from(index);
        let threshold_nats = rounded(threshold_nats);
        let bytes_per_patch = rounded(1.9 * (threshold_nats * 0.615).exp());
        CalibrationPoint { threshold_nats, bytes_per_patch }
    };
    (0..9).map(point).collect()
}

fn samples() -> Vec<Sample> {
    let lengths = cut(&entropies(WRITTEN.as_bytes()), 1.412);
    let odd = b"na\xc3\xafve \xe2\x80\x94 \xff\xfe \xe6\x97\xa5 \
        <script>alert('x')</script>\n\xf0\x9f\x99";
    vec![
        Sample {
            prompt_ids: encode(b"DUKE OF YORK:\nMy lord,", false, false),
            ids: encode(WRITTEN.as_bytes(), false, true),
            patch_lengths: lengths,
            settings: "temperature 0.8, top-p 0.95, seed 7".into(),
            bytes_per_second: Some(2140.0),
        },
        Sample {
            prompt_ids: encode(b"", false, false),
            ids: encode(odd, false, false),
            patch_lengths: vec![3, 4, 2, 3, 2, 10, 99],
            settings: "temperature 1.3, seed 8".into(),
            bytes_per_second: None,
        },
    ]
}

fn part(name: &str, parameter_count: u64, shape: &str) -> ModelPart {
    ModelPart { name: name.into(), parameter_count, shape: shape.into() }
}

fn entropy_card() -> ModelCard {
    ModelCard {
        name: "entropy model".into(),
        parts: vec![
            part("byte embedding", 33_280, "260 x 128"),
            part("transformer", 393_728, "2 layers, width 128, 4 heads, window 128"),
            part("output", 33_408, "128 x 260"),
        ],
        facts: vec![
            Fact::new("Context", "256 bytes"),
            Fact::new("Steps", "700 of 16 x 256 bytes"),
            Fact::new("Optimiser", "AdamW, 3e-3, cosine, clip 1.0"),
        ],
    }
}

fn blt_card() -> ModelCard {
    ModelCard {
        name: "BLT".into(),
        parts: vec![
            part("hash n-gram tables", 1_572_864, "6 tables of 2,048 rows, n = 3 to 8"),
            part("local encoder", 281_344, "1 layer, width 128, 4 heads, k = 2"),
            part("latent transformer", 1_770_240, "4 layers, width 256, 8 heads"),
            part("local decoder", 862_976, "3 layers, width 128, 4 heads"),
        ],
        facts: vec![
            Fact::new("Context", "512 bytes"),
            Fact::new("Steps", "1,450 of 8 x 512 bytes"),
            Fact::new("Optimiser", "AdamW, 2e-3, cosine, clip 1.0"),
        ],
    }
}

fn phases() -> Vec<Phase> {
    let phase = |name: &str, seconds: f64, detail: &str| Phase {
        name: name.into(),
        seconds,
        detail: detail.into(),
    };
    vec![
        phase("measure and plan", 3.1, "ten steps, shapes fixed"),
        phase("train the entropy model", 42.9, "700 steps of 16 x 256 bytes"),
        phase("calibrate the threshold", 6.2, "nine thresholds"),
        phase("cut the text", 4.3, "1.1 MB into 246,761 patches"),
        phase("train the BLT", 100.5, "1,450 steps of 8 x 512 bytes"),
        phase("score the held-out text", 6.7, "both models"),
        phase("write samples", 1.9, "2 x 400 bytes"),
    ]
}
