//! Recoverable: all that must survive lives in the ECS. A VM can be thrown away between two runs at
//! any time, and nothing is lost.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, patient};

/// Remembers values of every kind, counts, and talks to itself.
const MEMORY: &str = "
function on_start(self)
    self.starts = (self.starts or 0) + 1
    self.n = 0
    self.things = {1.5, true, 'text', vector.create(1, 2, 3), entity.id, {deep = {list = {1, 2}}}}
end
function on_update(self)
    self.n += 1
    self.things[6].deep.list[self.n] = self.n
    entity.Transform.translation += vector.create(1, 0, 0)
    send(entity.id, 'n', self.n)
end
function on_message(self, name, n)
    self.heard = (self.heard or 0) + n
end
";

/// What is left of twenty frames in which this was done before each.
fn after_twenty(mut meddle: impl FnMut(&mut Lab)) -> (ScriptTable, Transform) {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", MEMORY);
    for _ in 0..20 {
        meddle(&mut lab);
        lab.frame();
    }
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.field(entity, "n"), 20.0.into());
    assert_eq!(lab.field(entity, "heard"), f64::from(19 * 20 / 2).into());
    (lab.state(entity), lab.transform(entity))
}

#[test]
fn evicting_all_vms_between_frames_loses_nothing() {
    let undisturbed = after_twenty(|_| {});
    let evicted = after_twenty(|lab| {
        let pool = lab.app.world().resource::<LuaPool>();
        pool.vms().evict_all();
        assert_eq!(pool.vms().stats().idle, 0);
    });
    assert_eq!(evicted, undisturbed);
    let asked = after_twenty(|lab| {
        lab.app.world_mut().write_message(LuaControl::EvictVms);
    });
    assert_eq!(asked, undisturbed);
}

#[test]
fn evict_vms_replaces_every_vm() {
    let mut lab = Lab::new();
    lab.entity("a.luau", MEMORY);
    lab.frame();
    let before: Vec<_> = lab.snapshot().vms.iter().map(|vm| vm.id).collect();
    assert!(!before.is_empty());
    lab.app.world_mut().write_message(LuaControl::EvictVms);
    lab.frame();
    let after = &lab.snapshot().vms;
    assert!(!after.is_empty() && after.iter().all(|vm| !before.contains(&vm.id)), "{after:?}");
}

#[test]
fn another_configuration_between_frames_loses_nothing() {
    let undisturbed = after_twenty(|_| {});
    let mut size = 1;
    let resized = after_twenty(|lab| {
        size = size % 4 + 1;
        let mut pool = lab.app.world_mut().resource_mut::<LuaPool>();
        let memory_limit = (8 + size) * 1024 * 1024;
        let config = LuaPoolConfig {
            pool: PoolConfig { min_size: 0, max_size: size, memory_limit, ..patient().pool },
            ..patient()
        };
        pool.set_config(config).expect("it is valid");
    });
    assert_eq!(resized, undisturbed);
}

#[test]
fn a_save_goes_on_where_it_was_in_a_fresh_app() {
    let script = format!(
        "{MEMORY}
        function on_stop(self) emit('stopped', self.n) end"
    );
    let other = "function on_update(self) self.m = (self.m or 100) + 1 end";
    let (saved, transform) = {
        let mut lab = Lab::new();
        let scripts =
            LuaScripts::new(lab.script("a.luau", &script)).with(lab.script("b.luau", other));
        let entity = lab.app.world_mut().spawn((Transform::default(), scripts)).id();
        lab.frames(5);
        let states = lab.app.world().get::<ScriptStates>(entity).expect("it ran");
        (ron::to_string(states).expect("it serializes"), lab.transform(entity))
    };

    let mut lab = Lab::new();
    // The scripts are in another order now, which makes no difference.
    let scripts = LuaScripts::new(lab.script("b.luau", other)).with(lab.script("a.luau", &script));
    let states: ScriptStates = ron::from_str(&saved).expect("it deserializes");
    let entity = lab.app.world_mut().spawn((transform, scripts, states)).id();
    lab.frames(5);
    assert_eq!(lab.failures(), [""; 0]);
    let states = lab.app.world().get::<ScriptStates>(entity).expect("it ran");
    let a = states.get("a.luau").expect("it has a state");
    assert_eq!(a.get("starts"), &1.0.into(), "it had started already");
    assert_eq!(a.get("n"), &10.0.into());
    // The message of the fifth frame was on its way and is not part of a save.
    assert_eq!(a.get("heard"), &f64::from((1..10).sum::<i32>() - 5).into());
    assert_eq!(
        a.get("things").to_string(),
        format!(
            "{{1.5, true, \"text\", (1, 2, 3), {entity_before}, {{deep = {{list = \
                 {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}}}}}}}}",
            entity_before = entity_of(a)
        )
    );
    assert_eq!(states.get("b.luau").map(|b| b.get("m")), Some(&110.0.into()));
    assert_eq!(lab.transform(entity).translation.x, 10.0);

    lab.app.world_mut().despawn(entity);
    lab.frame();
    let events = lab.drain::<ScriptEvent>();
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].payload, 10.0.into());
}

