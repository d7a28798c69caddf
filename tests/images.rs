//! Whether a file level ran just now, or long ago for all, and whether a run comes alone or in a row of many:
//! no script can tell, and nothing in the world does.
//!
//! Each script that lies under `tests/` and `assets/`, and some that are made at random, runs in apps that
//! differ in that alone, and everything it does and finds is compared.
//!
//! `SCRIPT=isolation/ cargo test --test images` compares only those whose name contains that.

#[path = "fuzz/choices.rs"]
mod choices;
mod common;
#[path = "fuzz/generator.rs"]
mod generator;
#[path = "attacks/host.rs"]
mod host;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{FrameStats, LuaPoolConfig, PoolConfig, ScriptError, ScriptFailed};

use choices::Seeded;
use common::{Lab, STEP, patient};
use host::{Bag, Hidden, add_host};

const FRAMES: usize = 3;

/// Time that ordinary runs may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A script, and one of other entities that looks for what it left.
struct Subject {
    name: String,
    source: String,
    probe: Option<String>,
    /// Time that a run may take. What takes longer ends somewhere, and there is nothing to compare.
    patience: Duration,
}

/// What may differ from app to app.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Way {
    entities: usize,
    /// Each run has a file level of its own.
    own: bool,
}

/// What came of a frame.
#[derive(Debug, PartialEq)]
struct Frame {
    failures: Vec<String>,
    events: Vec<String>,
    entities: BTreeMap<Entity, String>,
    stats: FrameStats,
    /// A run ended by what it used of the machine: what comes after that is an accident.
    accident: bool,
}

/// What came of a script in all its frames.
struct Told {
    frames: Vec<Frame>,
    /// Its runs shared an image.
    on_image: bool,
}

fn run(subject: &Subject, patience: Duration, way: Way) -> Told {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        max_failures: 0,
        run_time_limit: patience,
        ..patient()
    });
    add_host(&mut lab.app);
    // Frames are alike: nothing is loaded, and each has one fixed step.
    lab.app.insert_resource(Time::<Fixed>::from_duration(STEP));
    let add = |lab: &mut Lab, path: &str, source: &str| {
        let script = LuaScript::from_source(path, source).ok()?;
        if way.own {
            script.program().has_own_file_levels();
        }
        Some(lab.app.world_mut().resource_mut::<Assets<LuaScript>>().add(script))
    };
    let script = add(&mut lab, "attack.luau", &subject.source);
    let probe = subject.probe.as_ref().and_then(|source| add(&mut lab, "special.luau", source));
    let world = lab.app.world_mut();
    let gone = world.spawn_empty().id();
    let hidden = Hidden { observer: gone, resource: gone, gone };
    for scripts in script.iter().cloned().chain(probe) {
        for _ in 0..way.entities {
            let bag = Bag { items: vec![1.0, 2.0], ..Bag::default() };
            let scripts = LuaScripts::new(scripts.clone());
            world.spawn((Transform::default(), bag, hidden.clone(), scripts));
        }
    }
    world.despawn(gone);
    let script = script.map(|script| script.id());
    let mut frames = Vec::new();
    while frames.len() < FRAMES {
        let greeted: Vec<_> = {
            let world = lab.app.world_mut();
            world.query_filtered::<Entity, With<LuaScripts>>().iter(world).collect()
        };
        for entity in greeted {
            lab.app.world_mut().write_message(ToScript::new(entity, "host", frames.len() as f64));
        }
        lab.frame();
        frames.push(look(&mut lab));
        if frames.last().is_some_and(|frame| frame.accident) {
            break;
        }
    }
    let scripts = lab.app.world().resource::<Assets<LuaScript>>();
    let script = script.and_then(|script| scripts.get(script));
    Told { frames, on_image: script.is_some_and(|script| script.program().mutable().is_none()) }
}

