//! Rust closures that scripts call.

mod common;

use std::collections::{BTreeMap, HashMap};

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{ScriptValues, Variadic};
use common::{Lab, keep_log, log};

#[derive(Component, Reflect, Clone, Debug, PartialEq)]
struct Health(f32);

#[derive(Resource, Default)]
struct Score(u32);

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

#[test]
fn closures_take_no_one_or_several_arguments_with_and_without_context() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("nothing", |(): ()| 7.0)
        .add_lua_function("one", |x: f64| x * 2.0)
        .add_lua_function("two", |(a, b): (String, u8)| format!("{a}{b}"))
        .add_lua_function("whoami", |ctx: &mut ScriptContext, (): ()| ctx.entity())
        .add_lua_function("bare", || 8.0)
        .add_lua_function("me", |ctx: &mut ScriptContext| ctx.entity())
        .add_lua_function("me_and", |ctx: &mut ScriptContext, x: f64| {
            vec![ScriptValue::from(ctx.entity()), ScriptValue::from(x)]
        })
        .add_lua_function("silent", |_: f64| ());
    lab.does(
        (),
        "assert(nothing() == 7)
        assert(nothing(1, 2, 3) == 7, 'surplus arguments are ignored')
        assert(one(4) == 8)
        assert(two('a', 5) == 'a5')
        assert(whoami() == entity.id)
        assert(bare() == 8 and bare(1, 2) == 8)
        assert(me() == entity.id)
        local both = me_and(3)
        assert(both[1] == entity.id and both[2] == 3)
        assert(silent(1) == nil)",
    );
}

#[test]
fn closures_take_and_give_any_number_of_values() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("divide", |(a, b): (i64, i64)| match b {
            0 => Err("divide: by zero"),
            b => Ok((a / b, a % b)),
        })
        .add_lua_function("reversed", |ctx: &mut ScriptContext, all: Variadic<f64>| {
            let me = (all.len(), ctx.entity());
            let values = all.into_iter().rev().map(ScriptValue::from);
            values.chain([me.0.into(), me.1.into()]).collect::<ScriptValues>()
        });
    lab.does(
        (),
        "local quotient, rest = divide(17, 5)
        assert(quotient == 3 and rest == 2 and select('#', divide(1, 1)) == 2)
        local ok, message = pcall(divide, 1, 0)
        assert(not ok and string.find(message, 'by zero'))
        local a, b, count, me = reversed(1, 2)
        assert(a == 2 and b == 1 and count == 2 and me == entity.id)
        assert(select('#', reversed()) == 2)",
    );
}

#[test]
fn options_lists_and_maps_go_in_and_out() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("maybe", |x: Option<f64>| x.map(|x| x + 1.0))
        .add_lua_function("sum", |xs: Vec<f64>| xs.iter().sum::<f64>())
        .add_lua_function("range", |n: u32| (1..=n).collect::<Vec<_>>())
        .add_lua_function("total", |costs: HashMap<String, f64>| costs.values().sum::<f64>())
        .add_lua_function("double", |costs: BTreeMap<String, f64>| {
            costs.into_iter().map(|(name, cost)| (name, cost * 2.0)).collect::<BTreeMap<_, _>>()
        })
        .add_lua_function("same", |value: ScriptValue| value)
        .add_lua_function("at", |v: Vec3| v.x + v.y + v.z)
        .add_lua_function("flat", |v: Vec2| Vec2::new(v.y, v.x));
    lab.does(
        (),
        "assert(maybe() == nil and maybe(nil) == nil and maybe(1) == 2)
        assert(sum({1, 2, 3}) == 6 and sum({}) == 0)
        local r = range(3)
        assert(#r == 3 and r[3] == 3)
        assert(total({a = 1, b = 2}) == 3)
        assert(double({a = 1}).a == 2)
        assert(same({1, {x = true}})[2].x == true)
        assert(at(vector.create(1, 2, 3)) == 6)
        assert(flat(vector.create(1, 2, 0)) == vector.create(2, 1, 0))",
    );
}

#[test]
fn an_error_that_a_closure_gives_is_raised_in_the_script_with_its_line() {
    let mut lab = Lab::new();
    lab.app.add_lua_function("game.buy", |price: f64| {
        if price > 10.0 { Err("too expensive") } else { Ok(10.0 - price) }
    });
    let failure = lab.refuses((), "self.rest = game.buy(3)\ngame.buy(30)");
    assert_says(&failure, &[":2: too expensive"]);
    let entity = lab.does((), "self.ok, self.problem = pcall(game.buy, 30)");
    assert_eq!(lab.field(entity, "ok"), false.into());
    assert_says(&lab.field(entity, "problem").to_string(), &["too expensive"]);
}

