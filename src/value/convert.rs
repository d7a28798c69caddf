//! Conversions between Rust types and [`ScriptValue`](super::ScriptValue).

mod collections;
mod numbers;
mod rotation;
mod scalars;
mod traits;

pub(crate) use self::numbers::exact;
pub(super) use self::numbers::{exact_integer, whole};
pub use self::traits::{FromScript, IntoScript};
