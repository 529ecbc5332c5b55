//! The GPU that tests run on, or word that there is none.

use blt_wgpu::error::Error;
use blt_wgpu::gpu::{Context, ContextOptions, GpuEngine};
use std::env;
use std::io::Write;

/// An engine on the device whose `backend/name` contains `BLT_TEST_DEVICE` or
/// `WGPU_ADAPTER_NAME`, of the backends in `WGPU_BACKEND`, or on the first one.
/// `None`, and a line in the file `BLT_SKIP_LOG`, if there is none and `BLT_ALLOW_NO_GPU=1`.
pub fn gpu_engine(test: &str) -> Option<GpuEngine> {
    let variable = |name: &str| env::var(name).ok().filter(|value| !value.is_empty());
    let device = variable("BLT_TEST_DEVICE").or_else(|| variable("WGPU_ADAPTER_NAME"));
    let backends = variable("WGPU_BACKEND");
    let options = ContextOptions { backends, device, ..ContextOptions::default() };
    match pollster::block_on(Context::new(&options)) {
        Ok(context) => Some(GpuEngine::new(context)),
        Err(error @ Error::NoDevice { .. }) => {
            skip(test, &error);
            None
        }
        Err(error) => panic!("{error}"),
    }
}

fn skip(test: &str, error: &Error) {
    let allowed = env::var("BLT_ALLOW_NO_GPU").is_ok_and(|value| value == "1");
    assert!(allowed, "{error}; BLT_ALLOW_NO_GPU=1 skips the tests that need a device");
    println!("skipped: no gpu: {test}");
    if let Ok(path) = env::var("BLT_SKIP_LOG") {
        let log = std::fs::OpenOptions::new().create(true).append(true).open(path);
        writeln!(log.unwrap(), "{test}\t{error}").unwrap();
    }
}
