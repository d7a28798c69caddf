//! Clean: every run starts from the same pristine state. Nothing that a run does is visible to
//! another one, except through its own `self`, the ECS, and messages.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{ScriptError, ScriptFailed};
use common::{Lab, patient};

/// `mark` leaves marks in every way, `census` finds them.
const MARKER: &str = include_str!("common/marker.luau");

/// Tells what it finds in each callback, then leaves marks of its own.
const PROBE: &str = "
local function look(self, callback)
    emit(callback, census())
    emit('random', math.random())
    mark(self)
end
function on_start(self) look(self, 'start') end
function on_update(self) look(self, 'update') end
function on_fixed_update(self) look(self, 'fixed update') end
function on_message(self) look(self, 'message') end
function on_stop(self) look(self, 'stop') end
";

/// A list, so that tables are handed to scripts.
#[derive(Component, Reflect, Clone, Default)]
struct Bag {
    items: Vec<f64>,
}

fn bag() -> Bag {
    Bag { items: vec![1.0, 2.0] }
}

/// One VM, so that everybody meets everybody.
fn one_vm() -> LuaPoolConfig {
    LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        max_failures: 0,
        ..patient()
    }
}

fn lab(config: LuaPoolConfig) -> Lab {
    let mut lab = Lab::with_config(config);
    lab.app
        .expose_component::<Bag>()
        .add_lua_function("panics", |(): ()| -> f64 { panic!("on purpose") })
        // One fixed step a frame, however many frames loading took.
        .insert_resource(Time::<Fixed>::from_duration(common::STEP));
    lab
}

/// What the probe finds in a few frames, between two neighbours that run this script.
fn findings(config: LuaPoolConfig, neighbour: Option<&str>) -> Vec<(String, ScriptValue)> {
    let mut lab = lab(config);
    let hostile = lab.script("hostile.luau", neighbour.unwrap_or_default());
    let probe = lab.script("probe.luau", &format!("{MARKER}{PROBE}"));
    let world = lab.app.world_mut();
    let [before, probed, after] = [(); 3].map(|()| world.spawn((Transform::default(), bag())).id());
    world.entity_mut(probed).insert(LuaScripts::new(probe));
    if neighbour.is_some() {
        for entity in [before, after] {
            world.entity_mut(entity).insert(LuaScripts::new(hostile.clone()));
        }
    }
    let mut found = Vec::new();
    for frame in 0..4 {
        let world = lab.app.world_mut();
        for entity in [before, probed, after] {
            if frame < 3 {
                world.write_message(ToScript::new(entity, "look", ScriptValue::Nil));
            } else {
                world.entity_mut(entity).remove::<LuaScripts>();
            }
        }
        lab.frame();
        let events = lab.drain::<ScriptEvent>().into_iter();
        found.extend(
            events.filter(|event| event.entity == probed).map(|event| (event.name, event.payload)),
        );
        let failures = lab.failures();
        assert!(failures.iter().all(|failure| !failure.starts_with("probe")), "{failures:#?}");
        let rows = lab.snapshot().scripts.iter();
        let ran = rows.filter(|row| &*row.path == "hostile.luau" && row.runs > 0).count();
        if frame < 3 {
            assert_eq!(ran, usize::from(neighbour.is_some()), "a neighbour runs if there is one");
        }
    }
    assert_eq!(found.len(), 2 * 11, "start, 3 frames of 3 callbacks, stop");
    found
}

/// Asserts that the probe finds the same next to this script as it finds alone.
#[track_caller]
fn leaves_nothing(neighbour: &str) {
    leaves_nothing_with(one_vm(), neighbour);
}

#[track_caller]
fn leaves_nothing_with(config: LuaPoolConfig, neighbour: &str) {
    let alone = findings(config.clone(), None);
    let beside = findings(config, Some(neighbour));
    for ((name, alone), (_, beside)) in alone.iter().zip(&beside) {
        assert_same(name, alone, beside);
    }
}

