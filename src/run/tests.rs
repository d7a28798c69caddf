//! What lasts from frame to frame doesn't grow, whatever scripts do.

use std::path::Path;
use std::time::Duration;

use bevy::MinimalPlugins;
use bevy::app::App;
use bevy::asset::io::memory::{Dir, MemoryAssetReader};
use bevy::asset::io::{AssetSourceBuilder, AssetSourceId};
use bevy::asset::{AssetApp, AssetPlugin, Assets};
use bevy::prelude::{Messages, Resource, With, Without};

use super::{ScriptEvent, ScriptFailed};
use crate::bindings::{Backlog, NamedScripts, Population, SpawnedByScript};
use crate::config::LuaPoolConfig;
use crate::plugin::LuaPoolPlugin;
use crate::pool::PoolConfig;
use crate::run::frame::Frame;
use crate::run::mailbox::Mailbox;
use crate::run::report::Report;
use crate::run::stop::StopQueue;
use crate::script::{LuaScript, LuaScripts, ScriptStates};
use crate::snapshot::{ERROR_ROWS, INCIDENT_ROWS, LuaSnapshot};
use crate::value::ScriptValue;

/// Makes ever new ones of all that it can.
const HOSTILE: &str = r#"
function on_start(self) self.n = 0 end
function on_update(self)
    self.n += 1
    for n = 1, 4 do
        local scripts = {`gone/{self.n}/{n}.luau`, "./stops.luau"}
        local spawned, id = pcall(world.spawn, {scripts = scripts, parent = self.last})
        if spawned and (self.n + n) % 16 == 0 then
            self.last = if self.n % 50 == 0 then nil else id
        elseif spawned then
            world.despawn(id)
        end
    end
    for n = 1, 40 do
        send(entity.id, `name {self.n} {n}`, ("x"):rep(2000))
        if self.to then pcall(send, self.to, `name {self.n} {n}`, ("x"):rep(2000)) end
        emit(`name {self.n} {n}`, ("x"):rep(2000))
    end
    if self.n % 10 == 0 then pcall(world.spawn, {scripts = {"stops.luau"}}) end
    _G[`global_{self.n}`] = true
    print(`line {self.n}`)
end
function on_message(self, name, payload)
    if name == "to" then self.to = payload return end
    if self.n % 2 == 0 then error(`error {self.n} {name}`) end
end
"#;

/// A script of spawned entities that stops soon, and makes all that it can in its `on_stop`.
const STOPS: &str = r#"
function on_start(self) self.n = 0 end
function on_update(self)
    self.n += 1
    if self.n == 3 then world.despawn(entity.id) end
end
function on_stop(self)
    world.spawn()
    send(entity.id, `stopped {entity.id}`, ("x"):rep(2000))
    emit(`stopped {entity.id}`, ("x"):rep(2000))
    _G[`global_{entity.id}`] = true
    print(`{entity.id} stops`)
end
"#;

fn get<R: Resource>(app: &App) -> &R {
    app.world().resource()
}

