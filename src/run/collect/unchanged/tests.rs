//! Two apps to which the same happens, of which one collects all entities the careful way.

use bevy::app::{FixedUpdate, Update};
use bevy::asset::Assets;
use bevy::ecs::change_detection::DetectChangesMut;
use bevy::prelude::{Entity, Handle, IntoScheduleConfigs, Name, Resource, World};

use crate::config::LuaPoolConfig;
use crate::run::frame::Frame;
use crate::run::mailbox::Mailbox;
use crate::run::messages::ToScript;
use crate::run::stop::StopQueue;
use crate::run::system_sets::ScriptSystems;
use crate::script::{LuaScript, LuaScripts, ScriptStates, StateLocation};
use crate::testing::{STEP, TestApp, patient_config};

const SCRIPTS: [(&str, &str); 5] = [
    ("walker", "function on_start(self) self.n = 0 end function on_update(self) self.n += 1 end"),
    ("idle", "function on_start(self) self.n = 0 end"),
    ("fixed", "function on_fixed_update(self, dt) self.n = (self.n or 0) + dt end"),
    ("listener", "function on_message(self, name) self.heard = name end"),
    ("failing", "function on_update(self) assert(not self.bad) end"),
];

/// What collecting came to in each stage.
#[derive(Resource, Default)]
struct Seen(Vec<Vec<String>>);

/// The scripts, in the order of [`SCRIPTS`].
#[derive(Resource)]
struct Scripts(Vec<Handle<LuaScript>>);

impl Scripts {
    fn get(world: &World, number: usize) -> Handle<LuaScript> {
        world.resource::<Self>().0[number].clone()
    }
}

/// A state that was put away.
#[derive(Resource)]
struct PutAway(ScriptStates);

struct Twins {
    apps: [TestApp; 2],
    /// The same in both.
    entities: Vec<Entity>,
}

impl Twins {
    fn new(entities: usize) -> Self {
        let apps = [test_app(false), test_app(true)];
        let mut twins = Self { apps, entities: Vec::new() };
        for number in 0..entities {
            let entity = twins.both(|world, _| spawn(world, number));
            twins.entities.push(entity);
        }
        // They start, and are known.
        twins.frames(3);
        twins
    }

    /// Does the same to both.
    fn both<T: PartialEq + std::fmt::Debug>(
        &mut self,
        mut act: impl FnMut(&mut World, &[Entity]) -> T,
    ) -> T {
        let [quick, careful] = &mut self.apps;
        let first = act(quick.app.world_mut(), &self.entities);
        assert_eq!(first, act(careful.app.world_mut(), &self.entities));
        first
    }

    /// Runs frames, in which both see the same.
    #[track_caller]
    fn frames(&mut self, count: usize) {
        for frame in 0..count {
            let [quick, careful] = self.apps.each_mut().map(|test| {
                test.frame();
                std::mem::take(&mut test.app.world_mut().resource_mut::<Seen>().0)
            });
            assert_eq!(quick.len(), careful.len());
            for (stage, (quick, careful)) in quick.iter().zip(&careful).enumerate() {
                for (quick, careful) in quick.iter().zip(careful) {
                    assert_eq!(quick, careful, "stage {stage} of frame {frame}");
                }
                assert_eq!(quick.len(), careful.len(), "stage {stage} of frame {frame}");
            }
            let [quick, careful] = self.apps.each_ref().map(rows);
            assert_eq!(quick, careful);
        }
    }

    /// That in the last frame the first app examined so many entities one by one, counted in each of its two stages,
    /// and the second all.
    #[track_caller]
    fn assert_left(&self, left: u64) {
        let of = |test: &TestApp| test.snapshot().frame_paths.collected_one_by_one;
        assert_eq!(of(&self.apps[0]), left);
        assert!(of(&self.apps[1]) > left, "there is something to compare");
    }

    /// As [`Self::assert_left`], where the first app may leave as many as the second.
    #[track_caller]
    fn assert_left_some(&self, left: u64) {
        let snapshot = self.apps[0].snapshot();
        assert_eq!(snapshot.frame_paths.collected_one_by_one, left);
    }

