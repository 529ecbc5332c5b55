//! What a kernel is: a name, its bindings, WGSL variants, a CPU variant, an oracle, a cost, cases.

use super::{Call, Case, Counts, REGISTRY};

/// One kernel of the registry. Everything a test, the planner or a benchmark needs to know.
pub struct Kernel {
    /// The name of its file, oracle, test, bench and row in every table.
    pub name: &'static str,
    /// Size of its `Params` uniform in bytes.
    pub params_bytes: usize,
    /// Storage bindings in order; in WGSL they start at `@binding(2)`.
    pub bindings: &'static [Binding],
    /// WGSL variants, the base variant first, then from the usual to the special.
    pub variants: &'static [Variant],
    /// Constants injected into the shader, computed from the parameters: they are part of the key
    /// of the pipeline, so nothing that varies freely (M, N, K) may be among them.
    pub constants: fn(&[u8]) -> Vec<(&'static str, u32)>,
    /// Work under these counts.
    pub cost: fn(&[u8], &Counts) -> Cost,
    /// The CPU engine's own variant.
    pub cpu: fn(Call<'_, f32>),
    /// What is true, in double precision.
    pub oracle: fn(Call<'_, f64>),
    /// Inputs on which every variant must agree with the oracle.
    pub cases: fn() -> Vec<Case>,
}

impl Kernel {
    /// The variant of this name.
    pub fn variant(&self, name: &str) -> Option<usize> {
        self.variants.iter().position(|variant| variant.name == name)
    }

    /// What a binding holds in a dispatch with these halves.
    ///
    /// # Panics
    /// If the binding is to hold halves and cannot.
    pub fn element(&self, binding: usize, halves: Halves) -> Element {
        let Binding { name, element, may_be_half, .. } = self.bindings[binding];
        if !halves.contains(binding) {
            return element;
        }
        assert!(may_be_half, "{}: {name} cannot hold halves", self.name);
        Element::F16
    }

    /// The variant to run where nothing has been measured: the last that suits.
    pub fn choose(&self, situation: &Situation<'_>) -> usize {
        let suits = |variant: usize| {
            self.runs(variant, situation) && (self.variants[variant].suits)(situation)
        };
        (0..self.variants.len()).rev().find(|&variant| suits(variant)).unwrap_or(0)
    }

    /// The same where the bits must be those of the base.
    pub fn choose_in_fixed_order(&self, situation: &Situation<'_>) -> usize {
        let suits = |variant: &usize| {
            let Variant { keeps_bits, suits, .. } = self.variants[*variant];
            keeps_bits && self.runs(*variant, situation) && suits(situation)
        };
        (0..self.variants.len()).rev().find(suits).unwrap_or(0)
    }

    /// Whether a variant runs there and is believed, worth it or not.
    pub fn runs(&self, variant: usize, situation: &Situation<'_>) -> bool {
        let Situation { params, halves, abilities } = *situation;
        abilities.satisfy(self.needs(variant, halves))
            && !(variant > 0 && abilities.distrusted.contains(self, variant))
            && (self.variants[variant].takes)(params, halves)
    }

    /// What a device must have to run a variant on bindings of these types.
    pub fn needs(&self, variant: usize, halves: Halves) -> Needs {
        let needs = self.variants[variant].needs;
        Needs { f16: needs.f16 || halves != Halves::NONE, ..needs }
    }
}

/// Which bindings of a dispatch hold f16 where the kernel's own declaration says f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Halves(u32);

impl Halves {
    /// All bindings hold what the kernel declares.
    pub const NONE: Self = Self(0);

    /// These bindings hold f16.
    pub const fn of(bindings: &[usize]) -> Self {
        let (mut bits, mut index) = (0, 0);
        while index < bindings.len() {
            bits |= 1 << bindings[index];
            index += 1;
        }
        Self(bits)
    }

    /// Whether this binding holds f16.
    pub const fn contains(self, binding: usize) -> bool {
        self.0 >> binding & 1 == 1
    }
}

/// No injected constants.
pub fn no_constants(_params: &[u8]) -> Vec<(&'static str, u32)> {
    Vec::new()
}

/// One storage binding of a kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The name of the variable in WGSL.
    pub name: &'static str,
    /// What the kernel does with it.
    pub access: Access,
    /// What it holds.
    pub element: Element,
    /// Whether it may hold f16 instead of f32; WGSL then calls its element type `<name>_type`.
    pub may_be_half: bool,
    /// Whether it may hold words of packed weights instead of f32, as the parameters say.
    pub may_be_packed: bool,
}

impl Binding {
    /// An input.
    pub const fn read(name: &'static str, element: Element) -> Self {
        Self::new(name, Access::Read, element)
    }

    /// An output whose former contents do not matter.
    pub const fn write(name: &'static str, element: Element) -> Self {
        Self::new(name, Access::Write, element)
    }

    /// An output that the kernel also reads, or leaves partly as it was.
    pub const fn update(name: &'static str, element: Element) -> Self {
        Self::new(name, Access::Update, element)
    }

    const fn new(name: &'static str, access: Access, element: Element) -> Self {
        Self { name, access, element, may_be_half: false, may_be_packed: false }
    }

    /// The same binding, of f32 or of f16 as a dispatch says.
    #[must_use]
    pub const fn or_half(self) -> Self {
        assert!(matches!(self.element, Element::F32), "only numbers come as halves");
        Self { may_be_half: true, ..self }
    }

    /// The same input, of f32 or of weights packed as [`crate::packed`] says.
    #[must_use]
    pub const fn or_packed(self) -> Self {
        assert!(matches!((self.element, self.access), (Element::F32, Access::Read)), "an input");
        Self { may_be_packed: true, ..self }
    }
}

/// How a kernel uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`, every element of the extent is overwritten.
    Write,
    /// `var<storage, read_write>`, read as well, or written in part.
    Update,
}

/// Type of the elements of a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Element {
    F32,
    /// On a device only: the host sees f32 that f16 represents exactly.
    F16,
    U32,
}

