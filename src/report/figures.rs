//! Numbers as people read them.

/// `1234567` as `1,234,567`.
pub fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A count in three digits: `950`, `1.25 M`, `12.5 k`.
pub fn short_count(count: f64) -> String {
    scaled(count, 1000.0, &["", "k", "M", "G", "T", "P"])
}

/// A size in three digits and decimal units: `950 B`, `1.12 MB`.
pub fn byte_count(bytes: f64) -> String {
    scaled(bytes, 1000.0, &["B", "kB", "MB", "GB", "TB", "PB"])
}

/// Seconds as `340 ms`, `12.3 s`, `2 min 48 s` or `1 h 02 min`.
pub fn duration(seconds: f64) -> String {
    if !seconds.is_finite() {
        return "n/a".into();
    }
    let seconds = seconds.max(0.0);
    if seconds < 0.9995 {
        return format!("{:.0} ms", seconds * 1000.0);
    }
    if seconds < 59.95 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (hours, minutes, rest) = (whole / 3600, whole / 60 % 60, whole % 60);
    match (hours, rest) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{minutes} min {rest} s"),
        _ => format!("{hours} h {minutes:02} min"),
    }
}

/// With a fixed number of decimals, or `n/a` for what is no number.
pub fn fixed(value: f64, decimal_count: usize) -> String {
    if value.is_finite() { format!("{value:.decimal_count$}") } else { "n/a".into() }
}

/// With about three digits and no trailing zeros, for axes and tables: `0.25`, `3`, `4e-4`, `25 k`.
pub fn compact(value: f64) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    let size = value.abs();
    if size == 0.0 {
        return "0".into();
    }
    if size < 1e-3 {
        let text = format!("{value:.1e}");
        return text.replace(".0e", "e");
    }
    if size >= 10_000.0 {
        let text = short_count(value);
        return match text.split_once(' ') {
            Some((number, unit)) => format!("{} {unit}", without_trailing_zeros(number)),
            None => text,
        };
    }
    let decimal_count = (2 - size.log10().floor() as i32).clamp(0, 5) as usize;
    without_trailing_zeros(&format!("{value:.decimal_count$}")).to_owned()
}

fn without_trailing_zeros(number: &str) -> &str {
    if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number }
}

fn scaled(value: f64, base: f64, units: &[&str]) -> String {
    if !value.is_finite() {
        return "n/a".into();
    }
    let mut value = value;
    let mut unit_index = 0;
    // 999.5 would print as 1000 of the smaller unit.
    while value.abs() >= base - 0.5 && unit_index + 1 < units.len() {
        value /= base;
        unit_index += 1;
    }
    let decimal_count = match value.abs() {
        _ if unit_index == 0 => 0,
        size if size < 9.995 => 2,
        size if size < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimal_count$} {}", units[unit_index]).trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts() {
        let cases = [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")];
        for (count, expected) in cases {
            assert_eq!(grouped(count), expected);
        }
        let cases = [(7.0, "7"), (999.0, "999"), (999.6, "1.00 k"), (1.25e6, "1.25 M")];
        for (count, expected) in cases {
            assert_eq!(short_count(count), expected);
        }
        assert_eq!(byte_count(1_115_394.0), "1.12 MB");
        assert_eq!(byte_count(64.0), "64 B");
    }

    #[test]
    fn durations() {
        let cases = [
            (0.34, "340 ms"),
            (0.9996, "1.0 s"),
            (12.34, "12.3 s"),
            (59.96, "1 min"),
            (168.2, "2 min 48 s"),
            (3725.0, "1 h 02 min"),
            (f64::NAN, "n/a"),
        ];
        for (seconds, expected) in cases {
            assert_eq!(duration(seconds), expected);
        }
    }

    #[test]
    fn compact_numbers() {
        let cases = [
            (0.0, "0"),
            (3.0, "3"),
            (2.5, "2.5"),
            (120.0, "120"),
            (0.003, "0.003"),
            (4e-4, "4e-4"),
            (1.5e-5, "1.5e-5"),
            (25_000.0, "25 k"),
            (500_000.0, "500 k"),
            (1.25e6, "1.25 M"),
            (f64::INFINITY, "n/a"),
        ];
        for (value, expected) in cases {
            assert_eq!(compact(value), expected);
        }
        assert_eq!(fixed(2.345, 1), "2.3");
        assert_eq!(fixed(f64::NAN, 1), "n/a");
    }
}
