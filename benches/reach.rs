//! What a script's reach costs: reading and writing each kind of leaf, calling the host, messages,
//! entities, state.
//!
//! ```text
//! cargo bench --bench reach
//! ```
//!
//! Each operation has a script that does it so many times in `on_update`, and one that does everything
//! but it; both run on 1,000 entities, on one worker, in turn. What an operation costs is the difference
//! of the two, of the whole stage: with applying what it wrote.

mod common;

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::ScriptTable;
use bevy_lua_pool::prelude::*;
use common::counting::Counting;
use common::{
    Way, add_script, app, assert_no_failure, finish, is_quick, limited, nanos, side_by_side,
    undisturbed,
};

#[global_allocator]
static HEAP: Counting = Counting;

const ENTITIES: usize = 1_000;

/// One field of each kind.
#[derive(Component, Reflect, Clone, Debug, Default)]
#[reflect(Default)]
struct Kinds {
    f32: f32,
    f64: f64,
    i32: i32,
    u64: u64,
    flag: bool,
    text: String,
    v2: Vec2,
    v3: Vec3,
    quat: Quat,
    mood: Mood,
    maybe: Option<f32>,
    list: Vec<f32>,
    map: HashMap<String, f32>,
    inner: Inner,
}

#[derive(Component, Reflect, Clone, Debug, Default)]
#[reflect(Default)]
struct Inner {
    deep: f32,
}

#[derive(Reflect, Clone, Debug, Default)]
#[reflect(Default)]
enum Mood {
    #[default]
    Calm,
    Angry,
}

/// Another entity to reach for.
#[derive(Component, Reflect, Clone, Debug)]
struct Next {
    entity: Entity,
}

/// What is measured: what one script does and the other one doesn't.
struct Case {
    group: &'static str,
    name: String,
    with: String,
    without: String,
    /// How many times it is done.
    times: usize,
}

impl Case {
    fn new(group: &'static str, name: &str, with: String, without: String, times: usize) -> Self {
        Self { group, name: name.to_owned(), with, without, times }
    }

    /// An operation in `on_update`, and what happens around it anyway: before the callbacks, and in it.
    fn operation(
        group: &'static str,
        name: &str,
        (file_level, around): (&str, &str),
        operation: &str,
        times: usize,
    ) -> Self {
        let script = |times: usize| {
            let operations = format!("    {operation}\n").repeat(times);
            format!("{file_level}\nfunction on_update(self, dt)\n    {around}\n{operations}end\n")
        };
        Self::new(group, name, script(times), script(0), times)
    }
}

/// Runs and does nothing.
const EMPTY: &str = "function on_update(self, dt)\nend\n";

fn main() {
    let cases = cases();
    // Many have the same surroundings.
    let scripts: Vec<&str> = cases
        .iter()
        .flat_map(|case| [case.with.as_str(), case.without.as_str()])
        .chain([EMPTY])
        .collect::<BTreeSet<&str>>()
        .into_iter()
        .collect();
    let mut ways: Vec<Way> = scripts.iter().map(|script| stage_of(script)).collect();
    let rounds = if is_quick() { 3 } else { 15 };
    let samples = side_by_side(&mut ways, rounds, Duration::from_millis(10));
    let of = |script: &str| {
        let place = scripts.binary_search(&script).expect("it was measured");
        undisturbed(&samples[place]) / ENTITIES as f64
    };
    let floor = of(EMPTY);

    println!("### What reaching costs\n");
    println!("An empty callback takes {floor:.0} ns: one worker, 1,000 entities, whole stage.\n");
    println!("| what | ns | empty callbacks |\n| --- | ---: | ---: |");
    let mut group = "";
    for case in &cases {
        let cost = (of(&case.with) - of(&case.without)) / case.times as f64;
        if case.group != group {
            group = case.group;
            println!("| **{group}** | | |");
        }
        println!("| {} | {cost:.0} | {:.2} |", case.name, cost / floor);
    }
}

/// Reading is repeated; writing is done once a frame, for the stage applies each field once.
const READS: usize = 8;

fn cases() -> Vec<Case> {
    let mut cases = leaves("own entity", "local c = entity.Kinds");
    cases.extend(leaves("another entity", "local c = world.get(entity.Next.entity).Kinds"));
    cases.extend(places());
    cases.extend(host_functions());
    cases.extend(what_goes_out());
    cases.extend(states());
    cases
}

