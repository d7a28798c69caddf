//! Which callbacks run, when, and in which order.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::Lab;

const DIARY: &str = "
local function note(self, what) self.diary = (self.diary or '') .. what .. ' ' end
function on_start(self) note(self, 'start') end
function on_update(self, dt) note(self, 'update') end
function on_message(self, name, payload, sender) note(self, name) end
function on_reload(self) note(self, 'reload') end
";

/// Says goodbye to the game.
const STOPS: &str = "
function on_start(self) self.n = 0 end
function on_update(self) self.n += 1 end
function on_stop(self) emit('stopped', {n = self.n, me = entity.id}) end
";

fn count(lab: &Lab, entity: Entity) -> f64 {
    match lab.field(entity, "n") {
        ScriptValue::Number(n) => n,
        ScriptValue::Nil => 0.0,
        other => panic!("{other}"),
    }
}

/// What `STOPS` said goodbye with.
fn goodbyes(lab: &mut Lab) -> Vec<(Entity, f64)> {
    let events = lab.drain::<ScriptEvent>();
    events
        .iter()
        .filter(|event| event.name == "stopped")
        .map(|event| {
            let ScriptValue::Table(payload) = &event.payload else { panic!("no table") };
            let ScriptValue::Number(n) = payload.get("n") else { panic!("no number") };
            assert_eq!(payload.get("me"), &event.entity.into());
            (event.entity, *n)
        })
        .collect()
}

#[test]
fn on_start_runs_once_and_before_everything_else() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", DIARY);
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frames(2);
    assert_eq!(lab.field(entity, "diary"), "start hello update update ".into());
}

#[test]
fn on_reload_comes_before_messages_and_messages_before_on_update() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", DIARY);
    lab.frame();
    lab.scripting().enabled = false;
    lab.app.world_mut().write_message(ToScript::new(entity, "one", ScriptValue::Nil));
    lab.app.world_mut().write_message(ToScript::new(entity, "two", ScriptValue::Nil));
    let handle = lab.get::<LuaScripts>(entity).scripts[0].clone();
    let before =
        lab.app.world().resource::<Assets<LuaScript>>().get(&handle).unwrap().program().id();
    lab.edit("a.luau", &format!("{DIARY} -- edited"));
    lab.until(|lab| {
        let scripts = lab.app.world().resource::<Assets<LuaScript>>();
        scripts.get(&handle).unwrap().program().id() != before
    });
    lab.scripting().enabled = true;
    lab.frame();
    assert_eq!(lab.field(entity, "diary"), "start update reload one two update ".into());
}

#[test]
fn on_update_gets_the_frame_time_in_seconds() {
    let mut lab = Lab::new();
    let entity =
        lab.entity("a.luau", "function on_update(self, dt) self.t = (self.t or 0) + dt end");
    lab.frames(5);
    let ScriptValue::Number(t) = lab.field(entity, "t") else { panic!("no time") };
    assert!((t - 0.1).abs() < 1e-6, "{t}");
}

#[test]
fn on_fixed_update_runs_once_for_each_fixed_step_with_its_own_time() {
    let mut lab = Lab::new();
    // Frames last 20 ms.
    lab.app.insert_resource(Time::<Fixed>::from_seconds(0.005));
    let entity = lab.entity(
        "a.luau",
        "function on_fixed_update(self, dt)
            self.steps = (self.steps or 0) + 1
            self.dt = dt
            self.same = dt == time.delta
        end
        function on_update(self, dt) self.frames = (self.frames or 0) + 1 end",
    );
    lab.frames(3);
    assert_eq!(lab.field(entity, "steps"), 12.0.into());
    assert_eq!(lab.field(entity, "frames"), 3.0.into());
    let ScriptValue::Number(dt) = lab.field(entity, "dt") else { panic!("no time") };
    assert!((dt - 0.005).abs() < 1e-9, "{dt}");
    assert_eq!(lab.field(entity, "same"), true.into());
}

#[test]
fn on_start_comes_before_the_first_fixed_step_and_messages_wait_for_the_frame() {
    let mut lab = Lab::new();
    lab.app.insert_resource(Time::<Fixed>::from_seconds(0.010));
    let entity = lab.entity(
        "a.luau",
        &format!("{DIARY} function on_fixed_update(self) note(self, 'fixed') end"),
    );
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frame();
    assert_eq!(lab.field(entity, "diary"), "start fixed fixed hello update ".into());
}

