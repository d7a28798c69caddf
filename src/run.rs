//! The frame: collect what is due, execute it on pooled VMs, apply what came of it, maintain the pool.
//!
//! One way, no back and forth. While runs execute nobody writes to the world, so each sees it as it was
//! when the stage began; what they want to change is data, applied in a stable order.
//!
//! Nearly all entities do the same as in the frame before: their script's `on_update`, which changes them alone.
//! There is a short way for these in each step, on all threads, and a careful one for all others: to collect
//! them ([`collect::unchanged`] and [`collect`]), to run them (in rows of one script: [`execute::batch`] and [`execute`]), to apply what
//! came of it ([`apply::parallel`] and [`apply`](mod@apply)). Which way one goes can't be seen.

mod apply;
mod budget;
mod collect;
mod execute;
mod figures;
mod frame;
mod invocation;
mod last_state;
mod log;
mod lua_pool;
mod mailbox;
mod maintain;
mod messages;
mod order;
mod program_table;
mod report;
mod shares;
mod stage;
mod stop;
mod sweep;
mod system_sets;
mod threads;

pub use self::lua_pool::{LuaPool, LuaScripting};
pub use self::messages::{ScriptEvent, ScriptFailed, ToScript};
pub use self::system_sets::ScriptSystems;

pub(crate) use self::apply::apply;
pub(crate) use self::collect::KnownScripts;
pub(crate) use self::collect::{collect_fixed_update, collect_update};
pub(crate) use self::execute::execute;
pub(crate) use self::frame::Frame;
pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::maintain::{control, maintain};
pub(crate) use self::messages::gather;
pub(crate) use self::report::{Report, report_load_failures};
pub(crate) use self::stop::{StopQueue, on_scripts_removed};

#[cfg(test)]
mod tests;
