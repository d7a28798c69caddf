//! Plain data that crosses between Lua, the ECS and a disk: [`ScriptValue`].
//!
//! Whatever outlives a run is made of it: a script's `self`, message payloads, the arguments and results of host
//! functions. It holds no reference to a VM, so any thread and any VM can use it.
//!
//! | Room | What is in it |
//! | --- | --- |
//! | `types` | the definitions of [`ScriptValue`], [`ScriptTable`], [`ScriptKey`], [`ScriptFields`] |
//! | `script_value`, `table`, `key`, `fields` | what they can do |
//! | `access`, `display` | reading a value by type or path; values as text |
//! | `convert` | Rust types to and from values |
//! | `call` | arguments and results of calls |
//! | `plain` | values to and from any serde type or self-describing format |
//! | `save` | the lossless serde form, for saves |
//! | `reflect` | values by Bevy's reflection |

mod access;
mod call;
mod convert;
mod depth;
mod display;
mod fields;
mod key;
mod plain;
pub(crate) mod reflect;
mod save;
mod script_value;
mod table;
mod trail;
mod types;

pub use self::call::{FromScriptArgs, IntoScriptArgs, IntoScriptResults, ScriptValues, Variadic};
pub(crate) use self::convert::exact;
pub use self::convert::{FromScript, IntoScript};
pub(crate) use self::display::describe;
pub use self::plain::{Plain, PlainSeed, PlainValue, from_value, to_value};
pub(crate) use self::reflect::implement::reflect_struct;
pub(crate) use self::save::{deserialize_list, deserialize_self, deserialize_text};
pub use self::types::{ScriptFields, ScriptKey, ScriptTable, ScriptValue};