fn look(lab: &mut Lab) -> Frame {
    let mut accident = false;
    let failures = lab.drain::<ScriptFailed>();
    let failures = failures.iter().map(|failed| {
        let told = match &failed.failure.error {
            ScriptError::TimedOut { .. } => {
                accident = true;
                "timed out".to_owned()
            }
            ScriptError::OutOfMemory { .. } => "out of memory".to_owned(),
            _ => format!("{}\n{}", failed.failure, failed.failure.traceback),
        };
        format!("{} {:?}: {told}", failed.entity, failed.callback)
    });
    let mut failures: Vec<_> = failures.collect();
    failures.sort();
    let events = lab.drain::<ScriptEvent>().into_iter();
    let events =
        events.map(|event| format!("{} {}: {}", event.entity, event.name, event.payload)).collect();
    let stats = FrameStats { time: Duration::ZERO, ..lab.stats() };
    accident |= stats.deferred > 0;
    let world = lab.app.world_mut();
    let mut entities = BTreeMap::new();
    let mut query = world.query::<(
        Entity,
        Option<&Transform>,
        Option<&Bag>,
        Option<&ChildOf>,
        Option<&Name>,
        Option<&ScriptStates>,
    )>();
    for (entity, transform, bag, parent, name, states) in query.iter(world) {
        let states = states.map(|states| {
            let states = states.iter().map(|state| format!("{} {}", state.script, state.fields));
            states.collect::<Vec<_>>()
        });
        let bag = bag.map(|bag| (&bag.items, &bag.prices));
        entities.insert(entity, format!("{transform:?} {bag:?} {parent:?} {name:?} {states:?}"));
    }
    Frame { failures, events, entities, stats, accident }
}

/// What was compared.
#[derive(Debug, Default)]
struct Compared {
    subjects: usize,
    /// Frames in which neither way met an accident.
    frames: usize,
    /// Subjects of which runs on an image were compared.
    on_images: usize,
}

/// The frames of two apps that can be compared, and whether only one of them met an accident.
fn comparable(shared: &Told, own: &Told) -> (usize, bool) {
    let [shared, own] = [shared, own].map(|told| {
        let accident = told.frames.iter().position(|frame| frame.accident);
        accident.unwrap_or(told.frames.len())
    });
    (shared.min(own), shared != own)
}

/// Where two apps differ, if they do.
fn difference(subject: &Subject, entities: usize, compared: &mut Compared) -> Option<String> {
    let run_both =
        |patience| [false, true].map(|own| run(subject, patience, Way { entities, own }));
    let [mut shared, mut own] = run_both(subject.patience);
    if comparable(&shared, &own).1 {
        // One took a little longer. If both have more time, both end before it is up, or neither does.
        [shared, own] = run_both(PATIENCE);
    }
    let (frames, one_sided) = comparable(&shared, &own);
    compared.frames += frames;
    compared.on_images += usize::from(frames > 0 && shared.on_image);
    for (number, (shared, own)) in shared.frames.iter().zip(&own.frames).take(frames).enumerate() {
        let place = format!("{}, {entities} entities, frame {number}", subject.name);
        if shared.failures != own.failures {
            return Some(format!("{place}: {:#?} but {:#?}", shared.failures, own.failures));
        }
        if shared.events != own.events {
            return Some(format!("{place}: {:#?} but {:#?}", shared.events, own.events));
        }
        for (entity, found) in &shared.entities {
            let other = own.entities.get(entity);
            if other != Some(found) {
                return Some(format!("{place}: {entity}: {found}\nbut {other:?}"));
            }
        }
        if shared != own {
            return Some(format!("{place}: {:?} but {:?}", shared.stats, own.stats));
        }
    }
    one_sided.then(|| {
        let told =
            [&shared, &own].map(|told| told.frames.get(frames).map(|it| (&it.failures, it.stats)));
        format!(
            "{}, {entities} entities, frame {frames}: an accident in one alone: {told:#?}",
            subject.name
        )
    })
}

/// Compares all of these, and reports the differences together. So many of them at least have an image.
#[track_caller]
fn compare(subjects: Vec<Subject>, with_image: usize) {
    let only = std::env::var("SCRIPT").unwrap_or_default();
    let all = subjects.len();
    let subjects = subjects.iter().filter(|subject| subject.name.contains(&only));
    let mut compared = Compared::default();
    let mut problems = Vec::new();
    for subject in subjects {
        let mut of_subject = Compared::default();
        // What takes long, has a row of runs alone.
        let alone = subject.patience > Duration::from_secs(1);
        for entities in [1, 3].into_iter().filter(|entities| alone || *entities > 1) {
            problems.extend(difference(subject, entities, &mut of_subject));
        }
        compared.subjects += 1;
        compared.frames += of_subject.frames;
        compared.on_images += usize::from(of_subject.on_images > 0);
    }
    println!("{compared:?} of {all}");
    let shown: String = problems.join("\n\n").chars().take(20_000).collect();
    assert!(problems.is_empty(), "{} of {} differ:\n{shown}", problems.len(), compared.subjects);
    if only.is_empty() {
        assert!(compared.frames >= FRAMES * all * 3 / 4, "few frames were compared: {compared:?}");
        assert!(compared.on_images >= with_image, "few of them have an image: {compared:?}");
    }
}

