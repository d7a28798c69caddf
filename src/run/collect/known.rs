//! [`KnownScripts`]: keeps scripts loaded.

use std::collections::{HashMap, VecDeque};

use bevy::asset::AssetId;
use bevy::prelude::{AssetEvent, AssetServer, Handle, Resource};

use crate::script::LuaScript;

/// Keeps the scripts loaded that came from files, up to a limit. The oldest go first.
///
/// An entity that a script spawns with one of them starts in the next stage. If scripts were dropped with their last
/// handle and loaded again, that would depend on the disk and on who else has a handle.
#[derive(Resource, Default)]
pub(crate) struct KnownScripts {
    handles: HashMap<AssetId<LuaScript>, Handle<LuaScript>>,
    order: VecDeque<AssetId<LuaScript>>,
}

impl KnownScripts {
    /// How many are kept.
    const MAX: usize = 1024;

    /// Keeps those that were just loaded, if anybody still has a handle.
    pub(super) fn keep_loaded<'e>(
        &mut self,
        loaded: impl Iterator<Item = &'e AssetEvent<LuaScript>>,
        assets: &AssetServer,
    ) {
        for event in loaded {
            if let AssetEvent::Added { id } = event
                && let Some(script) = assets.get_id_handle(*id)
            {
                self.keep(&script);
            }
        }
    }

    /// Keeps a loaded script.
    pub(super) fn keep(&mut self, script: &Handle<LuaScript>) {
        // Scripts name what they spawn by its path.
        if script.path().is_none() || self.handles.contains_key(&script.id()) {
            return;
        }
        if self.order.len() >= Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.handles.remove(&oldest);
        }
        self.order.push_back(script.id());
        self.handles.insert(script.id(), script.clone());
    }
}

#[cfg(test)]
mod tests {
    use bevy::MinimalPlugins;
    use bevy::app::App;
    use bevy::asset::{AssetApp, AssetPlugin};

    use super::*;

    #[test]
    fn the_last_scripts_that_were_loaded_stay_loaded_and_those_go_that_came_first() {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default())).init_asset::<LuaScript>();
        let assets = app.world().resource::<AssetServer>().clone();
        let name = |number: usize| format!("{number}.luau");
        let mut known = KnownScripts::default();
        for number in 0..KnownScripts::MAX + 100 {
            // The second time changes nothing.
            known.keep(&assets.load(name(number)));
            known.keep(&assets.load(name(number)));
        }
        assert_eq!(
            (known.handles.len(), known.order.len()),
            (KnownScripts::MAX, KnownScripts::MAX)
        );
        let is_there = |number| assets.get_handle::<LuaScript>(name(number)).is_some();
        // The others are dropped once they are not loading any more and the asset server has noticed.
        while (0..100).any(is_there) {
            app.update();
            std::thread::yield_now();
        }
        assert!((100..KnownScripts::MAX + 100).all(is_there));
    }
}
