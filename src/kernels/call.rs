//! One call of a kernel on the host: parameters, step, and the buffers behind its bindings.

use super::{Access, Binding, Element, Extent, Step, Weight};
use crate::packed::WeightType;
use bytemuck::AnyBitPattern;

/// The elements of a buffer on the host. `R` is `f32` in the CPU engine, `f64` for oracles.
#[derive(Clone, Debug, PartialEq)]
pub enum HostBuffer<R> {
    F(Vec<R>),
    U(Vec<u32>),
}

impl<R: Copy + Default> HostBuffer<R> {
    /// A buffer of zeros.
    pub fn zeros(element: Element, length: usize) -> Self {
        match element {
            Element::F32 | Element::F16 => Self::F(vec![R::default(); length]),
            Element::U32 => Self::U(vec![0; length]),
        }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        match self {
            Self::F(values) => values.len(),
            Self::U(values) => values.len(),
        }
    }

    /// Whether there is no element at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// What is behind one binding during a call.
pub enum Slot<'a, R> {
    ReadF(&'a [R]),
    ReadU(&'a [u32]),
    WriteF(&'a mut [R]),
    WriteU(&'a mut [u32]),
}

/// Most bindings of a kernel: a device promises no more storage buffers in a stage.
pub const MAX_BINDINGS: usize = 8;

/// One call of a kernel on the host.
pub struct Call<'a, R> {
    params: &'a [u8],
    /// Counts and scalars of this step.
    pub step: &'a Step,
    slots: [Option<Slot<'a, R>>; MAX_BINDINGS],
}

impl<'a, R> Call<'a, R> {
    /// A call; `slots` must answer to `bindings` one by one.
    pub fn new(
        params: &'a [u8],
        step: &'a Step,
        bindings: &[Binding],
        given: impl ExactSizeIterator<Item = Slot<'a, R>>,
    ) -> Self {
        assert_eq!(bindings.len(), given.len(), "one slot a binding");
        let mut slots = [const { None }; MAX_BINDINGS];
        for ((binding, slot), place) in bindings.iter().zip(given).zip(&mut slots) {
            let matches = match slot {
                Slot::ReadF(_) => (Access::Read, Element::F32),
                Slot::ReadU(_) => (Access::Read, Element::U32),
                Slot::WriteF(_) => (Access::Write, Element::F32),
                Slot::WriteU(_) => (Access::Write, Element::U32),
            };
            let reads = binding.access == Access::Read;
            let fits = matches.1 == binding.element
                || (binding.may_be_packed && matches.1 == Element::U32);
            assert!(
                (matches.0 == Access::Read) == reads && fits,
                "binding {} is {:?} {:?}",
                binding.name,
                binding.access,
                binding.element
            );
            *place = Some(slot);
        }
        Self { params, step, slots }
    }

    /// The parameters of this call.
    pub fn params<P: AnyBitPattern>(&self) -> P {
        bytemuck::pod_read_unaligned(self.params)
    }

    /// The length of an extent in this step.
    pub fn length(&self, extent: Extent) -> usize {
        self.step.length(extent)
    }

    /// The numbers of an input.
    pub fn f(&self, index: usize) -> &'a [R] {
        match self.slots[index] {
            Some(Slot::ReadF(values)) => values,
            _ => panic!("binding {index} is no input of numbers"),
        }
    }

    /// The integers of an input.
    pub fn u(&self, index: usize) -> &'a [u32] {
        match self.slots[index] {
            Some(Slot::ReadU(values)) => values,
            _ => panic!("binding {index} is no input of integers"),
        }
    }

    /// An input of weights of the type with this number.
    pub fn weight(&self, index: usize, weight_type: u32) -> Weight<'a, R> {
        match self.slots[index] {
            Some(Slot::ReadF(values)) => Weight::Numbers(values),
            Some(Slot::ReadU(words)) => Weight::Packed(WeightType::from_number(weight_type), words),
            _ => panic!("binding {index} is no input of weights"),
        }
    }

    /// The numbers of an output; each can be taken once.
    pub fn f_mut(&mut self, index: usize) -> &'a mut [R] {
        match self.slots[index].take() {
            Some(Slot::WriteF(values)) => values,
            _ => panic!("binding {index} is no output of numbers, or was taken"),
        }
    }

    /// The integers of an output; each can be taken once.
    pub fn u_mut(&mut self, index: usize) -> &'a mut [u32] {
        match self.slots[index].take() {
            Some(Slot::WriteU(values)) => values,
            _ => panic!("binding {index} is no output of integers, or was taken"),
        }
    }
}