/// Scripts of a folder, but for those that never end by themselves.
fn scripts(folder: &str) -> Vec<Subject> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let mut subjects = Vec::new();
    let mut folders = vec![folder.clone()];
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder).expect("the folder is there");
        let mut paths: Vec<PathBuf> =
            entries.map(|it| it.expect("it can be listed").path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_none_or(|it| it != "luau") || stem.ends_with("_probe") {
                continue;
            }
            let text = |path: &Path| std::fs::read_to_string(path).expect("it is text");
            let source = text(&path);
            let expected = source.lines().find_map(|line| line.strip_prefix("-- expect: "));
            if expected.is_some_and(|it| ["timeout", "time", "limit"].contains(&it.trim())) {
                continue;
            }
            let probe = path.with_file_name(format!("{stem}_probe.luau"));
            let probe = probe.exists().then(|| text(&probe));
            let name = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap_or(&path);
            let name = name.display().to_string();
            subjects.push(Subject { name, source, probe, patience: PATIENCE });
        }
    }
    assert!(!subjects.is_empty(), "{} is empty", folder.display());
    // What takes long, ends in an accident.
    for subject in &mut subjects {
        if subject.name.contains("/time/") || subject.name.contains("/bad/") {
            subject.patience = Duration::from_millis(100);
        }
    }
    subjects
}

#[test]
fn attacks_on_isolation_find_no_difference() {
    compare(scripts("tests/attacks/isolation"), 20);
}

#[test]
fn attacks_on_memory_and_the_stack_find_no_difference() {
    compare(
        scripts("tests/attacks/memory").into_iter().chain(scripts("tests/attacks/stack")).collect(),
        80,
    );
}

#[test]
fn attacks_on_what_is_out_of_reach_and_on_the_host_find_no_difference() {
    compare(
        scripts("tests/attacks/reach").into_iter().chain(scripts("tests/attacks/host")).collect(),
        90,
    );
}

#[test]
fn attacks_on_time_that_end_by_themselves_find_no_difference() {
    compare(
        scripts("tests/attacks/time").into_iter().chain(scripts("tests/attacks/frame")).collect(),
        25,
    );
}

#[test]
fn ordinary_scripts_find_no_difference() {
    let mut subjects = scripts("assets/scripts");
    subjects.extend(scripts("tests/modules"));
    subjects.extend(scripts("tests/common"));
    compare(subjects, 10);
}

#[test]
fn random_scripts_find_no_difference() {
    let seeds = if cfg!(debug_assertions) { 0..30 } else { 0..300 };
    let subjects = seeds.map(|seed| Subject {
        name: format!("seed {seed}"),
        source: generator::script(&mut Seeded::new(seed)),
        probe: None,
        patience: Duration::from_millis(100),
    });
    compare(subjects.collect(), 5);
}

#[test]
fn the_snapshot_tells_which_line_costs_a_script_its_image() {
    for (line, source) in [
        (None, "local t = {1} function on_update(self) self.n = t[1] end"),
        (Some(2), "local n = 0\nfunction on_update(self) n += 1 end"),
        (Some(3), "local t = {}\nfunction on_update(self)\npcall(rawset, t, 1, 1) end"),
        (
            Some(1),
            "local f do local b = buffer.create(1) function f() return b end end
            function on_update(self) f() end",
        ),
    ] {
        let mut lab = Lab::new();
        lab.entity("x.luau", source);
        lab.frame();
        let afresh = lab.snapshot().scripts[0].afresh;
        assert_eq!(afresh.and_then(|why| why.line()), line, "{afresh:?}: {source}");
        assert_eq!(afresh.is_some(), line.is_some());
    }
}

/// Each run of a row may be handed so much, whatever those before it were refused.
#[test]
fn what_one_entity_of_a_row_is_refused_costs_the_others_nothing() {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        ..patient()
    });
    add_host(&mut lab.app);
    let script = lab.script(
        "list.luau",
        "function on_update(self)
            local fine, why = pcall(function() return #entity.Bag.items end)
            self.fine, self.why = fine, if fine then nil else why
        end",
    );
    let lengths = [3, 1_000_000, 3, 100_000, 1_000_000, 100_000, 3];
    let entities = lengths.map(|length| {
        let bag = Bag { items: vec![1.0; length], ..Bag::default() };
        lab.app.world_mut().spawn((bag, LuaScripts::new(script.clone()))).id()
    });
    for _ in 0..3 {
        lab.frame();
        assert_eq!(lab.failures(), [""; 0]);
        for (entity, length) in entities.iter().zip(lengths) {
            let expected = ScriptValue::Bool(length < 1_000_000);
            assert_eq!(lab.field(*entity, "fine"), expected, "{length}: {}", lab.state(*entity));
        }
    }
}