/// The entity that the state remembers.
fn entity_of(state: &ScriptTable) -> Entity {
    let ScriptValue::Table(things) = state.get("things") else { panic!("{state}") };
    let ScriptValue::Entity(entity) = things.array[4] else { panic!("{state}") };
    entity
}

#[test]
fn a_save_whose_script_is_not_loaded_yet_waits_for_it() {
    let mut lab = Lab::new();
    let saved =
        r#"[(script: "late.luau", started: true, self: (fields: [(String("n"), Number(7))]))]"#;
    let states: ScriptStates = ron::from_str(saved).expect("it deserializes");
    let entity = lab.app.world_mut().spawn((Transform::default(), states)).id();
    lab.frames(2);
    lab.app.world_mut().entity_mut(entity).insert(LuaScripts::default());
    lab.frames(2);
    let script = lab.script("late.luau", "function on_update(self) self.n += 1 end");
    lab.app.world_mut().entity_mut(entity).insert(LuaScripts::new(script));
    lab.frames(2);
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.field(entity, "n"), 9.0.into());
}

#[test]
fn a_state_moves_to_another_entity_and_goes_on_there() {
    let mut lab = Lab::new();
    let script = lab.script("a.luau", MEMORY);
    let world = lab.app.world_mut();
    let a = world.spawn((Transform::default(), LuaScripts::new(script.clone()))).id();
    lab.frames(3);
    let states = lab.app.world().get::<ScriptStates>(a).expect("it ran").clone();
    let moved = (Transform::default(), LuaScripts::new(script), states);
    let b = lab.app.world_mut().spawn(moved).id();
    lab.frames(2);
    assert_eq!(lab.field(a, "n"), 5.0.into());
    assert_eq!(lab.field(b, "n"), 5.0.into());
    assert_eq!(lab.field(b, "starts"), 1.0.into());
}

#[test]
fn every_vm_may_die_in_the_middle_of_a_frame() {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { max_size: 2, ..patient().pool },
        max_failures: 0,
        ..patient()
    });
    lab.app.add_lua_function("panics", |(): ()| -> f64 { panic!("on purpose") });
    let good = lab.script("good.luau", MEMORY);
    let bad = lab.script("bad.luau", "function on_update() panics() end");
    let world = lab.app.world_mut();
    let mut all = Vec::new();
    for _ in 0..40 {
        all.push(world.spawn((Transform::default(), LuaScripts::new(good.clone()))).id());
        world.spawn(LuaScripts::new(bad.clone()));
    }
    for _ in 0..5 {
        lab.frame();
        assert_eq!(lab.failures().len(), 40);
    }
    for entity in all {
        assert_eq!(lab.field(entity, "n"), 5.0.into());
        assert_eq!(lab.transform(entity).translation.x, 5.0);
    }
    let pool = lab.snapshot().pool;
    assert_eq!(pool.created - pool.destroyed, (pool.idle + pool.leased) as u64);
    assert_eq!(pool.leased, 0);
}

#[test]
fn an_app_can_be_dropped_at_any_time() {
    for frames in 0..4 {
        let mut lab = Lab::new();
        lab.entity("a.luau", MEMORY);
        lab.frames(frames);
        let vms = lab.app.world().resource::<LuaPool>().vms().clone();
        drop(lab);
        assert_eq!(vms.stats().leased, 0);
    }
    drop(Lab::new());
}

#[test]
fn a_script_that_is_stopped_in_the_frame_of_its_run_keeps_what_the_run_left() {
    let script = "
        function on_start(self) self.n = 10 end
        function on_update(self)
            self.n += 1
            emit('ran', self.n)
        end
        function on_stop(self) emit('stopped', self.n) end";
    for frames_before in [0, 2] {
        let mut lab = Lab::new();
        // One stage a frame, so that the first holds `on_start` and `on_update`.
        lab.app.insert_resource(Time::<Fixed>::from_duration(std::time::Duration::from_secs(9999)));
        let killer = lab.script("a.luau", "function on_message(_, _, id) world.despawn(id) end");
        let victim = lab.script("b.luau", script);
        let world = lab.app.world_mut();
        let killer = world.spawn(LuaScripts::new(killer)).id();
        let victim = world.spawn(LuaScripts::new(victim)).id();
        lab.frames(frames_before);
        lab.app.world_mut().write_message(ToScript::new(killer, "kill", victim));
        lab.drain::<ScriptEvent>();
        lab.frames(2);
        assert_eq!(lab.failures(), [""; 0]);
        assert!(lab.app.world().get_entity(victim).is_err());
        let events = lab.drain::<ScriptEvent>();
        let events: Vec<_> = events.into_iter().map(|event| (event.name, event.payload)).collect();
        let n = ScriptValue::from(11.0 + frames_before as f64);
        assert_eq!(events, [("ran".to_owned(), n.clone()), ("stopped".to_owned(), n)]);
    }
}
