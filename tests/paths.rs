//! Which ways entities take through a frame: the quick ones where nothing unusual happens, the careful ones where
//! something does. That the results are the same is tested elsewhere.

mod common;

use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{LuaPoolConfig, PathCounts, PoolConfig};

use common::{Lab, patient};

/// So many that changes are applied by a sweep, and that there is work for several threads.
const MANY: u64 = 3_000;

/// So few that each is looked up to apply its changes.
const FEW: u64 = 10;

const STATE: &str = "
    function on_start(self) self.n = 0 end
    function on_update(self) self.n += 1 end";

const TRANSFORM: &str = "
    function on_update(self, dt)
        local t = entity.Transform
        t.translation += vector.create(dt, 0, 0)
    end";

const BOTH: &str = "
    local SPEED = 3
    local function step(dt) return vector.create(SPEED * dt, 0, 0) end
    function on_start(self) self.n = 0 end
    function on_update(self, dt)
        self.n += 1
        local t = entity.Transform
        t.translation += step(dt)
    end";

/// An app with so many VMs and no fixed steps, so that each frame has one stage.
fn lab(vms: usize) -> Lab {
    let limits = patient();
    let pool = PoolConfig { min_size: vms, max_size: vms, ..limits.pool };
    let mut lab = Lab::with_config(LuaPoolConfig { pool, ..limits });
    lab.app.insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(1_000_000)));
    lab
}

/// Spawns entities that carry a script.
fn spawn(lab: &mut Lab, path: &str, source: &str, count: u64) -> Vec<Entity> {
    let script = lab.script(path, source);
    let bundle = (Transform::default(), LuaScripts::new(script));
    lab.app.world_mut().spawn_batch(vec![bundle; count as usize]).collect()
}

/// Runs a frame and gives which ways were taken in it.
#[track_caller]
fn frame(lab: &mut Lab) -> PathCounts {
    lab.frame();
    let (paths, stats) = (lab.snapshot().frame_paths, lab.stats());
    assert_eq!(stats.deferred, 0);
    assert_eq!(paths.run_in_batches + paths.run_one_by_one, stats.runs, "{paths:?}");
    paths
}

/// What a frame comes to in which nothing unusual happens to many entities.
fn quick(entities: u64) -> PathCounts {
    PathCounts {
        collected_unchanged: entities,
        run_in_batches: entities,
        applied_in_parallel: entities,
        ..PathCounts::default()
    }
}

#[test]
fn from_the_second_frame_on_all_that_change_only_themselves_take_the_quick_ways() {
    for source in [STATE, TRANSFORM, BOTH] {
        let mut lab = lab(1);
        spawn(&mut lab, "quick.luau", source, MANY);
        lab.frame();
        for _ in 0..3 {
            assert_eq!(frame(&mut lab), quick(MANY), "{source}");
        }
    }
}

#[test]
fn on_several_vms_only_the_first_run_on_each_is_made_alone() {
    for source in [STATE, TRANSFORM, BOTH] {
        let mut lab = lab(4);
        spawn(&mut lab, "quick.luau", source, MANY);
        lab.frame();
        let mut alone = 0;
        for _ in 0..10 {
            let paths = frame(&mut lab);
            alone += paths.run_one_by_one;
            let in_batches = PathCounts {
                run_in_batches: paths.run_in_batches + paths.run_one_by_one,
                run_one_by_one: 0,
                ..paths
            };
            assert_eq!(in_batches, quick(MANY), "{source}");
        }
        assert!(alone <= 4, "{alone} runs were made alone");
        let leased = lab.snapshot().history.iter().map(|sample| sample.leased).max();
        assert_eq!(leased, Some(4), "all workers had a VM");
    }
}

#[test]
fn entities_of_several_scripts_take_the_quick_ways() {
    let mut lab = lab(1);
    let scripts = [STATE, TRANSFORM, BOTH].map(|source| {
        let path = format!("{}.luau", source.len());
        lab.script(&path, source)
    });
    for number in 0..MANY as usize {
        let script = scripts[number % 3].clone();
        lab.app.world_mut().spawn((Transform::default(), LuaScripts::new(script)));
    }
    lab.frames(2);
    assert_eq!(frame(&mut lab), quick(MANY));
}