#[test]
fn nothing_that_lasts_grows_for_ever() {
    let patience = Duration::from_secs(60);
    let config = LuaPoolConfig {
        pool: PoolConfig {
            max_size: 2,
            acquire_timeout: patience,
            create_timeout: patience,
            reset_timeout: patience,
            ..PoolConfig::default()
        },
        max_failures: 0,
        run_time_limit: patience,
        ..LuaPoolConfig::default()
    };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let root = Dir::default();
    root.insert_asset_text(Path::new("stops.luau"), STOPS);
    let memory = MemoryAssetReader { root };
    let source = AssetSourceBuilder::new(move || Box::new(memory.clone()));
    let mut app = App::new();
    app.register_asset_source(AssetSourceId::Default, source);
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let world = app.world_mut();
    let mut scripts = world.resource_mut::<Assets<LuaScript>>();
    let mut add =
        |path: &str, source: &str| scripts.add(LuaScript::from_source(path, source).unwrap());
    let (hostile, sleeps) = (add("hostile.luau", HOSTILE), add("sleeps.luau", ""));
    let asleep = LuaScripts { enabled: false, ..LuaScripts::new(sleeps) };
    let asleep = world.spawn(asleep).id();
    for _ in 0..3 {
        let entity = world.spawn(LuaScripts::new(hostile.clone())).id();
        world.write_message(super::ToScript::new(entity, "to", asleep));
    }
    let mut versions = 0;
    for frame in 0..1200 {
        if frame % 2 == 0 {
            // Another script comes, runs and goes.
            let path = format!("comes_and_goes/{frame}.luau");
            let source = "function on_update() end";
            let script = LuaScript::from_source(&path, source).unwrap();
            let world = app.world_mut();
            let script = world.resource_mut::<Assets<LuaScript>>().add(script);
            let entity = world.spawn(LuaScripts::new(script)).id();
            app.update();
            app.world_mut().despawn(entity);
            versions += 1;
        }
        app.update();
        if frame % 100 != 99 {
            continue;
        }
        let report = get::<Report>(&app);
        assert!(report.figures.iter().count() <= 1024, "figures");
        assert!(report.errors.len() <= ERROR_ROWS && report.incidents.len() <= INCIDENT_ROWS);
        assert!(get::<LuaSnapshot>(&app).scripts.len() <= 1024, "rows");
        let (mailbox, backlog) = (get::<Mailbox>(&app), get::<Backlog>(&app));
        // To itself, what it sent in one frame; to the one that sleeps, what may wait.
        assert!(mailbox.len() <= 3 * (2048 + 200), "{} messages wait", mailbox.len());
        assert!(backlog.len() <= 3, "{} pairs", backlog.len());
        assert!(get::<NamedScripts>(&app).len() <= NamedScripts::OF_ONE + 1, "names");
        assert!(get::<Population>(&app).origins() <= 3, "origins");
        assert!(get::<StopQueue>(&app).stopped.len() <= 1000, "stops");
        assert!(get::<Frame>(&app).programs.list.len() <= 64, "programs");
        assert!(get::<Messages<ScriptEvent>>(&app).len() <= 1000, "events");
        assert!(get::<Messages<ScriptFailed>>(&app).len() <= 1000, "failures");
    }
    assert_eq!(versions, 600);
    let total = get::<LuaSnapshot>(&app).total;
    assert!(total.failed > 1000 && total.undelivered > 1000, "it tried: {total:?}");
    let mut by_stops =
        app.world_mut().query_filtered::<(), (With<SpawnedByScript>, Without<LuaScripts>)>();
    let stops = by_stops.iter(app.world()).count();
    assert!(stops > 100, "{stops} scripts of spawned entities stopped");
}

#[test]
fn of_spawns_that_are_too_many_together_those_that_come_first_in_the_order_of_the_stage_stay() {
    let config =
        LuaPoolConfig { run_time_limit: Duration::from_secs(60), ..LuaPoolConfig::default() };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let world = app.world_mut();
    let source = "function on_start(self) for n = 1, 3 do self[`e{n}`] = world.spawn() end end";
    let script = LuaScript::from_source("spawns.luau", source).unwrap();
    let script = world.resource_mut::<Assets<LuaScript>>().add(script);
    let origin = world.spawn_empty().id();
    let mut spawned = || world.spawn(SpawnedByScript { origin }).id();
    let (first, second) = (spawned(), spawned());
    // There is room for four more.
    (0..Population::OF_ONE - 6).for_each(|_| _ = spawned());
    for entity in [first, second] {
        world.entity_mut(entity).insert(LuaScripts::new(script.clone()));
    }
    app.update();
    let lives = |entity| {
        let states = app.world().get::<ScriptStates>(entity).expect("it carries a script");
        let fields = &states.iter().next().expect("it ran").fields;
        ["e1", "e2", "e3"].map(|name| match fields.get(name) {
            ScriptValue::Entity(entity) => app.world().get_entity(*entity).is_ok(),
            other => panic!("{name} is {other}"),
        })
    };
    assert_eq!((lives(first), lives(second)), ([true; 3], [true, false, false]));
    let total = get::<LuaSnapshot>(&app).total;
    assert_eq!(total.spawned, 4, "{total:?}");
}

