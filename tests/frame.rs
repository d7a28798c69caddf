//! The frame: what is put off, in which order, and what stays when the game steps in between.

mod common;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{FrameStats, ScriptFailed};
use common::{Lab, STEP, patient};
use cpu_time::ThreadTime;

/// A lab with one fixed step a frame, and a function `burn` that takes milliseconds of its thread's time.
fn lab(config: LuaPoolConfig) -> Lab {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { min_size: 1, ..config.pool },
        ..config
    });
    lab.app.insert_resource(Time::<Fixed>::from_duration(STEP)).add_lua_function(
        "burn",
        |ms: f64| {
            let start = ThreadTime::now();
            while start.elapsed() < Duration::from_secs_f64(ms / 1000.0) {
                std::hint::spin_loop();
            }
        },
    );
    lab
}

/// Limits with which a script may spawn a crowd.
fn many() -> LuaPoolConfig {
    LuaPoolConfig { max_commands: 1000, ..patient() }
}

/// What every entity remembers.
fn memories(lab: &mut Lab) -> Vec<String> {
    let world = lab.app.world_mut();
    let mut found = world.query::<(Entity, &ScriptStates)>();
    let mut found: Vec<_> = found
        .iter(world)
        .flat_map(|(entity, states)| {
            states.iter().map(move |state| format!("{entity} {} {}", state.script, state.fields))
        })
        .collect();
    found.sort();
    found
}

/// What a game came to: what everybody remembers after each frame, and what each frame did.
#[derive(PartialEq, Debug)]
struct Played {
    frames: Vec<(Vec<String>, FrameStats)>,
}

impl Played {
    fn play(lab: &mut Lab, frames: usize) -> Self {
        let frames = (0..frames).map(|_| {
            lab.frame();
            (memories(lab), FrameStats { time: default(), ..lab.stats() })
        });
        Self { frames: frames.collect() }
    }

    fn deferred(&self) -> u64 {
        self.frames.iter().map(|(_, stats)| stats.deferred).sum()
    }

    #[track_caller]
    fn assert_same(&self, other: &Self) {
        for (frame, (a, b)) in self.frames.iter().zip(&other.frames).enumerate() {
            assert_eq!(a.1, b.1, "frame {frame}");
            for (a, b) in a.0.iter().zip(&b.0) {
                assert_eq!(a, b, "frame {frame}");
            }
        }
        assert!(self == other);
    }
}

/// Has a script spawn `count` children with another one, and runs until they are there.
fn brood(lab: &mut Lab, count: usize, child: &str) {
    lab.script("child.luau", child);
    let server = lab.app.world().resource::<AssetServer>().clone();
    let handle: Handle<LuaScript> = server.load("child.luau");
    lab.entity(
        "parent.luau",
        &format!(
            "function on_start(self)
                for _ = 1, {count} do world.spawn{{scripts = 'child.luau'}} end
            end"
        ),
    );
    lab.frame();
    drop(handle);
    let world = lab.app.world_mut();
    assert_eq!(world.query::<&LuaScripts>().iter(world).count(), count + 1);
}

// ---- what is put off does not depend on the clock ------------------------------------------------

#[test]
fn on_a_slow_machine_descendants_come_to_the_same() {
    let play = |ms: u32, max_size| {
        let limit = Duration::from_millis(40);
        let mut lab = lab(LuaPoolConfig {
            pool: PoolConfig { max_size, ..many().pool },
            run_time_limit: limit,
            ..many()
        });
        brood(
            &mut lab,
            100,
            &format!("function on_update(self) burn({ms}) self.n = (self.n or 0) + 1 end"),
        );
        let played = Played::play(&mut lab, 2);
        assert_eq!(lab.failures(), [""; 0]);
        played
    };
    let quick = play(0, 1);
    quick.assert_same(&play(4, 1));
    quick.assert_same(&play(4, 4));
    assert_eq!(quick.deferred(), 0);
}

#[test]
fn on_a_slow_machine_as_many_messages_are_taken() {
    for ms in [0, 8] {
        let limit = Duration::from_millis(40);
        let mut lab = lab(LuaPoolConfig { run_time_limit: limit, ..patient() });
        let entity = lab.entity(
            "a.luau",
            &format!("function on_message(self) burn({ms}) self.n = (self.n or 0) + 1 end"),
        );
        for _ in 0..30 {
            lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
        }
        lab.frame();
        assert_eq!(lab.field(entity, "n"), 30.0.into(), "with {ms} ms each");
    }
}

