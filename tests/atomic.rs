//! Atomic: a run that errors, times out or runs out of memory changes nothing: no component, no
//! command, no message, no field of `self`.

mod common;

use std::mem::discriminant;
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{Callback, ScriptError, ScriptFailed};
use common::{Lab, patient};

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
struct Health {
    hp: f64,
    marks: Vec<f64>,
}

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
struct Armor(f64);

#[derive(Component, Reflect, Clone, Default, PartialEq, Debug)]
#[reflect(Component, Default)]
struct Burning {
    heat: f64,
}

/// How often a queued host command was carried out.
#[derive(Resource, Default)]
struct Rings(u32);

/// Changes everything that a script can change.
const CHANGE: &str = "
local function change(self)
    self.n = (self.n or 0) + 1
    self.deep.list[1] = 'changed'
    self[1] = 'changed'
    entity.Health.hp = 1
    table.insert(entity.Health.marks, 1)
    entity.Burning = {heat = 1}
    entity.Armor = nil
    entity.Transform.translation = vector.one
    local other = self.other
    other.Health.hp = 1
    other.Health.marks[1] = 1
    other.Burning = {heat = 1}
    other.Armor = nil
    other.Name = 'changed'
    local new = world.spawn{Health = {hp = 1, marks = {}}, parent = entity.id}
    new.Transform = {}
    world.despawn(self.victim)
    ring()
    send(entity.id, 'changed')
    send(other, 'changed', {1})
    emit('changed')
end
";

struct Scene {
    lab: Lab,
    entity: Entity,
    before: Vec<String>,
}

impl Scene {
    /// An entity whose script is `CHANGE` and this, between two others.
    fn new(config: LuaPoolConfig, script: &str) -> Self {
        let mut lab = Lab::with_config(config);
        lab.app
            .init_resource::<Rings>()
            .expose_component::<Health>()
            .expose_component::<Armor>()
            .expose_component::<Burning>()
            .add_lua_function("panics", |(): ()| -> f64 { panic!("on purpose") })
            .add_lua_function("refuses", |(): ()| -> Result<f64, String> { Err("no".to_owned()) })
            .add_lua_function("ring", |ctx: &mut ScriptContext, (): ()| {
                ctx.queue(|world: &mut World| world.resource_mut::<Rings>().0 += 1)
            })
            // No fixed step comes between.
            .insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(100_000)));
        let script = lab.script("a.luau", &format!("{CHANGE}{script}"));
        let world = lab.app.world_mut();
        let health = Health { hp: 9.0, marks: vec![8.0, 9.0] };
        let [entity, other, victim] = [(); 3].map(|()| {
            world.spawn((Transform::default(), Name::new("x"), health.clone(), Armor(5.0))).id()
        });
        let fields = format!(
            "[(script: \"a.luau\", started: true, self: (fields: [
                (String(\"other\"), Entity({})), (String(\"victim\"), Entity({})),
                (String(\"deep\"), Table((fields: [(String(\"list\"),
                    Table((array: [Number(1.0), Number(2.0)])))]))),
            ]))]",
            other.to_bits(),
            victim.to_bits(),
        );
        let states: ScriptStates = ron::from_str(&fields).expect("a save file");
        world.entity_mut(entity).insert((LuaScripts::new(script), states));
        let mut scene = Self { lab, entity, before: Vec::new() };
        scene.before = scene.everything();
        scene
    }

    /// All that scripts can change in the world.
    fn everything(&mut self) -> Vec<String> {
        let world = self.lab.app.world_mut();
        let mut query = world.query::<(
            Entity,
            (Option<&Transform>, Option<&Name>, Option<&Health>, Option<&Armor>, Option<&Burning>),
            Option<&ChildOf>,
            Option<&ScriptStates>,
        )>();
        let mut all: Vec<_> = query
            .iter(world)
            .filter(|(_, components, ..)| components.0.is_some() || components.2.is_some())
            .map(|(entity, components, parent, states)| {
                let states: Vec<_> = states.into_iter().flat_map(|states| states.iter()).collect();
                let states: Vec<_> =
                    states.iter().map(|state| (state.started, state.fields.to_string())).collect();
                format!("{entity} {components:?} {parent:?} {states:?}")
            })
            .collect();
        all.sort();
        all.push(format!("{} rings", world.resource::<Rings>().0));
        all
    }

    /// Runs a frame and asserts that the one run in it failed, and did nothing.
    #[track_caller]
    fn fails(&mut self) -> ScriptError {
        self.lab.frame();
        let mut failed = self.lab.drain::<ScriptFailed>();
        assert_eq!(failed.len(), 1, "{failed:#?}");
        assert_eq!(self.everything(), self.before);
        assert_eq!(self.lab.drain::<ScriptEvent>(), []);
        let stats = self.lab.stats();
        assert_eq!((stats.runs, stats.failed), (1, 1));
        assert_eq!((stats.writes, stats.messages, stats.conflicts), (0, 0, 0));
        assert_eq!((stats.spawned, stats.despawned), (0, 0));
        // No message is on its way.
        self.lab.scripting().enabled = false;
        self.lab.frame();
        self.lab.scripting().enabled = true;
        failed.remove(0).failure.error
    }
}

