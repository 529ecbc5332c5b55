//! From values to places on a drawing, and the round numbers along its edge.

use crate::report::figures::compact;

/// A range of values laid over 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    is_log: bool,
}

impl Axis {
    /// Holds all finite values, with a little room at either end; `None` where there is none.
    pub fn linear(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = range(values.filter(|value| value.is_finite()))?;
        let room = if high > low { (high - low) * 0.05 } else { low.abs().max(1.0) * 0.5 };
        Some(Self { low: low - room, high: high + room, is_log: false })
    }

    /// From 0 to the largest finite value and a little more.
    pub fn from_zero(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (_, high) = range(values.filter(|value| value.is_finite()))?;
        let high = if high > 0.0 { high * 1.05 } else { 1.0 };
        Some(Self { low: 0.0, high, is_log: false })
    }

    /// Exactly from 0 to `high`, which is made positive.
    pub fn up_to(high: f64) -> Self {
        let high = if high.is_finite() && high > 0.0 { high } else { 1.0 };
        Self { low: 0.0, high, is_log: false }
    }

    /// From a little under the lowest finite value to `high`, with the values above it outside.
    pub fn below(high: f64, values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, highest) = range(values.filter(|value| value.is_finite()))?;
        let high = if high.is_finite() && high > low { high } else { highest.max(low + 1.0) };
        Some(Self { low: low - (high - low) * 0.06, high, is_log: false })
    }

    /// Equal ratios at equal distances; holds all positive finite values.
    pub fn log(values: impl Iterator<Item = f64>) -> Option<Self> {
        let (low, high) = range(values.filter(|value| value.is_finite() && *value > 0.0))?;
        let room = (high / low).powf(0.05).max(1.05);
        Some(Self { low: low / room, high: high * room, is_log: true })
    }

    /// Its low and its high end.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// Where a value lies, 0 at the low end and 1 at the high one; values outside are moved in.
    pub fn share(&self, value: f64) -> f64 {
        self.place(value).clamp(0.0, 1.0)
    }

    /// The same with values outside left where they are, up to a few lengths of the axis.
    pub fn place(&self, value: f64) -> f64 {
        let place = if self.is_log {
            (value.max(self.low) / self.low).ln() / (self.high / self.low).ln()
        } else {
            (value - self.low) / (self.high - self.low)
        };
        place.clamp(-3.0, 3.0)
    }

    /// Whether a value lies inside.
    pub fn holds(&self, value: f64) -> bool {
        (self.low..=self.high).contains(&value)
    }

    /// Whether a value can be drawn at all.
    pub fn takes(&self, value: f64) -> bool {
        value.is_finite() && (!self.is_log || value > 0.0)
    }

    /// About `count` round values inside, ascending, each with its text.
    pub fn ticks(&self, count: usize) -> Vec<(f64, String)> {
        let values = if self.is_log { self.log_ticks(count) } else { self.linear_ticks(count) };
        values.into_iter().map(|value| (value, compact(value))).collect()
    }

    /// The same for seconds, in seconds, minutes or hours as the length of the axis asks for.
    pub fn time_ticks(&self, count: usize) -> Vec<(f64, String)> {
        const STEPS: [f64; 14] = [
            1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0,
            7200.0,
        ];
        let span = self.high - self.low;
        if span < 4.0 {
            let label = |(value, text): (f64, String)| (value, format!("{text} s"));
            return self.ticks(count).into_iter().map(label).collect();
        }
        let wanted = span / count.max(1) as f64;
        let step = STEPS.into_iter().find(|&step| step >= wanted);
        let step = step.unwrap_or_else(|| (wanted / 3600.0).ceil() * 3600.0);
        let label = |value: f64| match step {
            _ if value == 0.0 => "0".to_owned(),
            step if step >= 3600.0 => format!("{:.0} h", value / 3600.0),
            step if step >= 60.0 => format!("{:.0} min", value / 60.0),
            _ if span > 90.0 => format!("{:.0}:{:02.0}", (value / 60.0).floor(), value % 60.0),
            _ => format!("{value:.0} s"),
        };
        self.multiples(step).into_iter().map(|value| (value, label(value))).collect()
    }

    fn linear_ticks(&self, count: usize) -> Vec<f64> {
        let wanted = (self.high - self.low) / count.max(1) as f64;
        let size = 10f64.powf(wanted.log10().floor());
        let step = [1.0, 2.0, 2.5, 5.0].map(|factor| factor * size);
        let step = step.into_iter().find(|&step| step >= wanted * 0.999).unwrap_or(size * 10.0);
        self.multiples(step)
    }

    /// Powers of ten where the axis spans many, else round numbers between them.
    fn log_ticks(&self, count: usize) -> Vec<f64> {
        const SETS: [&[f64]; 5] = [
            &[1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0],
            &[1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0],
            &[1.0, 2.0, 3.0, 5.0],
            &[1.0, 3.0],
            &[1.0],
        ];
        let decades = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
        let inside = |value: &f64| (self.low..=self.high).contains(value);
        let with = |set: &[f64]| -> Vec<f64> {
            let all = decades.clone().flat_map(|power| {
                set.iter().map(move |factor| factor * 10f64.powi(power)).collect::<Vec<_>>()
            });
            all.filter(inside).collect()
        };
        let sets = SETS.into_iter().map(with);
        let found = sets.into_iter().find(|ticks| ticks.len() <= count + 1);
        // Nothing round inside, or decades beyond count: every so many-th power of ten.
        found.unwrap_or_else(|| {
            let powers = with(&[1.0]);
            powers.iter().copied().step_by(powers.len().div_ceil(count.max(1))).collect()
        })
    }

    fn multiples(&self, step: f64) -> Vec<f64> {
        let first = (self.low / step - 1e-9).ceil() as i64;
        let last = (self.high / step + 1e-9).floor() as i64;
        (first..=last).map(|index| index as f64 * step).collect()
    }
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    values.fold(None, |found, value| match found {
        None => Some((value, value)),
        Some((low, high)) => Some((low.min(value), high.max(value))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ticks: Vec<(f64, String)>) -> Vec<String> {
        ticks.into_iter().map(|tick| tick.1).collect()
    }

    #[test]
    fn shares_run_from_end_to_end() {
        let axis = Axis::up_to(4.0);
        assert_eq!([0.0, 1.0, 4.0, 9.0].map(|value| axis.share(value)), [0.0, 0.25, 1.0, 1.0]);
        let axis = Axis::log([2.0, f64::NAN, -1.0, 8.0].into_iter()).unwrap();
        assert!((axis.share(4.0) - 0.5).abs() < 1e-12);
        assert!(axis.share(2.0) > 0.0 && axis.share(8.0) < 1.0 && axis.share(0.0) == 0.0);
        let axis = Axis::below(4.0, [2.0, 3.0, 8.0].into_iter()).unwrap();
        assert_eq!((axis.share(8.0), axis.holds(8.0), axis.holds(2.0)), (1.0, false, true));
        assert!(axis.place(8.0) > 2.0 && axis.place(2.0) > 0.0);
        let axis = Axis::log([2.0].into_iter()).unwrap();
        assert!(!axis.takes(0.0) && !axis.takes(f64::NAN) && axis.takes(1.0));
    }

    #[test]
    fn an_axis_needs_a_value() {
        assert_eq!(Axis::linear([f64::NAN].into_iter()), None);
        assert_eq!(Axis::log([0.0].into_iter()), None);
        let lone = Axis::linear([3.0].into_iter()).unwrap();
        assert_eq!(lone.share(3.0), 0.5);
    }

    #[test]
    fn ticks_are_round_and_inside() {
        assert_eq!(texts(Axis::up_to(10.0).ticks(5)), ["0", "2", "4", "6", "8", "10"]);
        assert_eq!(texts(Axis::up_to(0.9).ticks(4)), ["0", "0.25", "0.5", "0.75"]);
        let bpb = Axis::log([2.3, 8.1].into_iter()).unwrap();
        assert_eq!(texts(bpb.ticks(6)), ["2.5", "3", "4", "5", "6", "8"]);
        let rate = Axis::log([1e-5, 3e-3].into_iter()).unwrap();
        assert_eq!(texts(rate.ticks(4)), ["1e-5", "1e-4", "0.001"]);
        let wide = Axis::log([1e-9, 1e9].into_iter()).unwrap();
        assert!((2..=5).contains(&wide.ticks(4).len()));
    }

    #[test]
    fn time_is_told_in_its_own_units() {
        assert_eq!(
            texts(Axis::up_to(168.0).time_ticks(6)),
            ["0", "0:30", "1:00", "1:30", "2:00", "2:30"]
        );
        assert_eq!(texts(Axis::up_to(40.0).time_ticks(4)), ["0", "10 s", "20 s", "30 s", "40 s"]);
        assert_eq!(
            texts(Axis::up_to(600.0).time_ticks(5)),
            ["0", "2 min", "4 min", "6 min", "8 min", "10 min"]
        );
        assert_eq!(texts(Axis::up_to(9e4).time_ticks(3)), ["0", "9 h", "18 h"]);
        assert_eq!(texts(Axis::up_to(1.0).time_ticks(2)), ["0 s", "0.5 s", "1 s"]);
    }
}
