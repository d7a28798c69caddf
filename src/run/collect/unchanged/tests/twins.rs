//! Two apps to which the same happens, one of which examines all entities one by one.

use std::time::Duration;

use bevy::app::{FixedUpdate, Update};
use bevy::asset::Assets;
use bevy::ecs::change_detection::DetectChangesMut;
use bevy::prelude::{Entity, Handle, IntoScheduleConfigs, Name, Resource, World};

use crate::config::LuaPoolConfig;
use crate::run::frame::Frame;
use crate::run::mailbox::Mailbox;
use crate::run::stop::StopQueue;
use crate::run::system_sets::ScriptSystems;
use crate::script::{LuaScript, LuaScripts, ScriptStates, StateLocation};
use crate::testing::{STEP, TestApp, patient_config};

pub(super) const SCRIPTS: [(&str, &str); 5] = [
    ("walker", "function on_start(self) self.n = 0 end function on_update(self) self.n += 1 end"),
    ("idle", "function on_start(self) self.n = 0 end"),
    ("fixed", "function on_fixed_update(self, dt) self.n = (self.n or 0) + dt end"),
    ("listener", "function on_message(self, name) self.heard = name end"),
    ("failing", "function on_update(self) assert(not self.bad) end"),
];

/// What was collected in each stage, as text.
#[derive(Resource, Default)]
struct Seen(Vec<Vec<String>>);

/// The scripts, in the order of [`SCRIPTS`].
#[derive(Resource)]
pub(super) struct Scripts(pub(super) Vec<Handle<LuaScript>>);

impl Scripts {
    pub(super) fn get(world: &World, number: usize) -> Handle<LuaScript> {
        world.resource::<Self>().0[number].clone()
    }
}

/// Two apps to which the same happens, one of which examines all entities one by one.
pub(super) struct Twins {
    pub(super) apps: [TestApp; 2],
    /// The same in both.
    pub(super) entities: Vec<Entity>,
}

impl Twins {
    pub(super) fn new(entities: usize) -> Self {
        let apps = [test_app(false), test_app(true)];
        let mut twins = Self { apps, entities: Vec::new() };
        for number in 0..entities {
            let entity = twins.both(|world, _| spawn(world, number));
            twins.entities.push(entity);
        }
        // They start; after that nothing happens to them.
        twins.frames(3);
        twins
    }

    /// Does the same to both.
    pub(super) fn both<T: PartialEq + std::fmt::Debug>(
        &mut self,
        mut act: impl FnMut(&mut World, &[Entity]) -> T,
    ) -> T {
        let [scanned, examined] = &mut self.apps;
        let first = act(scanned.app.world_mut(), &self.entities);
        assert_eq!(first, act(examined.app.world_mut(), &self.entities));
        first
    }

    /// Runs frames. Asserts that the same happens in both.
    #[track_caller]
    pub(super) fn frames(&mut self, count: usize) {
        for frame in 0..count {
            let [scanned, examined] = self.apps.each_mut().map(|test| {
                test.frame();
                std::mem::take(&mut test.app.world_mut().resource_mut::<Seen>().0)
            });
            assert_eq!(scanned.len(), examined.len());
            for (stage, (scanned, examined)) in scanned.iter().zip(&examined).enumerate() {
                for (scanned, examined) in scanned.iter().zip(examined) {
                    assert_eq!(scanned, examined, "stage {stage} of frame {frame}");
                }
                assert_eq!(scanned.len(), examined.len(), "stage {stage} of frame {frame}");
            }
            let [scanned, examined] = self.apps.each_ref().map(rows);
            assert_eq!(scanned, examined);
        }
    }

    /// Asserts that in the last frame the first app examined so many entities one by one, counted in each of its two
    /// stages, and the second one more of them.
    #[track_caller]
    pub(super) fn assert_examined(&self, expected: u64) {
        let of = |test: &TestApp| test.snapshot().frame_paths.collected_one_by_one;
        assert_eq!(of(&self.apps[0]), expected);
        assert!(of(&self.apps[1]) > expected, "there is something to compare");
    }

    /// As [`Self::assert_examined`], but the second app may have examined no more than the first.
    #[track_caller]
    pub(super) fn assert_some_examined(&self, expected: u64) {
        let snapshot = self.apps[0].snapshot();
        assert_eq!(snapshot.frame_paths.collected_one_by_one, expected);
    }

    /// Does something to some entities, after which no entity is examined any more.
    #[track_caller]
    pub(super) fn unsettle(&mut self, act: impl FnMut(&mut World, &[Entity])) {
        self.assert_examined(0);
        self.both(act);
        self.frames(5);
        self.assert_examined(0);
    }
}

pub(super) fn test_app(examined: bool) -> TestApp {
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
    if examined {
        app.add_systems(Update, forget_locations.before(ScriptSystems::Collect))
            .add_systems(FixedUpdate, forget_locations.before(ScriptSystems::Collect));
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

/// Spawns one of several kinds of entities, in one of several tables.
pub(super) fn spawn(world: &mut World, number: usize) -> Entity {
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

/// Makes every entity look as if something had happened to it.
fn forget_locations(mut states: bevy::prelude::Query<&mut ScriptStates>) {
    for mut states in &mut states {
        for state in &mut states.bypass_change_detection().states {
            state.attached.location = StateLocation::default();
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
    seen.push(format!("{:?}", frame.stage_mail));
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
                at.backoff,
                at.waiting,
                at.pending_delta,
            ));
        }
    }
    all.sort();
    seen.extend(all);
    world.resource_mut::<Seen>().0.push(seen);
}

/// What the snapshot tells about the scripts.
fn rows(test: &TestApp) -> Vec<String> {
    let snapshot = test.snapshot();
    let rows = snapshot.scripts.iter().map(|row| {
        let (put_aside, next_retry) = (row.put_aside, row.next_retry);
        let (runs, errors) = (row.runs, row.errors);
        format!("{} {} {runs} {errors} {put_aside} {next_retry:?}", row.path, row.entities)
    });
    let mut total = snapshot.total;
    total.time = Duration::ZERO;
    rows.chain([format!("{total:?}")]).collect()
}

/// Replaces a script asset.
pub(super) fn replace(world: &mut World, number: usize, name: &str, source: &str) {
    let script = LuaScript::from_source(name, source).unwrap();
    let asset = Scripts::get(world, number).id();
    world.resource_mut::<Assets<LuaScript>>().insert(asset, script).unwrap();
}

pub(super) fn states(world: &World, entity: Entity) -> ScriptStates {
    world.get::<ScriptStates>(entity).unwrap().clone()
}
