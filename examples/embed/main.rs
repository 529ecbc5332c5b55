//! A text editor with a Byte Latent Transformer inside: entropies colour the text as it is typed,
//! the model writes on, and it learns, while the window keeps drawing.
//!
//!     cargo run --release --example embed --features embed-example -- --model blt-demo/model
//!
//! The app makes the wgpu device and hands it over (`host.rs`). Models work in jobs (`reading.rs`,
//! `writing.rs`, `learning.rs`), futures that are polled by hand for some milliseconds of a frame
//! (`pump.rs`). They and the window know each other by the [`desk::Desk`] alone. Entropies go from
//! the runtime's buffer into a pipeline of the app (`tiles.rs`) and are drawn there.

mod app;
mod canvas;
mod curve;
mod desk;
mod editor;
mod frames;
mod host;
mod learning;
mod models;
mod offscreen;
mod options;
mod panel;
mod proof;
mod pump;
mod reading;
mod script;
mod strip;
mod style;
mod tiles;
mod window;
mod writing;

use app::App;
use blt_wgpu::gpu::{DeviceKind, GpuEngine};
use desk::Desk;
use host::Host;
use models::Models;
use options::{Options, Surface};
use pump::{Idle, Pump};
use std::cell::RefCell;
use std::process::ExitCode;

/// What may go wrong: the library's errors, and those of the window.
type Anything<T> = Result<T, Box<dyn std::error::Error>>;

/// Submissions of models that may be unfinished when a frame is submitted: one that a GPU works at,
/// and one that it goes on with.
const MOST_UNFINISHED: usize = 2;

fn main() -> ExitCode {
    let done =
        Options::from_arguments(std::env::args().skip(1)).and_then(|options| match options {
            Some(options) => run(&options),
            None => Ok(()),
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Anything<()> {
    let event_loop = match options.surface {
        Surface::Window => Some(window::event_loop()?),
        Surface::Texture => None,
    };
    let host = Host::open(event_loop.as_ref())?;
    let context = host.context();
    // Nothing is drawn yet, so that loading may block.
    let loading = GpuEngine::new(context.clone());
    let models = Models::load(&loading, options)?;
    let submit_flops = options.submit_flops(context.caps().kind);
    // A driver in software computes while it is submitted to: there is nothing to go on with.
    let most = if context.caps().kind == DeviceKind::Software { 1 } else { MOST_UNFINISHED };
    let engine = GpuEngine::new(context.beside_host(most)).with_submit_flops(submit_flops);
    host.tell_of_loss(engine.context());

    let (desk, idle) = (RefCell::new(Desk::new(&models, options)), Idle::default());
    let mut pump = Pump::new(&host, &idle);
    pump.add(reading::job(&engine, &models, &desk, &idle));
    pump.add(writing::job(&engine, &models, &desk, &idle));
    pump.add(learning::job(&engine, &models, &desk, &idle));
    let mut app = App::new(&host, &models, &desk, pump, options);
    match event_loop {
        Some(event_loop) => window::run(event_loop, &host, &mut app, options)?,
        None => offscreen::run(&host, &mut app, options)?,
    }
    app.problem()?;
    match &app.script {
        Some(script) => proof::check(&loading, &desk.borrow(), (script, &app.frames), options),
        None => Ok(()),
    }
}
