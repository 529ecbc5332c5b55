//! A device, and the model on it.

use super::browser::Browser;
use super::training::TrainingHandle;
use super::values::{Given, booleans, object, options, plain, thrown};
use crate::benchmark::{BenchmarkEvent, benchmark};
use crate::generation::BytePiece;
use crate::kernel_check::{check_kernel, kernel_names};
use crate::model::{ModelFiles, NamedFile};
use crate::training::Training;
use crate::{Failure, Kind, Model};
use blt_wgpu::cpu::HostEngine;
use blt_wgpu::device::Device;
use blt_wgpu::engine::Engine as _;
use blt_wgpu::gpu::{Context, ContextOptions, GpuEngine};
use blt_wgpu::platform::Platform as _;
use js_sys::{Float32Array, Function, Uint8Array, Uint32Array};
use std::cell::RefCell;
use wasm_bindgen::prelude::*;

/// What a Worker has: a device for as long as it lives, and the model that was loaded last.
///
/// One job runs at a time; a second one is refused. Options are the text of a JSON object.
#[wasm_bindgen]
pub struct Session {
    device: &'static Device,
    browser: Browser,
    /// Taken out while a job has it.
    model: RefCell<Slot>,
}

enum Slot {
    Empty,
    Busy,
    Loaded(Box<Model<'static>>),
}

#[wasm_bindgen]
impl Session {
    /// Opens a device: `webgpu` or `cpu`. `breathe` gives a promise that is kept once the messages
    /// that have come were heard.
    ///
    /// # Errors
    /// `unsupported` where the browser has no such device.
    pub async fn open(engine: String, breathe: Function) -> Given<Session> {
        let device = match engine.as_str() {
            "cpu" => Device::Cpu(HostEngine::default()),
            "webgpu" => {
                let context = Context::new(&ContextOptions::default()).await;
                let context = context.map_err(|error| thrown(error.into()))?;
                Device::Gpu(Box::new(GpuEngine::new(context)))
            }
            other => {
                let message = format!("engine: expected webgpu or cpu, got {other:?}");
                return Err(thrown(Failure::new(Kind::Input, message)));
            }
        };
        Ok(Self {
            // The one of this Worker, for as long as it lives.
            device: Box::leak(Box::new(device)),
            browser: Browser::new(breathe),
            model: RefCell::new(Slot::Empty),
        })
    }

    /// `{ name, features, limits, version }` of the device as this program uses it.
    pub fn info(&self) -> JsValue {
        let limits = match self.device {
            Device::Cpu(_) => JsValue::NULL,
            Device::Gpu(engine) => plain(&engine.context().caps().limits),
        };
        object([
            ("name", self.device.name().into()),
            ("features", plain(&self.device.identity().features)),
            ("limits", limits),
            ("version", env!("CARGO_PKG_VERSION").into()),
        ])
    }

    /// Why the device is lost, if it is.
    #[wasm_bindgen(js_name = lostReason)]
    pub fn lost_reason(&self) -> Option<String> {
        match self.device {
            Device::Cpu(_) => None,
            Device::Gpu(engine) => engine.context().loss(),
        }
    }

    /// Destroys the device, as a driver that is reset does.
    #[wasm_bindgen(js_name = loseDevice)]
    pub fn lose_device(&self) {
        if let Device::Gpu(engine) = self.device {
            engine.context().device().destroy();
        }
    }

    /// Asks the job that runs to stop.
    pub fn interrupt(&self) {
        self.browser.stop().request();
    }

    /// Loads a model from its files, `names` and `contents` side by side, and gives its info. Where
    /// they are none of a model the one before stays; otherwise it is gone, even where the device
    /// fails, since there may not be room for two.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub async fn load(&self, name: String, names: Vec<String>, contents: Vec<Uint8Array>) -> Given {
        if matches!(*self.model.borrow(), Slot::Busy) {
            return Err(busy());
        }
        let contents = contents.iter().map(Uint8Array::to_vec);
        let files: Vec<NamedFile> = names.into_iter().zip(contents).collect();
        let files = ModelFiles::new(&name, files).map_err(thrown)?;
        *self.model.borrow_mut() = Slot::Busy;
        let loaded = Model::upload(self.device, files).await;
        let (slot, given) = match loaded {
            Ok(model) => {
                let info = plain(model.info());
                (Slot::Loaded(Box::new(model)), Ok(info))
            }
            Err(failure) => (Slot::Empty, Err(thrown(failure))),
        };
        *self.model.borrow_mut() = slot;
        given
    }

    /// `{ entropies, starts, averageLength, engineMs }` of a text.
    ///
    /// # Errors
    /// As [`Model::patches`].
    pub async fn patches(&self, text: Vec<u8>, json: String) -> Given {
        self.with_model(async |model, browser| {
            let begin = browser.monotonic_seconds();
            let patches = model.patches(&text, &options(&json)?, browser).await?;
            let entropies = &patches.entropies;
            let own = &entropies[..entropies.len().min(text.len())];
            Ok(object([
                ("entropies", Float32Array::from(own).into()),
                ("nextEntropy", entropies.get(text.len()).copied().into()),
                ("starts", Uint32Array::from(&patches.starts[..]).into()),
                ("averageLength", patches.average_length.into()),
                ("engineMs", ((browser.monotonic_seconds() - begin) * 1e3).into()),
            ]))
        })
        .await
    }