#[test]
fn a_script_taken_out_of_the_list_is_stopped_with_its_last_state() {
    let mut lab = Lab::new();
    let stops = lab.script("stops.luau", STOPS);
    let diary = lab.script("diary.luau", DIARY);
    let scripts = LuaScripts::new(stops).with(diary.clone());
    let entity = lab.app.world_mut().spawn(scripts).id();
    lab.frames(3);
    lab.app.world_mut().get_mut::<LuaScripts>(entity).unwrap().scripts = vec![diary];
    lab.frame();
    assert_eq!(goodbyes(&mut lab), [(entity, 3.0)]);
    assert_eq!(lab.field(entity, "diary"), "start update update update update ".into());
    lab.frames(2);
    assert_eq!(goodbyes(&mut lab), [], "once");
}

#[test]
fn on_stop_runs_with_the_last_state_when_the_component_goes() {
    let mut lab = Lab::new();
    let entity = lab.entity("stops.luau", STOPS);
    lab.frames(3);
    lab.app.world_mut().entity_mut(entity).remove::<LuaScripts>();
    lab.frames(2);
    assert_eq!(goodbyes(&mut lab), [(entity, 3.0)]);
}

#[test]
fn on_stop_runs_with_the_last_state_when_the_entity_goes() {
    let mut lab = Lab::new();
    let entity = lab.entity("stops.luau", STOPS);
    lab.frames(3);
    lab.app.world_mut().despawn(entity);
    lab.frames(2);
    assert_eq!(goodbyes(&mut lab), [(entity, 3.0)]);
}

#[test]
fn a_script_that_never_started_has_nothing_to_stop() {
    let mut lab = Lab::new();
    let entity = lab.entity("stops.luau", STOPS);
    lab.app.world_mut().despawn(entity);
    lab.frames(2);
    assert_eq!(goodbyes(&mut lab), []);
}

#[test]
fn an_entity_that_another_script_despawned_is_stopped_with_its_last_state() {
    let mut lab = Lab::new();
    // The despawner runs first in the stable order.
    let despawner = lab.script(
        "despawner.luau",
        "function on_message(self, name, victim) world.despawn(victim) end",
    );
    let despawner = lab.app.world_mut().spawn(LuaScripts::new(despawner)).id();
    let victim = lab.entity("stops.luau", STOPS);
    lab.frames(2);
    lab.app.world_mut().write_message(ToScript::new(despawner, "kill", victim));
    // The victim's third run is in the same stage.
    lab.frames(3);
    assert!(lab.app.world().get_entity(victim).is_err());
    assert_eq!(goodbyes(&mut lab), [(victim, 3.0)]);
    assert_eq!(lab.failures(), Vec::<String>::new());
}

#[test]
fn an_entity_that_despawns_itself_is_stopped_with_what_it_last_remembered() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "stops.luau",
        "function on_start(self) self.n = 0 end
        function on_update(self)
            self.n += 1
            if self.n == 3 then world.despawn(entity.id) end
        end
        function on_stop(self) emit('stopped', {n = self.n, me = entity.id}) end",
    );
    lab.frames(4);
    assert!(lab.app.world().get_entity(entity).is_err());
    assert_eq!(goodbyes(&mut lab), [(entity, 3.0)]);
}

