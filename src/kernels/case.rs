//! Inputs on which every variant of a kernel must agree with its oracle.

use super::{Access, Call, Element, Halves, HostBuffer, Kernel, Slot, Step};
use crate::packed::{WeightType, pack_rows};
use bytemuck::NoUninit;
use half::f16;

/// One set of inputs of a kernel. What it must compute is what the oracle computes from them.
#[derive(Clone)]
pub struct Case {
    /// What is special about it, for example `rows 1, cols 7`.
    pub name: String,
    pub params: Vec<u8>,
    pub step: Step,
    /// Which bindings hold f16 on a device.
    pub halves: Halves,
    /// Contents of every binding before the call; outputs hold a poison value.
    pub buffers: Vec<HostBuffer<f32>>,
    /// Largest error allowed, relative to the larger of 1 and the expected value.
    pub tolerance: f64,
}

/// Largest error of a result that is rounded to f16, or computed from what was.
const HALF_TOLERANCE: f64 = 2e-3;

/// What outputs hold before a call, so that an element that is never written is seen.
pub const POISON: f32 = -77.25;

impl Case {
    /// A case with the default tolerance of 2e-5.
    pub fn new(name: impl Into<String>, params: &impl NoUninit, step: Step) -> Self {
        let params = bytemuck::bytes_of(params).to_vec();
        let halves = Halves::NONE;
        Self { name: name.into(), params, step, halves, buffers: Vec::new(), tolerance: 2e-5 }
    }

    /// Appends a binding that holds these numbers.
    #[must_use]
    pub fn f(mut self, values: Vec<f32>) -> Self {
        self.buffers.push(HostBuffer::F(values));
        self
    }

    /// Appends a binding that holds these integers.
    #[must_use]
    pub fn u(mut self, values: Vec<u32>) -> Self {
        self.buffers.push(HostBuffer::U(values));
        self
    }

    /// Appends a binding of weights with rows of `cols` numbers, as they lie in this type.
    #[must_use]
    pub fn weight(self, values: Vec<f32>, cols: usize, weights: WeightType) -> Self {
        if !weights.is_packed() {
            return self.f(values);
        }
        let mut words = vec![0; values.len() / cols * weights.row_length(cols)];
        pack_rows(weights, &values, cols, &mut words).expect("the numbers of cases are small");
        self.u(words)
    }

    /// Appends an output of `length` numbers, full of poison.
    #[must_use]
    pub fn out(self, length: usize) -> Self {
        self.f(vec![POISON; length])
    }

    /// Appends an output of `length` integers, full of poison.
    #[must_use]
    pub fn out_u(self, length: usize) -> Self {
        self.u(vec![0xDEAD; length])
    }

    /// The same case with f16 in these bindings, which have been appended: their numbers are
    /// rounded, and results may differ by as much.
    #[must_use]
    pub fn halves(mut self, bindings: &[usize]) -> Self {
        self.name += &format!(", f16 in {bindings:?}");
        self.halves = Halves::of(bindings);
        self.tolerance = self.tolerance.max(HALF_TOLERANCE);
        for &index in bindings {
            let HostBuffer::F(values) = &mut self.buffers[index] else {
                panic!("binding {index} holds no numbers")
            };
            values.iter_mut().for_each(|value| *value = f16::from_f32(*value).to_f32());
        }
        self
    }

    /// The same case with another tolerance.
    #[must_use]
    pub fn tolerance(mut self, tolerance: f64) -> Self {
        self.tolerance = tolerance;
        self
    }

    /// All bindings after the oracle ran.
    pub fn expected(&self, kernel: &Kernel) -> Vec<HostBuffer<f64>> {
        let mut buffers: Vec<HostBuffer<f64>> = self
            .buffers
            .iter()
            .map(|buffer| match buffer {
                HostBuffer::F(values) => HostBuffer::F(values.iter().map(|&v| v.into()).collect()),
                HostBuffer::U(values) => HostBuffer::U(values.clone()),
            })
            .collect();
        call_in_place(kernel, &self.params, &self.step, &mut buffers, kernel.oracle);
        buffers
    }

    /// All bindings after the CPU variant ran.
    pub fn on_cpu(&self, kernel: &Kernel) -> Vec<HostBuffer<f32>> {
        let mut buffers = self.buffers.clone();
        call_in_place(kernel, &self.params, &self.step, &mut buffers, kernel.cpu);
        buffers
    }