#[track_caller]
fn changes_nothing(config: LuaPoolConfig, body: &str) -> ScriptError {
    let mut scene = Scene::new(config, &format!("function on_update(self) {body} end"));
    let error = scene.fails();
    // What was used of a limit differs from run to run.
    let again = scene.fails();
    assert_eq!(discriminant(&again), discriminant(&error), "{again} after {error}");
    error
}

fn brief() -> LuaPoolConfig {
    LuaPoolConfig { run_time_limit: Duration::from_millis(100), ..patient() }
}

#[test]
fn a_run_that_succeeds_changes_everything() {
    let mut scene = Scene::new(patient(), "function on_update(self) change(self) end");
    scene.lab.frame();
    assert_eq!(scene.lab.failures(), [""; 0]);
    assert_ne!(scene.everything(), scene.before);
    let stats = scene.lab.stats();
    assert_eq!((stats.messages, stats.spawned, stats.despawned), (2, 1, 1));
    assert_eq!(scene.lab.app.world().resource::<Rings>().0, 1);
    assert_eq!(scene.lab.drain::<ScriptEvent>().len(), 1);
    assert_eq!(scene.lab.field(scene.entity, "n"), 1.0.into());
}

#[test]
fn a_run_that_errors_changes_nothing() {
    let error = changes_nothing(patient(), "change(self) error('on purpose')");
    assert_eq!(error, ScriptError::Raised { message: "on purpose".to_owned() });
    changes_nothing(patient(), "change(self) error({})");
    changes_nothing(patient(), "change(self) error()");
    changes_nothing(patient(), "change(self) nobody.here = 1");
    changes_nothing(patient(), "change(self) entity.Helth.hp = 1");
    changes_nothing(patient(), "change(self) entity.Health.hp = 'full'");
    changes_nothing(patient(), "change(self) refuses()");
    changes_nothing(patient(), "coroutine.wrap(function() change(self) error('in here') end)()");
    changes_nothing(
        patient(),
        "local function again() change(self) return 1 + again() end again()",
    );
}

#[test]
fn a_run_whose_self_can_not_be_kept_changes_nothing() {
    changes_nothing(patient(), "change(self) self.f = print");
    changes_nothing(patient(), "change(self) setmetatable(self, {})");
    changes_nothing(patient(), "change(self) self.text = ('x'):rep(100000)");
}

#[test]
fn a_run_whose_list_can_not_be_written_back_changes_nothing() {
    changes_nothing(patient(), "change(self) entity.Health.marks[1] = 'not a number'");
    changes_nothing(patient(), "change(self) entity.Health.marks[9] = 9");
    changes_nothing(
        patient(),
        "change(self) pcall(function() table.insert(entity.Health.marks, {}) end)",
    );
}

