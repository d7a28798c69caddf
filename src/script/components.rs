//! [`LuaScripts`] and [`ScriptStates`]: which scripts an entity carries, and what they remember.

use std::sync::Arc;

use bevy::asset::AssetId;
use bevy::ecs::entity::{EntityMapper, MapEntities};
use bevy::prelude::{Component, Entity, Handle, ReflectComponent, ReflectDefault};
use bevy::reflect::{ReflectDeserialize, ReflectSerialize, TypePath};
use serde::{Deserialize, Serialize};
use smallvec::SmallVec;

use super::asset::LuaScript;
use super::backoff::Backoff;
use super::state_location::StateLocation;
use crate::value::{ScriptTable, deserialize_self, deserialize_text, reflect_struct};
use crate::vm::Program;

/// The scripts that an entity carries. They run in this order.
///
/// ```
/// # use bevy::prelude::*;
/// # use bevy_lua_pool::prelude::*;
/// fn spawn(mut commands: Commands, assets: Res<AssetServer>) {
///     commands.spawn(LuaScripts::new(assets.load("scripts/orbit.luau")));
/// }
/// # bevy::ecs::system::assert_is_system(spawn);
/// ```
///
/// Taking a script out of the list, removing the component or despawning the entity calls its
/// `on_stop`. One script put in another's place past change detection is not noticed.
#[derive(Component, TypePath, Clone, Debug, PartialEq)]
#[require(ScriptStates)]
pub struct LuaScripts {
    /// The scripts.
    pub scripts: Vec<Handle<LuaScript>>,
    /// Whether they run. While it is `false`, messages to them wait.
    pub enabled: bool,
}

impl Default for LuaScripts {
    fn default() -> Self {
        Self { scripts: Vec::new(), enabled: true }
    }
}

impl LuaScripts {
    /// A list of one script.
    #[must_use]
    pub fn new(script: Handle<LuaScript>) -> Self {
        Self { scripts: vec![script], ..Self::default() }
    }

    /// Adds a script after the others.
    #[must_use]
    pub fn with(mut self, script: Handle<LuaScript>) -> Self {
        // There are many entities with short lists: don't reserve more than is needed.
        self.scripts.reserve_exact(1);
        self.scripts.push(script);
        self
    }
}

impl FromIterator<Handle<LuaScript>> for LuaScripts {
    fn from_iter<I: IntoIterator<Item = Handle<LuaScript>>>(scripts: I) -> Self {
        let mut scripts = Vec::from_iter(scripts);
        scripts.shrink_to_fit();
        Self { scripts, ..Self::default() }
    }
}

/// What the scripts of an entity remember between runs: the `self` of each.
///
/// This is the whole state of a script, so saving it saves the script. It is matched with [`LuaScripts`] by
/// the scripts' names: insert a loaded one together with the scripts, and they go on where they were. The
/// name of a script is its asset path, or what [`LuaScript::from_source`] was given. If two scripts of an
/// entity have the same name, their order decides.
///
/// Entities in it are mapped, as in other components, when a scene is spawned or an entity is cloned.
#[derive(Component, TypePath, Clone, Debug, Default, Serialize, Deserialize)]
#[component(map_entities)]
#[serde(transparent)]
pub struct ScriptStates {
    #[serde(with = "states_as_list")]
    pub(crate) states: States,
    /// The entity from which this one descends, if a script spawned it. Its descendants share one limit of what they
    /// may spawn and how long they may run in one stage.
    #[serde(skip)]
    pub(crate) origin: Option<Entity>,
    /// The [`series`](ScriptState::series) of the next state.
    #[serde(skip)]
    pub(crate) series: u16,
}

reflect_struct!(LuaScripts { scripts: Vec<Handle<LuaScript>>, enabled: bool }
    ReflectComponent, ReflectDefault);
reflect_struct!(ScriptStates { states: States }
    ReflectComponent, ReflectDefault, ReflectSerialize, ReflectDeserialize);
reflect_struct!(ScriptState { script: String, started: bool, series: u16, draws: u32, fields: ScriptTable }
    ReflectDefault, ReflectSerialize, ReflectDeserialize);

impl MapEntities for ScriptStates {
    fn map_entities<M: EntityMapper>(&mut self, mapper: &mut M) {
        for state in &mut self.states {
            state.fields.map_entities(&mut |entity| mapper.get_mapped(entity));
        }
        self.origin = self.origin.map(|origin| mapper.get_mapped(origin));
    }
}

/// Most entities carry one script, whose state is stored inline.
pub(crate) type States = SmallVec<[ScriptState; 1]>;

/// Equal if the saved fields are equal.
impl PartialEq for ScriptStates {
    fn eq(&self, other: &Self) -> bool {
        self.states == other.states
    }
}

/// What one script of an entity remembers.
// In this order, so that the fields that are read in every frame are adjacent.
#[repr(C)]
#[derive(TypePath, Clone, Debug, Default, Serialize, Deserialize)]
pub struct ScriptState {
    /// The name of the script: its asset path, or what [`LuaScript::from_source`] was given.
    #[serde(deserialize_with = "deserialize_text")]
    pub script: String,
    /// Whether `on_start` has succeeded.
    pub started: bool,
    /// How many states the entity had before this one, so that each draws different random numbers.
    #[serde(default)]
    pub series: u16,
    /// Frames and fixed steps in which it drew random numbers, including failed runs, so that it draws new ones next
    /// time.
    #[serde(default)]
    pub draws: u32,
    /// Its `self`.
    #[serde(rename = "self", default, deserialize_with = "deserialize_self")]
    pub fields: ScriptTable,
    #[serde(skip)]
    pub(crate) attached: Attachment,
}