    /// Does something to some; after that all are quiet again.
    #[track_caller]
    fn unsettle(&mut self, act: impl FnMut(&mut World, &[Entity])) {
        self.assert_left(0);
        self.both(act);
        self.frames(5);
        self.assert_left(0);
    }
}

fn test_app(careful: bool) -> TestApp {
    let config = LuaPoolConfig {
        max_failures: 2,
        retry_interval: 3,
        max_retry_interval: 3,
        ..patient_config()
    };
    let mut test = TestApp::builder().config(config).fixed_step(STEP).build();
    let app = &mut test.app;
    app.init_resource::<Seen>();
    let note = || note.after(ScriptSystems::Collect).before(ScriptSystems::Execute);
    app.add_systems(Update, note()).add_systems(FixedUpdate, note());
    if careful {
        app.add_systems(Update, forget.before(ScriptSystems::Collect))
            .add_systems(FixedUpdate, forget.before(ScriptSystems::Collect));
    }
    test.finish();
    let world = test.app.world_mut();
    let scripts = SCRIPTS.map(|(name, source)| {
        let script = LuaScript::from_source(name, source).unwrap();
        world.resource_mut::<Assets<LuaScript>>().add(script)
    });
    world.insert_resource(Scripts(scripts.into()));
    test
}

/// One of several kinds, in several tables.
fn spawn(world: &mut World, number: usize) -> Entity {
    let script = |number: usize| Scripts::get(world, number % SCRIPTS.len());
    let mut scripts = LuaScripts::new(script(number));
    if number.is_multiple_of(7) {
        scripts = scripts.with(script(number + 1)).with(script(number + 2));
    }
    let entity = world.spawn(scripts).id();
    if number.is_multiple_of(3) {
        world.entity_mut(entity).insert(Name::new("in another table"));
    }
    entity
}

/// Has no entity be quiet.
fn forget(mut states: bevy::prelude::Query<&mut ScriptStates>) {
    for mut states in &mut states {
        for state in &mut states.bypass_change_detection().states {
            state.attached.place = StateLocation::default();
        }
    }
}

fn note(world: &mut World) {
    let frame = world.resource::<Frame>();
    let mut seen: Vec<String> = Vec::new();
    for invocation in &frame.invocations {
        let mail: Vec<&str> = frame.mail(invocation).map(|mail| &*mail.name).collect();
        seen.push(format!(
            "{} {} {} {mail:?} {} {:?} {} {:?} {:?}",
            invocation.entity,
            invocation.slot,
            frame.program(invocation).name(),
            invocation.waiting,
            invocation.due,
            invocation.delta,
            invocation.more.as_ref().and_then(|more| more.origin),
            invocation.stop().map(|last| (&last.fields, last.draws)),
        ));
    }
    let mut carried: Vec<String> = frame
        .programs
        .list
        .iter()
        .filter(|carried| carried.in_use)
        .map(|carried| {
            let name = carried.program.name();
            let (entities, put_aside) = (carried.entities, carried.put_aside);
            format!("{name} {entities} {put_aside} {:?}", carried.next_retry)
        })
        .collect();
    carried.sort();
    seen.extend(carried);
    let mut shared = frame.shared.clone();
    shared.sort_unstable();
    seen.push(format!("{} {shared:?}", frame.any_waits));
    for mail in &world.resource::<Mailbox>().waiting {
        seen.push(format!("{mail:?}"));
    }
    seen.push(format!("{:?}", frame.deliveries));
    for stopped in &world.resource::<StopQueue>().stopped {
        seen.push(format!("{} {} {}", stopped.entity, stopped.program.name(), stopped.last.fields));
    }
    let mut states = world.query::<(Entity, &ScriptStates)>();
    let mut all = Vec::new();
    for (entity, states) in states.iter(world) {
        for state in &states.states {
            let at = &state.attached;
            let program = at.program.as_ref().map(|program| program.name());
            all.push(format!(
                "{entity} {} {} {} {:?} {program:?} {} {:?} {:?} {:?}",
                state.script,
                state.started,
                state.fields,
                at.asset,
                at.reload,
                at.aside,
                at.waiting,
                at.pending_delta,
            ));
        }
    }
    all.sort();
    seen.extend(all);
    world.resource_mut::<Seen>().0.push(seen);
}