#[test]
fn a_run_that_times_out_changes_nothing_even_if_it_catches_the_error() {
    for body in [
        "change(self) while true do end",
        "change(self) pcall(function() while true do end end)",
        "pcall(function() while true do end end) pcall(change, self)",
        "coroutine.resume(coroutine.create(function() change(self) while true do end end))",
        "xpcall(function() while true do end end, function() change(self) end)",
    ] {
        let error = changes_nothing(brief(), body);
        assert!(matches!(error, ScriptError::TimedOut { .. }), "{body}: {error}");
    }
}

#[test]
fn a_run_that_runs_out_of_memory_changes_nothing() {
    let small = LuaPoolConfig {
        pool: PoolConfig { memory_limit: 2 * 1024 * 1024, ..patient().pool },
        ..patient()
    };
    let hog = "local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end";
    let error = changes_nothing(small.clone(), &format!("change(self) {hog}"));
    assert!(matches!(error, ScriptError::OutOfMemory { .. }), "{error}");
    changes_nothing(small, &format!("change(self) coroutine.wrap(function() {hog} end)()"));
}

#[test]
fn a_run_whose_host_function_panics_changes_nothing_even_if_it_catches_the_error() {
    for body in
        ["change(self) panics()", "change(self) pcall(panics)", "pcall(panics) change(self)"]
    {
        let error = changes_nothing(patient(), body);
        assert!(matches!(error, ScriptError::HostPanicked { .. }), "{body}: {error}");
    }
}

#[test]
fn a_run_that_exceeds_its_output_changes_nothing() {
    for (body, field) in [
        ("change(self) while true do send(entity.id, 'x') end", "max_messages"),
        ("change(self) while true do emit('x') end", "max_messages"),
        ("change(self) while true do world.spawn() end", "max_commands"),
        ("change(self) while true do ring() end", "max_commands"),
        ("change(self) while true do print('x') end", "max_log_lines"),
        ("change(self) emit('x', ('x'):rep(100000))", "max_value_size"),
    ] {
        let error = changes_nothing(patient(), body).to_string();
        assert!(error.contains(field), "{body}: {error}");
    }
}

#[test]
fn earlier_runs_of_the_same_script_in_the_same_frame_keep_their_effect() {
    let mut scene = Scene::new(
        patient(),
        "function on_message(self, name)
            self.n = (self.n or 0) + 1
            entity.Health.hp += 10
            table.insert(entity.Health.marks, self.n)
            local child = world.spawn{Name = name}
            self.child = child
            send(entity.id, name)
            emit(name, child)
            if name == 'bad' then
                child.Transform = {}
                error('on purpose')
            end
        end
        function on_update(self) change(self) error('on purpose') end",
    );
    let entity = scene.entity;
    for name in ["one", "bad", "two", "bad"] {
        scene.lab.app.world_mut().write_message(ToScript::new(entity, name, ScriptValue::Nil));
    }
    scene.lab.frame();
    let failed: Vec<_> = scene.lab.drain::<ScriptFailed>();
    let failed: Vec<_> = failed.iter().map(|failed| failed.callback).collect();
    assert_eq!(failed, [Callback::Message, Callback::Message, Callback::Update]);
    let events = scene.lab.drain::<ScriptEvent>();
    let names: Vec<_> = events.iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["one", "two"]);

    let world = scene.lab.app.world();
    let health = world.get::<Health>(entity).expect("it has one");
    assert_eq!(*health, Health { hp: 29.0, marks: vec![8.0, 9.0, 1.0, 2.0] });
    assert_eq!(world.get::<Armor>(entity), Some(&Armor(5.0)));
    assert_eq!(scene.lab.field(entity, "n"), 2.0.into());
    assert_eq!(scene.lab.field(entity, "child"), events[1].payload);
    let stats = scene.lab.stats();
    assert_eq!((stats.spawned, stats.messages, stats.despawned), (2, 2, 0));
    for (event, name) in events.iter().zip(names) {
        let ScriptValue::Entity(child) = event.payload else { panic!("{event:?}") };
        let child = world.entity(child);
        assert_eq!(child.get::<Name>().map(Name::as_str), Some(name));
        assert!(!child.contains::<Transform>());
    }
}

