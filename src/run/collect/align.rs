//! Matches the scripts on an entity with its states.

use bevy::asset::Assets;
use bevy::ecs::change_detection::Tick;
use bevy::prelude::{AssetServer, Entity, Handle};
use smallvec::SmallVec;

use crate::run::last_state::LastPlace;
use crate::run::stop::StopQueue;
use crate::script::{LuaScript, LuaScripts, ScriptState, ScriptStates};

/// Gives each script of an entity its state, in the order of the scripts. States whose script is gone go to the stop
/// queue.
pub(super) fn align(
    entity: Entity,
    scripts: &LuaScripts,
    of_entity: &mut ScriptStates,
    names: ScriptNames<'_>,
    stopped: &mut StopQueue,
) {
    let handles = &scripts.scripts;
    let series = of_entity.next_series();
    let ScriptStates { states, origin, series: next_series } = of_entity;
    *next_series = series;
    let is_attached =
        |state: &ScriptState, handle: &Handle<LuaScript>| state.attached.asset == Some(handle.id());
    if states.len() == handles.len()
        && states.iter().zip(handles).all(|(state, handle)| is_attached(state, handle))
    {
        return;
    }
    let mut old: SmallVec<[(usize, ScriptState); 1]> =
        std::mem::take(states).into_iter().enumerate().collect();
    states.reserve_exact(handles.len());
    for handle in handles {
        let position = old.iter().position(|(_, state)| is_attached(state, handle));
        // A state without a name has not run: its script was not loaded yet, so a saved state of it could not be found.
        let is_named = position.is_some_and(|position| !old[position].1.script.is_empty());
        let saved = if is_named { None } else { names.unattached_state(handle, &old) };
        let mut state = match saved.or(position) {
            Some(position) => old.remove(position).1,
            None => {
                let series = *next_series;
                *next_series = series.wrapping_add(1);
                ScriptState { series, ..ScriptState::default() }
            }
        };
        state.attached.asset = Some(handle.id());
        states.push(state);
    }
    for (slot, mut state) in old {
        if state.attached.asset.is_some() {
            let at = LastPlace { slot: slot as u32, changed: Tick::default() };
            stopped.push(entity, at, &mut state, *origin);
        } else if !state.script.is_empty() {
            // A saved state whose script is not on the entity yet is kept for it.
            states.push(state);
        }
    }
}

/// Finds the names of scripts by their handles.
#[derive(Clone, Copy)]
pub(super) struct ScriptNames<'k> {
    pub(super) scripts: &'k Assets<LuaScript>,
    pub(super) assets: Option<&'k AssetServer>,
}

impl ScriptNames<'_> {
    /// The first state of a script that belongs to no asset yet: it was loaded from a save or made by the game. It
    /// has the script's name, or its path while the script is not loaded.
    fn unattached_state(
        self,
        handle: &Handle<LuaScript>,
        states: &[(usize, ScriptState)],
    ) -> Option<usize> {
        let is_unattached = |state: &ScriptState| state.attached.asset.is_none();
        let find = |name: &str| {
            states.iter().position(|(_, state)| is_unattached(state) && state.script == name)
        };
        // Nearly always there is none.
        states.iter().find(|(_, state)| is_unattached(state))?;
        let script = self.scripts.get(handle);
        let by_name = script.and_then(|script| find(script.program().name()));
        by_name.or_else(|| find(&self.path_of(handle)?))
    }

    fn path_of(self, handle: &Handle<LuaScript>) -> Option<String> {
        handle
            .path()
            .cloned()
            .or_else(|| self.assets?.get_path(handle.id()).map(|path| path.into_owned()))
            .map(|path| path.to_string())
    }
}
