//! What scripts can make more and more of, and how much of it there is at most: names, messages, errors, log
//! lines, levels of a hierarchy and of a value.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::ScriptFailed;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::{Library, SandboxConfig};
use common::{Lab, keep_log, log, patient};

fn number(lab: &Lab, entity: Entity, field: &str) -> f64 {
    match lab.field(entity, field) {
        ScriptValue::Number(number) => number,
        ScriptValue::Nil => 0.0,
        other => panic!("{field} is {other}"),
    }
}

/// Lines of the log with this in them.
fn lines_with(text: &str) -> usize {
    log().lines().filter(|line| line.contains(text)).count()
}

// ---- paths -----------------------------------------------------------------------------------------

const SPELLINGS: &str = r#"
function on_update(self)
    self.n = (self.n or 0) + 1
    for n = 1, 20 do
        local detour = ("a/../"):rep(n) .. ("./"):rep(self.n % 7) .. (if n % 2 == 0 then "b//../" else "")
        world.spawn{scripts = {detour .. "spelt.luau"}}
    end
end
"#;

#[test]
fn all_spellings_of_a_path_are_one_asset() {
    let mut lab = Lab::new();
    lab.file("spelt.luau", "function on_start(self) self.is_there = true end");
    lab.entity("spells.luau", SPELLINGS);
    lab.frames(20);
    let world = lab.app.world_mut();
    let mut scripts = world.query::<&LuaScripts>();
    let paths: std::collections::BTreeSet<String> = scripts
        .iter(world)
        .filter_map(|scripts| scripts.scripts.first()?.path().map(ToString::to_string))
        .collect();
    assert_eq!(paths.into_iter().collect::<Vec<_>>(), ["spells.luau", "spelt.luau"]);
    lab.until(|lab| lab.snapshot().scripts.iter().any(|row| &*row.path == "spelt.luau"));
    assert_eq!(lab.snapshot().scripts.len(), 2);
}

#[test]
fn a_path_that_is_no_place_within_the_assets_is_refused() {
    let mut lab = Lab::new();
    for (path, says) in [
        ("../x.luau", "outside"),
        ("a/../../x.luau", "outside"),
        ("a\\\\..\\\\..\\\\x.luau", "outside"),
        ("/etc/x.luau", "outside"),
        ("\\\\\\\\host\\\\x.luau", "outside"),
        ("c:\\\\x.luau", "`:`"),
        ("net://x.luau", "default source"),
        ("x.luau#label", "`#`"),
        ("x\\0.luau", "control character"),
        ("x\\27[2J.luau", "control character"),
        ("", "names no file"),
        ("a/..", "names no file"),
        ("./", "names no file"),
    ] {
        let error = lab.refuses((), &format!("world.spawn{{scripts = \"{path}\"}}"));
        assert!(error.contains(says), "{path}: {error}");
        assert!(!error.contains(['\0', '\u{1b}']), "{path}: {error:?}");
    }
}

const MISSING: &str = r#"
function on_update(self)
    self.n = (self.n or 0) + 1
    for n = 1, 60 do
        local id = world.spawn{scripts = {`missing_flood/{self.n}_{n}.luau`}}
        world.despawn(id)
    end
end
"#;

#[test]
fn a_flood_of_names_of_missing_scripts_is_refused_and_most_of_it_is_not_logged() {
    keep_log();
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.entity("names_missing.luau", MISSING);
    lab.frames(300);
    // 18,000 names. Each that is tried costs a line of Bevy's own besides ours.
    let lines = lines_with("missing_flood/");
    assert!(lines < 1000, "{lines} lines");
    assert!(lab.snapshot().scripts.len() < 600, "{}", lab.snapshot().scripts.len());
    let error = lab.snapshot().errors.iter().find(|row| &*row.script == "names_missing.luau");
    let error = error.expect("it is told that it names too many");
    assert!(error.message.contains("not loaded"), "{}", error.message);
}

