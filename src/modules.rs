//! Optional Lua libraries: more [`math`](math()) and [`random`](random()); `json`, `yaml` and `toml` (feature
//! `data-formats`); `linalg` (feature `linalg`).
//!
//! None is there unless asked for. They are built of [`NativeFunction`]s alone, so an app's own module can
//! do all that they do:
//!
//! ```
//! use bevy_lua_pool::modules::Module;
//! use bevy_lua_pool::vm::Caller;
//! use rand::RngExt;
//!
//! let dice = Module::new("dice")
//!     .constant("faces", 6.0)
//!     .function("roll", |caller: &mut Caller<'_>, faces: Option<u32>| {
//!         match faces.unwrap_or(6) {
//!             0 => Err("dice.roll: a die needs a face"),
//!             faces => Ok(caller.random().random_range(1..=faces)),
//!         }
//!     });
//! assert_eq!(dice.functions().next().map(|function| function.name()), Some("dice.roll"));
//! ```
//!
//! What they take and give is plain data, and each call's work is bounded by the size of its arguments, or
//! by a limit that its documentation names: a stranger's script may have them.

mod arguments;
#[cfg(feature = "data-formats")]
mod json;
#[cfg(feature = "linalg")]
mod linalg;
mod math;
#[cfg(feature = "data-formats")]
mod options;
mod random;
#[cfg(feature = "data-formats")]
mod toml;
#[cfg(feature = "data-formats")]
mod yaml;

#[cfg(feature = "data-formats")]
pub use self::json::json;
#[cfg(feature = "linalg")]
pub use self::linalg::linalg;
pub use self::math::math;
pub use self::random::random;
#[cfg(feature = "data-formats")]
pub use self::toml::toml;
#[cfg(feature = "data-formats")]
pub use self::yaml::yaml;

use crate::value::ScriptValue;
use crate::vm::{IntoNativeFunction, NativeFunction};

/// All modules of this crate that were compiled.
#[must_use]
pub fn all() -> Vec<Module> {
    Vec::from([
        #[cfg(feature = "data-formats")]
        json(),
        #[cfg(feature = "data-formats")]
        yaml(),
        #[cfg(feature = "data-formats")]
        toml(),
        math(),
        #[cfg(feature = "linalg")]
        linalg(),
        random(),
    ])
}

/// Functions and constants that scripts reach under one name.
///
/// Names are checked when the module is installed: each has to be made of Lua identifiers joined by dots,
/// and none may be taken. The name of a library of Luau, such as `math`, adds members to it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Module {
    name: String,
    functions: Vec<NativeFunction>,
    constants: Vec<(String, ScriptValue)>,
}

impl Module {
    /// An empty module.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), functions: Vec::new(), constants: Vec::new() }
    }

    /// Adds a function; `quat.mul` in the module `linalg` is `linalg.quat.mul` to scripts.
    ///
    /// What it may look like is told at [`IntoNativeFunction`].
    pub fn function<M>(mut self, name: &str, function: impl IntoNativeFunction<M>) -> Self {
        self.functions.push(NativeFunction::new(&self.full(name), function));
        self
    }

    /// Adds a value that never changes.
    pub fn constant(mut self, name: &str, value: impl Into<ScriptValue>) -> Self {
        self.constants.push((self.full(name), value.into()));
        self
    }

    /// The name under which scripts reach it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The functions; their names are full ones, such as `json.encode`.
    pub fn functions(&self) -> impl Iterator<Item = &NativeFunction> {
        self.functions.iter()
    }

    /// The constants by full name.
    pub fn constants(&self) -> impl Iterator<Item = (&str, &ScriptValue)> {
        self.constants.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn full(&self, name: &str) -> String {
        format!("{}.{name}", self.name)
    }
}

#[cfg(all(test, feature = "data-formats", feature = "linalg"))]
mod tests;
