//! Sums over the rows of several matrices at once: the last step of gradients that come in pieces.
//!
//! A part is a matrix [rows, cols] in x, and `cols` places in out: `out[out_offset + col] = Σ
//! x[x_offset + row cols + col]` over its rows (+ what `out` holds). Parts lie anywhere in x, and
//! in out where no other part lies; the rest of out is left alone.

use crate::kernels::{
    Binding, Call, Case, Cost, Counts, Element, Kernel, Step, Variant, fold_groups, lane_count,
    values, wide,
};
use crate::oracle;
use bytemuck::{Pod, Zeroable};
use rayon::prelude::*;

/// One sum over rows.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Part {
    pub rows: u32,
    pub cols: u32,
    /// First element of the matrix in x.
    pub x_offset: u32,
    /// First element of the sums in out.
    pub out_offset: u32,
    /// Invocations that share a column.
    split_count: u32,
    /// The first workgroup of the part.
    first_group: u32,
    reserved: [u32; 2],
}

impl Part {
    /// The rows of a matrix that lies at `x_offset`, summed into `out_offset`. How a sum is split
    /// follows from the number of rows alone.
    pub fn new(rows: usize, cols: usize, x_offset: usize, out_offset: usize) -> Self {
        let [row_count, cols, x_offset, out_offset] = [rows, cols, x_offset, out_offset]
            .map(|length| u32::try_from(length).expect("a binding has less than 2^32 elements"));
        let split_count = match rows {
            0..=16 => 1,
            17..=128 => 8,
            _ => 32,
        };
        let (rows, first_group, reserved) = (row_count, 0, [0; 2]);
        Self { rows, cols, x_offset, out_offset, split_count, first_group, reserved }
    }

    /// The places of its sums.
    pub fn places(&self) -> std::ops::Range<usize> {
        self.out_offset as usize..(self.out_offset + self.cols) as usize
    }

    /// Whether two parts add to the same place.
    pub fn overlaps(&self, other: &Self) -> bool {
        let (mine, others) = (self.places(), other.places());
        mine.start < others.end && others.start < mine.end
    }

    fn group_count(&self, lane_count: usize) -> usize {
        (self.cols as usize / lane_count).div_ceil(WIDTH / self.split_count as usize)
    }
}

/// Most parts of one dispatch: their table is a uniform.
pub const MOST_PARTS: usize = 32;

/// The `Params` uniform of `reduce/sum_rows.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Pod, Zeroable)]
#[repr(C)]
pub struct Params {
    part_count: u32,
    /// One: add to what `out` holds.
    accumulate: u32,
    reserved: [u32; 2],
    parts: [Part; MOST_PARTS],
}

const _: () = assert!(size_of::<Params>() == 1040);

impl Params {
    /// Sums of all parts, added to what `out` holds if `accumulate`.
    ///
    /// # Panics
    /// If there is no part, there are too many, or two of them overlap in out.
    pub fn new(parts: &[Part], accumulate: bool) -> Self {
        assert!((1..=MOST_PARTS).contains(&parts.len()), "{} parts", parts.len());
        let overlap = |(index, part): (usize, &Part)| {
            parts[..index].iter().any(|before| before.overlaps(part))
        };
        assert!(!parts.iter().enumerate().any(overlap), "two parts add to one place: {parts:?}");
        let mut params = Self { part_count: parts.len() as u32, ..Zeroable::zeroed() };
        params.accumulate = accumulate.into();
        params.parts[..parts.len()].copy_from_slice(parts);
        let (lane_count, mut first_group) = (params.lane_count(), 0);
        for part in &mut params.parts[..parts.len()] {
            part.first_group = first_group as u32;
            first_group += part.group_count(lane_count);
        }
        params
    }

    /// The parts that there are.
    pub fn parts(&self) -> &[Part] {
        &self.parts[..self.part_count as usize]
    }

    /// Something that four divides only if it divides all widths and places.
    fn alignment(&self) -> u32 {
        self.parts().iter().fold(0, |bits, it| bits | it.cols | it.x_offset | it.out_offset)
    }

    fn lane_count(&self) -> usize {
        lane_count(self.alignment())
    }
}

pub static KERNEL: Kernel = Kernel {
    name: "sum_rows",
    params_bytes: size_of::<Params>(),
    bindings: &[Binding::read("x", Element::F32), Binding::update("out", Element::F32)],
    variants: &[Variant::base(include_str!("../../../shaders/reduce/sum_rows.wgsl"), groups)],
    constants,
    cost,
    cpu,
    oracle,
    cases,
};