#[test]
fn who_names_scripts_that_are_there_is_not_held_up() {
    let mut lab = Lab::new();
    for number in 0..120 {
        lab.file(&format!("wave/{number}.luau"), "function on_start(self) self.up = true end");
    }
    lab.entity(
        "level.luau",
        "function on_start(self)
            for n = 0, 119 do world.spawn{scripts = {`wave/{n}.luau`}} end
        end",
    );
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    lab.until(|lab| {
        let world = lab.app.world_mut();
        let mut states = world.query::<&ScriptStates>();
        let up = states.iter(world).filter(|states| {
            states.iter().any(|state| *state.fields.get("up") == ScriptValue::Bool(true))
        });
        up.count() == 120
    });
}

// ---- depth -----------------------------------------------------------------------------------------

/// The most levels below a root.
fn depth(lab: &mut Lab) -> usize {
    let world = lab.app.world_mut();
    let mut all = world.query::<(Entity, Option<&ChildOf>)>();
    let parents: std::collections::HashMap<Entity, Option<Entity>> =
        all.iter(world).map(|(entity, parent)| (entity, parent.map(ChildOf::parent))).collect();
    let mut deepest = 0;
    for mut entity in parents.keys().copied() {
        let mut levels = 0;
        while let Some(Some(parent)) = parents.get(&entity) {
            (entity, levels) = (*parent, levels + 1);
            assert!(levels <= parents.len(), "the hierarchy has a cycle");
        }
        deepest = deepest.max(levels);
    }
    deepest
}

/// A chain of children below an entity of its own; its top and its end.
fn chain(lab: &mut Lab, length: usize) -> (Entity, Entity) {
    let world = lab.app.world_mut();
    let top = world.spawn_empty().id();
    let mut last = top;
    for _ in 0..length {
        last = world.spawn(ChildOf(last)).id();
    }
    (top, last)
}

#[test]
fn a_chain_of_children_ends_at_a_depth_that_bevy_survives() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let spawner = lab.entity(
        "chain.luau",
        "function on_update(self)
            for n = 1, 100 do
                local ok, id = pcall(world.spawn, {parent = self.last})
                if not ok then self.why = id return end
                self.first = self.first or id
                self.last = id
            end
        end",
    );
    lab.frames(20);
    let why = lab.field(spawner, "why").to_string();
    assert!(why.contains("256") && why.contains("deep"), "{why}");
    assert_eq!(depth(&mut lab), 256);
    let ScriptValue::Entity(first) = lab.field(spawner, "first") else { panic!("no entity") };
    assert!(lab.app.world_mut().despawn(first));
}

#[test]
fn chains_that_several_scripts_join_in_one_stage_stay_within_the_depth() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.app.expose_component::<ChildOf>();
    let chains = [(); 4].map(|()| chain(&mut lab, 100));
    let joins = lab.script(
        "joins.luau",
        "function on_message(self, name, pair) world.get(pair[1]).ChildOf = {pair[2]} end",
    );
    for pair in chains.windows(2) {
        let entity = lab.app.world_mut().spawn(LuaScripts::new(joins.clone())).id();
        // The top of one below the end of the one before it.
        let pair: ScriptTable = [pair[1].0.into(), pair[0].1.into()].into_iter().fold(
            ScriptTable::default(),
            |mut table, value: ScriptValue| {
                table.push(value);
                table
            },
        );
        lab.app.world_mut().write_message(ToScript::new(entity, "join", pair));
    }
    lab.frame();
    assert_eq!(lab.failures(), [""; 0], "each of them alone is right");
    let depth = depth(&mut lab);
    assert!(depth <= 256, "{depth}");
    assert!(depth >= 201, "as much as fits is joined: {depth}");
    let told = lab.snapshot().errors.iter().any(|row| row.message.contains("256"));
    assert!(told, "{:?}", lab.snapshot().errors);
}