/// Getting and setting each kind of leaf of a component.
fn leaves(whose: &str, component: &str) -> Vec<Case> {
    // Name, field, and how to make another value of the one read.
    const LEAVES: [(&str, &str, &str); 14] = [
        ("`f32`", "f32", "v + 1"),
        ("`f64`", "f64", "v + 1"),
        ("`i32`", "i32", "v + 1"),
        ("`u64`", "u64", "v + 1"),
        ("`bool`", "flag", "not v"),
        ("`String` of 5 bytes", "text", "v == 'hello' and 'world' or 'hello'"),
        ("`Vec2`", "v2", "v + ONE2"),
        ("`Vec3`", "v3", "v + ONE"),
        ("`enum`", "mood", "v == 'Calm' and 'Angry' or 'Calm'"),
        ("`Option<f32>`", "maybe", "v + 1"),
        ("list of 4", "list", "LISTS[v[1]]"),
        ("map of 4", "map", "MAPS[v.a]"),
        ("one of a `Quat`", "quat.x", "v + 1"),
        ("field of a nested struct", "inner.deep", "v + 1"),
    ];
    const VALUES: &str = "
        local ONE, ONE2 = vector.create(1, 1, 1), vector.create(1, 1, 0)
        local LISTS = { [1] = { 2, 2, 3, 4 }, [2] = { 1, 2, 3, 4 } }
        local MAPS = { [1] = { a = 2, b = 2, c = 3, d = 4 }, [2] = { a = 1, b = 2, c = 3, d = 4 } }
    ";
    let get = LEAVES.iter().map(|(name, field, _)| {
        let name = format!("get {name}, {whose}");
        let operation = format!("local _ = c.{field}");
        Case::operation("leaves", &name, (VALUES, component), &operation, READS)
    });
    let set = LEAVES.iter().map(|(name, field, other)| {
        // Whoever holds the struct is looked up before.
        let (holder, field) = match field.split_once('.') {
            Some((holder, field)) => (format!("local h = c.{holder}"), format!("h.{field}")),
            None => (String::new(), format!("c.{field}")),
        };
        let name = format!("set {name}, {whose}");
        let around = format!("{component} {holder} local v = {field} local new = {other}");
        Case::operation("leaves", &name, (VALUES, &around), &format!("{field} = new"), 1)
    });
    get.chain(set).collect()
}

fn places() -> Vec<Case> {
    let case =
        |name, around, operation| Case::operation("places", name, ("", around), operation, READS);
    vec![
        case("`entity.id`", "", "local _ = entity.id"),
        case("`entity.Kinds`", "", "local _ = entity.Kinds"),
        case("`world.get(id)`", "local id = entity.Next.entity", "local _ = world.get(id)"),
        case("`world.exists(id)`", "local id = entity.Next.entity", "local _ = world.exists(id)"),
        case("`time.delta`", "", "local _ = time.delta"),
    ]
}

fn host_functions() -> Vec<Case> {
    let case = |name, around, operation| {
        Case::operation("host functions", name, ("", around), operation, READS)
    };
    vec![
        case("`()`", "", "call.nothing()"),
        case("`f64 -> f64`", "", "local _ = call.one(dt)"),
        case("`(f64, f64) -> f64`", "", "local _ = call.two(dt, dt)"),
        case("`(f64, f64, f64, f64) -> f64`", "", "local _ = call.four(dt, dt, dt, dt)"),
        case("`bool -> bool`", "", "local _ = call.flag(true)"),
        case("`String -> String`, 5 bytes", "", "local _ = call.text('hello')"),
        case("`Vec3 -> Vec3`", "local v = vector.one", "local _ = call.vec3(v)"),
        case("`Entity -> Entity`", "local id = entity.id", "local _ = call.entity(id)"),
        case("`Option<f64> -> Option<f64>`, nil", "", "local _ = call.maybe(nil)"),
        case(
            "`ScriptTable -> ScriptTable`, 3 fields",
            "local t = { a = 1, b = 2, c = 3 }",
            "local _ = call.table(t)",
        ),
        case("`(&mut ScriptContext, f64) -> f64`", "", "local _ = call.context(dt)"),
    ]
}

