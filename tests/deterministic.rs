//! Deterministic: effects are applied in a stable order. The result is the same for one thread and
//! for several, and on every run.

mod common;

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::ThreadId;
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{FrameStats, ScriptFailed};
use common::{Lab, patient};

/// Moves at random, pushes its neighbours, talks to them, spawns, dies, and fails now and then.
const RESTLESS: &str = r#"
local function pick(self)
    return self.friends[math.random(#self.friends)]
end

function on_start()
    meet()
end

function on_update(self, dt)
    if not self.friends then return end
    local t = entity.Transform
    local goods = entity.Goods
    t.translation += vector.create(math.random(), math.random(-3, 3), dt)
    self.print = `{self} {pick} {coroutine.create(pick)} {entity} {math.random}`
    local friend = pick(self)
    if not world.exists(friend) then
        self.gone = (self.gone or 0) + 1
        return
    end
    local luck = math.random(12)
    if luck <= 3 then
        friend.Transform.translation += vector.create(0, 1, 0)
    elseif luck <= 6 then
        table.insert(goods.items, luck)
        goods.prices[`from {friend}`] = math.random()
        goods.owner = friend
        send(friend, "hit", { strength = math.random(100), by = entity.id, list = { 1, luck } })
        emit("sent", { to = friend })
    elseif luck == 7 then
        local child = world.spawn { Transform = t, parent = entity.id, Name = `child of {entity}` }
        self.children = self.children or {}
        table.insert(self.children, child)
        if #self.children > 3 then
            world.despawn(table.remove(self.children, 1))
        end
    elseif luck == 8 then
        friend.Name = `{entity} {luck}`
        friend.Goods.mood = { Angry = { at = entity.id } }
    elseif luck == 9 then
        friend.Transform.scale = vector.one * math.random()
        t.scale = vector.zero
        error(`bad luck: {math.random()} {t} { {} }`)
    elseif luck == 10 then
        friend.Name = nil
        friend.Goods.items = { math.random() }
        goods.mood = "Calm"
    elseif luck == 11 and math.random(40) == 1 then
        world.despawn(friend)
        log.info("killed", friend)
    end
end

function on_message(self, name, payload, sender)
    self.heard = (self.heard or "") .. payload.strength .. " "
    if #self.heard > 200 then self.heard = nil end
    if math.random(5) == 1 then
        send(sender, "hit", { strength = payload.strength / 2 })
    end
end
"#;

/// The first stage that a script sees is that of a fixed step.
const WITHOUT_START: &str = "
function on_fixed_update(self) meet() self.first = self.first or math.random() end";

#[derive(Component, Reflect, Clone, Default, Debug)]
struct Goods {
    items: Vec<f64>,
    prices: BTreeMap<String, f64>,
    mood: Mood,
    owner: Option<Entity>,
}

#[derive(Reflect, Clone, Default, Debug)]
enum Mood {
    #[default]
    Calm,
    Angry {
        at: Entity,
    },
}

/// Everything that a game could see of this app.
#[derive(PartialEq, Debug)]
struct Seen {
    /// Each entity with all of its components that scripts reach, and all that its scripts remember.
    entities: Vec<String>,
    events: Vec<ScriptEvent>,
    failures: Vec<ScriptFailed>,
    stats: Vec<FrameStats>,
}

/// Adds `meet()` for scripts: waits until as many threads have called it. Without it, one thread may be done with
/// everything before another one wakes up.
fn add_meet(lab: &mut Lab, threads: usize) {
    let meeting = Arc::new((Mutex::new(HashSet::<ThreadId>::new()), Condvar::new()));
    lab.app.add_lua_function("meet", move |(): ()| {
        let (here, somebody_came) = &*meeting;
        let mut here = here.lock().expect("nobody panicked here");
        here.insert(std::thread::current().id());
        somebody_came.notify_all();
        let patience = Duration::from_secs(60);
        let too_few = |here: &mut HashSet<_>| here.len() < threads;
        let (here, waited) = somebody_came
            .wait_timeout_while(here, patience, too_few)
            .expect("nobody panicked here");
        assert!(!waited.timed_out(), "{} of {threads} threads came", here.len());
    });
}

/// An app with so many VMs. Scripts that call `meet()` run on two of them at the same time, if there are two.
fn lab(max_size: usize) -> Lab {
    let config = LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size, ..patient().pool },
        max_failures: 2,
        ..patient()
    };
    lab_with(config, max_size.min(2))
}

