//! The name of the processor, for results of the CPU engine.

use std::process::Command;

/// What the operating system calls the processor, or its architecture where it says nothing.
pub fn processor_name() -> String {
    let name = if cfg!(target_os = "linux") {
        let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        of_cpuinfo(&text)
    } else if cfg!(target_os = "macos") {
        let asked = Command::new("sysctl").args(["-n", "machdep.cpu.brand_string"]).output();
        asked.ok().map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    } else {
        std::env::var("PROCESSOR_IDENTIFIER").ok()
    };
    name.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// The first `model name` of `/proc/cpuinfo`.
fn of_cpuinfo(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("model name"))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_found_and_there_is_always_a_name() {
        let text = "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n";
        assert_eq!(of_cpuinfo(text).as_deref(), Some("Some CPU @ 2 GHz"));
        assert_eq!(of_cpuinfo("Hardware : x"), None);
        assert!(!processor_name().is_empty());
    }
}