impl Element {
    /// Size of one element on a device.
    pub const fn bytes(self) -> usize {
        match self {
            Self::F16 => 2,
            Self::F32 | Self::U32 => 4,
        }
    }
}

/// One WGSL text of a kernel.
#[derive(Clone, Copy)]
pub struct Variant {
    /// `base`, or what makes it different.
    pub name: &'static str,
    /// The WGSL before preprocessing.
    pub source: &'static str,
    /// Constants of this variant (tile sizes), beside or instead of those of the kernel.
    pub defines: &'static [(&'static str, u32)],
    /// What the device must have.
    pub needs: Needs,
    /// Whether it computes these parameters on bindings of these types.
    pub takes: fn(&[u8], Halves) -> bool,
    /// Whether it is worth choosing there.
    pub suits: fn(&Situation<'_>) -> bool,
    /// Whether its results are those of the base to the bit, so that it may run in fixed order.
    pub keeps_bits: bool,
    /// How many workgroups run for these parameters and capacities.
    pub groups: fn(&[u8], &Counts) -> [u32; 3],
}

/// What [`Variant::takes`] is where a variant computes all there is.
pub fn always(_params: &[u8], _halves: Halves) -> bool {
    true
}

impl Variant {
    /// The variant that runs everywhere and on all parameters.
    pub const fn base(source: &'static str, groups: fn(&[u8], &Counts) -> [u32; 3]) -> Self {
        let needs = Needs::NOTHING;
        Self {
            name: "base",
            source,
            defines: &[],
            needs,
            takes: always,
            suits: |_| true,
            keeps_bits: true,
            groups,
        }
    }
}

/// Where a variant is to run: the rules by which variants are chosen see this and nothing else.
/// Counts are not among it, so that a larger plan of the same model takes the same variants.
pub struct Situation<'a> {
    pub params: &'a [u8],
    pub halves: Halves,
    pub abilities: &'a Abilities,
}

/// A set of variants of kernels, by their places in the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Distrusted([u64; 16]);

/// Most variants of one kernel: two bytes of the set for each kernel.
const MOST_VARIANTS: usize = 16;

impl Distrusted {
    /// Adds a variant of a kernel of the registry.
    pub fn add(&mut self, kernel: &Kernel, variant: usize) {
        let (word, bit) = Self::place(kernel, variant);
        self.0[word] |= 1 << bit;
    }

    /// Whether a variant is in it.
    pub fn contains(&self, kernel: &Kernel, variant: usize) -> bool {
        let (word, bit) = Self::place(kernel, variant);
        self.0[word] >> bit & 1 == 1
    }

    fn place(kernel: &Kernel, variant: usize) -> (usize, usize) {
        let index = REGISTRY.iter().position(|other| other.name == kernel.name);
        let place = index.expect("kernels are registered") * MOST_VARIANTS + variant;
        assert!(variant < MOST_VARIANTS && place < 1024, "{}: the set is too small", kernel.name);
        (place / 64, place % 64)
    }
}