#[test]
fn no_cycle_comes_of_what_scripts_do_with_parents() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.app.expose_component::<ChildOf>().expose_component::<Children>();
    chain(&mut lab, 3);
    // Each is right for itself; both together are a circle.
    let script = lab.script(
        "circle.luau",
        "function on_message(self, name, other) entity.ChildOf = {other} end",
    );
    let world = lab.app.world_mut();
    let [a, b] = [(); 2].map(|()| world.spawn(LuaScripts::new(script.clone())).id());
    world.write_message(ToScript::new(a, "go", b));
    world.write_message(ToScript::new(b, "go", a));
    lab.frame();
    assert_eq!(depth(&mut lab), 3);
    let error = lab.refuses(Name::new("x"), "entity.Children = {entity.id}");
    assert!(error.contains("read but not written"), "{error}");
    let error = lab.refuses(Name::new("x"), "entity.ChildOf = {entity.id}");
    assert!(error.contains("itself"), "{error}");
}

#[test]
fn only_so_many_entities_live_that_scripts_spawned() {
    let mut lab =
        Lab::with_config(LuaPoolConfig { max_commands: 5000, max_failures: 0, ..patient() });
    let spawner = lab.entity(
        "spawns_and_spawns.luau",
        "function on_update(self)
            for n = 1, 2500 do
                local ok, id = pcall(world.spawn)
                if not ok then self.why = id return end
                self.last = id
            end
        end",
    );
    lab.frames(10);
    let count = |lab: &Lab| lab.app.world().entities().count_spawned() as usize;
    let full = count(&lab);
    let why = lab.field(spawner, "why").to_string();
    assert!(why.contains("16384"), "{why}");
    lab.frames(3);
    assert_eq!(count(&lab), full, "no more than that");
    let ScriptValue::Entity(last) = lab.field(spawner, "last") else { panic!("no entity") };
    assert!(lab.app.world_mut().despawn(last));
    lab.frames(2);
    assert_eq!(count(&lab), full, "there was room for one more");
    let other = lab.does((), "self.id = world.spawn()");
    assert!(matches!(lab.field(other, "id"), ScriptValue::Entity(_)), "others can spawn still");
}

#[test]
fn what_is_spawned_in_on_stop_counts_with_what_its_ancestor_spawned() {
    const BREEDER: &str = "
        function on_update() world.despawn(entity.id) end
        function on_stop()
            world.spawn{scripts = 'breeder.luau'}
            for n = 1, 4000 do if not pcall(world.spawn) then return end end
        end";
    let mut lab =
        Lab::with_config(LuaPoolConfig { max_commands: 5000, max_failures: 0, ..patient() });
    lab.entity("breeder.luau", BREEDER);
    lab.frames(40);
    let count = lab.app.world().entities().count_spawned() as usize;
    assert!((16_000..17_000).contains(&count), "{count}");
}

#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Component, Default, Clone)]
struct Tree {
    children: Vec<Tree>,
}

impl Tree {
    fn depth(&self) -> usize {
        self.children.iter().map(|child| child.depth() + 1).max().unwrap_or(0)
    }
}

#[test]
fn a_value_that_holds_copies_of_itself_grows_neither_deep_nor_large() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.app.expose_component::<Tree>();
    let deep =
        lab.script("deep.luau", "function on_update() entity.Tree.children = {entity.Tree} end");
    let wide = lab.script(
        "wide.luau",
        "function on_update() entity.Tree.children = {entity.Tree, entity.Tree, entity.Tree} end",
    );
    let world = lab.app.world_mut();
    let [deep, wide] =
        [deep, wide].map(|script| world.spawn((Tree::default(), LuaScripts::new(script))).id());
    lab.frames(100);
    for tree in [deep, wide] {
        let depth = lab.get::<Tree>(tree).depth();
        assert!(depth <= 40, "{depth}");
    }
    assert!(!lab.failures().is_empty(), "and that it can't go on is told");
}

// ---- messages --------------------------------------------------------------------------------------

const MAILER: &str = r#"
function on_update(self)
    local payload = ("x"):rep(4000)
    for n = 1, 250 do send(entity.id, "m", payload) end
end
function on_message(self, name, payload)
    self.got = (self.got or 0) + #payload
end
"#;

