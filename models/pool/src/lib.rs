//! The pool of `bevy_lua_pool`, compiled from its own sources, on the threads, locks and clock of
//! [shuttle](https://docs.rs/shuttle): a scheduler that runs one thread at a time, switches at every
//! lock, and tries many orders, reproducibly. The scenarios are under `tests/`.
//!
//! ```text
//! cargo test --manifest-path models/pool/Cargo.toml
//! ```
//!
//! `POOL_MODEL_ORDERS=100000` tries as many orders of each scenario instead of the six thousand that a
//! change is checked with. A failure prints its schedule, which `shuttle::replay` repeats.

/// The crate's `src`, as far as the pool goes.
#[path = "../../../src"]
mod host {
    #[expect(
        dead_code,
        unused_imports,
        reason = "what the pool offers the rest of the crate has no user here"
    )]
    pub mod pool;
}

pub mod clock;
pub mod model_sync;

pub use self::host::pool;