#[test]
fn messages_that_make_a_script_work_hard_wait_by_what_it_did() {
    // A run may do a million steps in that time, and all for messages four times as much.
    let limit = Duration::from_millis(10);
    let mut lab = lab(LuaPoolConfig { run_time_limit: limit, ..patient() });
    let entity = lab.entity(
        "a.luau",
        "function on_message(self) self.n = (self.n or 0) + 1 for _ = 1, 30000 do end end",
    );
    for _ in 0..200 {
        lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    }
    for taken in [133.0, 200.0] {
        lab.frame();
        assert_eq!(lab.failures(), [""; 0]);
        assert_eq!(lab.field(entity, "n"), taken.into());
    }
}

#[test]
fn what_descendants_put_off_is_the_same_for_one_vm_and_four() {
    let play = |max_size| {
        // A run may do a million steps in that time, and all of them 32 times as much if each does little.
        let limit = Duration::from_millis(10);
        let mut lab = lab(LuaPoolConfig {
            pool: PoolConfig { max_size, ..many().pool },
            run_time_limit: limit,
            ..many()
        });
        let child = "function on_update(self)
            self.n = (self.n or 0) + 1
            for _ = 1, 30000 + 20000 * math.random() do end
        end";
        brood(&mut lab, 320, child);
        let good =
            lab.entity("good.luau", "function on_update(self) self.n = (self.n or 0) + 1 end");
        let played = Played::play(&mut lab, 5);
        assert_eq!(lab.failures(), [""; 0]);
        assert_eq!(lab.field(good, "n"), 5.0.into(), "who is not of them runs in every frame");
        played
    };
    let one = play(1);
    assert!(one.deferred() > 100, "they work too hard to run all: {}", one.deferred());
    one.assert_same(&play(4));
    // Each has its turns.
    let (memories, _) = one.frames.last().expect("there are frames");
    let children = memories.iter().filter(|memory| memory.contains("child.luau"));
    assert!(children.clone().count() == 320 && children.clone().all(|it| it.contains("n = ")));
}

#[test]
fn what_descendants_hand_over_is_the_same_for_one_vm_and_four() {
    let play = |max_size| {
        // All of them may hand over 16 times what one may: 16 times 16 kB.
        let mut lab = lab(LuaPoolConfig {
            pool: PoolConfig { max_size, ..many().pool },
            max_value_size: 1024,
            ..many()
        });
        brood(
            &mut lab,
            160,
            "function on_update(self)
                self.n = (self.n or 0) + 1
                for _ = 1, 4 do emit('x', ('x'):rep(900)) end
            end",
        );
        let played = Played::play(&mut lab, 6);
        assert_eq!(lab.failures(), [""; 0]);
        played
    };
    let one = play(1);
    assert!(one.deferred() > 100, "{}", one.deferred());
    one.assert_same(&play(4));
}

// ---- random numbers and loading ------------------------------------------------------------------

/// The random numbers of an entity whose script takes so many frames to load.
fn drawn(frames: usize) -> Vec<String> {
    let mut lab = lab(patient());
    let other = lab.entity("other.luau", "function on_update(self) self.x = math.random() end");
    lab.file(
        "a.luau",
        "local function note(self) self.drawn = (self.drawn or '') .. math.random(1000) .. ' ' end
        function on_start(self) note(self) end
        function on_fixed_update(self) note(self) end
        function on_update(self) note(self) end",
    );
    lab.hold_files(true);
    let server = lab.app.world().resource::<AssetServer>().clone();
    let entity = lab.app.world_mut().spawn(LuaScripts::new(server.load("a.luau"))).id();
    lab.frames(frames);
    lab.hold_files(false);
    let mut drawn = Vec::new();
    lab.until(|lab| {
        lab.app
            .world()
            .get::<ScriptStates>(entity)
            .is_some_and(|states| states.iter().next().is_some_and(|state| state.started))
    });
    for _ in 0..4 {
        drawn.push(lab.field(entity, "drawn").to_string());
        lab.frame();
    }
    assert_ne!(lab.field(other, "x"), ScriptValue::Nil);
    drawn
}