/// What the snapshot says of the scripts.
fn rows(test: &TestApp) -> Vec<String> {
    let snapshot = test.snapshot();
    let rows = snapshot.scripts.iter().map(|row| {
        let (put_aside, next_retry) = (row.put_aside, row.next_retry);
        let (runs, errors) = (row.runs, row.errors);
        format!("{} {} {runs} {errors} {put_aside} {next_retry:?}", row.path, row.entities)
    });
    let mut total = snapshot.total;
    total.time = std::time::Duration::ZERO;
    rows.chain([format!("{total:?}")]).collect()
}

/// Another script in the place of an asset.
fn replace(world: &mut World, number: usize, name: &str, source: &str) {
    let script = LuaScript::from_source(name, source).unwrap();
    let asset = Scripts::get(world, number).id();
    world.resource_mut::<Assets<LuaScript>>().insert(asset, script).unwrap();
}

fn states(world: &World, entity: Entity) -> ScriptStates {
    world.get::<ScriptStates>(entity).unwrap().clone()
}

#[test]
fn nobody_is_looked_at_carefully_to_whom_nothing_happens() {
    let mut twins = Twins::new(40);
    twins.assert_left(0);
    twins.frames(3);
    twins.assert_left(0);
}

#[test]
fn a_state_cloned_from_another_entity_is_recognised() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let walker = states(world, entities[5]);
        // Of the same script, of others, and of three.
        for other in [10, 1, 2, 7] {
            world.entity_mut(entities[other]).insert(walker.clone());
        }
    });
}

#[test]
fn states_that_change_places_are_recognised() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for (one, other) in [(5, 6), (8, 13), (10, 15)] {
            let [mut one, mut other] = world
                .entity_mut([entities[one], entities[other]])
                .map(|entity| entity.into_mut::<ScriptStates>().unwrap());
            std::mem::swap(one.bypass_change_detection(), other.bypass_change_detection());
        }
    });
}

#[test]
fn an_older_state_of_its_own_is_recognised_after_the_scripts_changed() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let old = states(world, entities[5]);
        world.insert_resource(PutAway(old));
        let idle = Scripts::get(world, 1);
        world.get_mut::<LuaScripts>(entities[5]).unwrap().scripts[0] = idle;
    });
    twins.frames(3);
    twins.unsettle(|world, entities| {
        let PutAway(old) = world.remove_resource().unwrap();
        world.entity_mut(entities[5]).insert(old);
    });
}

#[test]
fn an_older_state_of_its_own_is_recognised_after_the_asset_changed() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let old = states(world, entities[5]);
        world.insert_resource(PutAway(old));
        replace(world, 0, "runner", "function on_update(self) self.n += 2 end");
    });
    twins.frames(3);
    twins.unsettle(|world, entities| {
        let PutAway(old) = world.remove_resource().unwrap();
        world.entity_mut(entities[5]).insert(old);
    });
}

#[test]
fn a_state_from_another_app_is_recognised() {
    let mut other = test_app(false);
    other.app.world_mut().resource_mut::<Scripts>().0.reverse();
    let entities: Vec<Entity> =
        (0..40).map(|number| spawn(other.app.world_mut(), number)).collect();
    other.frames(3);
    let mut twins = Twins::new(40);
    assert_eq!(twins.entities, entities);
    twins.unsettle(|world, entities| {
        for entity in &entities[..10] {
            world.entity_mut(*entity).insert(states(other.app.world(), *entity));
        }
    });
}

#[test]
fn another_list_of_scripts_is_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let [walker, idle] = [0, 1].map(|number| Scripts::get(world, number));
        let mut scripts = world.get_mut::<LuaScripts>(entities[5]).unwrap();
        scripts.scripts[0] = idle;
        let mut scripts = world.get_mut::<LuaScripts>(entities[6]).unwrap();
        scripts.scripts.push(walker);
        world.get_mut::<LuaScripts>(entities[7]).unwrap().scripts.swap(0, 2);
        world.get_mut::<LuaScripts>(entities[8]).unwrap().scripts.clear();
    });
}