/// What a device offers to kernels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Subgroup operations.
    pub subgroups: bool,
    /// Size of the smallest subgroup; 0 without subgroups.
    pub subgroup_min: u32,
    /// The type `f16`.
    pub f16: bool,
    /// The types `i64` and `u64`.
    pub int64: bool,
    /// Cooperative matrices of 16 x 16 x 16, f16 to f32, by subgroups of 32.
    pub cooperative_matrix: bool,
    pub workgroup_bytes: u32,
    pub workgroup_invocations: u32,
    /// Processors that take workgroups side by side, about: long sums are cut into parts for them.
    pub processors: u32,
    /// A GPU that wants many workgroups at once.
    pub hardware: bool,
    /// A driver that computes on the processor: barriers are slow, caches are large.
    pub software: bool,
    /// Variants that have disagreed with their oracles there.
    pub distrusted: Distrusted,
}

impl Abilities {
    /// Core WebGPU and default limits: base variants.
    pub const CORE: Self = Self {
        subgroups: false,
        subgroup_min: 0,
        f16: false,
        int64: false,
        cooperative_matrix: false,
        workgroup_bytes: 16_384,
        workgroup_invocations: 256,
        processors: 8,
        hardware: false,
        software: false,
        distrusted: Distrusted([0; 16]),
    };

    /// Whether a variant that needs this runs there.
    pub fn satisfy(&self, needs: Needs) -> bool {
        (self.subgroups || !needs.subgroups)
            && needs.subgroup_min <= self.subgroup_min
            && (self.f16 || !needs.f16)
            && (self.int64 || !needs.int64)
            && (self.cooperative_matrix || !needs.cooperative_matrix)
            && needs.workgroup_bytes <= self.workgroup_bytes
            && needs.workgroup_invocations <= self.workgroup_invocations
    }
}

/// What a variant asks of a device beyond core WebGPU and its default limits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Needs {
    /// Subgroup operations.
    pub subgroups: bool,
    /// No subgroup is smaller than this.
    pub subgroup_min: u32,
    /// The type `f16`.
    pub f16: bool,
    /// The types `i64` and `u64`.
    pub int64: bool,
    /// Cooperative matrices of 16 x 16, by subgroups of 32.
    pub cooperative_matrix: bool,
    /// Workgroup memory beyond the default 16 KiB.
    pub workgroup_bytes: u32,
    /// Invocations a workgroup beyond the default 256.
    pub workgroup_invocations: u32,
}

impl Needs {
    /// Core WebGPU and default limits.
    pub const NOTHING: Self = Self {
        subgroups: false,
        subgroup_min: 0,
        f16: false,
        int64: false,
        cooperative_matrix: false,
        workgroup_bytes: 0,
        workgroup_invocations: 0,
    };
}

/// What one dispatch costs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Floating-point operations; a multiply-add counts two.
    pub flops: u64,
    pub read_bytes: u64,
    pub written_bytes: u64,
}

impl std::ops::Add for Cost {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            flops: self.flops + other.flops,
            read_bytes: self.read_bytes + other.read_bytes,
            written_bytes: self.written_bytes + other.written_bytes,
        }
    }
}

/// Most workgroups that core WebGPU dispatches along one dimension.
pub const MAX_GROUPS_PER_DIMENSION: u32 = 65_535;

/// `count` workgroups, folded into two dimensions where one does not hold them. The shader takes
/// `workgroup_id.x + workgroup_id.y * num_workgroups.x` and returns where that is too large.
pub fn fold_groups(count: usize) -> [u32; 3] {
    let count = u32::try_from(count).expect("workgroup counts fit 32 bits").max(1);
    let rows = count.div_ceil(MAX_GROUPS_PER_DIMENSION);
    [count.div_ceil(rows), rows, 1]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folded_groups_cover_the_count_within_the_limit() {
        for count in [1, 2, 65_535, 65_536, 100_003, 10_000_019] {
            let [x, y, z] = fold_groups(count);
            assert!(x <= MAX_GROUPS_PER_DIMENSION && y <= MAX_GROUPS_PER_DIMENSION && z == 1);
            assert!(
                x as usize * y as usize >= count && (x as usize * y as usize) < count + x as usize
            );
        }
    }
}