#[test]
fn a_caught_error_of_spawn_leaves_nothing_half_made() {
    let mut scene = Scene::new(
        patient(),
        "function on_update(self)
            local first = world.spawn{Name = 'first'}
            for _, wrong in {
                {Name = 'wrong', Health = {hp = 'full'}},
                {Name = 'wrong', Helth = {}},
                {Name = 'wrong', Health = {hp = 1, marks = {1, 'two'}}},
                {Name = 'wrong', Health = {hp = 1, mark = {}}},
                {Name = 'wrong', GlobalTransform = {}},
                {Name = 'wrong', [1] = 1},
                {Name = 'wrong', parent = 7},
                {Name = 'wrong', scripts = {7}},
            } do
                local ok, message = pcall(world.spawn, wrong)
                self[#self + 1] = message
                assert(not ok, message)
            end
            local last = world.spawn{Name = 'last'}
            assert(first ~= last and world.exists(first) and world.exists(last))
        end",
    );
    scene.lab.frame();
    assert_eq!(scene.lab.failures(), [""; 0]);
    assert_eq!(scene.lab.stats().spawned, 2);
    let world = scene.lab.app.world_mut();
    let mut names: Vec<_> =
        world.query::<&Name>().iter(world).map(|name| name.as_str().to_owned()).collect();
    names.sort();
    assert_eq!(names, ["first", "last", "x", "x", "x"]);
}

#[test]
fn a_caught_error_of_an_assignment_leaves_nothing_half_done() {
    let mut scene = Scene::new(
        patient(),
        "local function refused(f)
            local ok, message = pcall(f)
            assert(not ok)
        end
        function on_update(self)
            local h, t = entity.Health, entity.Transform
            refused(function() entity.Health = {hp = 1, marks = 'none'} end)
            refused(function() entity.Health = {hp = 1, marks = {1, {}}} end)
            refused(function() entity.Health = {hp = 1, life = 1} end)
            refused(function() entity.Transform = {scale = vector.zero, translation = 'up'} end)
            refused(function() h.marks = {1, 'two'} end)
            refused(function() t.rotation = {x = 1, y = 'a'} end)
            refused(function() entity.Burning = {heat = 'hot'} end)
            refused(function() entity.Burning = {heat = 1, cold = 1} end)
            refused(function() entity.Burning.heat = 1 end)
            assert(entity.Burning == nil and h.hp == 9 and #h.marks == 2)
            assert(t.scale == vector.one)
        end",
    );
    scene.lab.frame();
    assert_eq!(scene.lab.failures(), [""; 0]);
    assert_eq!(scene.everything(), scene.before);
    assert_eq!(scene.lab.stats().writes, 0);
}

#[test]
fn log_lines_of_a_failed_run_are_kept_once() {
    // The VM is used by the time the second run fails on it, and is tried anew.
    let small = LuaPoolConfig {
        pool: PoolConfig {
            memory_limit: 2 * 1024 * 1024,
            min_size: 1,
            max_size: 1,
            ..patient().pool
        },
        ..patient()
    };
    let mut scene = Scene::new(
        small,
        "function on_message() end
        function on_update(self)
            print('so far')
            local t = {} while true do t[#t + 1] = ('x'):rep(100000) .. #t end
        end",
    );
    let entity = scene.entity;
    scene.lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    scene.lab.frame();
    assert_eq!(scene.lab.failures().len(), 1);
    assert_eq!(scene.lab.stats().log_lines, 1);
}