#[test]
fn a_despawn_in_the_middle_of_everything_harms_nobody_else() {
    let mut lab = Lab::new();
    let despawner = lab.script(
        "despawner.luau",
        "function on_message(self, name, victim)
            victim.Name = 'written by the despawner'
            world.despawn(victim)
        end",
    );
    let victim_script = lab.script(
        "victim.luau",
        "function on_update(self)
            entity.Transform.translation += vector.one
            self.child = world.spawn{parent = entity.id, Name = 'child'}
            send(entity.id, 'to myself')
        end",
    );
    let writer_script = lab.script(
        "writer.luau",
        "function on_message(self, name, victim) self.victim = victim end
        function on_update(self)
            self.n = (self.n or 0) + 1
            if self.victim and world.exists(self.victim) then
                self.victim.Name = 'written by the writer'
                send(self.victim, 'hello')
            end
        end",
    );
    let before = lab.app.world_mut().spawn(LuaScripts::new(despawner)).id();
    let victim =
        lab.app.world_mut().spawn((Transform::default(), LuaScripts::new(victim_script))).id();
    let writer = lab.app.world_mut().spawn(LuaScripts::new(writer_script)).id();
    lab.app.world_mut().write_message(ToScript::new(writer, "watch", victim));
    lab.frames(2);
    lab.app.world_mut().write_message(ToScript::new(before, "kill", victim));
    lab.frame();
    assert!(lab.app.world().get_entity(victim).is_err());
    lab.frames(2);
    assert_eq!(lab.failures(), Vec::<String>::new());
    assert_eq!(count(&lab, writer), 5.0);
    assert!(lab.snapshot().total.undelivered >= 1, "messages to the victim found nobody");
}

#[test]
fn several_scripts_on_one_entity_run_in_the_order_of_the_list() {
    let mut lab = Lab::new();
    let [a, b] = ["a", "b"].map(|name| {
        lab.script(
            &format!("{name}.luau"),
            &format!("function on_update(self) emit('{name}') self.name = '{name}' end"),
        )
    });
    let entity = lab.app.world_mut().spawn(LuaScripts::new(b.clone()).with(a.clone())).id();
    lab.app.world_mut().spawn(LuaScripts::new(a).with(b));
    lab.frame();
    let events = lab.drain::<ScriptEvent>();
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["b", "a", "a", "b"]);
    let states = lab.get::<ScriptStates>(entity);
    assert_eq!(states.get("a.luau").map(|state| state.get("name").clone()), Some("a".into()));
    assert_eq!(states.get("b.luau").map(|state| state.get("name").clone()), Some("b".into()));
}

#[test]
fn a_script_that_is_twice_in_the_list_has_two_states() {
    let mut lab = Lab::new();
    let script = lab.script("a.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script.clone()).with(script)).id();
    lab.frames(2);
    let states = lab.get::<ScriptStates>(entity);
    let counts: Vec<_> = states.iter().map(|state| state.fields.get("n").clone()).collect();
    assert_eq!(counts, [2.0.into(), 2.0.into()]);
}

#[test]
fn a_disabled_entity_does_not_run_and_its_messages_wait() {
    let mut lab = Lab::new();
    let paused = lab.entity("a.luau", DIARY);
    let other = lab.entity("b.luau", DIARY);
    lab.app.world_mut().get_mut::<LuaScripts>(paused).unwrap().enabled = false;
    lab.app.world_mut().write_message(ToScript::new(paused, "hello", ScriptValue::Nil));
    lab.frames(5);
    assert_eq!(lab.state(paused), ScriptTable::default());
    assert!(matches!(lab.field(other, "diary"), ScriptValue::String(_)));
    assert_eq!(lab.snapshot().total.undelivered, 0);
    lab.app.world_mut().get_mut::<LuaScripts>(paused).unwrap().enabled = true;
    lab.frame();
    assert_eq!(lab.field(paused, "diary"), "start hello update ".into());
}

#[test]
fn nothing_runs_while_scripting_is_disabled_and_messages_wait() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", DIARY);
    lab.scripting().enabled = false;
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frames(5);
    assert!(lab.snapshot().paused);
    assert_eq!(lab.snapshot().total.runs, 0);
    lab.scripting().enabled = true;
    lab.frame();
    assert_eq!(lab.field(entity, "diary"), "start hello update ".into());
}

#[derive(Resource)]
struct Paused(bool);

fn not_paused(paused: Res<Paused>) -> bool {
    !paused.0
}

#[test]
fn a_run_condition_on_all_sets_pauses_scripts_and_messages_wait() {
    let mut lab = Lab::new();
    let sets = (ScriptSystems::Collect, ScriptSystems::Execute, ScriptSystems::Apply);
    lab.app
        .insert_resource(Paused(true))
        .configure_sets(Update, sets.run_if(not_paused))
        .configure_sets(FixedUpdate, sets.run_if(not_paused));
    let entity = lab.entity("a.luau", DIARY);
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frames(5);
    assert_eq!(lab.snapshot().total.runs, 0);
    lab.app.insert_resource(Paused(false));
    lab.frame();
    assert_eq!(lab.field(entity, "diary"), "start hello update ".into());
}

