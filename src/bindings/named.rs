//! [`NamedScripts`]: scripts that scripts asked for by name, as long as they are not loaded.

use std::collections::HashMap;
use std::sync::Arc;

use bevy::asset::{AssetPath, AssetServer};
use bevy::prelude::{Assets, Handle, Resource};

use crate::script::LuaScript;

/// Scripts that scripts asked for by name, as long as they are not loaded: because that takes a while, or because
/// there are none of these names. A name that failed is tried again when it is asked for much later, and when
/// its file appears; until then asking for it again costs nothing.
#[derive(Resource, Default)]
pub(crate) struct NamedScripts {
    names: HashMap<Box<str>, Named>,
    /// How many of them each script asked for, by its own name.
    counts: HashMap<Arc<str>, usize>,
}

struct Named {
    handle: Handle<LuaScript>,
    /// The script that asked for it.
    by: Arc<str>,
    /// The frame in which it was found that it can't be loaded.
    failed: Option<u64>,
}

impl NamedScripts {
    /// As many of them may one script have asked for, on all entities that carry it.
    pub(crate) const OF_ONE: usize = 256;
    /// As many there may be in all.
    const MOST: usize = 4096;
    /// A name that failed is forgotten after so many frames.
    const FORGOTTEN_AFTER: u64 = 3600;

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// Why a script may not ask for more.
    pub(crate) fn refusal() -> String {
        format!(
            "this script asked for {} scripts that are not loaded: missing ones, broken ones, and such as \
             are loading still; it can ask for others when some are loaded, or {} frames after they failed",
            Self::OF_ONE,
            Self::FORGOTTEN_AFTER
        )
    }

    /// Whether this script may ask for so many more.
    pub(crate) fn has_room(&self, by: &Arc<str>, more: usize) -> bool {
        let of_one = self.counts.get(by).copied().unwrap_or(0);
        of_one + more <= Self::OF_ONE && self.names.len() + more <= Self::MOST
    }

    /// Whether asking for this name loads nothing: it was asked for before, or it is there.
    pub(crate) fn is_known(&self, name: &str, assets: &AssetServer) -> bool {
        self.names.contains_key(name) || asset(name, assets).is_some()
    }

    /// The script of this name, which is loaded if need be; `None` if `by` has asked for too many.
    pub(crate) fn load(
        &mut self,
        name: &str,
        by: &Arc<str>,
        assets: &AssetServer,
    ) -> Option<Handle<LuaScript>> {
        if let Some(named) = self.names.get(name) {
            return Some(named.handle.clone());
        }
        // One that failed would be tried again by `load`.
        if let Some(handle) = asset(name, assets) {
            return Some(handle);
        }
        if !self.has_room(by, 1) {
            return None;
        }
        let handle: Handle<LuaScript> = assets.load(name.to_owned());
        let named = Named { handle: handle.clone(), by: Arc::clone(by), failed: None };
        self.names.insert(name.into(), named);
        *self.counts.entry(Arc::clone(by)).or_default() += 1;
        Some(handle)
    }

    /// The script of this name is loaded.
    pub(crate) fn loaded(&mut self, name: &str) {
        if let Some(named) = self.names.remove(name) {
            self.discount(&named);
        }
    }

    /// The script of this name can't be loaded.
    pub(crate) fn failed(&mut self, name: &str, frame: u64) {
        if let Some(named) = self.names.get_mut(name) {
            named.failed = Some(frame);
        }
    }

    /// Forgets names that failed long ago, and those of which it was missed that they are loaded.
    pub(crate) fn tidy(&mut self, frame: u64, scripts: &Assets<LuaScript>) {
        if !frame.is_multiple_of(64) || self.names.is_empty() {
            return;
        }
        let is_old = |named: &Named| {
            named.failed.is_some_and(|failed| failed + Self::FORGOTTEN_AFTER <= frame)
                || scripts.contains(&named.handle)
        };
        let old: Vec<Named> =
            self.names.extract_if(|_, named| is_old(named)).map(|(_, named)| named).collect();
        old.iter().for_each(|named| self.discount(named));
    }

    fn discount(&mut self, named: &Named) {
        if let Some(count) = self.counts.get_mut(&named.by) {
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&named.by);
            }
        }
    }
}

/// The script of this name, if anybody has it or is loading it.
fn asset(name: &str, assets: &AssetServer) -> Option<Handle<LuaScript>> {
    assets.get_handle(AssetPath::try_parse(name).ok()?)
}

#[cfg(test)]
mod tests {
    use bevy::MinimalPlugins;
    use bevy::app::App;
    use bevy::asset::{AssetApp, AssetPlugin};

    use super::*;

    fn app() -> (App, AssetServer) {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default())).init_asset::<LuaScript>();
        let assets = app.world().resource::<AssetServer>().clone();
        (app, assets)
    }

    /// Asks for ever new names; gives how many were granted.
    fn ask(named: &mut NamedScripts, by: &Arc<str>, frame: u64, assets: &AssetServer) -> usize {
        let names = (0..100).map(|number| format!("{by}/{frame}/{number}.luau"));
        names.filter(|name| named.load(name, by, assets).is_some()).count()
    }

    #[test]
    fn names_that_nobody_knows_are_few_at_any_time_and_are_forgotten_in_the_end() {
        let (mut app, assets) = app();
        let mut named = NamedScripts::default();
        let flooders: [Arc<str>; 30] = std::array::from_fn(|number| format!("{number}").into());
        let mut granted = 0;
        for frame in 0..10_000 {
            if frame % 20 == 0 {
                for by in &flooders {
                    granted += ask(&mut named, by, frame, &assets);
                }
            }
            // As if all of them had failed at once.
            named.names.values_mut().for_each(|named| _ = named.failed.get_or_insert(frame));
            named.tidy(frame, app.world().resource());
            assert!(named.names.len() <= NamedScripts::MOST);
            assert!(named.counts.values().all(|count| *count <= NamedScripts::OF_ONE));
            assert_eq!(named.counts.values().sum::<usize>(), named.names.len());
        }
        // Three times all that there is room for: at the beginning, and each time that it is forgotten.
        assert_eq!(granted, 3 * NamedScripts::MOST);
        app.update();
    }

    #[test]
    fn asking_again_loads_nothing_and_what_is_loaded_no_longer_counts() {
        let (_app, assets) = app();
        let mut named = NamedScripts::default();
        let by: Arc<str> = "a.luau".into();
        let first = named.load("b.luau", &by, &assets);
        assert!(first.is_some());
        assert_eq!(named.load("b.luau", &by, &assets), first);
        assert!(named.is_known("b.luau", &assets) && !named.is_known("c.luau", &assets));
        assert!(named.has_room(&by, NamedScripts::OF_ONE - 1));
        assert!(!named.has_room(&by, NamedScripts::OF_ONE));
        named.loaded("b.luau");
        assert!(named.has_room(&by, NamedScripts::OF_ONE));
        assert!(named.is_known("b.luau", &assets), "somebody has it");
    }
}