fn lab_with(config: LuaPoolConfig, threads: usize) -> Lab {
    let mut lab = Lab::with_config(config);
    lab.app.expose_component::<Goods>();
    add_meet(&mut lab, threads);
    // One fixed step a frame, however many frames loading took.
    lab.app.insert_resource(Time::<Fixed>::from_duration(common::STEP));
    lab
}

/// Asserts that several VMs were leased at the same time in one of the frames so far; of one VM, that it was alone.
#[track_caller]
fn assert_shared_among_vms(lab: &Lab, max_size: usize) {
    let leased = lab.snapshot().history.iter().map(|sample| sample.leased).max();
    assert_eq!(leased > Some(1), max_size > 1, "{leased:?} of {max_size} VMs took part");
}

fn play(max_size: usize, script: &str, entities: usize, frames: usize) -> Seen {
    let mut lab = lab(max_size);
    let script = lab.script("restless.luau", script);
    let world = lab.app.world_mut();
    let all: Vec<Entity> = (0..entities)
        .map(|n| {
            let place = Transform::from_xyz(n as f32, 0.0, 0.0);
            let goods = Goods { items: vec![n as f64], ..default() };
            let scripts = LuaScripts::new(script.clone());
            world.spawn((place, Name::new("nobody"), goods, scripts)).id()
        })
        .collect();
    lab.frame();
    for (n, entity) in all.iter().enumerate() {
        let mut states = lab.app.world_mut().get_mut::<ScriptStates>(*entity).expect("it is there");
        let mut friends = ScriptTable::default();
        // Few enough to quarrel over.
        (0..4).for_each(|k| friends.push(all[(n * 7 + k * 13) % entities]));
        states.get_mut("restless.luau").expect("it ran").set("friends", friends);
    }
    let mut seen =
        Seen { entities: Vec::new(), events: Vec::new(), failures: Vec::new(), stats: Vec::new() };
    for _ in 0..frames {
        lab.frame();
        seen.events.extend(lab.drain());
        seen.failures.extend(lab.drain());
        seen.stats.push(FrameStats { time: default(), ..lab.stats() });
    }
    assert_shared_among_vms(&lab, max_size);
    seen.entities = lab.app.world().iter_entities().filter_map(all_of).collect();
    seen.entities.sort();
    seen
}

/// All that scripts reach of an entity, and all that its scripts remember, if they do.
fn all_of(entity: EntityRef) -> Option<String> {
    let states =
        entity.get::<ScriptStates>().map(|states| ron::to_string(states).expect("it serializes"));
    let place = entity.get::<Transform>()?;
    let global = entity.get::<GlobalTransform>();
    let (name, goods) = (entity.get::<Name>(), entity.get::<Goods>());
    let (parent, id) = (entity.get::<ChildOf>(), entity.id());
    Some(format!("{id} {place:?} {global:?} {name:?} {goods:?} {parent:?} {states:?}"))
}

#[track_caller]
fn assert_same(a: &Seen, b: &Seen) {
    for (a, b) in a.entities.iter().zip(&b.entities) {
        assert_eq!(a, b);
    }
    assert_eq!(a.events, b.events);
    assert_eq!(a.failures, b.failures);
    assert_eq!(a.stats, b.stats);
    assert!(a == b);
}