#[test]
fn a_run_condition_on_a_single_set_loses_no_message() {
    for set in [ScriptSystems::Collect, ScriptSystems::Execute, ScriptSystems::Apply] {
        let mut lab = Lab::new();
        lab.app
            .insert_resource(Paused(true))
            .configure_sets(Update, set.run_if(not_paused))
            .configure_sets(FixedUpdate, set.run_if(not_paused));
        let entity = lab.entity("a.luau", DIARY);
        lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
        lab.frames(3);
        let states = lab.get::<ScriptStates>(entity);
        assert!(states.iter().all(|state| state.fields.is_empty()), "{set:?}");
        lab.app.insert_resource(Paused(false));
        lab.frames(2);
        let ScriptValue::String(diary) = lab.field(entity, "diary") else {
            panic!("{set:?}: it never ran")
        };
        assert!(diary.starts_with("start hello update"), "{set:?}: {diary}");
    }
}

#[test]
fn the_controls_pause_resume_and_reload() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", DIARY);
    lab.frame();
    lab.app.world_mut().write_message(LuaControl::Pause);
    lab.frames(3);
    assert!(lab.snapshot().paused);
    assert_eq!(lab.field(entity, "diary"), "start update ".into());
    lab.app.world_mut().write_message(LuaControl::Resume);
    lab.frame();
    assert_eq!(lab.field(entity, "diary"), "start update update ".into());
    lab.app.world_mut().write_message(LuaControl::ReloadScripts);
    lab.until(|lab| lab.field(entity, "diary").to_string().contains("reload"));
}

#[test]
fn the_controls_evict_vms_and_forget_errors() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
    let failing = lab.entity("b.luau", "function on_update(self) error('no') end");
    lab.frame();
    assert_eq!(lab.snapshot().errors.len(), 1);
    let old: Vec<_> = lab.snapshot().vms.iter().map(|vm| vm.id).collect();
    lab.app.world_mut().despawn(failing);
    lab.app.world_mut().write_message(LuaControl::ClearErrors);
    lab.app.world_mut().write_message(LuaControl::EvictVms);
    lab.frame();
    assert_eq!(lab.snapshot().errors.len(), 0);
    assert!(!old.is_empty());
    assert!(lab.snapshot().vms.iter().all(|vm| !old.contains(&vm.id)));
    lab.frame();
    assert_eq!(count(&lab, entity), 3.0, "no state went with the VMs");
}

#[test]
fn a_script_that_is_put_aside_runs_again_when_it_is_woken() {
    let mut lab = Lab::new();
    let entity = lab.entity(
        "a.luau",
        "function on_update(self) assert(entity.Transform.translation.x > 0) self.n = 1 end",
    );
    let mut failed = Vec::new();
    for _ in 0..10 {
        lab.frame();
        failed.extend(lab.drain::<ScriptFailed>());
    }
    assert!(lab.get::<ScriptStates>(entity).is_put_aside("a.luau"));
    assert_eq!(lab.snapshot().scripts[0].put_aside, 1);
    let put_aside: Vec<_> = failed.iter().map(|failed| failed.put_aside).collect();
    assert_eq!(put_aside, [false, false, false, false, true], "the default is five in a row");
    lab.app.world_mut().get_mut::<Transform>(entity).unwrap().translation.x = 1.0;
    let runs = lab.snapshot().total.runs;
    lab.frames(3);
    assert_eq!(lab.snapshot().total.runs, runs, "it doesn't run by itself");
    lab.app.world_mut().write_message(LuaControl::WakeScripts);
    lab.frame();
    assert_eq!(count(&lab, entity), 1.0);
}

#[test]
fn a_script_without_on_update_costs_no_run() {
    let mut lab = Lab::new();
    let entity =
        lab.entity("a.luau", "function on_message(self, name) self.n = (self.n or 0) + 1 end");
    lab.frame();
    for _ in 0..3 {
        lab.frame();
        assert_eq!(lab.stats().runs, 0);
    }
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frame();
    assert_eq!((lab.stats().runs, count(&lab, entity)), (1, 1.0));
}