/// Invocations of one workgroup.
const WIDTH: usize = 256;

fn constants(params: &[u8]) -> Vec<(&'static str, u32)> {
    let params: Params = bytemuck::pod_read_unaligned(params);
    vec![wide(params.alignment())]
}

fn groups(params: &[u8], _counts: &Counts) -> [u32; 3] {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let last = params.parts().last().expect("there is a part");
    fold_groups(last.first_group as usize + last.group_count(params.lane_count()))
}

fn cost(params: &[u8], _counts: &Counts) -> Cost {
    let params: Params = bytemuck::pod_read_unaligned(params);
    let of = |part: &Part| {
        let (rows, cols) = (u64::from(part.rows), u64::from(part.cols));
        Cost {
            flops: rows * cols,
            read_bytes: 4 * (rows + u64::from(params.accumulate)) * cols,
            written_bytes: 4 * cols,
        }
    };
    params.parts().iter().map(of).fold(Cost::default(), |sum, cost| sum + cost)
}

/// Columns that a thread of the CPU sums at a time.
const CPU_WIDTH: usize = 128;

fn cpu(mut call: Call<'_, f32>) {
    let params: Params = call.params();
    let (x, mut rest) = (call.f(0), call.f_mut(1));
    let mut parts: Vec<&Part> = params.parts().iter().collect();
    parts.sort_by_key(|part| part.out_offset);
    let (mut places, mut start) = (Vec::with_capacity(parts.len()), 0);
    for part in parts {
        let own;
        (own, rest) = rest[part.places().start - start..].split_at_mut(part.cols as usize);
        start = part.places().end;
        places.push((part, own));
    }
    places.into_par_iter().for_each(|(part, out)| {
        let (rows, cols) = (part.rows as usize, part.cols as usize);
        let x = &x[part.x_offset as usize..][..rows * cols];
        let blocks = out.par_chunks_mut(CPU_WIDTH).enumerate();
        blocks.for_each(|(block, out)| {
            let mut totals = [0.0; CPU_WIDTH];
            for row in 0..rows {
                let x = &x[row * cols + block * CPU_WIDTH..][..out.len()];
                for (total, x) in totals.iter_mut().zip(x) {
                    *total += x;
                }
            }
            for (out, total) in out.iter_mut().zip(totals) {
                *out = if params.accumulate == 1 { *out + total } else { total };
            }
        });
    });
}

fn oracle(mut call: Call<'_, f64>) {
    let params: Params = call.params();
    let (x, out, accumulate) = (call.f(0), call.f_mut(1), params.accumulate == 1);
    for part in params.parts() {
        let (x, out) = (&x[part.x_offset as usize..], &mut out[part.places()]);
        oracle::reduce::sum_rows(x, out, part.rows as usize, part.cols as usize, accumulate);
    }
}

fn cases() -> Vec<Case> {
    // Rows and columns of every part, in the order of x.
    let tables: [&[(usize, usize)]; 9] = [
        &[(1, 1)],
        &[(0, 5)],
        &[(3, 7), (64, 33), (17, 1), (1031, 257)],
        &[(1, 300_001)],
        &[(2, 400_004)],
        &[(64, 512), (7, 4096), (16, 1028), (130, 4), (1, 8), (2, 70_000)],
        &[(1031, 4)],
        &[(129, 300), (4, 36)],
        &[(5, 12); MOST_PARTS],
    ];
    let case = |(index, shapes): (usize, &&[(usize, usize)])| {
        let (mut parts, mut x_length) = (Vec::new(), 4);
        let out_length = 4 + shapes.iter().map(|(_, cols)| cols + 4).sum::<usize>();
        let mut out_end = out_length;
        for &(rows, cols) in *shapes {
            // Gradients are made from the last layer to the first.
            out_end -= cols + 4;
            parts.push(Part::new(rows, cols, x_length, out_end));
            x_length += rows * cols + 4;
        }
        let accumulate = index % 2 == 1;
        let params = Params::new(&parts, accumulate);
        let name = format!("{} parts, {:?}, accumulate {accumulate}", parts.len(), shapes[0]);
        Case::new(name, &params, Step::of(Counts::default()))
            .f(values(index as u64, x_length))
            .f(values(index as u64 + 1000, out_length))
            // A thousand rows, one after the other.
            .tolerance(5e-5)
    };
    tables.iter().enumerate().map(case).collect()
}
