//! Carries out [`LuaControl`] messages.

use std::collections::BTreeSet;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::prelude::{AssetServer, Assets, MessageReader, Query, Res, ResMut};

use crate::control::LuaControl;
use crate::run::lua_pool::{LuaPool, LuaScripting};
use crate::run::report::Report;
use crate::script::{LuaScript, ScriptStates};

/// Carries out what the app or the overlay asked for.
pub(crate) fn control(
    mut requests: MessageReader<LuaControl>,
    mut pool: ResMut<LuaPool>,
    mut scripting: ResMut<LuaScripting>,
    scripts: Res<Assets<LuaScript>>,
    assets: Option<Res<AssetServer>>,
    mut states: Query<&mut ScriptStates>,
    mut report: ResMut<Report>,
) {
    if pool.is_outdated() {
        pool.update();
    }
    for request in requests.read() {
        match request {
            LuaControl::Pause => scripting.enabled = false,
            LuaControl::Resume => scripting.enabled = true,
            LuaControl::ReloadScripts => {
                let Some(assets) = &assets else { continue };
                let paths: BTreeSet<String> = scripts
                    .ids()
                    .filter_map(|id| assets.get_path(id))
                    .map(|path| path.to_string())
                    .chain(
                        report
                            .figures
                            .iter()
                            .filter(|(_, script)| script.broken.is_some())
                            .map(|(path, _)| path.to_string()),
                    )
                    .collect();
                for path in paths {
                    assets.reload(path);
                }
            }
            LuaControl::EvictVms => {
                pool.vms().evict_all();
            }
            LuaControl::WakeScripts => {
                for mut states in &mut states {
                    states.bypass_change_detection().wake();
                }
            }
            LuaControl::ClearErrors => report.errors.clear(),
        }
    }
}