#[test]
fn the_changes_of_few_entities_are_applied_by_lookup() {
    let mut lab = lab(1);
    spawn(&mut lab, "few.luau", BOTH, FEW);
    lab.frame();
    let expected = PathCounts { applied_in_parallel: 0, applied_by_lookup: FEW, ..quick(FEW) };
    assert_eq!(frame(&mut lab), expected);
}

#[test]
fn entities_that_start_take_the_careful_ways() {
    let mut lab = lab(1);
    spawn(&mut lab, "new.luau", STATE, MANY);
    let expected = PathCounts {
        collected_one_by_one: MANY,
        // `on_start` and `on_update`.
        run_one_by_one: 2 * MANY,
        applied_one_by_one: MANY,
        ..PathCounts::default()
    };
    assert_eq!(frame(&mut lab), expected);
}

#[test]
fn only_the_receiver_of_a_message_takes_the_careful_ways() {
    let mut lab = lab(1);
    let source = format!("{STATE} function on_message(self, name) self.name = name end");
    let entities = spawn(&mut lab, "listens.luau", &source, MANY);
    lab.frames(2);
    lab.app.world_mut().write_message(ToScript::new(entities[7], "hello", 1.0));
    let expected = PathCounts {
        collected_one_by_one: 1,
        run_one_by_one: 2,
        applied_one_by_one: 1,
        ..quick(MANY - 1)
    };
    assert_eq!(frame(&mut lab), expected);
    assert_eq!(frame(&mut lab), quick(MANY));
}

#[test]
fn an_entity_whose_list_of_scripts_changed_is_examined_once() {
    let mut lab = lab(1);
    let entities = spawn(&mut lab, "listed.luau", STATE, MANY);
    lab.frames(2);
    let mut scripts = lab.app.world_mut().get_mut::<LuaScripts>(entities[7]).expect("it has some");
    scripts.set_changed();
    let expected =
        PathCounts { collected_unchanged: MANY - 1, collected_one_by_one: 1, ..quick(MANY) };
    assert_eq!(frame(&mut lab), expected);
    assert_eq!(frame(&mut lab), quick(MANY));
}

#[test]
fn a_script_that_changes_its_file_level_runs_alone_on_a_fresh_one() {
    let mut lab = lab(1);
    let source = "
        local n = 0
        function on_update(self) n += 1 self.n = n end";
    spawn(&mut lab, "counts.luau", source, MANY);
    lab.frame();
    let expected = PathCounts {
        run_in_batches: 0,
        run_one_by_one: MANY,
        run_on_fresh_file_level: MANY,
        ..quick(MANY)
    };
    assert_eq!(frame(&mut lab), expected);
}

#[test]
fn what_reaches_beyond_its_entity_is_run_in_batches_and_applied_in_order() {
    let mut lab = lab(1);
    spawn(&mut lab, "emits.luau", "function on_update(self) emit('tick') end", MANY);
    lab.frame();
    let expected = PathCounts { applied_in_parallel: 0, applied_one_by_one: MANY, ..quick(MANY) };
    assert_eq!(frame(&mut lab), expected);
}

#[test]
fn what_fails_is_applied_in_order() {
    let mut lab = lab(1);
    let entities =
        spawn(&mut lab, "fails.luau", "function on_update(self) assert(not self.bad) end", MANY);
    lab.frames(2);
    let mut states = lab.app.world_mut().get_mut::<ScriptStates>(entities[7]).expect("it has some");
    states.get_mut("fails.luau").expect("it ran").set("bad", true);
    let expected =
        PathCounts { applied_in_parallel: MANY - 1, applied_one_by_one: 1, ..quick(MANY) };
    assert_eq!(frame(&mut lab), expected);
}

#[test]
fn the_total_is_the_sum_of_all_frames() {
    let mut lab = lab(1);
    spawn(&mut lab, "counted.luau", BOTH, FEW);
    let mut sum = lab.snapshot().total_paths;
    assert_eq!(sum, PathCounts::default());
    for _ in 0..3 {
        sum += frame(&mut lab);
    }
    assert_eq!(lab.snapshot().total_paths, sum);
    assert_eq!((sum.collected_one_by_one, sum.collected_unchanged), (FEW, 2 * FEW));
}