/// How a state is connected with its script while the app runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attachment {
    pub(crate) asset: Option<AssetId<LuaScript>>,
    /// The program that ran last; differs from the asset's after a reload.
    pub(crate) program: Option<Arc<Program>>,
    /// The number that its program had in the last frame.
    pub(crate) number: u32,
    /// Where the state was at that time.
    pub(crate) location: StateLocation,
    /// The program changed, and `on_reload` is due.
    pub(crate) reload: bool,
    /// Consecutive failures of its callbacks, and which are put aside.
    pub(crate) backoff: Backoff,
    /// For how many frames `on_update`, and for how many fixed steps `on_fixed_update`, has been waiting for a VM or for
    /// the frame's budget.
    pub(crate) waiting: [u16; 2],
    /// Seconds that the next `on_update` and `on_fixed_update` have to make up for, because they did not run.
    pub(crate) pending_delta: [f64; 2],
}

/// States are equal if they remember the same.
impl PartialEq for ScriptState {
    fn eq(&self, other: &Self) -> bool {
        (&self.script, self.started, &self.fields) == (&other.script, other.started, &other.fields)
            && (self.series, self.draws) == (other.series, other.draws)
    }
}

impl ScriptState {
    /// Where its random numbers go on.
    #[inline]
    pub(crate) fn draws(&self) -> u64 {
        u64::from(self.series) << 32 | u64::from(self.draws)
    }
}

impl ScriptStates {
    /// The `self` of a script, by its name.
    #[must_use]
    pub fn get(&self, script: &str) -> Option<&ScriptTable> {
        self.states.iter().find(|state| state.script == script).map(|state| &state.fields)
    }

    /// The `self` of a script, by its name, to be changed by the game between two frames.
    pub fn get_mut(&mut self, script: &str) -> Option<&mut ScriptTable> {
        self.states.iter_mut().find(|state| state.script == script).map(|state| &mut state.fields)
    }

    /// The series of the next state: none that a loaded state has.
    pub(crate) fn next_series(&self) -> u16 {
        let loaded = self.states.iter().map(|state| state.series.wrapping_add(1));
        loaded.chain([self.series]).max().unwrap_or(0)
    }

    /// All states, in the order of the scripts.
    pub fn iter(&self) -> impl Iterator<Item = &ScriptState> {
        self.states.iter()
    }

    /// Whether a script, or its `on_message` alone, was put aside after too many failures in a row, by its name.
    #[must_use]
    pub fn is_put_aside(&self, script: &str) -> bool {
        self.states
            .iter()
            .any(|state| state.script == script && state.attached.backoff.is_put_aside())
    }

    /// Lets scripts run again at once that were put aside after too many failures in a row.
    pub fn wake(&mut self) {
        for state in &mut self.states {
            state.attached.backoff = Backoff::default();
        }
    }
}

mod states_as_list {
    use serde::{Deserializer, Serialize, Serializer};

    use super::{ScriptState, States};
    use crate::value::deserialize_list;

    pub(super) fn serialize<S: Serializer>(states: &States, to: S) -> Result<S::Ok, S::Error> {
        states.as_slice().serialize(to)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<States, D::Error> {
        deserialize_list::<ScriptState, _>(from, "state").map(States::from_iter)
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::{FromReflect, PartialReflect};
    use smallvec::smallvec;

    use super::*;

    #[test]
    fn a_save_file_holds_what_scripts_remember_and_nothing_else() {
        let states = ScriptStates {
            states: smallvec![ScriptState {
                script: "scripts/a.luau".to_owned(),
                started: true,
                series: 1,
                draws: 2,
                fields: ScriptTable::from([("n", 3.0)]),
                attached: Attachment { number: 4, ..Attachment::default() },
            }],
            ..ScriptStates::default()
        };
        let text = ron::to_string(&states).expect("plain data serializes");
        assert_eq!(
            text,
            r#"[(script:"scripts/a.luau",started:true,series:1,draws:2,self:(fields:[(String("n"),Number(3.0))]))]"#
        );
        let loaded: ScriptStates = ron::from_str(&text).expect("and comes back");
        assert_eq!(loaded, states);
        assert_eq!(loaded.states[0].attached.number, 0);
    }

    #[test]
    fn a_save_of_several_scripts_comes_back_and_the_state_of_one_lies_in_the_component() {
        let text = r#"[(script:"a",started:false,series:0,draws:0,self:()),(script:"b",started:true,series:1,draws:7,self:(array:[Nil]))]"#;
        let loaded: ScriptStates = ron::from_str(text).expect("it is a save");
        assert_eq!(ron::to_string(&loaded).expect("plain data serializes"), text);
        let one = ScriptStates { states: loaded.states[1..].into(), ..ScriptStates::default() };
        let text = ron::to_string(&one).expect("plain data serializes");
        let one: ScriptStates = ron::from_str(&text).expect("and comes back");
        let reflected = ScriptStates::from_reflect(one.to_dynamic().as_ref());
        assert_eq!(reflected.as_ref(), Some(&one));
        for states in [&one, &one.clone(), &reflected.expect("it is one")] {
            assert!(!states.states.spilled());
        }
    }

    #[test]
    fn what_an_entity_carries_is_small() {
        assert_eq!(size_of::<Backoff>(), 8);
        assert_eq!(size_of::<Attachment>(), 88);
        assert_eq!(size_of::<ScriptState>(), 168);
        assert!(size_of::<ScriptStates>() <= 192);
        let scripts = [Handle::default(), Handle::default(), Handle::default()];
        let listed: LuaScripts = scripts.iter().filter(|_| true).cloned().collect();
        let [a, b, c] = scripts;
        for scripts in [listed, LuaScripts::new(a).with(b).with(c)] {
            assert_eq!(scripts.scripts.capacity(), 3);
        }
    }
}