#[test]
fn scripts_that_went_and_came_back_are_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let scripts = world.entity_mut(entities[5]).take::<LuaScripts>().unwrap();
        world.entity_mut(entities[5]).insert(scripts);
        let scripts = world.entity_mut(entities[7]).take::<LuaScripts>().unwrap();
        world.entity_mut(entities[8]).insert(scripts);
        world.entity_mut(entities[10]).remove::<(LuaScripts, ScriptStates)>();
    });
    twins.unsettle(|world, entities| {
        let walker = Scripts::get(world, 0);
        world.entity_mut(entities[10]).insert(LuaScripts::new(walker));
    });
}

#[test]
fn whether_scripts_are_enabled_is_noticed_also_past_change_detection() {
    let mut twins = Twins::new(40);
    for enabled in [false, true] {
        twins.unsettle(|world, entities| {
            for entity in &entities[5..8] {
                world.get_mut::<LuaScripts>(*entity).unwrap().enabled = enabled;
            }
            for entity in &entities[10..15] {
                let mut scripts = world.get_mut::<LuaScripts>(*entity).unwrap();
                scripts.bypass_change_detection().enabled = enabled;
            }
        });
    }
}

#[test]
fn while_scripts_do_not_run_an_asset_may_go() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        for entity in entities {
            world.get_mut::<LuaScripts>(*entity).unwrap().enabled = false;
        }
    });
    twins.frames(2);
    twins.unsettle(|world, _| {
        let walker = Scripts::get(world, 0);
        world.resource_mut::<Assets<LuaScript>>().remove(&walker).unwrap();
    });
}

#[test]
fn an_asset_that_is_another_program_now_is_noticed() {
    let mut twins = Twins::new(40);
    for name in ["walker", "runner"] {
        twins.unsettle(|world, _| {
            replace(world, 0, name, "function on_update(self) self.n += 2 end");
            // It defines another callback now.
            replace(world, 1, "busy", "function on_update(self) self.n += 1 end");
        });
    }
}

#[test]
fn an_asset_that_went_and_came_back_is_noticed() {
    let mut twins = Twins::new(40);
    twins.both(|world, _| {
        let walker = Scripts::get(world, 0);
        world.resource_mut::<Assets<LuaScript>>().remove(&walker).unwrap();
    });
    twins.frames(3);
    let carriers = (0..40).filter(|number| {
        let scripts = if number % 7 == 0 { 3 } else { 1 };
        (0..scripts).any(|more| (number + more) % SCRIPTS.len() == 0)
    });
    twins.assert_left_some(2 * carriers.count() as u64);
    twins.both(|world, _| replace(world, 0, "walker", SCRIPTS[0].1));
    twins.frames(3);
    twins.assert_left(0);
}

#[test]
fn a_script_that_is_put_aside_and_one_that_is_woken_are_noticed() {
    let mut twins = Twins::new(40);
    let set_bad = |world: &mut World, entities: &[Entity], bad: bool| {
        for entity in [entities[4], entities[9]] {
            let mut states = world.get_mut::<ScriptStates>(entity).unwrap();
            states.get_mut("failing").unwrap().set("bad", bad);
        }
    };
    twins.both(|world, entities| set_bad(world, entities, true));
    twins.frames(2);
    twins.assert_left(0);
    // The interval passes more than once.
    twins.frames(12);
    twins.both(|world, entities| {
        assert!(states(world, entities[4]).is_put_aside("failing"));
        set_bad(world, entities, false);
        world.get_mut::<ScriptStates>(entities[9]).unwrap().wake();
    });
    twins.frames(6);
    twins.both(|world, entities| {
        assert!(!states(world, entities[4]).is_put_aside("failing"));
    });
    twins.assert_left(0);
}

#[test]
fn who_is_put_aside_while_paused_is_counted() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        let mut states = world.get_mut::<ScriptStates>(entities[4]).unwrap();
        states.get_mut("failing").unwrap().set("bad", true);
    });
    twins.frames(3);
    twins.both(|world, entities| {
        assert!(states(world, entities[4]).is_put_aside("failing"));
        world.get_mut::<LuaScripts>(entities[4]).unwrap().enabled = false;
    });
    twins.frames(3);
}

#[test]
fn entities_that_take_the_places_of_others_are_new() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for number in [5, 12, 20, 21] {
            world.despawn(entities[number]);
            // It gets the index, and the row of another gets the hole.
            spawn(world, number + 1);
        }
    });
}