#[test]
fn what_all_entities_of_a_script_send_in_a_frame_has_a_bound() {
    const MIB: f64 = 1024.0 * 1024.0;
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let script = lab.script("mailer.luau", MAILER);
    let entities: Vec<_> =
        (0..80).map(|_| lab.app.world_mut().spawn(LuaScripts::new(script.clone())).id()).collect();
    let all = |lab: &Lab| entities.iter().map(|entity| number(lab, *entity, "got")).sum::<f64>();
    lab.frames(2);
    for _ in 0..3 {
        let before = all(&lab);
        lab.frame();
        let got = all(&lab) - before;
        assert!(got < 17.0 * MIB, "{} MiB in one frame", got / MIB);
        assert!(got > 12.0 * MIB, "{} MiB in one frame", got / MIB);
    }
    let stats = lab.stats();
    assert!(stats.undelivered > 10_000, "what was refused is counted: {stats:?}");
    let told = lab.snapshot().errors.iter().find(|row| &*row.script == "mailer.luau");
    let told = told.expect("its sender is told");
    assert!(told.message.contains("messages"), "{told:?}");
    assert_eq!(told.line, Some(4), "once it is clear that there are too many, the line is told");
}

#[test]
fn who_sends_to_one_that_takes_nothing_is_told_when_it_is_full() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let receiver = lab.entity("sleeper.luau", "function on_message(self) end");
    lab.app.world_mut().get_mut::<LuaScripts>(receiver).expect("it has them").enabled = false;
    let sender = lab.entity(
        "wakes.luau",
        "function on_message(self, name, to) self.to = to end
        function on_update(self)
            if not self.to then return end
            for n = 1, 200 do
                local ok, why = pcall(send, self.to, 'tick')
                if not ok then self.why = why return end
                self.sent = (self.sent or 0) + 1
            end
        end",
    );
    lab.app.world_mut().write_message(ToScript::new(sender, "go", receiver));
    lab.frames(30);
    let why = lab.field(sender, "why").to_string();
    assert!(why.contains("wait") && why.contains("2048"), "{why}");
    let sent = number(&lab, sender, "sent");
    assert!((2048.0..2600.0).contains(&sent), "{sent}");
    // Others can still write to it, and it takes what was sent.
    lab.app.world_mut().get_mut::<LuaScripts>(receiver).expect("it has them").enabled = true;
    lab.frames(4);
    assert!(number(&lab, sender, "sent") > sent, "there is room again");
}

#[test]
fn a_message_to_many_scripts_that_are_not_loaded_counts_once_and_floods_out_nobody() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let receiver = lab
        .entity("hears.luau", "function on_message(self) self.heard = (self.heard or 0) + 1 end");
    let honest = lab.entity(
        "tells.luau",
        "function on_message(self, name, to) self.to = to end
        function on_update(self) if self.to then send(self.to, 'tick') end end",
    );
    lab.app.world_mut().write_message(ToScript::new(honest, "go", receiver));
    let hostile = "function on_start(self)
            local s = {}
            for i = 1, 16 do s[i] = 'gone.luau' end
            self.sinks = {}
            for i = 1, 3 do self.sinks[i] = world.spawn{scripts = s} end
        end
        function on_update(self)
            self.k = (self.k or 0) % 3 + 1
            for i = 1, 15 do
                if pcall(send, self.sinks[self.k], 'x', ('x'):rep(60000)) then
                    self.sent = (self.sent or 0) + 1
                end
            end
        end";
    let hostile = ["floods_1.luau", "floods_2.luau"].map(|path| lab.entity(path, hostile));
    lab.frames(12);
    for hostile in hostile {
        assert!(number(&lab, hostile, "sent") > 45.0, "its own bound is reached");
    }
    let before = number(&lab, receiver, "heard");
    lab.frames(10);
    assert_eq!(number(&lab, receiver, "heard"), before + 10.0, "what others send arrives");
}

