//! Many entities on few VMs: nobody notices the others, good or bad.

mod common;

use std::collections::HashSet;
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, patient};

/// `mark` leaves marks in every way, `census` finds them.
const MARKER: &str = include_str!("common/marker.luau");

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
struct Bag {
    items: Vec<f64>,
}

/// Looks for marks, writes through every channel, leaves marks.
const NEIGHBOUR: &str = "
function on_start(self)
    self.me = entity.id
    self.mine = {tostring(entity)}
end

function on_update(self)
    emit('census', census())
    assert(self.me == entity.id and self.mine[1] == tostring(entity) and #self.mine == 1)
    self.n = (self.n or 0) + 1
    entity.Transform.translation += vector.create(entity.Transform.scale.x, 0, 0)
    entity.Name = `{entity} {self.n}`
    send(entity.id, 'note', {from = entity.id, n = self.n})
    emit('count', self.n)
    mark(self)
end

function on_message(self, name, payload, sender)
    emit('census', census())
    assert(payload.from == entity.id and sender == entity.id and payload.n == self.n)
    self.heard = (self.heard or 0) + payload.n
    mark(self)
end
";

fn two_vms() -> LuaPoolConfig {
    LuaPoolConfig {
        pool: PoolConfig { min_size: 2, max_size: 2, ..patient().pool },
        max_failures: 0,
        ..patient()
    }
}

#[test]
fn a_thousand_entities_on_two_vms_find_nothing_of_each_other() {
    const CROWD: usize = 1000;
    const FRAMES: usize = 2;
    let mut lab = Lab::with_config(two_vms());
    lab.app.expose_component::<Bag>();
    let marker = lab.script("a.luau", &format!("{MARKER}{NEIGHBOUR}"));
    // Another script, so that neighbours differ in more than their entity.
    let other = lab.script("b.luau", &format!("shadow = 1 {MARKER}{NEIGHBOUR}\nmark(self)"));
    let third = lab.script("c.luau", &format!("{MARKER}{NEIGHBOUR}"));
    let world = lab.app.world_mut();
    let all: Vec<_> = (0..CROWD)
        .map(|n| {
            let script = [&marker, &third, &other][n % 3];
            let place = Transform::from_scale(Vec3::splat(n as f32));
            let bag = Bag { items: vec![1.0, 2.0] };
            world.spawn((place, bag, LuaScripts::new(script.clone()))).id()
        })
        .collect();
    let mut found = HashSet::new();
    let mut runs = 0;
    for _ in 0..FRAMES {
        lab.frame();
        let failures = lab.failures();
        assert!(failures.iter().all(|failure| failure.starts_with("b.luau")), "{failures:#?}");
        for event in lab.drain::<ScriptEvent>() {
            if event.name == "census" {
                let ScriptValue::String(text) = event.payload else { panic!("not a text") };
                // What is drawn at the file level depends on the script's path.
                let text: Vec<_> = text.lines().filter(|line| !line.starts_with("drawn")).collect();
                let mut text = text.join("\n").replace("c.luau", "a.luau");
                text.push('\n');
                found.insert(text);
                runs += 1;
            }
        }
    }
    let good: Vec<_> = all.iter().enumerate().filter(|(n, _)| n % 3 != 2).collect();
    assert_eq!(runs, good.len() * (2 * FRAMES - 1));
    assert_eq!(found.len(), 1, "all censuses are alike: {found:#?}");
    for (n, entity) in good {
        let transform = lab.transform(*entity);
        assert_eq!(transform.translation.x, (n * FRAMES) as f32);
        let entity = *entity;
        let name = lab.app.world().get::<Name>(entity).expect("it has a name").as_str().to_owned();
        assert_eq!(name, format!("Entity({entity}) {FRAMES}"));
        let bag = lab.app.world().get::<Bag>(entity);
        assert_eq!(bag, Some(&Bag { items: vec![1.0, 2.0] }));
        assert_eq!(lab.field(entity, "n"), (FRAMES as f64).into());
        assert_eq!(lab.field(entity, "heard"), 1.0.into());
        assert_eq!(lab.field(entity, "me"), entity.into());
    }
    let pool = lab.snapshot().pool;
    assert!(lab.snapshot().vms.len() <= 2 && pool.created == 2, "{pool:?}");
}

/// A bad script of each kind.
const BAD: [&str; 24] = [
    "this is not Lua",
    "error('at the file level')",
    "while true do end",
    "on_update = 7",
    "function on_start() error('never starts') end",
    "function on_update() error('on purpose') end",
    "function on_update() error() end",
    "function on_update() error(setmetatable({}, {__tostring = function() error() end})) end",
    "function on_update() local x = nil + 1 end",
    "function on_update() while true do end end",
    "function on_update() pcall(function() while true do end end) end",
    "function on_update() while true do pcall(error) end end",
    "function on_update() local t = {} while true do t[#t + 1] = {} end end",
    "function on_update() local s = 'x' while true do s ..= s end end",
    "local function hog() local s = 'x' while true do s ..= s end end
     function on_update() coroutine.wrap(hog)() end",
    "local function f() return 1 + f() end function on_update() f() end",
    "function on_update() while true do print('spam') end end",
    "function on_update() while true do send(entity.id, 'spam') end end",
    "function on_update() while true do world.spawn{} end end",
    "function on_update() panics() end",
    "function on_update() pcall(panics) end",
    "function on_update(self) self.f = print end",
    "function on_update(self) self.me = self end",
    "function on_update() entity.Nothing.x = 1 end",
];

const GOOD: &str = "
function on_start(self) self.n = 0 end
function on_update(self)
    self.n += 1
    entity.Transform.translation += vector.create(1, 0, 0)
    send(entity.id, 'n', self.n)
end
function on_message(self, name, n) self.heard = (self.heard or 0) + n end
";

#[test]
fn bad_scripts_of_each_kind_do_not_harm_the_good_ones_in_the_same_frame() {
    const FRAMES: usize = 2;
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { memory_limit: 3 * 1024 * 1024, ..two_vms().pool },
        run_time_limit: Duration::from_millis(300),
        ..two_vms()
    });
    lab.app
        .insert_resource(Time::<Fixed>::from_duration(common::STEP))
        .add_lua_function("panics", |(): ()| -> f64 { panic!("on purpose") });
    let good = lab.script("good.luau", GOOD);
    let mut scripts = Vec::new();
    for (n, bad) in BAD.iter().enumerate() {
        let path = format!("bad_{n}.luau");
        lab.file(&path, bad);
        scripts.push(lab.load(&path));
    }
    let world = lab.app.world_mut();
    let mut all = Vec::new();
    for bad in &scripts {
        all.push(world.spawn((Transform::default(), LuaScripts::new(good.clone()))).id());
        world.spawn((Transform::default(), LuaScripts::new(bad.clone())));
        let both = LuaScripts::new(bad.clone()).with(good.clone());
        all.push(world.spawn((Transform::default(), both)).id());
    }
    for frame in 1..=FRAMES {
        lab.frame();
        let failed = lab.drain::<ScriptFailed>();
        for (n, bad) in BAD.iter().enumerate().skip(1) {
            let path = format!("bad_{n}.luau");
            let failures = failed.iter().filter(|failed| *failed.failure.script == *path).count();
            assert!(failures >= 2, "{path} fails in each frame: {bad}");
        }
        assert!(failed.iter().all(|failed| &*failed.failure.script != "good.luau"), "{failed:#?}");
        assert_eq!(lab.stats().deferred, 0);
        for entity in &all {
            let states = lab.app.world().get::<ScriptStates>(*entity).expect("it ran");
            let state = states.get("good.luau").expect("it ran");
            assert_eq!(state.get("n"), &(frame as f64).into());
            let heard = (1..frame).sum::<usize>() as f64;
            let heard = if frame == 1 { ScriptValue::Nil } else { heard.into() };
            assert_eq!(state.get("heard"), &heard);
            assert_eq!(lab.transform(*entity).translation, Vec3::X * frame as f32);
        }
    }
    let stats = lab.snapshot().total;
    assert_eq!((stats.spawned, stats.messages), (0, (all.len() * FRAMES) as u64));
}
