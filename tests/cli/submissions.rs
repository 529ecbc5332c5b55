//! `--submit-gflop`: a GPU that also drives a display is given its work in pieces.
#![cfg(feature = "gpu")]

use crate::program::{blt, blt_cpu, fixture, gpu, text_of};

#[test]
fn pieces_reach_the_gpu_and_change_no_bit() {
    let Some(device) = gpu("pieces_reach_the_gpu_and_change_no_bit") else { return };
    let on_gpu = |arguments: &[&str]| blt(&[arguments, &["--device", &device]].concat());
    let submission = |flags: &[&str]| {
        on_gpu(&[&["info", "--json"], flags].concat()).json()["submit_gflop"].as_f64()
    };
    assert_eq!(submission(&[]), None);
    assert_eq!(submission(&["--submit-gflop", "2.5"]), Some(2.5));
    let model = fixture("k2_entropy");
    let place = tempfile::tempdir().unwrap();
    let logits = |name: &str, flags: &[&str]| {
        let out = place.path().join(name);
        let start = ["logits", "--model", text_of(&model), "--ids", "1,76,105,112,112,115"];
        on_gpu(&[&start[..], &["--grads", "--out", text_of(&out)], flags].concat()).ok();
        std::fs::read(out).unwrap()
    };
    let whole = logits("whole", &[]);
    assert!(whole == logits("pieces", &["--submit-gflop", "0"]));
}

#[test]
fn a_piece_is_a_number_from_zero() {
    for wrong in ["-1", "many", "nan", "inf"] {
        let run = blt(&["info", &format!("--submit-gflop={wrong}")]);
        run.fails(2, &["--submit-gflop", "from 0 to"]);
    }
    // The CPU engine has nothing to cut and nothing to say about it.
    assert_eq!(blt_cpu(&["info", "--submit-gflop", "0"]).ok().stderr, "");
}