#[test]
fn each_script_takes_all_messages_in_order_however_the_others_hold_up() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let notes = "local got = self.got or {} table.insert(got, name) self.got = got";
    let notes = format!("function on_message(self, name) {notes} ");
    let slow = format!("{notes} for n = 1, 200 do emit('e') end end");
    let slow = lab.script("slow.luau", &slow);
    let quick = lab.script("quick.luau", &format!("{notes} end"));
    let silent = lab.script("silent.luau", "function on_update() end");
    lab.hold_files(true);
    lab.file("late.luau", &format!("{notes} end"));
    let late = lab.app.world().resource::<AssetServer>().load("late.luau");
    let scripts = LuaScripts::from_iter([late, slow, silent, quick]);
    let receiver = lab.app.world_mut().spawn(scripts).id();
    for number in 10..60 {
        if number % 10 == 0 {
            lab.frame();
        }
        let message = ToScript::new(receiver, number.to_string(), ScriptValue::Nil);
        lab.app.world_mut().write_message(message);
    }
    lab.frames(3);
    let got = |lab: &Lab, script: &str| {
        let states = lab.app.world().get::<ScriptStates>(receiver).expect("it has them");
        let state = states.iter().find(|state| state.script == script);
        state.map_or(ScriptValue::Nil, |state| state.fields.get("got").clone()).to_string()
    };
    let [first, last] = ["10", "59"].map(|name| format!("\"{name}\""));
    assert!(got(&lab, "quick.luau").ends_with(&format!("{last}}}")));
    assert!(got(&lab, "slow.luau").contains(&first) && !got(&lab, "slow.luau").contains(&last));
    lab.hold_files(false);
    lab.until(|lab| got(lab, "late.luau").contains(&last));
    lab.frames(20);
    for script in ["slow.luau", "late.luau"] {
        assert_eq!(got(&lab, script), got(&lab, "quick.luau"), "{script}");
    }
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

#[test]
fn events_that_the_game_does_not_read_do_not_fill_memory() {
    let mut lab = Lab::new();
    // Without fixed steps Bevy keeps all messages that were written.
    lab.app.insert_resource(Time::<Virtual>::default());
    lab.entity(
        "emits.luau",
        "function on_update(self) for n = 1, 200 do emit('e', ('x'):rep(4000)) end end",
    );
    lab.app.world_mut().resource_mut::<Time<Virtual>>().pause();
    for _ in 0..200 {
        lab.frame();
    }
    let events = lab.app.world().resource::<Messages<ScriptEvent>>();
    let bytes: usize =
        events.iter_current_update_messages().map(|event| event.payload.to_string().len()).sum();
    assert!(bytes < 40 * 1024 * 1024, "{bytes}");
}

#[test]
fn events_of_the_last_two_frames_have_a_bound_whether_the_game_read_them_or_not() {
    let mut lab = Lab::with_config(LuaPoolConfig {
        max_messages: 40_000,
        max_value_size: 1024 * 1024,
        max_failures: 0,
        ..patient()
    });
    let script = "function on_update(self) for n = 1, 40000 do emit('e') end end";
    let emits = lab.script("emits_often.luau", script);
    let mut cursor = lab.app.world().resource::<Messages<ScriptEvent>>().get_cursor_current();
    let mut frame = |lab: &mut Lab| {
        lab.frame();
        cursor.read(lab.app.world().resource::<Messages<ScriptEvent>>()).count()
    };
    let entity = lab.app.world_mut().spawn(LuaScripts::new(emits)).id();
    assert_eq!([frame(&mut lab), frame(&mut lab)], [40_000, 65_536 - 40_000], "it reads all");
    let told = lab.snapshot().errors.iter().find(|row| &*row.script == "emits_often.luau");
    let told = told.expect("that some were not emitted is told");
    assert!(told.message.contains("last two frames, read or not"), "{}", told.message);
    lab.app.world_mut().despawn(entity);
    lab.frames(3);
    lab.entity("emits_one.luau", "function on_start() emit('one') end");
    assert_eq!(frame(&mut lab), 1, "there is room again");
}

