//! [`ScriptSystems`]: the system sets in which scripts run.

use bevy::prelude::SystemSet;

/// The system sets in which scripts run. The sets are chained in this order, in the plugin's schedule and in its fixed
/// schedule (by default [`Update`](bevy::prelude::Update) and
/// [`FixedUpdate`](bevy::prelude::FixedUpdate)).
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptSystems {
    /// Finds the callbacks that are due.
    Collect,
    /// Runs them on pooled VMs, in parallel. The world doesn't change meanwhile.
    Execute,
    /// Applies what the runs want to change, in a stable order, on one thread.
    Apply,
    /// Evicts and refills VMs, and publishes the [`LuaSnapshot`](crate::LuaSnapshot) and diagnostics. Only in the
    /// plugin's schedule.
    Maintain,
}
