//! [`KnownScripts`]: scripts that were loaded once are kept.

use std::collections::{HashMap, VecDeque};

use bevy::asset::AssetId;
use bevy::prelude::{AssetEvent, AssetServer, Handle, Resource};

use crate::script::LuaScript;

/// The scripts from files that were loaded, as long as there are not more of them than that; then those
/// go that came first.
///
/// Who is spawned by a script with one of them starts in the next stage. If it were dropped with its last handle and
/// loaded anew, it would depend on the disk and on who else has a handle in which frame that is.
#[derive(Resource, Default)]
pub(crate) struct KnownScripts {
    handles: HashMap<AssetId<LuaScript>, Handle<LuaScript>>,
    order: VecDeque<AssetId<LuaScript>>,
}

impl KnownScripts {
    pub(super) const MOST: usize = 1024;

    /// Keeps those that were loaded lately, if anybody still has them.
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

    /// Keeps a script that is loaded.
    pub(super) fn keep(&mut self, script: &Handle<LuaScript>) {
        // What has no path can't be spawned by a script.
        if script.path().is_none() || self.handles.contains_key(&script.id()) {
            return;
        }
        if self.order.len() >= Self::MOST
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
        for number in 0..KnownScripts::MOST + 100 {
            // Twice is as once.
            known.keep(&assets.load(name(number)));
            known.keep(&assets.load(name(number)));
        }
        assert_eq!(
            (known.handles.len(), known.order.len()),
            (KnownScripts::MOST, KnownScripts::MOST)
        );
        let is_there = |number| assets.get_handle::<LuaScript>(name(number)).is_some();
        // What was let go is dropped when nobody loads it any more, and the asset server hears of that.
        while (0..100).any(is_there) {
            app.update();
            std::thread::yield_now();
        }
        assert!((100..KnownScripts::MOST + 100).all(is_there));
    }
}
