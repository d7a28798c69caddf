//! What scripts remember goes into a save and comes back from it.

mod common;

use bevy::prelude::*;
use bevy::reflect::TypeRegistry;
use bevy::reflect::serde::{ReflectDeserializer, ReflectSerializer};
use bevy_lua_pool::prelude::*;
use common::Lab;
use serde::de::DeserializeSeed;

const SCRIPT: &str = "
function on_start(self)
    self.starts = (self.starts or 0) + 1
    self.n = 0
    self.list = {1, 'x', {true}}
    self.at = vector.create(1, 2, 3)
    self.map = {[true] = 1, [0.5] = 'half', key = {deep = {deeper = 'hé'}}}
    self.bytes = '\\255\\0'
    self.big = 2^53
    self.tiny = 5e-324
end
function on_update(self) self.n += 1 end
function on_reload(self) self.reloaded = true end
";

/// What a save file gives back.
fn saved(lab: &Lab, entity: Entity) -> ScriptStates {
    let states = lab.get::<ScriptStates>(entity);
    let text = ron::to_string(&states).expect("plain data serializes");
    let loaded = ron::from_str(&text).expect("and comes back");
    assert_eq!(states, loaded);
    loaded
}

/// A fresh app in which an entity goes on with loaded states.
fn load(states: ScriptStates) -> (Lab, Entity) {
    let mut lab = Lab::new();
    let script = lab.script("scripts/hero.luau", SCRIPT);
    let entity = lab.app.world_mut().spawn((LuaScripts::new(script), states)).id();
    (lab, entity)
}

fn play() -> (Lab, Entity) {
    let mut lab = Lab::new();
    let entity = lab.entity("scripts/hero.luau", SCRIPT);
    lab.frames(5);
    (lab, entity)
}

#[test]
fn states_go_through_a_ron_file_into_a_fresh_app_and_scripts_go_on() {
    let (lab, entity) = play();
    let before = lab.state(entity);
    let (mut lab, entity) = load(saved(&lab, entity));
    lab.frames(3);
    let mut expected = before;
    expected.set("n", 8.0);
    assert_eq!(lab.state(entity), expected, "neither started nor reloaded again");
}

#[test]
fn states_go_through_reflection_as_scenes_and_inspectors_see_them() {
    let (lab, entity) = play();
    let states = saved(&lab, entity);
    let mut registry = TypeRegistry::new();
    registry.register::<ScriptStates>();
    let serializer = ReflectSerializer::new(&states, &registry);
    let text = ron::to_string(&serializer).expect("it reflects serde");
    let mut reader = ron::Deserializer::from_str(&text).expect("it is RON");
    let loaded = ReflectDeserializer::new(&registry)
        .deserialize(&mut reader)
        .expect("it comes back")
        .try_take::<ScriptStates>()
        .expect("as what it was");
    assert_eq!(loaded, states);
    let (mut lab, entity) = load(loaded);
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 6.0.into());
    assert_eq!(lab.field(entity, "starts"), 1.0.into());
}

#[test]
fn states_are_matched_with_scripts_by_path_whatever_their_order() {
    let mut lab = Lab::new();
    let count =
        "function on_start(self) self.n = START end\nfunction on_update(self) self.n += 1 end";
    let scripts = |lab: &mut Lab| {
        [("a.luau", "0"), ("b.luau", "100")]
            .map(|(path, start)| lab.script(path, &count.replace("START", start)))
    };
    let [a, b] = scripts(&mut lab);
    let entity = lab.app.world_mut().spawn(LuaScripts::new(a).with(b)).id();
    lab.frames(2);
    let states = saved(&lab, entity);

    let mut lab = Lab::new();
    let [a, b] = scripts(&mut lab);
    let entity = lab.app.world_mut().spawn((LuaScripts::new(b).with(a), states)).id();
    lab.frame();
    let states = saved(&lab, entity);
    assert_eq!(states.get("a.luau").map(|state| state.get("n")), Some(&3.0.into()));
    assert_eq!(states.get("b.luau").map(|state| state.get("n")), Some(&103.0.into()));
}

#[test]
fn a_loaded_state_waits_for_a_script_that_is_not_there_yet() {
    let (lab, entity) = play();
    let states = saved(&lab, entity);
    let mut lab = Lab::new();
    let script = lab.script("scripts/hero.luau", SCRIPT);
    let entity = lab.app.world_mut().spawn((LuaScripts::default(), states)).id();
    lab.frames(3);
    lab.app.world_mut().get_mut::<LuaScripts>(entity).expect("it has it").scripts.push(script);
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 6.0.into());
}

#[test]
fn the_game_can_change_what_a_script_remembers() {
    let (mut lab, entity) = play();
    let mut states = lab.app.world_mut().get_mut::<ScriptStates>(entity).expect("it has them");
    states.get_mut("scripts/hero.luau").expect("it has run").set("n", 100.0);
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 101.0.into());
}

#[test]
fn states_count_as_changed_only_when_they_did() {
    #[derive(Resource, Default)]
    struct Changes(usize);
    let mut lab = Lab::new();
    lab.app.init_resource::<Changes>().add_systems(
        Last,
        |changed: Query<(), Changed<ScriptStates>>, mut changes: ResMut<Changes>| {
            changes.0 += changed.iter().count();
        },
    );
    lab.entity("a.luau", "function on_update(self) self.n = math.min((self.n or 0) + 1, 3) end");
    lab.frame();
    lab.app.world_mut().resource_mut::<Changes>().0 = 0;
    lab.frames(5);
    assert_eq!(lab.app.world().resource::<Changes>().0, 2, "from 1 to 3");
}