/// What a run may spawn depends on its own entity, not on who ran before it on the same VM.
#[test]
fn a_run_in_a_batch_spawns_on_behalf_of_its_own_origin() {
    let config = LuaPoolConfig {
        pool: PoolConfig { max_size: 1, ..PoolConfig::default() },
        run_time_limit: Duration::from_secs(60),
        ..LuaPoolConfig::default()
    };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let world = app.world_mut();
    let source = "function on_update(self) self.spawns = pcall(world.spawn) end
        function on_message() end";
    let script = LuaScript::from_source("spawns.luau", source).unwrap();
    let script = world.resource_mut::<Assets<LuaScript>>().add(script);
    let origin = world.spawn_empty().id();
    let states = ScriptStates { origin: Some(origin), ..ScriptStates::default() };
    let scripts = || LuaScripts::new(script.clone());
    let descendant = world.spawn((SpawnedByScript { origin }, scripts(), states)).id();
    let free = world.spawn(scripts()).id();
    // No further descendants may be spawned.
    (1..Population::OF_ONE).for_each(|_| _ = world.spawn(SpawnedByScript { origin }));
    app.update();
    // A message keeps the descendant out of the batch.
    app.world_mut().write_message(super::ToScript::new(descendant, "name", ScriptValue::Nil));
    app.update();
    let spawns = |entity| {
        let states = app.world().get::<ScriptStates>(entity).expect("it carries a script");
        states.iter().next().expect("it ran").fields.get("spawns").clone()
    };
    assert_eq!(spawns(descendant), ScriptValue::Bool(false));
    assert_eq!(spawns(free), ScriptValue::Bool(true));
}

#[test]
fn each_run_is_counted_on_the_way_that_it_took() {
    let config = LuaPoolConfig {
        pool: PoolConfig { max_size: 1, ..PoolConfig::default() },
        run_time_limit: Duration::from_secs(60),
        ..LuaPoolConfig::default()
    };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let world = app.world_mut();
    let clean = "function on_start(self) self.n = 0 end
        function on_update(self) self.n += 1 if self.n == 3 then error('once') end end
        function on_message() end";
    let mut receiver = None;
    for (path, source, count) in [
        ("clean.luau", clean, 10),
        ("counts.luau", "local n = 0 function on_update() n += 1 end", 4),
    ] {
        let script = LuaScript::from_source(path, source).unwrap();
        let script = world.resource_mut::<Assets<LuaScript>>().add(script);
        for _ in 0..count {
            let entity = world.spawn(LuaScripts::new(script.clone())).id();
            receiver.get_or_insert(entity);
        }
    }
    let ways = |app: &mut App| {
        app.update();
        let snapshot = get::<LuaSnapshot>(app);
        let paths = snapshot.frame_paths;
        assert_eq!(snapshot.frame.runs, paths.run_in_batches + paths.run_one_by_one);
        (paths.run_in_batches, paths.run_one_by_one, paths.run_on_fresh_file_level)
    };
    ways(&mut app);
    assert_eq!(ways(&mut app), (10, 4, 4));
    // The run that fails was in the batch, too.
    assert_eq!(ways(&mut app), (10, 4, 4));
    let receiver = receiver.expect("there are some");
    app.world_mut().write_message(super::ToScript::new(receiver, "name", ScriptValue::Nil));
    assert_eq!(ways(&mut app), (9, 6, 4), "it takes the message and is updated");
}
