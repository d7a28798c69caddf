//! Live values of the host behind `Namespace.path.to.value`: read when they are read.
#![cfg(feature = "data-formats")]
#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::{Served, SharedValues, ValueServer};
use bevy_lua_pool::{LuaEngine, LuauPool, ScriptError, modules};
use common::Lab;

fn game() -> SharedValues {
    let game = SharedValues::new();
    game.set("player.health", 80.0);
    game.set("player.name", "Ann");
    let mut items = ScriptTable::default();
    items.push("rope");
    game.set("items", items);
    game
}

fn engine_with(server: impl ValueServer) -> LuaEngine {
    let mut engine = LuaEngine::new().unwrap();
    engine.register_server("Game", server).unwrap();
    engine
}

#[test]
fn a_value_is_read_when_it_is_read() {
    let game = game();
    let mut engine = engine_with(game.clone());
    engine.run("player = Game.player; function health() return Game.player.health end").unwrap();
    for health in [80.0, 79.0, 78.0] {
        game.set("player.health", health);
        for source in
            ["Game.player.health", "player.health", "health()", "Game['player']['health']"]
        {
            assert_eq!(engine.evaluate(source), Ok(health.into()), "{source}");
        }
    }
    game.set("player.mana", 1.0);
    assert_eq!(engine.evaluate("player.mana"), Ok(1.0.into()));
    assert_eq!(engine.evaluate("Game.items[1]"), Ok("rope".into()));
    assert_eq!(engine.evaluate("typeof(Game.player)"), Ok("Namespace".into()));
    assert_eq!(engine.evaluate("tostring(Game.player)"), Ok("Game.player".into()));
}

#[test]
fn nothing_is_asked_before_a_script_reads() {
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let mut engine = engine_with(move |path: &[&str]| {
        count.fetch_add(1, Ordering::Relaxed);
        Served::Value(path.join("/").as_str().into())
    });
    engine.run("function read() return Game.value end").unwrap();
    assert_eq!(asked.load(Ordering::Relaxed), 0);
    assert_eq!(engine.call("read", ()), Ok("value".into()));
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(engine.evaluate("Game[7]"), Ok("7".into()));
}

#[test]
fn a_missing_name_is_an_error_that_suggests_one() {
    let mut engine = engine_with(game());
    let failure = engine.evaluate("Game.player.healt").unwrap_err();
    assert_eq!(
        failure.to_string().lines().next(),
        Some("chunk:1: `Game.player` has no field `healt`, did you mean `health`?")
    );
    assert!(engine.evaluate("Game.nothing").is_err());
    let odd = engine.evaluate("Game['a\\0b']").unwrap_err();
    assert!(matches!(odd.error, ScriptError::UnknownField { .. }), "{odd}");
}

#[test]
fn a_namespace_can_be_read_only() {
    let mut engine = engine_with(game());
    for source in ["Game.x = 1", "Game.player.health = 1", "Game = nil; Game.player = 1"] {
        let failure = engine.run(source).unwrap_err();
        assert!(matches!(failure.error, ScriptError::ReadOnly { .. }), "{source}: {failure}");
    }
    assert!(engine.run("rawset(Game, 'x', 1)").is_err());
    assert!(engine.run("setmetatable(Game, {})").is_err());
    assert_eq!(engine.evaluate("getmetatable(Game)"), Ok(false.into()));
    assert_eq!(engine.evaluate("Game.player.health"), Ok(80.0.into()));
}

#[test]
fn a_namespace_is_visited_name_by_name() {
    let mut engine = engine_with(game());
    let visited = engine.evaluate(
        "local out = {} for name, value in Game.player do table.insert(out, name .. '=' .. value) end
        return table.concat(out, ' ')",
    );
    assert_eq!(visited, Ok("health=80 name=Ann".into()));
    assert_eq!(
        engine.evaluate("local n = 0 for name, value in Game do n += 1 end return n"),
        Ok(2.0.into())
    );
}

#[test]
fn after_unregister_every_way_to_it_is_an_error_until_it_is_registered_again() {
    let mut engine = engine_with(game());
    engine.run("kept = Game.player; root = Game").unwrap();
    assert_eq!(engine.stats().servers, 1);
    assert!(engine.unregister("Game"));
    assert_eq!(engine.stats().servers, 0);
    for source in ["Game.player", "kept.health", "root.player.health"] {
        let failure = engine.evaluate(source).unwrap_err();
        assert_eq!(failure.error, ScriptError::Unregistered { name: "Game".into() }, "{source}");
    }
    assert!(engine.run("for name in Game do end").is_err());
    let other = SharedValues::new();
    other.set("player.health", 1.0);
    engine.register_server("Game", other).unwrap();
    assert_eq!(engine.evaluate("kept.health"), Ok(1.0.into()));
}

