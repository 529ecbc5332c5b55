//! A profile as a Chrome trace: opens in `chrome://tracing` and in Perfetto.

use super::profile::Profile;
use serde_json::json;

/// The dispatches one after the other, a track for every Recording, as the text of a JSON file.
pub fn chrome_trace(profile: &Profile, device: &str) -> String {
    let mut programs: Vec<&str> = Vec::new();
    for dispatch in &profile.dispatches {
        if !programs.contains(&dispatch.program.as_str()) {
            programs.push(&dispatch.program);
        }
    }
    let track = |name: &str| programs.iter().position(|it| *it == name).unwrap_or(0) + 1;
    let named = |name: &str, of: &str, track: usize| {
        let args = json!({ "name": name });
        json!({ "ph": "M", "name": of, "pid": 1, "tid": track, "args": args })
    };
    let mut events = vec![named(device, "process_name", 0)];
    events.extend(programs.iter().map(|name| named(name, "thread_name", track(name))));
    let mut now_us = 0.0;
    for dispatch in &profile.dispatches {
        let us = dispatch.time_ms() * 1e3;
        let gigabytes = (dispatch.cost.read_bytes + dispatch.cost.written_bytes) as f64 / 1e9;
        events.push(json!({
            "ph": "X",
            "name": dispatch.kernel,
            "cat": dispatch.program,
            "pid": 1,
            "tid": track(&dispatch.program),
            "ts": now_us,
            "dur": us,
            "args": {
                "label": dispatch.label,
                "GFLOP": dispatch.cost.flops as f64 / 1e9,
                "GB": gigabytes,
                "samples_ms": dispatch.samples_ms,
            },
        }));
        now_us += us;
    }
    json!({ "displayTimeUnit": "ms", "traceEvents": events }).to_string()
}
