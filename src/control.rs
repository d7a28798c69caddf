//! What an app, or the overlay's buttons, may ask of the running scripts.

use bevy::prelude::Message;

/// A request to the script frame, carried out at the start of the next one.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_lua_pool::LuaControl;
/// fn on_level_end(mut control: MessageWriter<LuaControl>) {
///     control.write(LuaControl::Pause);
///     control.write(LuaControl::EvictVms);
/// }
/// # bevy::ecs::system::assert_is_system(on_level_end);
/// ```
#[derive(Message, Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LuaControl {
    /// Run no callback until [`LuaControl::Resume`]. Messages to scripts are kept meanwhile.
    Pause,
    /// Run callbacks again.
    Resume,
    /// Load every script in use anew from its source.
    ReloadScripts,
    /// Replace every VM by a fresh one: idle ones now, leased ones when they come back.
    EvictVms,
    /// Try the scripts again that were put aside after too many failures in a row.
    WakeScripts,
    /// Forget the errors shown in the overlay. Counters are kept.
    ClearErrors,
}