#[test]
fn of_failures_of_two_frames_so_many_are_told_by_messages_and_all_are_counted() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let script = lab.script("all_fail.luau", "function on_update() error('again') end");
    let told = |lab: &Lab| lab.app.world().resource::<Messages<ScriptFailed>>().len();
    for _ in 0..3000 {
        lab.app.world_mut().spawn(LuaScripts::new(script.clone()));
    }
    lab.frame();
    assert_eq!((told(&lab), lab.stats().failed), (3000, 3000));
    for _ in 0..3 {
        lab.frame();
        assert_eq!((told(&lab), lab.stats().failed), (4096, 3000));
    }
    assert_eq!(lab.snapshot().total.failed, 12_000);
}

// ---- errors and log lines --------------------------------------------------------------------------

#[test]
fn a_callback_that_always_fails_is_put_aside_whatever_the_others_do() {
    keep_log();
    let mut lab = Lab::new();
    let entity = lab.entity(
        "fails_by_message.luau",
        "function on_update(self)
            self.n = (self.n or 0) + 1
            for n = 1, 250 do send(entity.id, 'again') end
        end
        function on_message(self)
            self.messages = (self.messages or 0) + 1
            error('new text ' .. math.random())
        end",
    );
    lab.frames(100);
    assert!(
        lab.app
            .world()
            .get::<ScriptStates>(entity)
            .expect("it has")
            .is_put_aside("fails_by_message.luau")
    );
    let failed = lab.snapshot().total.failed;
    assert!(failed < 20, "{failed} errors");
    assert_eq!(number(&lab, entity, "n"), 100.0, "its on_update works, and goes on");
    assert!(lines_with("new text") < 20);
}

#[test]
fn of_a_flood_of_errors_the_log_tells_some_and_counts_the_rest() {
    keep_log();
    let mut lab = Lab::with_config(LuaPoolConfig { max_failures: 0, ..patient() });
    let script = lab.script(
        "errs.luau",
        "function on_update(self) error('flood of errors ' .. math.random()) end",
    );
    for _ in 0..300 {
        lab.app.world_mut().spawn(LuaScripts::new(script.clone()));
    }
    lab.frames(100);
    assert_eq!(lab.snapshot().total.failed, 30_000, "all of them are counted");
    let lines = lines_with("flood of errors");
    assert!((20..500).contains(&lines), "{lines}");
    assert!(lines_with("more errors and warnings") > 0, "that some are left out is told");
    assert!(lines_with("more errors and warnings") < 30, "of all tests together");
}

#[test]
fn a_script_that_logs_and_logs_is_cut_short() {
    keep_log();
    let mut lab = Lab::new();
    let script = lab.script(
        "chatters.luau",
        "function on_update(self) for n = 1, 32 do print('chatter ' .. ('x'):rep(1000)) end end",
    );
    for _ in 0..20 {
        lab.app.world_mut().spawn(LuaScripts::new(script.clone()));
    }
    lab.frames(100);
    assert_eq!(lab.snapshot().total.log_lines, 64_000, "all are counted");
    let lines = lines_with("chatter x");
    assert!((200..1000).contains(&lines), "{lines}");
    assert!(lines_with("chatters.luau: it logs too much") > 0);
}

#[test]
fn many_scripts_that_log_and_log_are_cut_short_together() {
    keep_log();
    let mut lab = Lab::new();
    for number in 0..40 {
        let path = format!("choir_{number}.luau");
        lab.entity(&path, "function on_update() print('choir ' .. ('x'):rep(4000)) end");
    }
    lab.frames(100);
    let lines = lines_with("choir x");
    // They are cut to 2 KiB each.
    assert!((700..1100).contains(&lines), "{lines}");
    assert!(lines_with("scripts log too much together") > 0);
}

#[test]
fn a_script_that_assigns_thousands_of_globals_is_told_of_a_few() {
    keep_log();
    let mut lab = Lab::new();
    let assignments: String =
        (0..1000).map(|number| format!("stray_global_{number} = {number}\n")).collect();
    lab.entity("strays.luau", &format!("function on_update(self)\n{assignments}end"));
    lab.frames(5);
    let lines = lines_with("stray_global_");
    assert!((1..=16).contains(&lines), "{lines}");
}