#[test]
fn one_vm_and_four_make_the_same_world() {
    let one = play(1, RESTLESS, 300, 50);
    let four = play(4, RESTLESS, 300, 50);
    assert_same(&one, &four);

    let total = |count: fn(&FrameStats) -> u64| one.stats.iter().map(count).sum::<u64>();
    assert!(total(|s| s.conflicts) > 100, "they quarrel");
    assert!(total(|s| s.messages) > 100 && total(|s| s.undelivered) > 0, "they talk");
    assert!(total(|s| s.spawned) > 100 && total(|s| s.despawned) > 10, "they come and go");
    assert!(total(|s| s.failed) > 100 && !one.failures.is_empty(), "they fail");
    assert!(total(|s| s.log_lines) > 0 && !one.events.is_empty(), "they tell");
    assert_eq!(total(|s| s.deferred), 0, "nothing depended on the clock");
    let exists = |what: &str| one.entities.iter().any(|entity| entity.contains(what));
    assert!(exists("child of") && exists("Angry") && exists("from "));
    assert!(one.failures.iter().any(|failed| failed.put_aside));
}

#[test]
fn the_same_game_played_twice_makes_the_same_world() {
    assert_same(&play(4, RESTLESS, 300, 20), &play(4, RESTLESS, 300, 20));
}

#[test]
fn random_numbers_do_not_depend_on_who_ran_first() {
    let one = play(1, WITHOUT_START, 300, 1);
    let four = play(4, WITHOUT_START, 300, 1);
    assert_same(&one, &four);
    // Whether the script was known already when an entity came to run makes no difference.
    let mut lab = lab(1);
    let script = lab.script("a.luau", WITHOUT_START);
    let world = lab.app.world_mut();
    let [a, b] = [(); 2].map(|()| world.spawn(LuaScripts::new(script.clone())).id());
    lab.frame();
    let numbers = [a, b].map(|entity| lab.field(entity, "first"));

    let mut lab = self::lab(1);
    let script = lab.script("a.luau", WITHOUT_START);
    let world = lab.app.world_mut();
    world.spawn_empty();
    let b_alone = world.spawn(LuaScripts::new(script)).id();
    lab.frame();
    assert_eq!(b, b_alone);
    assert_eq!(lab.field(b_alone, "first"), numbers[1]);
}

#[test]
fn another_seed_makes_other_random_numbers() {
    let first = |seed| {
        let mut lab =
            Lab::with_plugin(LuaPoolPlugin { config: patient(), seed, ..LuaPoolPlugin::default() });
        add_meet(&mut lab, 1);
        lab.app.insert_resource(Time::<Fixed>::from_duration(common::STEP));
        let entity = lab.entity("a.luau", WITHOUT_START);
        lab.frame();
        lab.field(entity, "first")
    };
    assert_eq!(first(1), first(1));
    assert_ne!(first(1), first(2));
}

#[test]
fn of_two_that_write_one_field_the_later_one_wins_and_the_conflict_is_counted() {
    let mut lab = lab(4);
    let victim = lab.app.world_mut().spawn(Transform::default()).id();
    let script = lab.script(
        "a.luau",
        "function on_update(self)
            if self.x then self.victim.Transform.translation = vector.create(self.x, 0, 0) end
            if self.y then self.victim.Transform.translation.y = self.y end
            if self.s then self.victim.Transform.scale = vector.one * self.s end
        end",
    );
    let world = lab.app.world_mut();
    let writers =
        [(); 3].map(|()| world.spawn((Transform::default(), LuaScripts::new(script.clone()))).id());
    lab.frame();
    let tell = |lab: &mut Lab, orders: [(&str, f64); 3]| {
        for (writer, (name, value)) in writers.iter().zip(orders) {
            let mut states = lab.app.world_mut().get_mut::<ScriptStates>(*writer).expect("it ran");
            let fields = states.get_mut("a.luau").expect("it ran");
            *fields = ScriptTable::from([("victim", ScriptValue::Entity(victim))]);
            fields.set(name, value);
        }
        lab.frame();
        assert_eq!(lab.failures(), [""; 0]);
        (lab.transform(victim), lab.stats().conflicts)
    };

    let (transform, conflicts) = tell(&mut lab, [("x", 1.0), ("x", 2.0), ("x", 3.0)]);
    assert_eq!((transform.translation.x, conflicts), (3.0, 2));
    let (transform, conflicts) = tell(&mut lab, [("x", 5.0), ("s", 2.0), ("x", 3.0)]);
    assert_eq!(transform.translation.x, 3.0, "the last wins even if it wrote what was there");
    assert_eq!((transform.scale, conflicts), (Vec3::splat(2.0), 1), "fields don't meet");
}

