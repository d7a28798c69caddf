//! The configuration file of a running app.

use std::fmt::Display;

use bevy::app::App;
use bevy::asset::{AssetLoadFailedEvent, AssetPath};
use bevy::log::error;
use bevy::prelude::{
    AssetEvent, AssetServer, Assets, Handle, MessageReader, Res, ResMut, Resource,
};

use crate::bindings::Bindings;
use crate::config_file::PoolConfigFile;
use crate::run::LuaPool;

/// Keeps the configuration file loaded.
#[derive(Resource)]
pub(super) struct ConfigFile {
    handle: Handle<PoolConfigFile>,
    path: String,
    /// Scripts don't run without it.
    required: bool,
}

/// Why a text can't be the path of the configuration file, if so.
pub(super) fn refuse_path(path: &str) -> Option<String> {
    match AssetPath::try_parse(path) {
        Err(problem) => Some(problem.to_string()),
        Ok(path) if path.path().as_os_str().is_empty() => Some("it names no file".to_owned()),
        Ok(path) if path.label().is_some() => Some("a part of a file (`#`) is none".to_owned()),
        Ok(_) => None,
    }
}

/// Begins to load the file.
pub(super) fn load(app: &mut App, path: &str, required: bool) {
    let assets = app.world().resource::<AssetServer>();
    let handle: Handle<PoolConfigFile> = assets.load(path.to_owned());
    let refused = assets.get_load_state(&handle).is_none();
    let file = ConfigFile { handle, path: path.to_owned(), required };
    if refused {
        // Nothing more will be heard of it.
        let problem = "the asset server refuses the path, such as one outside of the asset folder";
        file.failed(&mut app.world_mut().resource_mut::<LuaPool>(), &problem);
    }
    app.insert_resource(file);
}

impl ConfigFile {
    /// The file can't be used. What was in force stays; what never was does not become so.
    fn failed(&self, pool: &mut LuaPool, problem: &dyn Display) {
        let path = &self.path;
        if !pool.awaits_config {
            error!("the script pool keeps its configuration: {path}: {problem}");
        } else if self.required {
            let stopped = format!(
                "no script runs before the configuration file {path:?} can be used: {problem}; mend it, or \
                 set `config_file_required: false` in `LuaPoolPlugin` to run with its `config` meanwhile"
            );
            error!("{stopped}");
            pool.stopped = Some(stopped.into());
        } else {
            pool.awaits_config = false;
            error!(
                "the script pool runs with the `config` of `LuaPoolPlugin`, without the configuration \
                 file {path:?}: {problem}"
            );
        }
    }
}

/// Puts the configuration file in force when it is loaded or has changed.
pub(super) fn apply(
    file: Res<ConfigFile>,
    files: Res<Assets<PoolConfigFile>>,
    mut loaded: MessageReader<AssetEvent<PoolConfigFile>>,
    mut failed: MessageReader<AssetLoadFailedEvent<PoolConfigFile>>,
    mut pool: ResMut<LuaPool>,
    bindings: Res<Bindings>,
) {
    for event in loaded.read() {
        if let AssetEvent::Added { id } | AssetEvent::Modified { id } = event
            && *id == file.handle.id()
            && let Some(config) = files.get(*id)
        {
            bindings.tell_of_missing_modules(&config.0.sandbox);
            match pool.set_config(config.0.clone()) {
                Ok(()) => {
                    pool.awaits_config = false;
                    pool.stopped = None;
                }
                Err(problem) => file.failed(&mut pool, &problem),
            }
        }
    }
    for event in failed.read() {
        if event.id == file.handle.id() {
            file.failed(&mut pool, &event.error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_no_asset_can_have_is_refused() {
        for path in ["lua_pool.ron", "config/lua_pool.ron", "mods://lua_pool.ron"] {
            assert_eq!(refuse_path(path), None, "{path}");
        }
        for path in ["", "mods://", "a.ron#b", "a#b://c.ron", "a.ron#"] {
            assert!(refuse_path(path).is_some(), "{path}");
        }
    }
}
