//! What the plugin needs of the app, and what is said where that is missing.

use bevy::app::App;
use bevy::asset::AssetServer;
use bevy::prelude::{Time, World};
use bevy::tasks::ComputeTaskPool;

use crate::run::LuaPool;

/// What has to be there when the plugin is added.
pub(super) fn check_build(app: &App) {
    if !app.world().contains_resource::<AssetServer>() {
        panic!(
            "LuaPoolPlugin needs Bevy's `AssetPlugin` before it: add \
             `(MinimalPlugins, AssetPlugin::default(), LuaPoolPlugin::default())`, or `DefaultPlugins` and \
             then `LuaPoolPlugin::default()`"
        );
    }
}

/// What has to be there when all plugins were added.
pub(super) fn check_finish(app: &App) {
    if ComputeTaskPool::try_get().is_none() {
        panic!(
            "LuaPoolPlugin needs Bevy's task pools: add `TaskPoolPlugin`, which `MinimalPlugins` and \
             `DefaultPlugins` have"
        );
    }
    if !app.world().contains_resource::<Time>() {
        panic!(
            "LuaPoolPlugin needs the resource `Time`: add Bevy's `TimePlugin`, which `MinimalPlugins` and \
             `DefaultPlugins` have, or insert a `Time` that the app moves itself"
        );
    }
}

/// Stops an app that runs without having been finished: there are no VMs. The system that it is piped into runs on
/// the thread of the schedule, since this one is exclusive.
pub(super) fn be_finished(world: &mut World) {
    if !world.contains_resource::<LuaPool>() {
        panic!("{}", LuaPool::UNFINISHED);
    }
}