#[test]
fn random_numbers_do_not_depend_on_how_long_loading_took() {
    let at_once = drawn(0);
    assert_eq!(drawn(1), at_once);
    assert_eq!(drawn(7), at_once);
    let numbers: Vec<_> = at_once[3].split(' ').collect();
    assert!(numbers.iter().collect::<std::collections::HashSet<_>>().len() > 5, "{numbers:?}");
}

#[test]
fn a_script_that_is_put_back_on_its_entity_draws_other_numbers() {
    let mut lab = lab(patient());
    let script = lab.script("a.luau", "function on_start(self) self.x = math.random() end");
    let entity = lab.app.world_mut().spawn_empty().id();
    let mut drawn = Vec::new();
    for _ in 0..4 {
        lab.app.world_mut().entity_mut(entity).insert(LuaScripts::new(script.clone()));
        lab.frame();
        drawn.push(lab.field(entity, "x").to_string());
        lab.app.world_mut().entity_mut(entity).remove::<LuaScripts>();
        lab.frame();
    }
    let distinct: std::collections::HashSet<_> = drawn.iter().collect();
    assert_eq!(distinct.len(), 4, "{drawn:?}");
}

#[test]
fn a_run_that_fails_does_not_draw_the_same_numbers_when_it_is_tried_again() {
    let mut lab = lab(LuaPoolConfig { max_failures: 0, ..patient() });
    lab.entity("a.luau", "function on_update() error(`{math.random(1000000)}`) end");
    let failures: std::collections::HashSet<_> = (0..5).map(|_| lab.failure()).collect();
    assert_eq!(failures.len(), 5);
}

#[test]
fn random_numbers_go_on_after_a_save_and_after_a_rollback() {
    const DRAWS: &str = "function on_update(self) self.x = math.random() end";
    let mut lab = lab(patient());
    let script = lab.script("a.luau", DRAWS);
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.frames(3);
    let kept = lab.get::<ScriptStates>(entity);
    let saved = ron::to_string(&kept).expect("plain data serializes");
    let next = |lab: &mut Lab| {
        (0..3)
            .map(|_| {
                lab.frame();
                lab.field(entity, "x").to_string()
            })
            .collect::<Vec<_>>()
    };
    let first = next(&mut lab);
    lab.app.world_mut().entity_mut(entity).insert(kept);
    assert_eq!(next(&mut lab), first, "after a rollback");

    let mut other = self::lab(patient());
    let script = other.script("a.luau", DRAWS);
    let states: ScriptStates = ron::from_str(&saved).expect("it is a save");
    let loaded = other.app.world_mut().spawn((LuaScripts::new(script), states)).id();
    assert_eq!(loaded, entity);
    assert_eq!(next(&mut other), first, "after a save");
}

#[test]
fn a_save_from_before_random_numbers_were_counted_loads() {
    let text = r#"[(script:"a.luau",started:true,self:(fields:[(String("n"),Number(3.0))]))]"#;
    let states: ScriptStates = ron::from_str(text).expect("it is a save");
    let mut lab = lab(patient());
    let script = lab.script("a.luau", "function on_update(self) self.n += 1 end");
    let entity = lab.app.world_mut().spawn((LuaScripts::new(script), states)).id();
    lab.frame();
    assert_eq!(lab.field(entity, "n"), 4.0.into());
}

#[test]
fn a_known_script_starts_in_the_next_frame_whoever_holds_its_handle() {
    /// What became of the handle of the script that is spawned.
    #[derive(Clone, Copy, PartialEq)]
    enum Handled {
        Held,
        /// An entity carried the script, and went.
        Carried,
        /// It was held for a while.
        HeldOnce,
    }

    let frames = |handled: Handled| {
        let mut lab = lab(patient());
        let script = lab.script("child.luau", "function on_start(self) self.n = 1 end");
        if handled == Handled::Carried {
            let child = lab.app.world_mut().spawn(LuaScripts::new(script.clone())).id();
            lab.frame();
            lab.app.world_mut().despawn(child);
        }
        lab.frame();
        let held = (handled == Handled::Held).then_some(script);
        let parent = lab.entity(
            "parent.luau",
            "function on_message(self) self.child = world.spawn{scripts = 'child.luau'} end",
        );
        lab.frames(5);
        // What has to be loaded now, isn't.
        lab.hold_files(true);
        lab.app.world_mut().write_message(ToScript::new(parent, "x", ScriptValue::Nil));
        lab.frame();
        let ScriptValue::Entity(child) = lab.field(parent, "child") else { panic!("no child") };
        let frames = (0..10).take_while(|_| {
            let states = lab.get::<ScriptStates>(child);
            let started = states.iter().any(|state| state.started);
            lab.frame();
            !started
        });
        let frames = frames.count();
        drop(held);
        frames
    };
    assert_eq!([Handled::Held, Handled::Carried, Handled::HeldOnce].map(frames), [1, 1, 1]);
}

