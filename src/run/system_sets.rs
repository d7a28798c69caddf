//! When scripts run: the system sets of a stage.

use bevy::prelude::SystemSet;

/// When scripts run. The sets are chained in this order, in the plugin's schedule and in its fixed
/// schedule (by default [`Update`](bevy::prelude::Update) and
/// [`FixedUpdate`](bevy::prelude::FixedUpdate)).
#[derive(SystemSet, Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ScriptSystems {
    /// Finds the callbacks that are due, and why.
    Collect,
    /// Runs them on pooled VMs, in parallel. Nothing in the world changes.
    Execute,
    /// Applies what the runs want to change, in a stable order, on one thread.
    Apply,
    /// Evicts and refills VMs, publishes the [`LuaSnapshot`](crate::LuaSnapshot) and diagnostics. In
    /// the plugin's schedule only.
    Maintain,
}
