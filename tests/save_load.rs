//! What scripts remember goes into a save and comes back from it.

mod common;

use bevy::asset::AssetApp;
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
fn random_numbers_go_on_where_they_were_when_the_game_was_saved() {
    const DRAWS: &str = "function on_update(self) self.drawn = math.random() end";
    let spawned = |states: ScriptStates| {
        let mut lab = Lab::new();
        // Both have one text and one name, so their numbers differ by nothing but what is saved.
        let script = lab.script("scripts/draws.luau", DRAWS);
        let scripts: LuaScripts = [script.clone(), script].into_iter().collect();
        let entity = lab.app.world_mut().spawn((scripts, states)).id();
        (lab, entity)
    };
    let drawn = |lab: &Lab, entity: Entity| -> Vec<ScriptValue> {
        let states = lab.get::<ScriptStates>(entity);
        states.iter().map(|state| state.fields.get("drawn").clone()).collect()
    };
    let (mut lab, entity) = spawned(ScriptStates::default());
    lab.frames(5);
    let (mut loaded, same) = spawned(saved(&lab, entity));
    assert_eq!(same, entity, "random numbers depend on it");
    for _ in 0..3 {
        lab.frame();
        loaded.frame();
        let expected = drawn(&lab, entity);
        assert_ne!(expected[0], expected[1]);
        assert_eq!(drawn(&loaded, entity), expected);
    }
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

const COUNT: &str = "
function on_start(self) self.starts = (self.starts or 0) + 1; self.n = 0 end
function on_update(self) self.n += 1 end
function on_stop(self) emit('stopped', self) end
";

/// A script that comes from no file.
fn from_source(lab: &mut Lab, name: &str) -> Handle<LuaScript> {
    let script = LuaScript::from_source(name, COUNT).expect("it compiles");
    lab.app.world_mut().resource_mut::<Assets<LuaScript>>().add(script)
}

/// The states of an entity as its scripts count in them: name, starts, n.
fn counts(lab: &Lab, entity: Entity) -> Vec<(String, ScriptValue, ScriptValue)> {
    lab.get::<ScriptStates>(entity)
        .iter()
        .map(|state| {
            let [starts, n] = ["starts", "n"].map(|field| state.fields.get(field).clone());
            (state.script.clone(), starts, n)
        })
        .collect()
}

fn counted<const N: usize>(
    states: [(&str, f64, f64); N],
) -> Vec<(String, ScriptValue, ScriptValue)> {
    let state = |(name, starts, n): (&str, f64, f64)| (name.to_owned(), starts.into(), n.into());
    states.map(state).into()
}

/// Saves hold a number that tells one state from another.
fn save<const N: usize>(states: [(&str, f64); N]) -> ScriptStates {
    let state = |(name, n)| {
        format!(
            "(script:{name:?},started:true,self:(fields:[(String(\"n\"),Number({n:?})),\
             (String(\"starts\"),Number(1.0))]))"
        )
    };
    let states = states.map(state).join(",");
    ron::from_str(&format!("[{states}]")).expect("it is a save")
}

#[test]
fn a_state_of_a_script_that_comes_from_no_file_is_found_by_the_scripts_name() {
    let mut lab = Lab::new();
    let script = from_source(&mut lab, "regrow");
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.frames(5);
    let states = saved(&lab, entity);

    let mut lab = Lab::new();
    let script = from_source(&mut lab, "regrow");
    let entity = lab.app.world_mut().spawn((LuaScripts::new(script), states)).id();
    lab.frames(3);
    assert_eq!(counts(&lab, entity), counted([("regrow", 1.0, 8.0)]));
    // As well in the app where it was saved, over what came since.
    let before = saved(&lab, entity);
    lab.frames(2);
    lab.app.world_mut().entity_mut(entity).insert(before);
    lab.frame();
    assert_eq!(counts(&lab, entity), counted([("regrow", 1.0, 9.0)]));
}

#[test]
fn states_of_one_name_are_matched_in_their_order() {
    let mut lab = Lab::new();
    let [a, b] = [(); 2].map(|()| from_source(&mut lab, "twin"));
    let file = lab.script("file.luau", COUNT);
    let scripts = |handles: [&Handle<LuaScript>; 5]| handles.into_iter().cloned().collect();
    let scripts: LuaScripts = scripts([&file, &a, &b, &file, &a]);
    let names = ["file.luau", "twin", "twin", "file.luau", "twin"];
    let states = names.map(|name| (name, 0.0));
    let mut number = 0.0;
    let states = states.map(|(name, _)| {
        number += 100.0;
        (name, number)
    });
    let entity = lab.app.world_mut().spawn((scripts, save(states))).id();
    lab.frame();
    let expected = states.map(|(name, n)| (name, 1.0, n + 1.0));
    assert_eq!(counts(&lab, entity), counted(expected));
    // One less: its own state goes, and no other.
    lab.app.world_mut().get_mut::<LuaScripts>(entity).expect("it has it").scripts.remove(2);
    lab.frame();
    let stopped = lab.drain::<ScriptEvent>();
    let stopped: Vec<_> = stopped.iter().map(|event| event.payload.to_string()).collect();
    assert_eq!(stopped, ["{n = 301, starts = 1}"]);
    let [first, second, _, fourth, fifth] = states.map(|(name, n)| (name, 1.0, n + 2.0));
    assert_eq!(counts(&lab, entity), counted([first, second, fourth, fifth]));
}

#[test]
fn a_state_waits_for_a_script_that_is_made_later_under_a_handle_without_path() {
    let mut lab = Lab::new();
    let handle = lab.app.world().resource::<Assets<LuaScript>>().reserve_handle();
    let late = LuaScripts::new(handle.clone()).with(handle.clone());
    let states = save([("late", 10.0), ("late", 20.0)]);
    let entity = lab.app.world_mut().spawn((late, states)).id();
    lab.frames(3);
    let script = LuaScript::from_source("late", COUNT).expect("it compiles");
    let world = lab.app.world_mut();
    world.resource_mut::<Assets<LuaScript>>().insert(&handle, script).expect("the handle is alive");
    lab.frame();
    assert_eq!(counts(&lab, entity), counted([("late", 1.0, 11.0), ("late", 1.0, 21.0)]));
}

/// A file of several scripts: each line is the name of one.
#[derive(Asset, TypePath)]
struct Pack(#[expect(dead_code, reason = "they live as long as it")] Vec<Handle<LuaScript>>);

#[derive(Default, TypePath)]
struct PackLoader;

impl bevy::asset::AssetLoader for PackLoader {
    type Asset = Pack;
    type Settings = ();
    type Error = std::io::Error;

    async fn load(
        &self,
        reader: &mut dyn bevy::asset::io::Reader,
        (): &(),
        context: &mut bevy::asset::LoadContext<'_>,
    ) -> Result<Pack, std::io::Error> {
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes).await?;
        let names = String::from_utf8_lossy(&bytes).into_owned();
        let scripts = names.lines().map(|name| {
            let script = LuaScript::from_source(name, COUNT).expect("it compiles");
            context.add_labeled_asset(name.to_owned(), script)
        });
        Ok(Pack(scripts.collect()))
    }

    fn extensions(&self) -> &[&str] {
        &["pack"]
    }
}

#[test]
fn a_state_of_a_script_that_is_a_part_of_another_asset_is_found_while_it_loads_and_afterwards() {
    let pack = || {
        let mut lab = Lab::new();
        lab.app.init_asset::<Pack>().register_asset_loader(PackLoader);
        lab.file("all.pack", "one\ntwo");
        let server = lab.app.world().resource::<AssetServer>().clone();
        let [one, two] = ["all.pack#one", "all.pack#two"].map(|path| server.load(path));
        (lab, one, two)
    };
    let play = |lab: &mut Lab, entity: Entity| {
        lab.until(|lab| {
            counts(lab, entity).iter().all(|(_, starts, _)| *starts != ScriptValue::Nil)
        });
        lab.frames(3);
    };
    let (mut lab, one, two) = pack();
    let entity = lab.app.world_mut().spawn(LuaScripts::new(one).with(two)).id();
    play(&mut lab, entity);
    let states = saved(&lab, entity);
    let (mut lab, one, two) = pack();
    let entity = lab.app.world_mut().spawn((LuaScripts::new(two).with(one), states.clone())).id();
    play(&mut lab, entity);
    let found = counts(&lab, entity);
    let starts: Vec<_> = found.iter().map(|(name, starts, _)| (name.as_str(), starts)).collect();
    assert_eq!(starts, [("two", &1.0.into()), ("one", &1.0.into())]);
    // The path serves as well: it is how people write a save by hand.
    let (mut lab, one, _) = pack();
    let save = save([("all.pack#one", 50.0)]);
    let entity = lab.app.world_mut().spawn((LuaScripts::new(one), save)).id();
    lab.until(|lab| counts(lab, entity)[0].2 == 53.0.into());
    assert_eq!(counts(&lab, entity), counted([("one", 1.0, 53.0)]));
}

#[test]
fn a_script_that_gets_another_name_is_saved_under_that() {
    let mut lab = Lab::new();
    let handle = from_source(&mut lab, "old");
    let entity = lab.app.world_mut().spawn(LuaScripts::new(handle.clone())).id();
    lab.frames(2);
    let script = LuaScript::from_source("new", COUNT).expect("it compiles");
    let world = lab.app.world_mut();
    world.resource_mut::<Assets<LuaScript>>().insert(&handle, script).expect("the handle is alive");
    lab.frames(2);
    let states = saved(&lab, entity);
    let mut lab = Lab::new();
    let script = from_source(&mut lab, "new");
    let entity = lab.app.world_mut().spawn((LuaScripts::new(script), states)).id();
    lab.frame();
    assert_eq!(counts(&lab, entity), counted([("new", 1.0, 5.0)]));
}