// ---- the game steps in ---------------------------------------------------------------------------

/// Tells of its life: `started`, `ticked` and `stopped`, each with a number of its own.
const LIVES: &str = "
function on_start(self) self.me = number() self.n = 0 emit('started', self.me) end
function on_fixed_update(self) self.n += 1 emit('ticked', self.me) end
function on_update(self) self.n += 1 emit('ticked', self.me) end
function on_message(self) self.n += 1 emit('ticked', self.me) end
function on_stop(self) emit('stopped', {me = self.me, n = self.n}) end
";

/// A lab with a function `number` that gives another number each time.
fn living(config: LuaPoolConfig) -> (Lab, Handle<LuaScript>) {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut lab = lab(config);
    lab.app.add_lua_function("number", |(): ()| NEXT.fetch_add(1, Ordering::Relaxed) as f64);
    let script = lab.script("lives.luau", LIVES);
    (lab, script)
}

/// What is known of lives: how often each ticked, and with how many ticks it stopped.
#[derive(Default)]
struct Lives {
    ticks: BTreeMap<u64, u64>,
    stopped: BTreeMap<u64, Vec<u64>>,
}

impl Lives {
    fn take(&mut self, lab: &mut Lab) {
        let number = |value: &ScriptValue| match value {
            ScriptValue::Number(number) => *number as u64,
            other => panic!("{other} is no number"),
        };
        for event in lab.drain::<ScriptEvent>() {
            match (event.name.as_str(), &event.payload) {
                ("started", me) => {
                    assert_eq!(self.ticks.insert(number(me), 0), None, "it starts once");
                }
                ("ticked", me) => *self.ticks.get_mut(&number(me)).expect("it started") += 1,
                ("stopped", ScriptValue::Table(told)) => {
                    let stopped = self.stopped.entry(number(told.get("me"))).or_default();
                    stopped.push(number(told.get("n")));
                }
                other => panic!("{other:?}"),
            }
        }
    }

    /// Each that started has stopped once, with its own ticks.
    #[track_caller]
    fn assert_all_stopped(&self) {
        assert!(!self.ticks.is_empty());
        for (me, ticks) in &self.ticks {
            assert_eq!(self.stopped.get(me), Some(&vec![*ticks]), "{me}");
        }
        assert_eq!(self.ticks.len(), self.stopped.len());
    }
}

/// What the game does to an entity between two sets.
#[derive(Resource, Default)]
struct Meddling(Vec<(ScriptSystems, Deed)>);

type Deed = Box<dyn FnOnce(&mut World) + Send + Sync>;

/// Lets the game do what [`Meddling`] says, after each set.
fn meddle(lab: &mut Lab) {
    lab.app.init_resource::<Meddling>();
    let after = |set: ScriptSystems| {
        move |world: &mut World| {
            let all = std::mem::take(&mut world.resource_mut::<Meddling>().0);
            let (now, later): (Vec<_>, Vec<_>) = all.into_iter().partition(|(at, _)| *at == set);
            world.resource_mut::<Meddling>().0 = later;
            now.into_iter().for_each(|(_, deed)| deed(world));
        }
    };
    use ScriptSystems::{Apply, Collect, Execute};
    lab.app.add_systems(
        Update,
        (
            after(Collect).after(Collect).before(Execute),
            after(Execute).after(Execute).before(Apply),
            after(Apply).after(Apply),
        ),
    );
}

