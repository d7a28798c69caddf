//! The frame: collects what is due, executes it on pooled VMs, applies the outcomes, maintains the pool.
//!
//! While runs execute nobody writes to the world, so each sees it as it was when the stage began. What they want to
//! change is data, which is applied in a stable order.
//!
//! Nearly all entities do the same as in the frame before: they run their script's `on_update`, which changes them
//! alone. Each step has a fast way for these, on all threads, and a general one for all others. The results are the
//! same. [`PathCounts`](crate::PathCounts) tells how many took which way.
//!
//! | step | fast | general |
//! | --- | --- | --- |
//! | collect | [`collect::unchanged`] | [`collect::examine`] |
//! | execute | [`execute::batch`], many entities in one call of a VM | [`execute::single`] |
//! | apply | [`apply::parallel`] | [`apply`](mod@apply) |

mod apply;
mod budget;
mod collect;
mod execute;
mod frame;
mod invocation;
mod last_state;
mod lua_pool;
mod mailbox;
mod maintain;
mod messages;
mod order;
mod outcome;
mod program_table;
mod report;
mod shares;
mod stage;
mod stop;
mod sweep;
mod system_sets;
mod threads;
mod worker_tally;

pub use self::lua_pool::{LuaPool, LuaScripting};
pub use self::messages::{ScriptEvent, ScriptFailed, ToScript};
pub use self::system_sets::ScriptSystems;

pub(crate) use self::apply::apply;
pub(crate) use self::collect::KnownScripts;
pub(crate) use self::collect::{collect_fixed_update, collect_update};
pub(crate) use self::execute::execute;
pub(crate) use self::frame::Frame;
pub(crate) use self::mailbox::Mailbox;
pub(crate) use self::maintain::{control, maintain, report_load_failures};
pub(crate) use self::messages::gather;
pub(crate) use self::report::Report;
pub(crate) use self::stop::{StopQueue, on_scripts_removed};

#[cfg(test)]
mod tests;