/// Compares line by line, so that a difference is read at once.
#[track_caller]
fn assert_same(name: &str, expected: &ScriptValue, found: &ScriptValue) {
    let (ScriptValue::String(expected_text), ScriptValue::String(found_text)) = (expected, found)
    else {
        assert_eq!(expected, found, "{name}");
        return;
    };
    for (expected, found) in expected_text.lines().zip(found_text.lines()) {
        assert_eq!(expected, found, "{name}");
    }
    assert_eq!(expected_text, found_text, "{name}");
}

/// A script that does this in each of its callbacks, and then does `last`.
fn in_every_callback(body: &str, last: &str) -> String {
    let callbacks = ["start", "update", "fixed_update", "message", "stop"]
        .map(|name| format!("function on_{name}(self) act(self) {last} end\n"));
    format!("{MARKER}\nlocal function act(self) {body} end\n{}", callbacks.concat())
}

#[test]
fn a_run_finds_no_mark_of_another_run_of_the_same_entity() {
    let found = findings(one_vm(), None);
    let censuses: Vec<_> = found.iter().filter(|(name, _)| name != "random").collect();
    for (name, census) in &censuses {
        assert_same(name, &censuses[0].1, census);
    }
    let ScriptValue::String(census) = &censuses[0].1 else { panic!("not a text") };
    for line in [
        "captured: 0",
        "list: 0",
        "counter: 1",
        "generator: 1",
        "instance: 0",
        "kept: nil",
        "the items: 1,2",
        "items are one table: true",
        "an unknown global: function",
        "table: table",
        "method of a string: MARK",
        "string is frozen: true",
    ] {
        assert!(census.lines().any(|found| found == line), "{line:?} is not in {census}");
    }
}

#[test]
fn random_numbers_differ_from_run_to_run() {
    let found = findings(one_vm(), None);
    let mut numbers: Vec<_> = found
        .iter()
        .filter(|(name, _)| name == "random")
        .map(|(_, number)| number.to_string())
        .collect();
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 11);
}

#[test]
fn a_neighbour_that_marks_everything_is_not_noticed() {
    leaves_nothing(&in_every_callback("mark(self)", ""));
}

#[test]
fn a_neighbour_that_marks_everything_and_fails_is_not_noticed() {
    leaves_nothing(&in_every_callback("mark(self)", "error('on purpose')"));
}

#[test]
fn a_neighbour_whose_errors_are_objects_is_not_noticed() {
    let objects = "
        local function text() return mark and mark() or 'mark' end
        local trap = setmetatable({}, {__tostring = text})
        pcall(error, trap)
        error(trap)";
    leaves_nothing(&in_every_callback(objects, ""));
}

#[test]
fn a_neighbour_that_marks_at_the_file_level_is_not_noticed() {
    leaves_nothing(&format!(
        "{MARKER}\nvalues_of_mark = pcall(mark, {{}})\nstring = nil\nfunction on_update() end"
    ));
    leaves_nothing("math.random() math.random() mark = 1 error('on purpose')");
}

#[test]
fn a_neighbour_that_changes_lists_of_components_is_not_noticed() {
    let lists = "
        local items = entity.Bag.items
        table.insert(items, 7)
        items[1] = 'not a number'
        kept = items";
    leaves_nothing(&in_every_callback(lists, ""));
    leaves_nothing(&in_every_callback("table.insert(entity.Bag.items, 7)", ""));
    leaves_nothing(&in_every_callback("table.insert(entity.Bag.items, 7)", "error('on purpose')"));
}