#[test]
fn a_wrong_argument_names_function_position_expected_and_got() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("game.damage", |_: (Entity, f32)| ())
        .add_lua_function("game.level", |_: u8| ())
        .add_lua_function("game.all", |_: Vec<Entity>| ())
        .add_lua_function("game.maybe", |_: Option<String>| ());
    for (lua, says) in [
        ("game.damage(entity.id, 'x')", "game.damage: argument 2 must be number, got string \"x\""),
        ("game.damage()", "game.damage: argument 1 must be Entity, got nil"),
        ("game.damage(entity.id)", "game.damage: argument 2 must be number, got nil"),
        (
            "game.level(256)",
            "game.level: argument 1 must be whole number from 0 to 255, got number 256",
        ),
        ("game.all({entity.id, 5})", "game.all: argument 1 must be list of Entity, got number 5"),
        ("game.maybe({})", "game.maybe: argument 1 must be string or nil, got table"),
        ("game.level(print)", "`game.level: argument 1` is a function"),
    ] {
        assert_says(&lab.refuses((), lua), &[says]);
    }
}

#[test]
fn dotted_names_make_tables_that_scripts_cannot_change() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("game.world.size", |(): ()| 10.0)
        .add_lua_function("game.world.name", |(): ()| "earth")
        .add_lua_function("game.quit", |(): ()| ());
    lab.does((), "assert(game.world.size() == 10 and game.world.name() == 'earth')");
    let failure = lab.refuses((), "game.world.size = nil");
    assert_says(&failure, &["readonly"]);
    lab.does((), "assert(game.world.size() == 10)");
}

#[test]
fn a_name_that_is_taken_or_malformed_is_logged_and_left_out() {
    keep_log();
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("clash.a", |(): ()| 1.0)
        .add_lua_function("clash.a", |(): ()| 2.0)
        .add_lua_function("clash", |(): ()| 3.0)
        .add_lua_function("clash.a.b", |(): ()| 4.0)
        .add_lua_function("math.sin", |(): ()| 5.0)
        .add_lua_function("clash-d", |(): ()| 6.0);
    let log = log();
    for says in [
        "`clash.a` is taken by `clash.a`",
        "`clash` is taken by `clash`",
        "`clash.a.b` is taken by `clash.a`",
        "`math.sin` is taken by `math`",
        "`clash-d` is not a Lua name",
    ] {
        assert!(log.contains(says), "{log:?} lacks {says:?}");
    }
    lab.does((), "assert(clash.a() == 1 and math.sin(0) == 0)");
}

#[test]
fn the_context_sees_what_the_script_has_written_and_the_world_does_not_yet() {
    let mut lab = Lab::new();
    lab.app.expose_component::<Health>().add_lua_function(
        "game.health",
        |ctx: &mut ScriptContext, id: Entity| {
            let in_world = ctx.world().get::<Health>(id).map(|health| health.0);
            vec![ctx.get::<Health>(id).map(|health| health.0), in_world]
                .into_iter()
                .map(|health| health.unwrap_or(-1.0))
                .collect::<Vec<_>>()
        },
    );
    let entity = lab.does(
        Health(5.0),
        "local function both() local h = game.health(entity.id); return h[1] .. ' ' .. h[2] end
        self.before = both()
        entity.Health[1] = 7
        self.written = both()
        entity.Health = nil
        self.removed = both()
        entity.Health = {9}
        self.inserted = both()",
    );
    assert_eq!(lab.field(entity, "before"), "5 5".into());
    assert_eq!(lab.field(entity, "written"), "7 5".into());
    assert_eq!(lab.field(entity, "removed"), "-1 5".into());
    assert_eq!(lab.field(entity, "inserted"), "9 5".into());
}

#[test]
fn a_queued_command_runs_after_the_script_s_own_writes() {
    let mut lab = Lab::new();
    lab.app.init_resource::<Score>().expose_component::<Health>().add_lua_function(
        "game.hit",
        |ctx: &mut ScriptContext, (target, amount): (Entity, f32)| {
            ctx.queue(move |world: &mut World| {
                if let Some(mut health) = world.get_mut::<Health>(target) {
                    health.0 -= amount;
                }
                world.resource_mut::<Score>().0 += 1;
            })
        },
    );
    let entity = lab.does(
        Health(5.0),
        "game.hit(entity.id, 1)
        assert(entity.Health[1] == 5, 'not yet')
        entity.Health[1] = 10
        game.hit(entity.id, 2)",
    );
    assert_eq!(lab.get::<Health>(entity), Health(7.0));
    assert_eq!(lab.app.world().resource::<Score>().0, 2);
}