#[test]
fn a_script_that_is_twice_on_an_entity_stops_twice_whenever_the_game_takes_the_scripts_away() {
    for set in [ScriptSystems::Collect, ScriptSystems::Execute, ScriptSystems::Apply] {
        for frames in 0..3 {
            for despawns in [false, true] {
                let (mut lab, script) = living(patient());
                meddle(&mut lab);
                let both = LuaScripts::new(script.clone()).with(script);
                let entity = lab.app.world_mut().spawn(both).id();
                let mut lives = Lives::default();
                for _ in 0..frames {
                    lab.frame();
                    lives.take(&mut lab);
                }
                let deed: Deed = Box::new(move |world| {
                    if despawns {
                        world.despawn(entity);
                    } else {
                        world.entity_mut(entity).remove::<LuaScripts>();
                    }
                });
                lab.app.world_mut().resource_mut::<Meddling>().0.push((set, deed));
                for _ in 0..3 {
                    lab.frame();
                    lives.take(&mut lab);
                }
                assert_eq!(lab.failures(), [""; 0], "{set:?} {frames} {despawns}");
                lives.assert_all_stopped();
            }
        }
    }
}

/// Numbers that look random (SplitMix64).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % sides
    }
}

#[test]
fn whatever_the_game_does_in_between_each_state_that_started_stops_once_and_none_mix() {
    use ScriptSystems::{Apply, Collect, Execute};
    for seed in 0..40 {
        let mut dice = Dice(seed);
        let (mut lab, script) = living(patient());
        meddle(&mut lab);
        let other = lab.script("other.luau", LIVES);
        let all: Vec<Entity> = (0..6).map(|_| lab.app.world_mut().spawn_empty().id()).collect();
        let mut lives = Lives::default();
        for _ in 0..12 {
            for _ in 0..dice.roll(5) {
                let entity = all[dice.roll(6) as usize];
                let list = |dice: &mut Dice| -> LuaScripts {
                    let of = |it| if it == 0 { script.clone() } else { other.clone() };
                    (0..1 + dice.roll(3)).map(|_| of(dice.roll(3) / 2)).collect()
                };
                let deed: Deed = match dice.roll(7) {
                    0 => Box::new(move |world| _ = world.despawn(entity)),
                    1 => Box::new(move |world| {
                        if let Ok(mut entity) = world.get_entity_mut(entity) {
                            entity.remove::<LuaScripts>();
                        }
                    }),
                    2 => {
                        let scripts = list(&mut dice);
                        Box::new(move |world| {
                            if let Ok(mut entity) = world.get_entity_mut(entity) {
                                entity.remove::<LuaScripts>().insert(scripts);
                            }
                        })
                    }
                    3 => Box::new(move |world| {
                        if let Ok(mut entity) = world.get_entity_mut(entity) {
                            entity.remove::<ScriptStates>();
                        }
                    }),
                    4 => Box::new(move |world| {
                        if let Ok(mut entity) = world.get_entity_mut(entity)
                            && let Some(mut scripts) = entity.get_mut::<LuaScripts>()
                        {
                            scripts.enabled ^= true;
                        }
                    }),
                    _ => {
                        let scripts = list(&mut dice);
                        Box::new(move |world| {
                            if let Ok(mut entity) = world.get_entity_mut(entity) {
                                entity.insert(scripts);
                            }
                        })
                    }
                };
                let set = [Collect, Execute, Apply][dice.roll(3) as usize];
                lab.app.world_mut().resource_mut::<Meddling>().0.push((set, deed));
            }
            for entity in &all {
                lab.app.world_mut().write_message(ToScript::new(*entity, "x", ScriptValue::Nil));
            }
            lab.frame();
            lives.take(&mut lab);
        }
        for entity in all {
            if lab.app.world().get_entity(entity).is_ok() {
                lab.app.world_mut().despawn(entity);
            }
        }
        for _ in 0..3 {
            lab.frame();
            lives.take(&mut lab);
        }
        assert_eq!(lab.failures(), [""; 0], "{seed}");
        if !lives.ticks.is_empty() {
            lives.assert_all_stopped();
        }
    }
}

// ---- messages that nobody takes ------------------------------------------------------------------

#[test]
fn a_message_that_no_script_of_its_receiver_takes_is_undelivered() {
    let mut lab = lab(patient());
    let deaf = lab.script("deaf.luau", "function on_start() end");
    let late = lab.script("late.luau", "function on_update() end");
    let hears = lab.script("hears.luau", "function on_message(self) self.heard = true end");
    let world = lab.app.world_mut();
    let entities: Vec<Entity> = [
        vec![deaf.clone()],
        vec![late.clone(), deaf.clone()],
        vec![deaf, hears.clone()],
        vec![hears, late],
    ]
    .map(|scripts| world.spawn(LuaScripts::from_iter(scripts)).id())
    .into();
    // The first ones come before anybody knows what the scripts define.
    for frame in 0..3 {
        for entity in &entities {
            lab.app.world_mut().write_message(ToScript::new(*entity, "x", ScriptValue::Nil));
        }
        lab.frame();
        assert_eq!(lab.stats().undelivered, 2, "in frame {frame}");
    }
    assert_eq!(lab.failures(), [""; 0]);
}