#[test]
fn a_name_that_is_taken_is_refused() {
    let mut engine = engine_with(game());
    assert!(engine.register_server("Game", game()).is_err());
    assert!(engine.register_server("math", game()).is_err());
    assert!(engine.register_function("Game.f", |_: ()| 1).is_err());
    engine.register_server("deep.Game", game()).unwrap();
    assert_eq!(engine.evaluate("deep.Game.player.health"), Ok(80.0.into()));
}

#[test]
fn a_server_that_panics_fails_the_call_even_if_the_script_catches_it() {
    let mut engine = engine_with(|_: &[&str]| -> Served { panic!("in the server") });
    let failure = engine.run("pcall(function() return Game.x.y end)").unwrap_err();
    assert!(matches!(failure.error, ScriptError::HostPanicked { .. }), "{failure}");
    assert!(failure.to_string().contains("Game.x"), "{failure}");
    assert_eq!(engine.evaluate("1"), Ok(1.0.into()));
}

#[test]
fn a_pool_outside_bevy_has_servers_too() {
    let game = game();
    let pool = LuauPool::builder().server("Game", game.clone()).build().unwrap();
    let read = || pool.execute("Game.player.health + params.x", [("x", 1.0)]).unwrap();
    assert_eq!(read(), 81.0.into());
    game.set("player.health", 1.0);
    assert_eq!(read(), 2.0.into());
    pool.register_server("Late", game.clone()).unwrap();
    assert_eq!(pool.execute("Late.player.name", ScriptTable::default()).unwrap(), "Ann".into());
}

// ---- entity scripts ----------------------------------------------------------------------------

#[test]
fn entity_scripts_read_live_values() {
    let game = game();
    let mut lab = Lab::new();
    lab.app.add_value_server("Game", game.clone());
    let entity = lab.entity(
        "a.luau",
        "function on_update(self) self.health = Game.player.health; self.first = Game.items[1] end",
    );
    lab.frame();
    assert_eq!(lab.field(entity, "health"), 80.0.into());
    game.set("player.health", 5.0);
    lab.frame();
    assert_eq!(lab.field(entity, "health"), 5.0.into());
    assert_eq!(lab.field(entity, "first"), "rope".into());
    let failure = lab.refuses((), "Game.player.health = 3");
    assert!(failure.contains("`Game.player.health` can be read but not written"), "{failure}");
}

#[test]
fn the_file_level_cannot_read_live_values() {
    let mut lab = Lab::new();
    lab.app.add_value_server("Game", game());
    lab.entity("a.luau", "local health = Game.player.health\nfunction on_start(self) end");
    lab.frame();
    let failure = lab.failures().remove(0);
    assert!(failure.contains("a.luau:1: `Game.player` is not available while"), "{failure}");
}

#[test]
fn a_server_that_was_removed_is_an_error_and_can_come_back() {
    let game = game();
    let mut lab = Lab::new();
    lab.app.add_value_server("Game", game.clone());
    lab.does((), "assert(Game.player.health == 80)");
    lab.app.remove_value_server("Game");
    let failure = lab.refuses((), "print(Game.player.health)");
    assert!(failure.contains("`Game` is gone"), "{failure}");
    lab.app.add_value_server("Game", game);
    lab.does((), "assert(Game.player.health == 80)");
}

#[derive(Component, Reflect, Default, Clone, PartialEq, Debug)]
struct Mana(f32);

#[test]
fn what_a_running_app_adds_is_seen_by_every_later_run() {
    let mut lab = Lab::new();
    lab.does((), "assert(Late == nil and late == nil and json == nil)");
    let refused = lab.refuses(Mana(1.0), "entity.Mana[1] = 2");
    assert!(refused.contains("no component `Mana`"), "{refused}");
    let before = lab.app.world().resource::<LuaPool>().vms().stats().created;

    let world = lab.app.world_mut();
    world
        .add_value_server("Late", game())
        .add_lua_function("late", |ctx: &mut ScriptContext, (): ()| ctx.entity())
        .add_lua_module(modules::json())
        .add_lua_module(modules::math())
        .expose_component::<Mana>();
    let entity = lab.does(
        Mana(1.0),
        "assert(Late.player.health == 80)
        assert(late() == entity.id)
        assert(json.encode({1}) == '[1]')
        assert(math.pi > 3)
        entity.Mana[1] = 2",
    );
    assert_eq!(lab.get::<Mana>(entity), Mana(2.0));
    assert!(lab.app.world().resource::<LuaPool>().vms().stats().created > before);
}

#[test]
fn a_command_may_add_a_function_while_scripts_run() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "a.luau",
        "function on_update(self) self.seen = late ~= nil and late() or 'nothing' end",
    );
    lab.frame();
    assert_eq!(lab.field(entity, "seen"), "nothing".into());
    lab.app.add_systems(PostUpdate, |mut commands: Commands, mut done: Local<bool>| {
        if !std::mem::replace(&mut *done, true) {
            commands.queue(|world: &mut World| {
                world.add_lua_function("late", |(): ()| "here");
            });
        }
    });
    lab.frames(2);
    assert_eq!(lab.field(entity, "seen"), "here".into());
}
