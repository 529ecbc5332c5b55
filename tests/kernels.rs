//! Every kernel of the registry, on every case, against its oracle: the CPU engine's variants.

use blt_wgpu::kernels::REGISTRY;

#[test]
fn cpu_variants_agree_with_their_oracles() {
    let mut failures = Vec::new();
    let mut count = 0;
    for kernel in REGISTRY {
        for case in (kernel.cases)() {
            count += 1;
            if let Err(problem) = case.check(kernel, &case.on_cpu(kernel)) {
                failures.push(problem);
            }
        }
    }
    assert!(count >= REGISTRY.len(), "every kernel has a case");
    assert!(failures.is_empty(), "{} of {count} fail:\n{}", failures.len(), failures.join("\n"));
}