    /// What the model expects as byte `at` of a text.
    ///
    /// # Errors
    /// As [`Model::distribution`].
    pub async fn distribution(&self, text: Vec<u8>, at: usize) -> Given {
        self.with_model(async |model, browser| {
            Ok(plain(&model.distribution(&text, at, browser).await?))
        })
        .await
    }

    /// The n-grams that end with byte `at` of a text, and the rows they read.
    ///
    /// # Errors
    /// As [`Model::hashes`].
    pub async fn hashes(&self, text: Vec<u8>, at: usize) -> Given {
        self.with_model(async |model, _| Ok(plain(&model.hashes(&text, at)?))).await
    }

    /// What a patch of a text sees.
    ///
    /// # Errors
    /// As [`Model::attention`].
    pub async fn attention(&self, text: Vec<u8>, patch: usize, json: String) -> Given {
        self.with_model(async |model, browser| {
            Ok(plain(&model.attention(&text, patch, &options(&json)?, browser).await?))
        })
        .await
    }

    /// Goes on with a text; `on_piece` is called with
    /// `{ text, bytes, entropies, starts }` as it comes.
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub async fn generate(&self, prompt: Vec<u8>, json: String, on_piece: Function) -> Given {
        self.with_model(async |model, browser| {
            let give = |piece: BytePiece| {
                let piece = object([
                    ("text", piece.text.into()),
                    ("bytes", Uint8Array::from(&piece.bytes[..]).into()),
                    ("entropies", Float32Array::from(&piece.entropies[..]).into()),
                    ("starts", booleans(&piece.starts)),
                ]);
                // Who listens and throws has only himself to blame.
                let _ = on_piece.call1(&JsValue::NULL, &piece);
            };
            Ok(plain(&model.generate(&prompt, &options(&json)?, browser, give).await?))
        })
        .await
    }

    /// A training in front of its first step. The model stays as it is.
    ///
    /// # Errors
    /// As [`Training::new`].
    pub async fn train(&self, text: Vec<u8>, json: String) -> Given<TrainingHandle> {
        self.browser.stop().withdraw();
        let options = options(&json).map_err(thrown)?;
        let training = Training::new(self.device, &text, options, &self.browser).await;
        let training = training.map_err(thrown)?;
        Ok(TrainingHandle::new(self.browser.clone(), training))
    }

    /// Measures the device; `tell` is called with `{ began }` or `{ row }`.
    ///
    /// # Errors
    /// As [`benchmark`].
    pub async fn bench(&self, json: String, tell: Function) -> Given<()> {
        self.browser.stop().withdraw();
        let give = |event: BenchmarkEvent| {
            let value = match event {
                BenchmarkEvent::Began(what) => object([("began", what.into())]),
                BenchmarkEvent::Row(row) => object([("row", plain(&*row))]),
            };
            let _ = tell.call1(&JsValue::NULL, &value);
        };
        let options = options(&json).map_err(thrown)?;
        let clock = self.browser.clock().clone();
        benchmark(self.device, &options, clock, &self.browser, give).await.map_err(thrown)
    }

    /// The names of all kernels: for tests.
    #[wasm_bindgen(js_name = kernelNames)]
    pub fn kernel_names(&self) -> Vec<String> {
        kernel_names().into_iter().map(str::to_owned).collect()
    }

    /// `[{ name, caseCount, problem, lacks }]` of the variants of a kernel: for tests.
    ///
    /// # Errors
    /// As [`check_kernel`].
    #[wasm_bindgen(js_name = checkKernel)]
    pub async fn check_kernel(&self, name: String, most_elements: usize) -> Given {
        self.browser.stop().withdraw();
        let checked = check_kernel(self.device, &name, most_elements, &self.browser).await;
        checked.map(|checked| plain(&checked)).map_err(thrown)
    }
}

impl Session {
    /// Runs a job on the model, which is free again afterwards.
    async fn with_model(
        &self,
        job: impl AsyncFnOnce(&mut Model<'static>, &Browser) -> crate::Result<JsValue>,
    ) -> Given {
        let taken = self.model.replace(Slot::Busy);
        let mut model = match taken {
            Slot::Loaded(model) => model,
            Slot::Busy => return Err(busy()),
            Slot::Empty => {
                *self.model.borrow_mut() = Slot::Empty;
                let failure = Failure::new(Kind::Input, "no model is loaded");
                return Err(thrown(failure.with_hint("call load first")));
            }
        };
        self.browser.stop().withdraw();
        let done = job(&mut model, &self.browser).await;
        *self.model.borrow_mut() = Slot::Loaded(model);
        done.map_err(thrown)
    }
}

fn busy() -> JsValue {
    let failure = Failure::new(Kind::Busy, "another job has the model");
    thrown(failure.with_hint("wait for it, or interrupt it"))
}
