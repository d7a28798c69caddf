//! Bounded: each run has a CPU, a memory and an output budget; each frame has one too.

mod common;

use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::ScriptLimits;
use bevy_lua_pool::{ScriptError, ScriptFailed, Setting};
use common::{Lab, STEP, patient};
use cpu_time::ThreadTime;

const COUNT: &str = "
function on_update(self, dt)
    self.n = (self.n or 0) + 1
    self.t = (self.t or 0) + dt
end
";

/// A lab without fixed steps, with a function `burn` that takes some milliseconds of its thread's time.
fn lab(config: LuaPoolConfig) -> Lab {
    let mut lab = Lab::with_config(config);
    lab.app
        .insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(100_000)))
        .add_lua_function("burn", |ms: f64| {
            // Of the thread's own time: what others run meanwhile is not charged to a script.
            let start = ThreadTime::now();
            while start.elapsed() < Duration::from_secs_f64(ms / 1000.0) {
                std::hint::spin_loop();
            }
        });
    lab
}

/// Entities that run this script.
fn crowd(lab: &mut Lab, path: &str, script: &str, count: usize) -> Vec<Entity> {
    let script = lab.script(path, script);
    let world = lab.app.world_mut();
    (0..count)
        .map(|_| world.spawn((Transform::default(), LuaScripts::new(script.clone()))).id())
        .collect()
}

/// A field of the state of an entity's first script; 0 before it ran.
fn number(lab: &Lab, entity: Entity, field: &str) -> f64 {
    let states = lab.app.world().get::<ScriptStates>(entity).expect("it carries scripts");
    match states.iter().next().map_or(ScriptValue::Nil, |state| state.fields.get(field).clone()) {
        ScriptValue::Number(number) => number,
        ScriptValue::Nil => 0.0,
        other => panic!("{field} is {other}"),
    }
}

/// Runs one frame in which this run fails, beside good ones that don't.
#[track_caller]
fn error_of(config: LuaPoolConfig, body: &str) -> ScriptError {
    let mut lab = lab(LuaPoolConfig { pool: PoolConfig { max_size: 2, ..config.pool }, ..config });
    let before = crowd(&mut lab, "good.luau", COUNT, 3);
    let bad = lab.entity("bad.luau", &format!("function on_update(self) {body} end"));
    let after = crowd(&mut lab, "good.luau", COUNT, 3);
    lab.frame();
    let mut failed = lab.drain::<ScriptFailed>();
    assert_eq!(failed.len(), 1, "{failed:#?}");
    let failed = failed.remove(0);
    assert_eq!(failed.entity, bad);
    for entity in before.into_iter().chain(after) {
        assert_eq!(number(&lab, entity, "n"), 1.0, "good scripts ran in the same frame");
    }
    assert_eq!(lab.stats().deferred, 0);
    failed.failure.error
}

#[test]
fn an_endless_loop_costs_its_script_the_run_and_nobody_else() {
    let limit = Duration::from_millis(300);
    let brief = LuaPoolConfig { run_time_limit: limit, ..patient() };
    for body in [
        "while true do end",
        "while true do pcall(function() while true do end end) end",
        "repeat local t = {} until #t > 0",
        "coroutine.wrap(function() while true do end end)()",
        // On a busy machine the watchdog may come late; what passed before it came is given away.
        "burn(500)",
    ] {
        let error = error_of(brief.clone(), body);
        let ScriptError::TimedOut { limit: told, used, setting } = error else {
            panic!("{body}: {error}");
        };
        assert_eq!((told, setting), (limit, Setting::RunTimeLimit), "{body}");
        assert!(used > limit, "{body}: {used:?}");
    }
}

#[test]
fn a_hog_costs_its_script_the_run_and_nobody_else() {
    let memory_limit = 2 * 1024 * 1024;
    let small = LuaPoolConfig { pool: PoolConfig { memory_limit, ..patient().pool }, ..patient() };
    for body in [
        "local t = {} while true do t[#t + 1] = {} end",
        "local s = 'x' while true do s ..= s end",
        "local t = table.create(1e7, 0)",
        "local s = ('x'):rep(1e8)",
        "local b = buffer.create(1e8)",
    ] {
        let error = error_of(small.clone(), body);
        let ScriptError::OutOfMemory { limit, used, setting } = error else {
            panic!("{body}: {error}");
        };
        assert_eq!((limit, setting), (memory_limit, Setting::MemoryLimit), "{body}");
        assert!(used > 0 && used <= limit, "{body}: {used}");
    }
}