#[test]
fn a_write_to_what_an_earlier_run_took_away_is_one_conflict() {
    for (take, conflicts) in [("world.despawn(victim)", 1), ("victim.Transform = nil", 1)] {
        let mut lab = lab(4);
        let victim = lab.app.world_mut().spawn(Transform::default()).id();
        let script = format!("function on_message(self, _, victim) {take} end");
        let taker = lab.script("a.luau", &script);
        let write = lab.script(
            "b.luau",
            "function on_message(_, _, victim) victim.Transform.scale = vector.zero end",
        );
        let world = lab.app.world_mut();
        let [a, b] = [taker, write].map(|script| world.spawn(LuaScripts::new(script)).id());
        for to in [a, b] {
            world.write_message(ToScript::new(to, "go", victim));
        }
        lab.frame();
        assert_eq!(lab.failures(), [""; 0]);
        assert!(lab.app.world().get::<Transform>(victim).is_none(), "{take:?}");
        assert_eq!(lab.stats().conflicts, conflicts, "{take:?}");
    }
}

#[test]
fn messages_arrive_in_the_order_of_their_senders_then_in_the_order_of_sending() {
    let mut lab = lab(4);
    let receiver = lab.entity(
        "r.luau",
        "function on_message(self, name, n) self.got = (self.got or '') .. name .. n .. ' ' end",
    );
    let script = lab.script(
        "s.luau",
        "function on_message(self, name, to)
            meet()
            for n = 1, 3 do send(to, name, n) end
        end",
    );
    let world = lab.app.world_mut();
    // More than one batch, so that several VMs take part.
    let senders: Vec<_> =
        (0..200).map(|_| world.spawn(LuaScripts::new(script.clone())).id()).collect();
    for (n, sender) in senders.iter().enumerate().rev() {
        world.write_message(ToScript::new(*sender, format!("{n}:"), receiver));
    }
    lab.frame();
    lab.app.world_mut().write_message(ToScript::new(receiver, "game", 0.0));
    lab.frame();
    let mut expected = String::new();
    for sender in 0..senders.len() {
        (1..=3).for_each(|n| expected.push_str(&format!("{sender}:{n} ")));
    }
    assert_eq!(lab.field(receiver, "got"), format!("{expected}game0 ").into());
    assert_shared_among_vms(&lab, 4);
}

#[test]
fn nothing_prints_an_address() {
    let mut lab = lab(2);
    lab.entity(
        "a.luau",
        "function on_update(self)
            local t, f, thread = {}, function() end, coroutine.create(function() end)
            local things = {t, f, thread, print, string, buffer.create(1), entity.Transform}
            local shown = ''
            for _, thing in things do
                local _, message = pcall(error, thing)
                shown ..= tostring(thing) .. string.format(' %* %s ', thing, 'x')
                shown ..= `{thing} {message} {tostring(message)}; `
            end
            emit('shown', shown)
            emit('formatted', `{t} {print} {f}` .. string.format('%d%% %5.2f %*', 7, 1, t))
        end
        function on_fixed_update() error({}) end",
    );
    lab.frame();
    let failures = lab.failures();
    assert_eq!(failures.len(), 1);
    assert!(failures[0].contains(": table") && !failures[0].contains("0x"), "{failures:?}");
    let events = lab.drain::<ScriptEvent>();
    let ScriptValue::String(shown) = &events[0].payload else { panic!("{events:?}") };
    assert!(shown.contains("thread thread x thread") && !shown.contains("0x"), "{shown}");
    assert_eq!(events[1].payload, "table function function7%  1.00 table".into());
}