#[test]
fn a_neighbour_that_leaves_coroutines_behind_is_not_noticed() {
    let threads = "
        for _ = 1, 50 do
            local thread = coroutine.create(function(...)
                mark = ...
                coroutine.yield(mark)
            end)
            coroutine.resume(thread, self)
            self[#self + 1] = coroutine.status(thread)
        end
        coroutine.wrap(function() error('on purpose') end)()";
    leaves_nothing(&in_every_callback(threads, ""));
}

#[test]
fn a_neighbour_whose_host_function_panics_is_not_noticed() {
    leaves_nothing(&in_every_callback("pcall(mark, self) panics()", ""));
}

#[test]
fn a_neighbour_that_runs_out_of_memory_is_not_noticed() {
    let hog = "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end";
    let small = LuaPoolConfig {
        pool: PoolConfig { memory_limit: 2 * 1024 * 1024, ..one_vm().pool },
        ..one_vm()
    };
    leaves_nothing_with(small.clone(), &in_every_callback(hog, ""));
    leaves_nothing_with(small, &format!("{MARKER}\npcall(mark, {{}})\n{hog}"));
}

#[test]
fn a_neighbour_that_runs_out_of_time_is_not_noticed() {
    // The probe needs a hundredth of this limit.
    let limit = std::time::Duration::from_millis(300);
    let brief = LuaPoolConfig { run_time_limit: limit, ..one_vm() };
    leaves_nothing_with(brief, &format!("{MARKER}\npcall(mark, {{}})\nwhile true do end"));
}

#[test]
fn a_run_of_one_script_finds_no_mark_of_another_script_of_its_entity() {
    let mut lab = lab(one_vm());
    let marker = lab.script("a.luau", &in_every_callback("mark(self)", ""));
    let probe = lab.script("b.luau", &format!("{MARKER}{PROBE}"));
    let scripts = LuaScripts::new(marker).with(probe);
    lab.app.world_mut().spawn((Transform::default(), bag(), scripts));
    let mut censuses = Vec::new();
    for _ in 0..3 {
        lab.frame();
        let events = lab.drain::<ScriptEvent>();
        censuses.extend(events.into_iter().filter(|event| event.name != "random"));
    }
    assert_eq!(lab.failures(), [""; 0]);
    assert!(censuses.len() >= 7, "{}", censuses.len());
    for census in &censuses {
        assert_same(&census.name, &censuses[0].payload, &census.payload);
    }
}

#[test]
fn self_components_and_messages_are_the_ways_from_run_to_run() {
    let mut lab = lab(one_vm());
    let script = "
        function on_update(self)
            self.n = (self.n or 0) + 1
            entity.Transform.translation += vector.create(1, 0, 0)
            table.insert(entity.Bag.items, self.n)
            send(entity.id, 'hello', self.n)
        end
        function on_message(self, name, n) self.heard = n end";
    let entity = lab.entity("a.luau", script);
    lab.app.world_mut().entity_mut(entity).insert(bag());
    lab.frames(3);
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.field(entity, "n"), 3.0.into());
    assert_eq!(lab.field(entity, "heard"), 2.0.into());
    assert_eq!(lab.transform(entity).translation.x, 3.0);
    let bag = lab.app.world().get::<Bag>(entity).expect("it has one");
    assert_eq!(bag.items, [1.0, 2.0, 1.0, 2.0, 3.0]);
}

/// Does something else in every run: whatever can end a run, or leave something behind.
const MOODY: &str = r#"
local NAMES = { "calm", "hurt" }

local function describe(self)
    local keys = {}
    for key in self do table.insert(keys, tostring(key)) end
    return table.concat(keys, " ")
end

