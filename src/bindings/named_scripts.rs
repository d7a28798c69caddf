//! [`NamedScripts`]: limits how many unknown script names scripts may ask for.

use std::collections::HashMap;
use std::sync::Arc;

use bevy::asset::{AssetPath, AssetServer};
use bevy::prelude::{Assets, Handle, Resource};

use crate::script::LuaScript;

/// Script names that scripts asked for lately and that were new at that time. Each may be a missing file, which costs a
/// disk access and a log line.
///
/// A name counts for [`FORGOTTEN_AFTER`](Self::FORGOTTEN_AFTER) frames from the first request, whether or not it was
/// found: what a script may do must not depend on how fast files load. After that, a name that failed to load is
/// tried again when it is next asked for. It is also tried when its file appears. Until then, asking again costs nothing.
#[derive(Resource, Default)]
pub(crate) struct NamedScripts {
    names: HashMap<Box<str>, Named>,
    /// How many each script asked for, by the name of that script.
    counts: HashMap<Arc<str>, usize>,
}

struct Named {
    /// Keeps it alive until it is loaded.
    handle: Option<Handle<LuaScript>>,
    /// The script that asked for it first.
    by: Arc<str>,
    /// The frame of that request.
    asked: u64,
}

impl NamedScripts {
    /// The most names of one script, over all entities that carry it.
    pub(crate) const OF_ONE: usize = 256;
    /// The most names in total.
    const MOST: usize = 4096;
    /// How long a name counts, in frames.
    const FORGOTTEN_AFTER: u64 = 3600;

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    /// The error text if there is no room.
    pub(crate) fn refusal() -> String {
        format!(
            "this script asked for {} scripts that were not loaded, or all scripts for {}; each counts for {} \
             frames, whether it was found or not; load those that there are beforehand, as assets of the game",
            Self::OF_ONE,
            Self::MOST,
            Self::FORGOTTEN_AFTER
        )
    }

    /// Whether this script may ask for `more` new names.
    pub(crate) fn has_room(&self, by: &Arc<str>, more: usize) -> bool {
        let of_one = self.counts.get(by).copied().unwrap_or(0);
        of_one + more <= Self::OF_ONE && self.names.len() + more <= Self::MOST
    }

    /// Whether asking for this name starts no load: it was asked for before, or it is loaded or loading.
    pub(crate) fn is_known(&self, name: &str, assets: &AssetServer) -> bool {
        self.names.contains_key(name) || asset(name, assets).is_some()
    }

    /// The script of this name; starts loading it if necessary. `None` if `by` has asked for too many.
    pub(crate) fn load(
        &mut self,
        name: &str,
        by: &Arc<str>,
        frame: u64,
        assets: &AssetServer,
    ) -> Option<Handle<LuaScript>> {
        let known = self.names.get(name);
        if let Some(handle) = known.and_then(|named| named.handle.as_ref()) {
            return Some(handle.clone());
        }
        // Don't call `load` for it: that would retry one that failed.
        if let Some(handle) = asset(name, assets) {
            return Some(handle);
        }
        if let Some(named) = self.names.get_mut(name) {
            // Its last handle was dropped.
            return Some(named.handle.insert(assets.load(name.to_owned())).clone());
        }
        if !self.has_room(by, 1) {
            return None;
        }
        let handle: Handle<LuaScript> = assets.load(name.to_owned());
        let named = Named { handle: Some(handle.clone()), by: Arc::clone(by), asked: frame };
        self.names.insert(name.into(), named);
        *self.counts.entry(Arc::clone(by)).or_default() += 1;
        Some(handle)
    }

    /// Called when the script of this name is loaded: from now on its users keep it alive.
    pub(crate) fn loaded(&mut self, name: &str) {
        if let Some(named) = self.names.get_mut(name) {
            named.handle = None;
        }
    }