#[test]
fn output_has_limits_and_reaching_them_exactly_is_allowed() {
    let config = || LuaPoolConfig {
        max_log_lines: 5,
        max_messages: 6,
        max_commands: 7,
        max_value_size: 2000,
        ..patient()
    };
    for (fits, too_much, field) in [
        ("for n = 1, 5 do print(n) end", "for n = 1, 6 do log.warn(n) end", "max_log_lines"),
        (
            "for n = 1, 6 do send(entity.id, 'x') end",
            "for n = 1, 7 do send(entity.id, 'x') end",
            "max_messages",
        ),
        (
            "for n = 1, 3 do send(entity.id, 'x') emit('x') end",
            "for n = 1, 4 do send(entity.id, 'x') emit('x') end",
            "max_messages",
        ),
        ("for n = 1, 7 do world.spawn() end", "for n = 1, 8 do world.spawn() end", "max_commands"),
        (
            "for n = 1, 3 do world.despawn(world.spawn()) end entity.Name = 'x'",
            "for n = 1, 4 do world.despawn(world.spawn()) end",
            "max_commands",
        ),
        ("self.s = ('x'):rep(1800)", "self.s = ('x'):rep(2000)", "max_value_size"),
        ("emit('x', ('x'):rep(1900))", "emit('x', ('x'):rep(2000))", "max_value_size"),
        (
            "send(entity.id, 'x', ('x'):rep(1900))",
            "send(entity.id, 'x', {('x'):rep(2000)})",
            "max_value_size",
        ),
    ] {
        let error = error_of(config(), too_much).to_string();
        assert!(error.contains(field), "{too_much}: {error}");
        let mut lab = lab(config());
        lab.entity("a.luau", &format!("function on_update(self) {fits} end"));
        lab.frames(2);
        assert_eq!(lab.failures(), [""; 0], "{fits}");
    }
}

#[test]
fn each_run_of_a_frame_has_the_whole_output_budget() {
    let mut lab =
        lab(LuaPoolConfig { max_messages: 3, max_log_lines: 3, max_commands: 3, ..patient() });
    let entity = lab.entity(
        "a.luau",
        "local function use()
            for n = 1, 3 do emit('x') print(n) world.spawn() end
        end
        function on_start() use() end
        function on_message() use() end
        function on_update() use() end",
    );
    for _ in 0..2 {
        lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    }
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!((lab.stats().spawned, lab.stats().log_lines), (12, 12));
}

#[test]
fn what_does_not_fit_into_the_frame_waits_its_turn() {
    const CROWD: usize = 12;
    let budget = Some(Duration::from_millis(8));
    let mut lab = lab(LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        frame_budget: budget,
        ..patient()
    });
    let count = |lab: &Lab, entity| number(lab, entity, "n") as u32;
    let script = COUNT.replace("self.n =", "burn(2) self.n =");
    let all = crowd(&mut lab, "a.luau", &script, CROWD);
    let mut deferred = 0;
    let mut waiting = vec![0; CROWD];
    for frame in 1..=30 {
        let before: Vec<_> = all.iter().map(|entity| count(&lab, *entity)).collect();
        lab.frame();
        let stats = lab.stats();
        assert_eq!(stats.runs + stats.deferred, CROWD as u64, "each runs or waits");
        assert!(stats.runs >= 1, "the frame goes on, however late");
        deferred += stats.deferred;
        let ran = |n: usize| count(&lab, all[n]) > before[n];
        let first = (0..CROWD).filter(|n| ran(*n)).map(|n| waiting[n]).min();
        let last = (0..CROWD).filter(|n| !ran(*n)).map(|n| waiting[n]).max();
        assert!(first >= last, "frame {frame}: who waited longest goes first: {waiting:?}");
        for (n, waited) in waiting.iter_mut().enumerate() {
            *waited = if ran(n) { 0 } else { *waited + 1 };
        }
    }
    // 12 runs of 2 ms don't fit into 8 ms.
    assert!(deferred >= 30 * 7, "{deferred}");
    assert!(all.iter().all(|entity| count(&lab, *entity) >= 2), "everybody ran");

    // Nobody lost time by waiting.
    let unlimited = LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        ..patient()
    };
    let mut pool = lab.app.world_mut().resource_mut::<LuaPool>();
    pool.set_config(unlimited).expect("it is valid");
    lab.frame();
    assert_eq!(lab.stats().deferred, 0);
    for entity in all {
        let t = number(&lab, entity, "t");
        assert!((t - 31.0 * STEP.as_secs_f64()).abs() < 1e-9, "{t}");
    }
}

#[test]
fn a_frame_budget_that_is_spent_at_once_still_lets_everybody_run_in_the_end() {
    let budget = Some(Duration::from_micros(10));
    let mut lab = lab(LuaPoolConfig {
        pool: PoolConfig { max_size: 2, ..patient().pool },
        frame_budget: budget,
        ..patient()
    });
    let all = crowd(&mut lab, "a.luau", COUNT, 8);
    for _ in 0..8 {
        lab.frame();
        assert!(lab.stats().runs >= 1);
    }
    assert!(all.iter().all(|entity| number(&lab, *entity, "n") >= 1.0));
}

const LISTENER: &str = "
function on_message(self, _, n)
    self.got = (self.got or '') .. n .. ' '
end
";