#[test]
fn control_characters_reach_neither_the_log_nor_an_error() {
    keep_log();
    let mut lab = Lab::new();
    let nasty = r"control\0\r\27[31m\u{9b}2J\u{202e}\127";
    lab.does((), &format!("log.info('{nasty}') print('{nasty}')"));
    lab.does((), "log.warn('first of two\\n2030-01-01 ERROR second of two')");
    let error = lab.refuses((), &format!("error('{nasty}')"));
    let bad = |text: &str| {
        text.chars()
            .any(|c| (c.is_control() && c != '\n') || ('\u{202a}'..='\u{202e}').contains(&c))
    };
    assert!(error.contains("control") && !bad(&error), "{error:?}");
    let rows = &lab.snapshot().errors;
    assert!(!rows.is_empty());
    assert!(rows.iter().all(|row| !bad(&row.message) && !bad(&row.traceback)), "{rows:?}");
    let log = log();
    let lines: Vec<_> = log.lines().filter(|line| line.contains("control")).collect();
    assert!(lines.len() >= 3, "{lines:?}");
    assert!(lines.iter().all(|line| !bad(line)), "{lines:?}");
    assert!(lines.iter().any(|line| line.contains("\\u{1b}[31m")), "{lines:?}");
    let second = log.lines().find(|line| line.contains("second of two")).expect("it is there");
    assert!(second.starts_with("    | "), "{second:?}");
}

#[test]
fn a_file_whose_name_would_forge_a_log_entry_is_no_script() {
    keep_log();
    let mut lab = Lab::new();
    for path in ["forged\u{1b}[2J.luau", "forged\nERROR forged.luau", "forged\u{202e}.luau"] {
        lab.file(path, "function on_start() print('forged') end");
        let script = lab.load(path);
        lab.app.world_mut().spawn(LuaScripts::new(script));
    }
    lab.frames(3);
    assert_eq!(lab.snapshot().total.runs, 0);
    let broken = lab.snapshot().scripts.iter().filter_map(|row| row.broken.clone());
    assert_eq!(broken.filter(|why| why.contains("rename the file")).count(), 3);
    // Bevy logs the path of an asset that fails as it is.
    let log = log();
    for shown in
        ["forged\\u{1b}[2J.luau: ", "forged\n    | ERROR forged.luau: ", "forged\\u{202e}.luau: "]
    {
        assert!(log.contains(&format!("ERROR bevy_lua_pool::run::report: {shown}")), "{shown}");
    }
}

// ---- VMs -------------------------------------------------------------------------------------------

#[test]
fn whatever_libraries_are_left_out_the_vms_of_an_app_live_on() {
    for left_out in [&[Library::String][..], &Library::ALL, &[]] {
        let mut sandbox = SandboxConfig::default();
        sandbox.libraries.retain(|library| !left_out.contains(library));
        let mut lab = Lab::with_config(LuaPoolConfig { sandbox, ..patient() });
        lab.entity("counts.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
        lab.frames(3);
        let before = lab.snapshot().pool.created;
        lab.frames(20);
        let pool = lab.snapshot().pool;
        assert_eq!((pool.created, pool.quarantines), (before, 0), "without {left_out:?}");
    }
}

#[test]
fn many_entities_with_one_new_script_are_one_name() {
    let mut lab = Lab::with_config(LuaPoolConfig { max_commands: 600, ..patient() });
    let root = lab.entity(
        "root.luau",
        "function on_start(self)
            for _ = 1, 300 do
                world.spawn({ parent = entity.id, scripts = { 'new.luau', './new.luau' } })
            end
        end",
    );
    lab.file("new.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    lab.until(|lab| lab.stats().runs == 600);
    assert_eq!(lab.app.world().get::<Children>(root).map(|children| children.len()), Some(300));
    assert_eq!(lab.failures(), [""; 0]);
}