// ---- who despawns itself, and who spawns much ------------------------------------------------------

#[test]
fn an_entity_that_despawned_itself_is_done() {
    for (callback, ran) in [("on_start", "start "), ("on_message", "start message ")] {
        let mut lab = lab(patient());
        let script = [("on_start", "start"), ("on_message", "message"), ("on_update", "update")]
            .map(|(name, note)| {
                let dies = if name == callback { "world.despawn(entity.id)" } else { "" };
                format!(
                    "function {name}(self)
                        self.ran = (self.ran or '') .. '{note} '
                        entity.Transform.translation += vector.one
                        {dies}
                    end"
                )
            })
            .join("\n");
        let entity = lab.entity(
            "a.luau",
            &format!("{script} function on_stop(self) emit('stopped', self.ran) end"),
        );
        for _ in 0..3 {
            lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
        }
        lab.frames(2);
        assert_eq!(lab.drain::<ScriptFailed>(), []);
        assert!(lab.app.world().get_entity(entity).is_err());
        let events = lab.drain::<ScriptEvent>();
        let told: Vec<_> = events.iter().map(|event| event.payload.clone()).collect();
        assert_eq!(told, [ran.into()], "{callback}");
    }
}

#[test]
fn a_spawn_is_one_command_whatever_it_comes_with() {
    let mut lab = lab(LuaPoolConfig { max_commands: 30, ..patient() });
    lab.file("minion.luau", "");
    lab.does(
        Transform::default(),
        "for n = 1, 30 do
            local minion = world.spawn{
                Transform = {}, Name = `minion {n}`, parent = entity.id,
                scripts = {'minion.luau', 'minion.luau', 'minion.luau'},
            }
            minion.Name = 'renamed'
        end",
    );
    let failure = lab.refuses(Transform::default(), "for n = 1, 31 do world.spawn() end");
    assert!(failure.contains("max_commands") && failure.contains("a spawn is one"), "{failure}");
}

#[test]
fn a_boss_with_bullets_in_flight_spawns_as_many_as_one_alone() {
    let mut lab = lab(LuaPoolConfig { max_commands: 64, ..patient() });
    lab.script("bullet.luau", "function on_update(self) self.age = (self.age or 0) + 1 end");
    let boss = "function on_update(self)
        for _ = 1, 20 do world.spawn{scripts = 'bullet.luau'} end
    end";
    lab.script("boss.luau", boss);
    lab.entity("level.luau", "function on_start() world.spawn{scripts = 'boss.luau'} end");
    lab.until(|lab| lab.stats().spawned == 20);
    for _ in 0..10 {
        lab.frame();
        assert_eq!(lab.failures(), [""; 0]);
        assert_eq!((lab.stats().spawned, lab.stats().deferred), (20, 0));
    }
}

#[test]
fn what_descendants_spawn_together_is_bounded_and_the_same_for_one_vm_and_four() {
    let play = |max_size| {
        let mut lab = lab(LuaPoolConfig {
            pool: PoolConfig { max_size, ..patient().pool },
            max_commands: 100,
            ..patient()
        });
        lab.script(
            "breeds.luau",
            "function on_update(self)
                self.n = (self.n or 0) + 1
                for _ = 1, math.random(9) do world.spawn{scripts = 'breeds.luau'} end
            end",
        );
        lab.entity("root.luau", "function on_start() world.spawn{scripts = 'breeds.luau'} end");
        let played = Played::play(&mut lab, 14);
        assert_eq!(lab.failures(), [""; 0]);
        played
    };
    let one = play(1);
    let spawned: Vec<u64> = one.frames.iter().map(|(_, stats)| stats.spawned).collect();
    assert!(spawned.iter().all(|spawned| *spawned <= 100), "{spawned:?}");
    assert!(spawned[13] > 90, "they go on: {spawned:?}");
    one.assert_same(&play(4));
}
