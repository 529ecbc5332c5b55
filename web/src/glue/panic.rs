//! What a panic says, told before the module traps and can say nothing any more.

use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// Of the Worker: keeps what is said for the error that it will see.
    #[wasm_bindgen(js_namespace = globalThis, js_name = bltPanicked)]
    fn panicked(message: &str);
}

/// Runs when the module is loaded.
#[wasm_bindgen(start)]
fn tell_of_panics() {
    std::panic::set_hook(Box::new(|panic| panicked(&panic.to_string())));
}