    /// Compares what a variant left in the bindings with what the oracle left there.
    ///
    /// # Errors
    /// A sentence with the binding, index, expected and got values of the worst mismatch; also if
    /// the expected outputs are all zero, since then a kernel that does nothing would pass.
    pub fn check(&self, kernel: &Kernel, got: &[HostBuffer<f32>]) -> Result<(), String> {
        let expected = self.expected(kernel);
        let mut all_zero = true;
        for (index, binding) in kernel.bindings.iter().enumerate() {
            if binding.access == Access::Read {
                continue;
            }
            let place =
                |i: usize| format!("{} case `{}` {}[{i}]", kernel.name, self.name, binding.name);
            match (&expected[index], &got[index]) {
                (HostBuffer::F(expected), HostBuffer::F(got)) => {
                    all_zero &= expected.iter().all(|&value| value == 0.0);
                    let worst = worst_mismatch(expected, got, self.tolerance);
                    if let Some(i) = worst {
                        let (expected, got) = (expected[i], got[i]);
                        return Err(format!("{}: expected {expected}, got {got}", place(i)));
                    }
                }
                (HostBuffer::U(expected), HostBuffer::U(got)) => {
                    all_zero &= expected.iter().all(|&value| value == 0);
                    let wrong = expected.iter().zip(got).position(|(a, b)| a != b);
                    if let Some(i) = wrong {
                        let (expected, got) = (expected[i], got[i]);
                        return Err(format!("{}: expected {expected}, got {got}", place(i)));
                    }
                }
                _ => return Err(format!("{}: wrong element type", place(0))),
            }
        }
        if all_zero {
            return Err(format!("{} case `{}` expects only zeros", kernel.name, self.name));
        }
        Ok(())
    }
}

/// Index of the largest error beyond the tolerance; NaN counts as infinite, but where it is
/// expected.
fn worst_mismatch(expected: &[f64], got: &[f32], tolerance: f64) -> Option<usize> {
    assert_eq!(expected.len(), got.len(), "a buffer keeps its length");
    let errors = expected.iter().zip(got).map(|(&expected, &got)| {
        if expected.is_nan() && got.is_nan() {
            return 0.0;
        }
        let error = (expected - f64::from(got)).abs() / expected.abs().max(1.0);
        if error.is_nan() { f64::INFINITY } else { error }
    });
    let worst = errors.enumerate().max_by(|a, b| a.1.total_cmp(&b.1))?;
    (worst.1 > tolerance).then_some(worst.0)
}

/// Runs a host function over buffers, each written binding in place.
fn call_in_place<R>(
    kernel: &Kernel,
    params: &[u8],
    step: &Step,
    buffers: &mut [HostBuffer<R>],
    function: fn(Call<'_, R>),
) {
    let slots = kernel.bindings.iter().zip(buffers).map(|(binding, buffer)| {
        match (buffer, binding.access == Access::Read) {
            (HostBuffer::F(values), true) => Slot::ReadF(values),
            (HostBuffer::U(values), true) => Slot::ReadU(values),
            (HostBuffer::F(values), false) => Slot::WriteF(values),
            (HostBuffer::U(values), false) => Slot::WriteU(values),
        }
    });
    function(Call::new(params, step, kernel.bindings, slots));
}

/// `length` repeatable numbers, most within ±1, one in 97 an outlier up to ±12.
pub fn values(seed: u64, length: usize) -> Vec<f32> {
    (0..length)
        .map(|index| {
            let bits = mix(seed, index as u64);
            let unit = (bits >> 40) as f32 / (1u64 << 24) as f32 * 2.0 - 1.0;
            if bits.is_multiple_of(97) { unit * 12.0 } else { unit }
        })
        .collect()
}

/// `length` repeatable integers below `bound`.
pub fn integers(seed: u64, length: usize, bound: u32) -> Vec<u32> {
    (0..length).map(|index| (mix(seed, index as u64) >> 33) as u32 % bound).collect()
}

/// The element type of a buffer.
pub fn element_of<R>(buffer: &HostBuffer<R>) -> Element {
    match buffer {
        HostBuffer::F(_) => Element::F32,
        HostBuffer::U(_) => Element::U32,
    }
}

/// The finaliser of splitmix64 over a seed and a counter.
fn mix(seed: u64, index: u64) -> u64 {
    let mut bits = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(index + 1);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
