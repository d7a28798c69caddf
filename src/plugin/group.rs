//! [`LuaPoolPlugins`]: all plugins of this crate.

use bevy::app::{PluginGroup, PluginGroupBuilder};

use super::LuaPoolPlugin;
#[cfg(feature = "diagnostics")]
use crate::diagnostics::LuaDiagnosticsPlugin;
#[cfg(feature = "overlay")]
use crate::overlay::LuaOverlayPlugin;

/// All plugins of this crate, as far as its features have them: [`LuaPoolPlugin`], which runs scripts,
/// `LuaDiagnosticsPlugin` (feature `diagnostics`) and `LuaOverlayPlugin` (feature `overlay`).
///
/// Add it after `DefaultPlugins`, or after `MinimalPlugins` and `AssetPlugin`. [`LuaPoolPlugin`] alone is enough to run
/// scripts.
///
/// ```
/// use bevy::prelude::*;
/// use bevy_lua_pool::prelude::*;
///
/// # let mut app = App::new();
/// app.add_plugins((
///     MinimalPlugins,
///     AssetPlugin::default(),
///     LuaPoolPlugins.set(LuaPoolPlugin { seed: 7, ..default() }),
/// ));
/// # app.finish();
/// # app.update();
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct LuaPoolPlugins;

impl PluginGroup for LuaPoolPlugins {
    fn build(self) -> PluginGroupBuilder {
        let plugins = PluginGroupBuilder::start::<Self>().add(LuaPoolPlugin::default());
        #[cfg(feature = "diagnostics")]
        let plugins = plugins.add(LuaDiagnosticsPlugin);
        #[cfg(feature = "overlay")]
        let plugins = plugins.add(LuaOverlayPlugin::default());
        plugins
    }
}