    /// Forgets old names, and drops handles of scripts that are loaded by now.
    pub(crate) fn tidy(&mut self, frame: u64, scripts: &Assets<LuaScript>) {
        if !frame.is_multiple_of(64) || self.names.is_empty() {
            return;
        }
        let is_old = |named: &Named| named.asked + Self::FORGOTTEN_AFTER <= frame;
        let old: Vec<Named> =
            self.names.extract_if(|_, named| is_old(named)).map(|(_, named)| named).collect();
        old.iter().for_each(|named| self.discount(named));
        for named in self.names.values_mut() {
            named.handle.take_if(|handle| scripts.contains(&*handle));
        }
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

/// The script of this name, if it is loaded or loading.
fn asset(name: &str, assets: &AssetServer) -> Option<Handle<LuaScript>> {
    assets.get_handle(AssetPath::try_parse(name).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::TestApp;

    fn with_assets() -> (TestApp, AssetServer) {
        let test = TestApp::new();
        let assets = test.app.world().resource::<AssetServer>().clone();
        (test, assets)
    }

    /// Asks for 100 new names; returns how many were granted.
    fn ask(named: &mut NamedScripts, by: &Arc<str>, frame: u64, assets: &AssetServer) -> usize {
        let names = (0..100).map(|number| format!("{by}/{frame}/{number}.luau"));
        names.filter(|name| named.load(name, by, frame, assets).is_some()).count()
    }

    #[test]
    fn names_that_nobody_knows_are_few_at_any_time_and_are_forgotten_in_the_end() {
        let (mut test, assets) = with_assets();
        let mut named = NamedScripts::default();
        let flooders: [Arc<str>; 30] = std::array::from_fn(|number| format!("{number}").into());
        let mut granted = 0;
        for frame in 0..10_000 {
            if frame % 20 == 0 {
                for by in &flooders {
                    granted += ask(&mut named, by, frame, &assets);
                }
            }
            named.tidy(frame, test.app.world().resource());
            assert!(named.names.len() <= NamedScripts::MOST);
            assert!(named.counts.values().all(|count| *count <= NamedScripts::OF_ONE));
            assert_eq!(named.counts.values().sum::<usize>(), named.names.len());
        }
        // All the room three times: at the beginning, and each time that the names are forgotten.
        assert_eq!(granted, 3 * NamedScripts::MOST);
        test.frame();
    }

    #[test]
    fn what_a_script_may_ask_for_does_not_depend_on_how_fast_scripts_load() {
        let (test, assets) = with_assets();
        let by: Arc<str> = "level.luau".into();
        let granted = |frames_to_load: u64| {
            let mut named = NamedScripts::default();
            let ask = |frame| {
                let granted = ask(&mut named, &by, frame, &assets);
                if frame >= frames_to_load {
                    for number in 0..100 {
                        named.loaded(&format!("{by}/{}/{number}.luau", frame - frames_to_load));
                    }
                }
                named.tidy(frame, test.app.world().resource());
                granted
            };
            (0..4000).map(ask).collect::<Vec<_>>()
        };
        let at_once = granted(0);
        assert_eq!(at_once[..4], [100, 100, 56, 0]);
        assert_eq!(at_once.iter().sum::<usize>(), 2 * NamedScripts::OF_ONE);
        assert_eq!(granted(3), at_once);
        assert_eq!(granted(u64::MAX), at_once);
    }

    #[test]
    fn asking_again_loads_nothing_and_does_not_count() {
        let (test, assets) = with_assets();
        let mut named = NamedScripts::default();
        let by: Arc<str> = "a.luau".into();
        let first = named.load("b.luau", &by, 0, &assets);
        assert!(first.is_some());
        assert_eq!(named.load("b.luau", &by, 1, &assets), first);
        assert!(named.is_known("b.luau", &assets) && !named.is_known("c.luau", &assets));
        named.loaded("b.luau");
        assert_eq!(named.load("b.luau", &by, 2, &assets), first, "somebody has it");
        assert!(named.has_room(&by, NamedScripts::OF_ONE - 1));
        assert!(!named.has_room(&by, NamedScripts::OF_ONE));
        named.tidy(NamedScripts::FORGOTTEN_AFTER.next_multiple_of(64), test.app.world().resource());
        assert!(named.has_room(&by, NamedScripts::OF_ONE), "it was long ago");
        assert!(named.is_known("b.luau", &assets), "somebody has it");
    }
}