#[test]
fn a_queued_command_of_a_failed_run_is_dropped() {
    let mut lab = Lab::new();
    lab.app.init_resource::<Score>().add_lua_function(
        "score",
        |ctx: &mut ScriptContext, (): ()| {
            ctx.queue(|world: &mut World| world.resource_mut::<Score>().0 += 1)
        },
    );
    lab.refuses((), "score()\nerror('no')");
    assert_eq!(lab.app.world().resource::<Score>().0, 0);
    lab.does((), "score()");
    assert_eq!(lab.app.world().resource::<Score>().0, 1);
}

#[test]
fn a_closure_sends_and_emits_in_the_name_of_the_script() {
    let mut lab = Lab::new();
    lab.app.add_lua_function("game.alarm", |ctx: &mut ScriptContext, to: Entity| {
        ctx.send(to, "alarm", 3.0)?;
        ctx.emit("alarm", "rung")
    });
    let guard = lab.entity(
        "guard.luau",
        "function on_message(self, name, payload, sender)
            self.name, self.payload, self.sender = name, payload, sender
        end",
    );
    lab.app.add_message::<ScriptEvent>();
    let text = "function on_message(self, name, guard) game.alarm(guard) end";
    let thief = lab.entity("thief.luau", text);
    lab.app.world_mut().write_message(ToScript::new(thief, "go", guard));
    lab.frame();
    let events = lab.drain::<ScriptEvent>();
    assert_eq!(events.len(), 1);
    assert_eq!((events[0].entity, &events[0].payload), (thief, &"rung".into()));
    lab.frame();
    assert_eq!(lab.field(guard, "name"), "alarm".into());
    assert_eq!(lab.field(guard, "payload"), 3.0.into());
    assert_eq!(lab.field(guard, "sender"), thief.into());
}

#[test]
fn a_panic_in_a_closure_fails_that_run_alone_and_the_app_goes_on() {
    let mut lab = Lab::new();
    lab.app.add_lua_function("game.crash", |x: f64| {
        assert!(x < 0.0, "the hull broke at {x}");
    });
    let bad = lab.entity(
        "bad.luau",
        "function on_start(self) self.n = 0 end
        function on_update(self) self.n += 1 pcall(game.crash, 3) end",
    );
    let good = lab.entity("good.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    lab.frames(2);
    let failures = lab.failures();
    assert_eq!(failures.len(), 2, "caught by the script, but not forgiven: {failures:?}");
    let says =
        "the host function `game.crash` panicked: the hull broke at 3; this is a bug in the game";
    assert_says(&failures[0], &["bad.luau", says]);
    assert_eq!(lab.field(bad, "n"), 0.0.into());
    assert_eq!(lab.field(good, "n"), 2.0.into());
}

#[test]
fn an_entity_that_the_run_spawned_is_refused_as_argument_and_says_why() {
    let mut lab = Lab::new();
    lab.app
        .add_lua_function("game.mark", |_: (f64, Entity)| ())
        .add_lua_function("game.mark_all", |_: Vec<Entity>| ());
    let says =
        ["argument 2 must be an entity that is in the world", "just spawned", "next frame on"];
    let failure = lab.refuses((), "game.mark(1, world.spawn{})");
    assert_says(&failure, &says);
    let failure = lab.refuses((), "game.mark_all({entity.id, world.spawn{}})");
    assert_says(&failure, &["game.mark_all: argument 1 must be an entity that is in the world"]);
    lab.does((), "world.spawn{} game.mark(1, entity.id)");
}

#[test]
fn host_functions_are_out_of_reach_at_the_file_level() {
    let mut lab = Lab::new();
    lab.app.add_lua_function("game.now", |(): ()| 1.0);
    lab.entity("a.luau", "local now = game.now()\nfunction on_update() end");
    lab.frame();
    let failure = lab.failures().remove(0);
    assert_says(
        &failure,
        &["a.luau:1: `game.now` is not available while the file itself is loaded"],
    );
}

#[test]
fn a_run_that_queues_more_than_it_may_fails_and_names_the_setting() {
    let config = LuaPoolConfig { max_commands: 3, ..common::patient() };
    let mut lab = Lab::with_config(config);
    lab.app.init_resource::<Score>().add_lua_function(
        "score",
        |ctx: &mut ScriptContext, (): ()| {
            ctx.queue(|world: &mut World| world.resource_mut::<Score>().0 += 1)
        },
    );
    let failure = lab.refuses((), "for i = 1, 4 do score() end");
    assert_says(&failure, &["more than 3 commands in one run", "`max_commands`"]);
    lab.does((), "for i = 1, 3 do score() end");
    assert_eq!(lab.app.world().resource::<Score>().0, 3);
}