function on_update(self, dt)
    self.met = `{describe(self)} {math.random()} {entity} {entity.Transform.translation}`
    self.turn = (self.turn or 0) + 1
    local mood = entity.Transform.translation.z % 12
    entity.Transform.translation += vector.create(1, mood, 0)
    if mood == 0 then
        error(`{NAMES[2]} in turn {self.turn}`)
    elseif mood == 1 then
        self.list = { mood, { name = NAMES[1] } }
    elseif mood == 2 then
        self.list = nil
    elseif mood == 3 then
        local hoard = {}
        while true do table.insert(hoard, string.rep("x", 100000) .. #hoard) end
    elseif mood == 4 then
        self.callback = describe
    elseif mood == 5 then
        emit("mood", { turn = self.turn, items = entity.Bag.items })
        table.insert(entity.Bag.items, self.turn)
    elseif mood == 6 then
        setmetatable(self, { __index = NAMES })
    elseif mood == 7 then
        pcall(function() self.text = "x" error({}) end)
    elseif mood == 8 then
        self.text = nil
    elseif mood == 9 then
        while entity.Transform.translation.z > 60 do end
    elseif mood == 10 then
        local endless
        endless = function() return 1 + endless() end
        self.ok = pcall(endless)
    end
    log.info(mood)
end
"#;

/// What came of many entities with this script, which run one after another, or apart: with something else to
/// do before each.
fn crowd_of(script: &str, apart: bool) -> Vec<String> {
    const CROWD: usize = 60;
    let config = LuaPoolConfig {
        run_memory_limit: Some(256 * 1024),
        run_time_limit: std::time::Duration::from_millis(60),
        ..one_vm()
    };
    config.validate().expect("it is valid");
    let mut lab = lab(config);
    let script = lab.script("moody.luau", script);
    let all: Vec<Entity> = (0..CROWD)
        .map(|_| {
            let scripts = LuaScripts::new(script.clone());
            lab.app.world_mut().spawn((Transform::default(), bag(), scripts)).id()
        })
        .collect();
    let mut seen = Vec::new();
    for frame in 0..14 {
        for (n, entity) in all.iter().enumerate() {
            let mut place = lab.app.world_mut().get_mut::<Transform>(*entity).expect("it has one");
            place.translation.z = (n + frame) as f32;
            if apart {
                // No script takes it, but each has to be asked.
                let message = ToScript::new(*entity, "anything", ScriptValue::Nil);
                lab.app.world_mut().write_message(message);
            }
        }
        lab.frame();
        seen.extend(lab.drain::<ScriptEvent>().iter().map(|event| format!("{event:?}")));
        seen.extend(lab.drain::<ScriptFailed>().iter().map(|failed| {
            // What was used up is not the same each time.
            let error = match &failed.failure.error {
                ScriptError::TimedOut { setting, .. } => setting.name().to_owned(),
                ScriptError::OutOfMemory { setting, .. } => setting.name().to_owned(),
                error => error.to_string(),
            };
            format!("{} {error} {:?}", failed.entity, failed.failure.line)
        }));
    }
    for entity in all {
        let bag = &lab.app.world().get::<Bag>(entity).expect("it has one").items;
        seen.push(format!("{entity} {:?} {bag:?} {}", lab.transform(entity), lab.state(entity)));
    }
    seen
}

/// That the runs of this script come to the same, whatever those before them did.
#[track_caller]
fn each_comes_to_the_same(script: &str) -> Vec<String> {
    let together = crowd_of(script, false);
    let apart = crowd_of(script, true);
    for (together, apart) in together.iter().zip(&apart) {
        assert_eq!(together, apart);
    }
    assert_eq!(together.len(), apart.len());
    together
}

#[test]
fn a_run_comes_to_the_same_whatever_those_before_it_did() {
    let seen = each_comes_to_the_same(MOODY);
    for ending in ["hurt in turn", "run_memory_limit", "run_time_limit", "a function", "metatable"]
    {
        assert!(seen.iter().any(|line| line.contains(ending)), "{ending}: {seen:#?}");
    }
}

#[test]
fn a_file_level_that_only_some_runs_change_is_the_same_for_all() {
    // On an image, until the first of them writes to it.
    let change = "NAMES[1] = NAMES[1] .. self.turn self.text = NAMES[1]";
    let script = MOODY.replace("self.text = nil", change);
    let seen = each_comes_to_the_same(&script);
    assert!(seen.iter().any(|line| line.contains("text = \"calm")), "{seen:#?}");
}