#[test]
fn who_gets_a_message_is_noticed() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        // Back and forth, to some that don't listen, and to nobody.
        for number in [38, 3, 20, 8, 4, 38, 7] {
            world.write_message(ToScript::new(entities[number], format!("to {number}"), 1.0));
        }
        world.write_message(ToScript::new(Entity::PLACEHOLDER, "to nobody", 1.0));
    });
}

#[test]
fn messages_to_paused_scripts_wait() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        world.get_mut::<LuaScripts>(entities[3]).unwrap().enabled = false;
        world.write_message(ToScript::new(entities[3], "later", 1.0));
    });
    twins.frames(3);
    twins.assert_left(1);
    twins.both(|world, entities| {
        world.get_mut::<LuaScripts>(entities[3]).unwrap().enabled = true;
    });
    twins.frames(2);
    twins.both(|world, entities| {
        assert_eq!(states(world, entities[3]).states[0].fields.get("heard"), &"later".into());
    });
}

#[test]
fn what_reflection_did_to_the_states_is_noticed() {
    use bevy::reflect::structs::Struct;

    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        // As loading a scene over an entity does.
        let mut states = world.get_mut::<ScriptStates>(entities[5]).unwrap();
        states.states[0].started = false;
        let mut states = world.get_mut::<ScriptStates>(entities[7]).unwrap();
        let states = states.bypass_change_detection().field_mut("states").unwrap();
        let states = states.reflect_mut().as_list().unwrap();
        let first = states.remove(0);
        states.push(first);
        let mut states = world.get_mut::<ScriptStates>(entities[8]).unwrap();
        states.states.clear();
    });
}

#[test]
fn what_is_owed_and_who_waits_comes_out_the_same() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        for entity in &entities[..20] {
            let mut states = world.get_mut::<ScriptStates>(*entity).unwrap();
            let attached = &mut states.bypass_change_detection().states[0].attached;
            let waiting = (entity.index_u32() % 3) as u16;
            (attached.waiting, attached.pending_delta) = ([waiting, 1], [0.5, 0.25]);
        }
    });
}

#[test]
fn a_reload_that_is_due_is_not_forgotten() {
    let mut twins = Twins::new(40);
    twins.unsettle(|world, entities| {
        let mut states = world.get_mut::<ScriptStates>(entities[5]).unwrap();
        states.bypass_change_detection().states[0].attached.reload = true;
    });
}

#[test]
fn who_descends_from_another_shares_with_others() {
    let mut twins = Twins::new(40);
    twins.both(|world, entities| {
        for entity in &entities[5..12] {
            let mut states = world.get_mut::<ScriptStates>(*entity).unwrap();
            states.origin = Some(entities[0]);
        }
    });
    twins.frames(3);
    twins.assert_left(2 * 7);
}

#[test]
fn programs_that_nobody_carries_any_more_lose_their_numbers() {
    let mut twins = Twins::new(40);
    for round in 0..30 {
        twins.both(|world, _| {
            replace(world, 0, &format!("walker {round}"), SCRIPTS[0].1);
        });
        twins.frames(2);
    }
    for test in &twins.apps {
        let programs = test.app.world().resource::<Frame>().programs.list.len();
        assert!(programs < 30, "{programs} are known");
    }
    twins.frames(3);
    twins.assert_left(0);
}

#[test]
fn thousands_on_several_threads_come_to_the_same() {
    let mut twins = Twins::new(6_000);
    twins.assert_left(0);
    for round in 0..6_usize {
        twins.both(|world, entities| {
            for number in (round * 7..6_000).step_by(501) {
                let entity = entities[number];
                match (number + round) % 6 {
                    0 => _ = world.despawn(entity),
                    1 => _ = spawn(world, number),
                    2 => _ = world.write_message(ToScript::new(entity, "hello", 1.0)),
                    _ if world.get_entity(entity).is_err() => {}
                    3 => world.get_mut::<LuaScripts>(entity).unwrap().enabled ^= true,
                    4 => _ = world.entity_mut(entity).insert(Name::new("moves to another table")),
                    _ => {
                        let idle = Scripts::get(world, 1);
                        world.get_mut::<LuaScripts>(entity).unwrap().scripts.push(idle);
                    }
                }
            }
        });
        twins.frames(2);
    }
}
