//! What the kernels of a step of generation owe to the last bit: the entropies of a step are those
//! of a whole text, and a row of x does not notice how many others there are.

mod support;

use blt_wgpu::kernels::attention::attention_row;
use blt_wgpu::kernels::dense::{matvec, matvec_rope};
use blt_wgpu::kernels::{Axis, Case, Counts, HostBuffer, Kernel};
use pollster::block_on;
use support::gpu_engine;

fn bits(buffer: &HostBuffer<f32>) -> Vec<u32> {
    match buffer {
        HostBuffer::F(values) => values.iter().map(|value| value.to_bits()).collect(),
        HostBuffer::U(values) => values.clone(),
    }
}

fn variant(kernel: &Kernel, name: &str) -> usize {
    kernel.variants.iter().position(|it| it.name == name).expect("the variant is there")
}

#[test]
fn attention_over_a_cache_has_the_bits_of_attention_over_a_text() {
    let test = "attention_over_a_cache_has_the_bits_of_attention_over_a_text";
    assert!(cases_like_the_base(test, "cached").is_none_or(|count| count >= 3));
}

#[test]
fn attention_of_many_queries_has_the_bits_of_the_base() {
    let test = "attention_of_many_queries_has_the_bits_of_the_base";
    assert!(cases_like_the_base(test, "square").is_none_or(|count| count >= 12));
}

/// How many cases a variant of `attention_row` takes, after it had the bits of the base in each.
/// None without a GPU.
fn cases_like_the_base(test: &str, name: &str) -> Option<usize> {
    let engine = gpu_engine(test)?;
    let kernel = &attention_row::KERNEL;
    let variant = variant(kernel, name);
    let mut count = 0;
    for case in (kernel.cases)() {
        if !(kernel.variants[variant].takes)(&case.params, case.halves) {
            continue;
        }
        let expected = block_on(engine.run_case(kernel, 0, &case)).unwrap();
        let got = block_on(engine.run_case(kernel, variant, &case)).unwrap();
        assert!(bits(&got[3]).iter().any(|&bits| bits != 0), "{} is all zero", case.name);
        assert_eq!(bits(&got[3]), bits(&expected[3]), "{name}: {}", case.name);
        count += 1;
    }
    Some(count)
}

#[test]
fn a_row_does_not_notice_how_many_there_are() {
    let Some(engine) = gpu_engine("a_row_does_not_notice_how_many_there_are") else { return };
    let mut count = 0;
    // What has a row for each row of x, and what is written.
    for (kernel, by_row, out) in
        [(&matvec::KERNEL, &[0, 3, 4][..], 4), (&matvec_rope::KERNEL, &[0, 3, 5, 6], 6)]
    {
        let spread = variant(kernel, "spread");
        for case in (kernel.cases)() {
            let rows = case.step.counts.0[Axis::Bytes as usize] as usize;
            if rows < 3 {
                continue;
            }
            let all = bits(&block_on(engine.run_case(kernel, spread, &case)).unwrap()[out]);
            let width = all.len() / rows;
            for few in [1, 2, 4] {
                let start = rows - few.min(rows);
                let part = rows_of(&case, by_row, start, rows);
                let got = bits(&block_on(engine.run_case(kernel, spread, &part)).unwrap()[out]);
                assert_eq!(got, all[start * width..], "{} {}, {few} rows", kernel.name, case.name);
                count += 1;
            }
        }
    }
    assert!(count > 60, "{count} cases have several rows");
}

/// The case with these rows alone.
fn rows_of(case: &Case, by_row: &[usize], start: usize, end: usize) -> Case {
    let rows = case.step.counts.0[Axis::Bytes as usize] as usize;
    let mut part = case.clone();
    part.step.counts = Counts::default().with(Axis::Bytes, end - start);
    for &binding in by_row {
        match &mut part.buffers[binding] {
            HostBuffer::F(values) => *values = taken(values, rows, start, end),
            HostBuffer::U(values) => *values = taken(values, rows, start, end),
        }
    }
    part
}

fn taken<T: Copy>(values: &[T], rows: usize, start: usize, end: usize) -> Vec<T> {
    let width = values.len() / rows;
    values[start * width..end * width].to_vec()
}