#[test]
fn what_on_stop_writes_meets_what_the_other_scripts_of_its_entity_write() {
    let mut lab = lab(4);
    let write = "entity.Transform.translation = vector.one * ";
    let stopping = lab.script("a.luau", &format!("function on_stop() {write} 1 end"));
    let going_on = lab.script("b.luau", &format!("function on_update() {write} 2 end"));
    let idle = lab.script("c.luau", "function on_update() end");
    let world = lab.app.world_mut();
    world.spawn(LuaScripts::new(idle));
    let both = LuaScripts::new(stopping).with(going_on);
    let entity = world.spawn((Transform::default(), both)).id();
    lab.frame();
    assert_eq!(lab.stats().conflicts, 0);
    lab.app.world_mut().get_mut::<LuaScripts>(entity).expect("it is there").scripts.remove(0);
    lab.frame();
    assert_eq!(lab.failures(), [""; 0]);
    assert_eq!(lab.transform(entity).translation, Vec3::splat(2.0));
    assert_eq!(lab.stats().conflicts, 1);
}

/// Enough entities for what they come to to be applied in parallel, and one that is too few for that.
#[test]
fn many_entities_come_to_the_same_as_few() {
    /// Changed by the game between the runs and their effects: the game knew better.
    #[derive(Component)]
    struct Touched;
    /// Another entity writes to it.
    #[derive(Component)]
    struct Pushed;

    let look = |count: usize| {
        let mut lab = lab(2);
        lab.app.add_systems(
            Update,
            (|mut touched: Query<&mut ScriptStates, With<Touched>>| {
                touched.iter_mut().for_each(|mut states| {
                    states.get_mut("mover.luau").expect("it ran").set("n", 100.0);
                });
            })
            .after(ScriptSystems::Execute)
            .before(ScriptSystems::Apply),
        );
        let mover = lab.script(
            "mover.luau",
            "function on_start(self) self.n = 0 end
            function on_update(self)
                self.n += 1
                if self.n % 2 == 1 then entity.Transform.translation += vector.one end
            end",
        );
        let pusher = lab.script(
            "pusher.luau",
            "function on_update(self)
                if self.to then self.to.Transform.translation = vector.one * 50 end
            end",
        );
        let world = lab.app.world_mut();
        let bundle =
            |script: &Handle<LuaScript>| (Transform::default(), LuaScripts::new(script.clone()));
        let plain = world.spawn(bundle(&mover)).id();
        let touched = world.spawn((bundle(&mover), Touched)).id();
        let pushed = world.spawn((bundle(&mover), Pushed)).id();
        let by = world.spawn(bundle(&pusher)).id();
        let crowd: Vec<Entity> = world.spawn_batch((0..count).map(|_| bundle(&mover))).collect();
        lab.frame();
        let mut states = lab.app.world_mut().get_mut::<ScriptStates>(by).expect("it ran");
        states.get_mut("pusher.luau").expect("it ran").set("to", pushed);
        let mut looks = Vec::new();
        for _ in 0..3 {
            lab.frame();
            let moved = |lab: &Lab, entity: Entity| {
                let transform = lab.app.world().entity(entity).get_ref::<Transform>();
                transform.expect("it has one").last_changed()
            };
            let before = (moved(&lab, plain), moved(&lab, pushed));
            lab.frame();
            let changed = (moved(&lab, plain) != before.0, moved(&lab, pushed) != before.1);
            let of = |entity: Entity| (lab.state(entity), lab.transform(entity));
            for one in &crowd {
                assert_eq!(of(*one), of(plain), "{one} of {count}");
                assert_eq!(moved(&lab, *one), moved(&lab, plain), "{one} of {count}");
            }
            let stats = lab.stats();
            // Those of the crowd that a script moved, and whatever else was written.
            let writes = stats.writes - if changed.0 { count as u64 } else { 0 };
            let conflicts = stats.conflicts;
            looks.push(format!(
                "{:?} {:?} {:?} {changed:?} {writes} {conflicts}",
                of(plain),
                of(touched),
                of(pushed),
            ));
        }
        assert_eq!(lab.failures(), [""; 0]);
        looks
    };
    let few = look(20);
    assert!(few[0].contains("(true, ") && few[0].contains("Number(100.0)"), "{few:?}");
    assert_eq!(look(600), few);
}