#[test]
fn without_a_vm_everything_waits_and_nothing_is_lost_or_done_twice() {
    let config = LuaPoolConfig {
        pool: PoolConfig {
            min_size: 1,
            max_size: 1,
            acquire_timeout: Duration::ZERO,
            ..patient().pool
        },
        ..patient()
    };
    let mut lab = lab(config);
    let scripts = [("a.luau", COUNT), ("b.luau", ""), ("c.luau", "")]
        .map(|(path, script)| lab.script(path, &format!("{LISTENER}{script}")));
    let scripts: LuaScripts = scripts.into_iter().collect();
    let entity = lab.app.world_mut().spawn(scripts).id();
    lab.frame();
    let vms = lab.app.world().resource::<LuaPool>().vms().clone();
    let lease = vms.acquire().expect("nobody else has it");
    for n in 1..=3 {
        lab.app.world_mut().write_message(ToScript::new(entity, "x", f64::from(n)));
        lab.frame();
        assert_eq!((lab.stats().runs, lab.stats().deferred), (0, 3));
    }
    drop(lease);
    lab.app.world_mut().write_message(ToScript::new(entity, "x", 4.0));
    lab.frames(2);
    assert_eq!(lab.failures(), [""; 0]);
    let states = lab.app.world().get::<ScriptStates>(entity).expect("it ran");
    for path in ["a.luau", "b.luau", "c.luau"] {
        let got = states.get(path).expect("it ran").get("got");
        assert_eq!(got, &"1 2 3 4 ".into(), "{path}");
    }
    assert_eq!(states.get("a.luau").map(|fields| fields.get("n")), Some(&3.0.into()));
    let t = number(&lab, entity, "t");
    assert!((t - 6.0 * STEP.as_secs_f64()).abs() < 1e-9, "{t}");
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

#[test]
fn a_message_waits_for_a_script_that_can_not_start_yet() {
    let mut lab = lab(LuaPoolConfig { max_failures: 0, ..patient() });
    let entity = lab.entity(
        "a.luau",
        &format!("function on_start(self) assert(entity.Name, 'no name') end {LISTENER}"),
    );
    lab.app.world_mut().write_message(ToScript::new(entity, "x", 1.0));
    lab.frame();
    lab.app.world_mut().write_message(ToScript::new(entity, "x", 2.0));
    lab.frame();
    assert_eq!(lab.failures().len(), 2);
    lab.app.world_mut().entity_mut(entity).insert(Name::new("x"));
    lab.frames(2);
    assert_eq!(lab.field(entity, "got"), "1 2 ".into());
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

#[test]
fn a_message_waits_for_each_script_that_is_not_loaded_yet() {
    let mut lab = lab(patient());
    let here = lab.script("here.luau", LISTENER);
    let late = lab.load("late.luau");
    let scripts = LuaScripts::new(here).with(late);
    let entity = lab.app.world_mut().spawn(scripts).id();
    lab.app.world_mut().write_message(ToScript::new(entity, "x", 1.0));
    lab.frames(3);
    lab.edit("late.luau", LISTENER);
    let got = |lab: &Lab, path| {
        let states = lab.app.world().get::<ScriptStates>(entity).expect("it ran");
        states.get(path).map(|fields| fields.get("got").clone())
    };
    lab.until(|lab| got(lab, "late.luau").is_some_and(|got| got != ScriptValue::Nil));
    lab.frames(3);
    assert_eq!(got(&lab, "late.luau"), Some("1 ".into()));
    assert_eq!(got(&lab, "here.luau"), Some("1 ".into()));
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

const WRONG: &str = "function on_update(self) if entity.Name ~= 'good' then error('bad') end end";

/// A script that has just been put aside, for one entity of two.
fn put_aside() -> (Lab, Entity) {
    let mut lab = lab(LuaPoolConfig { max_failures: 3, ..patient() });
    let entity = lab.entity("a.luau", WRONG);
    let script = lab.script("a.luau", WRONG);
    lab.app.world_mut().spawn((Name::new("good"), LuaScripts::new(script)));
    for n in 1..=3 {
        lab.frame();
        let failed = lab.drain::<ScriptFailed>();
        assert_eq!(failed.len(), 1);
        assert_eq!(failed[0].put_aside, n == 3, "{n}");
    }
    assert!(is_put_aside(&lab, entity));
    lab.app.world_mut().write_message(ToScript::new(entity, "x", 1.0));
    lab.frame();
    assert_eq!((lab.stats().runs, lab.stats().failed), (1, 0), "the other one goes on");
    assert_eq!(lab.stats().undelivered, 1);
    assert_eq!(lab.snapshot().scripts[0].put_aside, 1);
    (lab, entity)
}

fn is_put_aside(lab: &Lab, entity: Entity) -> bool {
    lab.app.world().get::<ScriptStates>(entity).expect("it ran").is_put_aside("a.luau")
}

#[test]
fn a_script_that_fails_too_often_in_a_row_is_put_aside() {
    put_aside();
}

#[test]
fn a_success_in_between_starts_the_count_anew() {
    let mut lab = lab(LuaPoolConfig { max_failures: 3, ..patient() });
    let entity = lab.entity("a.luau", WRONG);
    for n in 1..=12 {
        let name = if n % 3 == 0 { "good" } else { "bad" };
        lab.app.world_mut().entity_mut(entity).insert(Name::new(name));
        lab.frame();
        assert_eq!(lab.stats().failed, u64::from(n % 3 != 0), "{n}");
    }
    assert!(!is_put_aside(&lab, entity));
}

/// The frames of the next `frames` in which the script of this entity ran.
fn frames_with_a_run(lab: &mut Lab, path: &str, frames: usize) -> Vec<usize> {
    let runs = |lab: &Lab| {
        let scripts = &lab.snapshot().scripts;
        scripts.iter().find(|script| &*script.path == path).map_or(0, |script| script.runs)
    };
    let mut ran = Vec::new();
    for frame in 1..=frames {
        let before = runs(lab);
        lab.frame();
        if runs(lab) > before {
            ran.push(frame);
        }
    }
    ran
}

#[test]
fn a_script_that_keeps_failing_is_tried_again_ever_more_rarely_until_it_succeeds() {
    let config = || LuaPoolConfig {
        max_failures: 3,
        retry_interval: 4,
        max_retry_interval: 20,
        ..patient()
    };
    let mut first = None;
    for _ in 0..2 {
        let mut lab = lab(config());
        let entity = lab.entity("a.luau", WRONG);
        let ran = frames_with_a_run(&mut lab, "a.luau", 120);
        assert_eq!(ran[..3], [1, 2, 3]);
        // The interval, or up to a quarter more.
        let gaps: Vec<_> = ran[2..].windows(2).map(|pair| pair[1] - pair[0]).collect();
        let expected = [4, 8, 16, 20, 20];
        for (gap, interval) in gaps.iter().zip(expected) {
            assert!((interval..=interval + interval / 4).contains(gap), "{gaps:?}");
        }
        assert!(gaps.len() >= expected.len());
        assert_eq!(lab.snapshot().total.failed, ran.len() as u64);
        assert_eq!(lab.snapshot().total.retries, gaps.len() as u64);
        let row = &lab.snapshot().scripts[0];
        assert_eq!((row.retries, row.put_aside), (gaps.len() as u64, 1));
        let next = row.next_retry.expect("it is tried again");
        assert_eq!(*first.get_or_insert_with(|| ran.clone()), ran, "each time alike");

        lab.app.world_mut().entity_mut(entity).insert(Name::new("good"));
        let ran = frames_with_a_run(&mut lab, "a.luau", next as usize + 5);
        assert!(!is_put_aside(&lab, entity));
        let from = ran[0];
        assert_eq!(ran, (from..=next as usize + 5).collect::<Vec<_>>(), "it is a good one again");
        assert!(from == next as usize || from == next as usize + 1, "{from}, {next}");
        let row = &lab.snapshot().scripts[0];
        assert_eq!((row.put_aside, row.next_retry), (0, None));
    }
}

#[test]
fn with_an_interval_of_zero_a_script_stays_put_aside() {
    let mut lab = lab(LuaPoolConfig { max_failures: 2, retry_interval: 0, ..patient() });
    lab.entity("a.luau", WRONG);
    assert_eq!(frames_with_a_run(&mut lab, "a.luau", 200), [1, 2]);
    assert_eq!(lab.snapshot().scripts[0].next_retry, None);
}

#[test]
fn a_message_reaches_a_script_that_is_tried_again() {
    let mut lab = lab(LuaPoolConfig {
        max_failures: 1,
        retry_interval: 2,
        max_retry_interval: 2,
        ..patient()
    });
    let entity = lab.entity(
        "a.luau",
        &format!("function on_start(self) assert(entity.Name, 'no name') end {LISTENER}"),
    );
    lab.frame();
    assert!(is_put_aside(&lab, entity));
    lab.app.world_mut().entity_mut(entity).insert(Name::new("x"));
    for n in 0..4 {
        lab.app.world_mut().write_message(ToScript::new(entity, "x", f64::from(n)));
        lab.frame();
    }
    assert!(!is_put_aside(&lab, entity));
    assert_eq!(lab.field(entity, "got"), "1 2 3 ".into());
    assert_eq!(lab.snapshot().total.undelivered, 1, "that came while it was put aside");
}

#[test]
fn one_bad_script_among_ten_thousand_entities_costs_no_more_than_its_share() {
    let limit = Duration::from_millis(20);
    let mut lab = lab(LuaPoolConfig {
        pool: PoolConfig { max_size: 2, ..patient().pool },
        run_time_limit: limit,
        ..patient()
    });
    let good = crowd(
        &mut lab,
        "good.luau",
        "function on_update(self) self.n = (self.n or 0) + 1 end",
        10_000,
    );
    let bad = lab.entity("bad.luau", "function on_update() while true do end end");
    const FRAMES: u64 = 100;
    let ran = frames_with_a_run(&mut lab, "bad.luau", FRAMES as usize);
    // Five in a row, then one after 60 to 75 frames.
    assert_eq!(ran.len(), 6, "{ran:?}");
    let total = lab.snapshot().total;
    assert_eq!(total.failed, 6);
    assert_eq!((total.runs, total.deferred), (10_000 * FRAMES + 6, 0));
    assert!(good.iter().all(|entity| number(&lab, *entity, "n") == FRAMES as f64));
    assert!(lab.app.world().get::<ScriptStates>(bad).expect("it ran").is_put_aside("bad.luau"));
    // No more VMs were thrown away than runs failed.
    assert_eq!(lab.snapshot().pool.destroyed, 6);
}

#[test]
fn no_script_is_put_aside_where_the_limit_is_zero() {
    let mut lab = lab(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.entity("a.luau", WRONG);
    for _ in 0..50 {
        lab.frame();
        assert_eq!(lab.stats().failed, 1);
    }
}

#[test]
fn a_reload_wakes_a_script_that_was_put_aside() {
    let (mut lab, entity) = put_aside();
    lab.edit("a.luau", COUNT);
    lab.until(|lab| lab.field(entity, "n") != ScriptValue::Nil);
    assert!(!is_put_aside(&lab, entity));
}

#[test]
fn waking_a_state_gives_its_script_a_whole_new_row_of_failures() {
    let (mut lab, entity) = put_aside();
    lab.app.world_mut().get_mut::<ScriptStates>(entity).expect("it ran").wake();
    assert!(!is_put_aside(&lab, entity));
    for _ in 0..3 {
        lab.frame();
        assert_eq!(lab.stats().failed, 1);
    }
    assert!(is_put_aside(&lab, entity));
}

#[test]
fn wake_scripts_wakes_all() {
    let (mut lab, entity) = put_aside();
    lab.app.world_mut().entity_mut(entity).insert(Name::new("good"));
    lab.app.world_mut().write_message(LuaControl::WakeScripts);
    lab.frame();
    assert!(!is_put_aside(&lab, entity));
    assert_eq!((lab.stats().runs, lab.stats().failed), (2, 0));
}

#[test]
fn work_that_would_take_long_without_a_safepoint_does_not_begin() {
    let mut lab = lab(patient());
    for call in [
        "('a'):rep(2^20):find(('a'):rep(2^19) .. 'b', 1, true)",
        "('b'):rep(1e6):match('[' .. ('a'):rep(1e5) .. 'b]*')",
        "string.gsub(('b'):rep(1e6), '[' .. ('a'):rep(1e5) .. ']*', '')",
        "string.gmatch(('b'):rep(1e6), '[' .. ('a'):rep(1e5) .. ']*')",
        "table.concat({}, '', 1, 2^31 - 1)",
        "string.pack('c99999999999')",
    ] {
        let failure = lab.refuses(Transform::default(), &format!("local _ = {call}"));
        let stopped =
            failure.contains("takes too long") || failure.contains("longer than its limit");
        assert!(stopped, "{failure}");
    }
    lab.does(
        Transform::default(),
        "assert(('hello'):find('l+') == 3) assert(('k=v'):match('(%w)=(%w)') == 'k')
         assert(#('a,b'):split(',') == 2) assert(('aa'):gsub('a', 'b') == 'bb')
         for word in ('x y'):gmatch('%a') do assert(#word == 1) end",
    );
}

#[test]
fn a_script_does_not_learn_when_it_has_no_time_left_for_a_built_in() {
    let mut lab = lab(LuaPoolConfig { run_time_limit: Duration::from_millis(20), ..patient() });
    // Each takes much less time than is allowed for it: when one is refused, the run has some left.
    let source = "
        local formats, ones = ('%g'):rep(1500), table.create(1500, 1)
        local n = 0
        while pcall(string.format, formats, table.unpack(ones)) do n += 1 end
        self.n = n";
    let (entity, failure) = lab.run_on(Transform::default(), source);
    assert!(failure.is_some_and(|failure| failure.contains("longer than its limit")));
    assert_eq!(number(&lab, entity, "n"), 0.0);
}

#[test]
fn a_path_that_is_none_fails_the_run_and_not_the_game() {
    let mut lab = lab(patient());
    for path in ["x#", "://x", "a#b://c"] {
        let call = format!("world.spawn{{scripts = {path:?}}}");
        let failure = lab.refuses(Transform::default(), &call);
        assert!(failure.contains("an asset path"), "{failure}");
    }
}

#[test]
fn a_name_of_enormous_length_is_refused_without_a_search_for_similar_ones() {
    let mut lab = lab(patient());
    let failure = lab.refuses(Transform::default(), "local _ = entity[('x'):rep(1e6)]");
    assert!(failure.contains("a name of 1000000 bytes"), "{failure}");
}

/// A map, whose keys are texts of scripts.
#[derive(Component, Reflect, Default)]
struct Shop {
    prices: std::collections::BTreeMap<String, f64>,
    shelf: Vec<f64>,
}

#[test]
fn an_error_shows_no_more_than_the_beginning_of_a_long_key() {
    let mut lab = lab(patient());
    lab.app.expose_component::<Shop>();
    for body in [
        "entity.Shop.prices[('ab'):rep(5000)] = 'dear'",
        "entity.Shop.prices = {[('ab'):rep(5000)] = 'dear'}",
        "entity.Shop.shelf = {[('ab'):rep(5000)] = 1}",
    ] {
        let failure = lab.refuses(Shop::default(), body);
        assert!(failure.len() < 3000, "{} bytes: {body}", failure.len());
    }
}

#[test]
fn messages_have_a_limit_in_bytes_too() {
    let mut lab = lab(patient());
    let failure = lab.refuses(
        Transform::default(),
        "for i = 1, 100 do send(entity.id, 'x', ('a'):rep(6e4)) end",
    );
    assert!(failure.contains("bytes in messages"), "{failure}");
}

#[test]
fn what_an_entity_cannot_take_in_one_frame_it_takes_in_the_next() {
    let mut lab = lab(patient());
    let count = "function on_message(self) self.n = (self.n or 0) + 1 end";
    let entity = crowd(&mut lab, "a.luau", count, 1)[0];
    for _ in 0..1500 {
        lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    }
    lab.frame();
    assert_eq!(number(&lab, entity, "n"), 1024.0);
    lab.frame();
    assert_eq!(number(&lab, entity, "n"), 1500.0);
}

#[test]
fn the_descendants_of_one_entity_spawn_together_what_one_run_may() {
    let config = LuaPoolConfig { max_commands: 20, max_failures: 0, ..patient() };
    let mut lab = lab(config);
    lab.entity(
        "breeds.luau",
        "function on_update(self)
            for _ = 1, 9 do world.spawn({ scripts = 'breeds.luau' }) end
        end",
    );
    let spawned: Vec<u64> = (0..12)
        .map(|_| {
            lab.frame();
            lab.stats().spawned
        })
        .collect();
    assert!(spawned.iter().all(|spawned| *spawned <= 29), "{spawned:?}");
    assert!(spawned[11] >= 20, "those that were there first go on: {spawned:?}");
}

#[test]
fn on_stops_of_one_stage_spawn_together_what_one_run_may_and_the_log_says_why_others_wait() {
    common::keep_log();
    let mut lab = lab(LuaPoolConfig { max_commands: 20, ..patient() });
    let explode = "function on_stop() world.spawn() end";
    // The game spawned them, so that they descend from nobody.
    let enemies = crowd(&mut lab, "explodes.luau", explode, 50);
    lab.frame();
    for enemy in enemies {
        lab.app.world_mut().despawn(enemy);
    }
    for (spawned, deferred) in [(20, 30), (20, 10), (10, 0)] {
        lab.frame();
        assert_eq!((lab.stats().spawned, lab.stats().deferred), (spawned, deferred));
    }
    let log = common::log();
    let told: Vec<_> = log.lines().filter(|line| line.contains("explodes.luau")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("all `on_stop`s") && told[0].contains("20 entities"), "{told:?}");
    assert!(!told[0].contains("descend"), "{told:?}");
}

#[test]
fn descendants_that_work_hard_run_by_turns_and_nobody_waits_for_them() {
    // A run may do a million steps in that time, and all of them 32 times as much if each does little.
    let limit = Duration::from_millis(10);
    let config =
        LuaPoolConfig { run_time_limit: limit, max_commands: 300, max_failures: 0, ..patient() };
    let mut lab = lab(config);
    let root = lab.entity(
        "root.luau",
        "function on_start(self)
            for _ = 1, 300 do world.spawn({ parent = entity.id, scripts = 'slow.luau' }) end
        end",
    );
    lab.file(
        "slow.luau",
        "function on_update(self) self.n = (self.n or 0) + 1 for _ = 1, 40000 do end end",
    );
    let good = crowd(&mut lab, "count.luau", COUNT, 10);
    lab.until(|lab| {
        let children = lab.app.world().get::<Children>(root);
        children.is_some_and(|children| children.len() == 300) && lab.stats().deferred > 0
    });
    let children: Vec<Entity> =
        lab.app.world().get::<Children>(root).expect("it has some").iter().collect();
    let mut frames = 0.0;
    let before = count(&lab, good[0]);
    while children.iter().any(|child| count(&lab, *child) < 3.0) {
        lab.frame();
        frames += 1.0;
        assert!(lab.stats().runs < 10 + 300, "all ran at once");
        assert_eq!(count(&lab, good[9]), before + frames, "the others run in every frame");
        assert!(frames < 10.0, "each has its turns");
    }
    assert_eq!(lab.failures(), [""; 0]);
}

/// How often the script of an entity ran.
fn count(lab: &Lab, entity: Entity) -> f64 {
    match lab.field(entity, "n") {
        ScriptValue::Number(count) => count,
        _ => 0.0,
    }
}

#[test]
fn what_would_fill_a_mailbox_waits_for_the_next_frame() {
    let mut lab = lab(patient());
    let entity = lab.entity(
        "answers.luau",
        "function on_start(self) self.n = 0 end
        function on_message(self)
            self.n += 1
            for _ = 1, 256 do emit('answer') end
        end",
    );
    lab.frame();
    for _ in 0..100 {
        lab.app.world_mut().write_message(ToScript::new(entity, "ask", 0.0));
    }
    for taken in [4.0, 8.0, 12.0] {
        lab.frame();
        assert_eq!(lab.field(entity, "n"), taken.into(), "four times what one run may send");
    }
}

/// Limits of single scripts, by path.
fn ruled(rules: &[(&str, ScriptLimits)]) -> SandboxConfig {
    let scripts = rules.iter().map(|(rule, limits)| ((*rule).to_owned(), *limits)).collect();
    SandboxConfig { scripts, ..SandboxConfig::default() }
}

/// What the only failure of a script was; `None` if it did not fail.
fn failure_of(lab: &mut Lab, path: &str, script: &str) -> Option<ScriptFailed> {
    lab.entity(path, script);
    lab.drain::<ScriptFailed>();
    lab.frame();
    let mut failed = lab.drain::<ScriptFailed>();
    failed.retain(|failed| &*failed.failure.script == path);
    assert!(failed.len() < 2, "{failed:#?}");
    failed.pop()
}

#[test]
fn a_script_can_have_more_or_less_time_than_the_others() {
    let time = |millis| ScriptLimits {
        run_time_limit: Some(Duration::from_millis(millis)),
        ..ScriptLimits::default()
    };
    let sandbox = ruled(&[("scripts/", time(2000)), ("scripts/brief.luau", time(20))]);
    let limit = Duration::from_millis(40);
    let mut lab =
        lab(LuaPoolConfig { run_time_limit: limit, sandbox, max_failures: 1, ..patient() });
    let slow = "function on_start() for n = 1, 40 do burn(5) end end";
    for (path, limit) in [
        ("a.luau", Some(40)),
        ("scripts/a.luau", None),
        ("scripts/brief.luau", Some(20)),
        ("scripts/deeper/a.luau", None),
    ] {
        let failed = failure_of(&mut lab, path, slow);
        let told = failed.map(|failed| match failed.failure.error {
            ScriptError::TimedOut { limit, .. } => limit.as_millis(),
            other => panic!("{path}: {other}"),
        });
        assert_eq!(told, limit, "{path}");
    }
}

#[test]
fn a_script_can_have_more_or_less_memory_than_the_others() {
    const MIB: usize = 1024 * 1024;
    let memory = |mebibytes: usize| ScriptLimits {
        run_memory_limit: Some(mebibytes * MIB),
        ..ScriptLimits::default()
    };
    let sandbox = ruled(&[("scripts/", memory(12)), ("scripts/small.luau", memory(2))]);
    // One VM, so that the limit changes from run to run.
    let mut lab = lab(LuaPoolConfig {
        pool: PoolConfig { max_size: 1, min_size: 1, ..patient().pool },
        sandbox,
        max_failures: 1,
        ..patient()
    });
    for (path, mebibytes, limit) in [
        ("a.luau", 7, None),
        ("b.luau", 10, Some(8 * MIB)),
        ("scripts/a.luau", 11, None),
        ("scripts/small.luau", 4, Some(2 * MIB)),
        ("scripts/b.luau", 14, Some(12 * MIB)),
        ("c.luau", 7, None),
    ] {
        let script = format!("function on_start() local s = ('x'):rep({mebibytes} * 2^20) end");
        let failed = failure_of(&mut lab, path, &script);
        let told = failed.map(|failed| match failed.failure.error {
            ScriptError::OutOfMemory { limit, setting: Setting::RunMemoryLimit, .. } => limit,
            other => panic!("{path}: {other}"),
        });
        assert_eq!(told, limit, "{path}");
    }
}

#[test]
fn a_reached_limit_tells_which_its_value_what_was_used_script_line_callback_and_entity() {
    let limit = Duration::from_millis(50);
    let config = || LuaPoolConfig { run_time_limit: limit, max_messages: 3, ..patient() };
    for (script, setting, value, used) in [
        ("while true do end", "run_time_limit", "50ms", "ms"),
        (
            "local kept = {} while true do kept[#kept + 1] = {} end",
            "run_memory_limit",
            "8388608 bytes",
            " bytes",
        ),
        ("while true do emit('x') end", "max_messages", "3 messages", "more than 3 messages"),
    ] {
        let mut lab = lab(config());
        let path = "npc/bad.luau";
        let entity = lab.entity(path, &format!("function on_update(self)\n    {script}\nend"));
        lab.frame();
        let failed = lab.drain::<ScriptFailed>().remove(0);
        let text = failed.failure.to_string();
        assert!(text.starts_with("npc/bad.luau:2: "), "{text}");
        assert!(text.contains(&format!("`{setting}`")), "{text}");
        let reached = failed.failure.error.reached_limit().expect("it is a limit");
        assert_eq!((reached.setting.name(), reached.limit.as_str()), (setting, value), "{text}");
        assert!(reached.used.contains(used), "{reached:?}");
        let row = &lab.snapshot().errors[0];
        assert_eq!((&*row.script, row.line), (path, Some(2)));
        assert_eq!((row.callback, row.entity), (Some("on_update"), Some(entity)));
        assert_eq!(row.limit.as_ref(), Some(&reached));
    }
}

#[test]
fn a_limit_that_is_reached_again_is_one_row_whatever_was_used() {
    let limit = Duration::from_millis(20);
    let mut lab = lab(LuaPoolConfig { run_time_limit: limit, max_failures: 0, ..patient() });
    lab.entity(
        "a.luau",
        "function on_update(self)
            if math.random() < 0.5 then while true do end end
            while true do end
        end",
    );
    lab.frames(6);
    assert_eq!(lab.snapshot().errors.len(), 1, "{:#?}", lab.snapshot().errors);
    assert_eq!(lab.snapshot().errors[0].count, 6);
}

#[test]
fn a_vm_that_met_a_hard_limit_or_a_panic_is_thrown_away() {
    for (script, thrown_away) in [
        ("local n = 1", 0),
        ("error('no')", 0),
        ("local function f() return f() + 1 end f()", 0),
        ("while true do emit('x') end", 0),
        ("while true do end", 1),
        ("pcall(function() while true do end end)", 1),
        ("local s = 'x' while true do s ..= s end", 1),
        ("pcall(function() local s = 'x' while true do s ..= s end end)", 1),
        ("panics()", 1),
        ("pcall(panics)", 1),
    ] {
        let mut lab = lab(LuaPoolConfig {
            pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
            run_time_limit: Duration::from_millis(100),
            ..patient()
        });
        lab.app.add_lua_function("panics", |(): ()| -> f64 { panic!("on purpose") });
        lab.entity("a.luau", &format!("function on_start() {script} end"));
        lab.frame();
        let pool = lab.snapshot().pool;
        assert_eq!(pool.destroyed, thrown_away, "{script}");
        assert_eq!(pool.created - pool.destroyed, (pool.idle + pool.leased) as u64, "{script}");
    }
}

#[test]
fn programs_stay_loaded_from_frame_to_frame() {
    let mut lab =
        lab(LuaPoolConfig { pool: PoolConfig { max_size: 2, ..patient().pool }, ..patient() });
    for n in 0..60 {
        let script = format!("local names = {{'a', 'b', n = {n}}} {COUNT}");
        crowd(&mut lab, &format!("small{n}.luau"), &script, 5);
    }
    // A table of 100 KiB of text and two more of 200 KiB.
    for (n, rows) in [4000, 8000, 8000].into_iter().enumerate() {
        let rows: String = (0..rows).map(|n| format!("{{id = {n}, x = {n}.5}},\n")).collect();
        let script = format!("local data = {{{rows}}} function size() return #data end {COUNT}");
        crowd(&mut lab, &format!("large{n}.luau"), &script, 5);
    }
    // Which VM has which programs depends on which thread was quicker; each has all of them in the end.
    lab.frames(10);
    assert!(lab.failures().is_empty());
    let stats = lab.app.world().resource::<LuaPool>().programs();
    assert!((63..=2 * 63).contains(&stats.images) && stats.loads == stats.images, "{stats:?}");
    let others = (stats.evictions, stats.crowded_out, stats.measured);
    assert_eq!(others, (0, 0, 0), "nothing was dropped or measured");
    assert_eq!(lab.snapshot().pool.destroyed, 0);
}

#[test]
fn what_does_not_fit_into_a_vm_is_told_with_the_setting() {
    common::keep_log();
    let mut lab = lab(LuaPoolConfig {
        pool: PoolConfig {
            memory_limit: 4 * 1024 * 1024,
            min_size: 1,
            max_size: 1,
            ..patient().pool
        },
        ..patient()
    });
    for n in 0..8 {
        let rows: String = (0..4000).map(|n| format!("{{id = {n}, x = {n}.5}},\n")).collect();
        let script = format!("local data = {{{rows}}} function size() return #data end {COUNT}");
        crowd(&mut lab, &format!("large{n}.luau"), &script, 1);
    }
    lab.frames(8);
    assert!(lab.failures().is_empty());
    let stats = lab.app.world().resource::<LuaPool>().programs();
    assert!(stats.crowded_out > 0, "{stats:?}");
    assert!(stats.loads < 8 * 8, "some stay: {stats:?}");
    let told = "raise `memory_limit` of the script pool";
    assert_eq!(common::log().matches(told).count(), 1);
}

#[test]
fn a_script_can_have_more_or_less_commands_than_the_others_alone_and_with_its_kin() {
    let commands = |max_commands, max_spawned_together| ScriptLimits {
        max_commands: Some(max_commands),
        max_spawned_together,
        ..ScriptLimits::default()
    };
    let sandbox = ruled(&[
        ("scripts/", commands(50, None)),
        ("scripts/few.luau", commands(5, None)),
        ("scripts/pack.luau", commands(50, Some(120))),
    ]);
    let mut lab = lab(LuaPoolConfig { max_commands: 10, sandbox, ..patient() });
    let spawns = "function on_start() for _ = 1, 50 do world.spawn() end end";
    for (path, limit) in [
        ("a.luau", Some(10)),
        ("scripts/a.luau", None),
        ("scripts/few.luau", Some(5)),
        ("scripts/pack.luau", None),
    ] {
        let failed = failure_of(&mut lab, path, spawns);
        let told = failed.map(|failed| match failed.failure.error {
            ScriptError::TooMuch { limit, setting: Setting::MaxCommands, .. } => limit,
            other => panic!("{path}: {other}"),
        });
        assert_eq!(told, limit, "{path}");
    }
    // Four of a kind want 40 each.
    for (path, together) in [("scripts/a.luau", 40), ("scripts/pack.luau", 120)] {
        let mut lab = self::lab(LuaPoolConfig {
            sandbox: lab.app.world().resource::<LuaPool>().config().sandbox.clone(),
            ..patient()
        });
        let spawns = "function on_update() for _ = 1, 40 do world.spawn() end end";
        lab.script(path, spawns);
        lab.entity(
            "root.luau",
            &format!(
                "function on_start() for _ = 1, 4 do world.spawn{{scripts = '{path}'}} end end"
            ),
        );
        lab.until(|lab| lab.stats().spawned > 4);
        for _ in 0..4 {
            assert_eq!(lab.stats().spawned, together, "{path}");
            assert_eq!(lab.failures(), [""; 0]);
            lab.frame();
        }
    }
}