fn what_goes_out() -> Vec<Case> {
    let case = |name, (file_level, around), operation| {
        Case::operation("what goes out", name, (file_level, around), operation, 1)
    };
    let id = "local id = entity.id";
    let taker = "function on_message(self, name, payload, sender) end";
    vec![
        case("`send` to one without `on_message`", ("", id), "send(id, 'hit', 3)"),
        case("the same, a table of 2 fields", ("", id), "send(id, 'hit', { a = 1, b = 2 })"),
        case("`send`, and the run of `on_message`", (taker, id), "send(id, 'hit', 3)"),
        case("`emit`", ("", ""), "emit('hit', 3)"),
        case("`world.spawn` with a component", ("", ""), "world.spawn({ Transform = {} })"),
        case("a component replaced", ("", ""), "entity.Inner = { deep = dt }"),
    ]
}

/// States of so many fields, against none.
fn states() -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [1, 10, 100] {
        let lines =
            |line: fn(usize) -> String| (0..fields).map(line).collect::<Vec<_>>().join("\n    ");
        let values = lines(|field| format!("self.field{field} = {field}"));
        let start = format!("function on_start(self)\n    {values}\nend\n");
        for (what, update) in [
            ("unused", String::new()),
            ("one read", "local _ = self.field0".to_owned()),
            ("one changed", "self.field0 += 1".to_owned()),
            ("all changed", lines(|field| format!("self.field{field} += 1"))),
        ] {
            let with = format!("{start}function on_update(self, dt)\n    {update}\nend\n");
            let plural = if fields == 1 { "" } else { "s" };
            let name = format!("{fields} field{plural}, {what}");
            cases.push(Case::new("state, against none", &name, with, EMPTY.to_owned(), 1));
        }
    }
    cases
}

/// The stage of an app whose entities run a script.
fn stage_of(script: &str) -> Way {
    let mut app = app(limited(Some(1)));
    app.expose_component::<Kinds>()
        .expose_component::<Inner>()
        .expose_component::<Next>()
        .add_lua_function("call.nothing", |(): ()| ())
        .add_lua_function("call.one", |x: f64| x)
        .add_lua_function("call.two", |(x, _): (f64, f64)| x)
        .add_lua_function("call.four", |(x, _, _, _): (f64, f64, f64, f64)| x)
        .add_lua_function("call.flag", |flag: bool| flag)
        .add_lua_function("call.text", |text: String| text)
        .add_lua_function("call.vec3", |v: Vec3| v)
        .add_lua_function("call.entity", |entity: Entity| entity)
        .add_lua_function("call.maybe", |x: Option<f64>| x)
        .add_lua_function("call.table", |table: ScriptTable| table)
        .add_lua_function("call.context", |_: &mut ScriptContext, x: f64| x)
        .add_systems(Last, despawn_spawned);
    finish(&mut app);
    let script = add_script(&mut app, "reach.luau", script);
    let kinds = Kinds {
        text: "hello".to_owned(),
        maybe: Some(1.0),
        list: vec![1.0, 2.0, 3.0, 4.0],
        map: ["a", "b", "c", "d"]
            .iter()
            .zip(1..)
            .map(|(key, n)| ((*key).to_owned(), n as f32))
            .collect(),
        ..Kinds::default()
    };
    let world = app.world_mut();
    let entities: Vec<Entity> = (0..ENTITIES)
        .map(|_| {
            world.spawn((kinds.clone(), Inner::default(), LuaScripts::new(script.clone()))).id()
        })
        .collect();
    for (place, entity) in entities.iter().enumerate() {
        let next = entities[(place + 1) % ENTITIES];
        world.entity_mut(*entity).insert(Next { entity: next });
    }
    app.update();
    app.update();
    Box::new(move || {
        app.update();
        assert_no_failure(&app);
        nanos(app.world().resource::<LuaSnapshot>().frame.time)
    })
}

/// What scripts spawned goes, so that every frame is like the others.
fn despawn_spawned(
    mut commands: Commands,
    spawned: Query<Entity, (With<Transform>, Without<LuaScripts>)>,
) {
    spawned.iter().for_each(|entity| commands.entity(entity).despawn());
}