/// Holds, wastes, or both, more or less than it may.
const HUNGRY: &str = r#"
local names = {"table", "garbage", "both", "buffer", "coroutine", "caught"}

function on_start()
    meet()
end

function on_update(self, dt)
    self.n = (self.n or 0) + 1
    local kind = names[math.random(#names)]
    local size = math.random(1, 20) * 40
    self.last = kind .. size
    local held = {}
    if kind == "table" or kind == "caught" then
        local function fill() for i = 1, size * 8 do held[i] = {i} end end
        if kind == "caught" then self.ok = pcall(fill) else fill() end
    elseif kind == "garbage" then
        for i = 1, size do local s = ("x"):rep(2000) .. i end
    elseif kind == "both" then
        for i = 1, size do
            held[i % 200 + 1] = ("held"):rep(300) .. i
            local waste = {{i}, {tostring(i)}}
        end
    elseif kind == "buffer" then
        for i = 1, size do held[i] = buffer.create(800) end
    else
        for i = 1, size do
            held[i] = coroutine.create(function() coroutine.yield(i) end)
            coroutine.resume(held[i])
        end
    end
    self.held = #held
    entity.Transform.translation = vector.create(#held, self.n, 0)
end
"#;

/// Plays hungry scripts, alone or among others, with so many VMs; gives what became of the hungry ones.
fn hunger(max_size: usize, others: bool) -> (Vec<Option<String>>, Vec<String>) {
    let config = LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size, ..patient().pool },
        run_memory_limit: Some(512 * 1024),
        max_failures: 0,
        ..patient()
    };
    let mut lab = lab_with(config, max_size.min(2));
    let script = lab.script("hungry.luau", HUNGRY);
    let litter = lab.script(
        "litter.luau",
        "local data = {} for i = 1, 2000 do data[i] = 'held' .. i end
         function on_update(self) for i = 1, 300 do local t = {i, 'litter' .. i} end self.n = #data end",
    );
    let world = lab.app.world_mut();
    // More than one batch, so that several VMs take part.
    let all: Vec<Entity> = (0..80)
        .map(|n| {
            world
                .spawn((Transform::from_xyz(n as f32, 0.0, 0.0), LuaScripts::new(script.clone())))
                .id()
        })
        .collect();
    if others {
        for _ in 0..30 {
            world.spawn(LuaScripts::new(litter.clone()));
        }
    }
    let mut failures = Vec::new();
    for frame in 0..4 {
        lab.frame();
        let failed = lab.drain::<ScriptFailed>();
        failures.extend(failed.iter().map(|it| format!("{frame} {} {}", it.entity, it.failure)));
    }
    assert_shared_among_vms(&lab, max_size);
    (all.iter().map(|entity| all_of(lab.app.world().entity(*entity))).collect(), failures)
}

#[test]
fn whether_a_run_meets_its_memory_limit_depends_on_nothing_but_itself() {
    let (states, failures) = hunger(1, false);
    assert!(failures.len() > 30 && failures.len() < 290, "{}", failures.len());
    assert!(failures.iter().all(|failure| failure.contains("`run_memory_limit`")), "{failures:#?}");
    for (max_size, others) in [(1, false), (4, false), (1, true), (4, true)] {
        let (again, failures_again) = hunger(max_size, others);
        assert_eq!(failures_again, failures, "{max_size} {others}");
        assert_eq!(again, states, "{max_size} {others}");
    }
}
