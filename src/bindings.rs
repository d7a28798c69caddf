//! What scripts can reach: host functions, live values, components. Data in, data out; no Lua here.

mod app;
mod backlog;
mod builtin;
mod component;
mod component_column;
mod component_type;
mod context;
mod effects;
mod exposure;
mod field_ids;
mod functions;
mod hierarchy;
mod named_scripts;
mod population;
mod reflect;
mod registry;
mod scalar_fields;
mod script_name;
mod stage_columns;
mod write_log;
mod written_value;

pub(crate) use self::app::LateBindings;
pub use self::app::LuaAppExt;
pub use self::component_type::Exposable;
pub use self::context::ScriptContext;
pub use self::functions::IntoLuaFunction;

pub(crate) use self::backlog::{Amount, Backlog, OF_A_PAIR};
pub(crate) use self::component_column::{ColumnQuery, ComponentColumn};
pub(crate) use self::context::max_bytes_handed_over;
pub(crate) use self::effects::{Command, Effects, Mail, Spawn, new_entity_index};
pub(crate) use self::field_ids::FieldIds;
pub(crate) use self::hierarchy::{Misfit, fits, level_below, parent_in};
pub(crate) use self::named_scripts::NamedScripts;
pub(crate) use self::population::{Population, SpawnedByScript, origin_of};
pub(crate) use self::reflect::map_entities;
pub(crate) use self::registry::Bindings;
pub(crate) use self::stage_columns::{StageColumns, UsedColumns};
pub(crate) use self::write_log::{ComponentWrite, WriteLog};
