//! The same frame by other means: every entity reads its `Transform`, adds 1 to `translation.x` and
//! writes it back.
//!
//! ```text
//! benches/peers/run.sh
//! ```
//!
//! Each way runs in a process of its own, several times in turn, so that none pays for another one's
//! memory and all meet the same machine. What a frame takes in which there is nothing to do is measured too,
//! and taken off where it is compared what the scripts take. The peer's scripts are written in the ways that its book and its
//! own benches show; the fastest one counts for each of its policies. What it did is checked: every entity
//! has moved by 1 for each frame.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use bevy::asset::{AssetPlugin, Assets};
use bevy::prelude::*;
use bevy_mod_scripting::core::script::{ContextPolicy, ScriptContexts};
use bevy_mod_scripting::prelude::*;

/// Looks the component up in every frame.
const LOOKED_UP: &str = "
function on_update()
    local translation = world.get_component(entity, types.Transform).translation
    translation.x = translation.x + 1
end
";

/// Keeps the reference that the file level found; only where every entity has a file level of its own.
const KEPT: &str = "
local translation = world.get_component(entity, types.Transform).translation
function on_update()
    translation.x = translation.x + 1
end
";

/// Keeps references for all entities.
const KEPT_FOR_ALL: &str = "
local kept = {}
function on_update()
    local bits = entity:to_bits()
    local translation = kept[bits]
    if not translation then
        translation = world.get_component(entity, types.Transform).translation
        kept[bits] = translation
    end
    translation.x = translation.x + 1
end
";

callback_labels!(OnUpdate => "on_update");

/// How often each way runs, in turn.
const ROUNDS: usize = 3;
/// How long a way is measured in each round.
const MEASURED: Duration = Duration::from_millis(1500);
/// Frames after which a script that does nothing is a mistake.
const PATIENCE: usize = 5_000;

/// The ways that run in this program.
const WAYS: [Way; 9] = [
    Way { name: "nothing", count: 1_000, text: "a frame without entities" },
    Way { name: "nothing", count: 10_000, text: "a frame without entities" },
    Way { name: "native", count: 1_000, text: "native Bevy system" },
    Way { name: "native", count: 10_000, text: "native Bevy system" },
    Way { name: "entity_kept", count: 1_000, text: "bevy_mod_scripting, a VM per entity" },
    Way { name: "entity_looked_up", count: 1_000, text: "bevy_mod_scripting, a VM per entity" },
    Way { name: "script_kept", count: 1_000, text: "bevy_mod_scripting, a VM per script" },
    Way { name: "script_looked_up", count: 1_000, text: "bevy_mod_scripting, a VM per script" },
    Way { name: "script_empty", count: 1_000, text: "the same, an empty callback" },
];

/// The ways of our own program, `benches/frame.rs`.
const OURS: [Way; 4] = [
    Way { name: "pool", count: 1_000, text: "this crate" },
    Way { name: "pool", count: 10_000, text: "this crate" },
    Way { name: "pool_one_thread", count: 1_000, text: "this crate, one thread" },
    Way { name: "pool_with_state", count: 1_000, text: "this crate, a counter in the state too" },
];

#[derive(Clone, Copy)]
struct Way {
    name: &'static str,
    count: u32,
    text: &'static str,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match &args[..] {
        [way, count] => {
            let count = count.parse().expect("a number of entities");
            let nanos = measure(way, count);
            println!("{nanos} {}", most_memory());
            ExitCode::SUCCESS
        }
        [ours] => {
            compare(ours);
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("usage: benches/peers/run.sh");
            ExitCode::FAILURE
        }
    }
}

/// Runs all ways in turn, and prints their medians and ratios.
fn compare(ours: &str) {
    let this = std::env::current_exe().expect("a running program has a path");
    let this = this.to_str().expect("cargo's paths are text");
    let mut results: BTreeMap<(&str, u32), Vec<(f64, f64)>> = BTreeMap::new();
    let rounds = if std::env::var_os("BENCH_QUICK").is_some() { 1 } else { ROUNDS };
    for _ in 0..rounds {
        for (program, ways) in [(ours, &OURS[..]), (this, &WAYS[..])] {
            for way in ways {
                results.entry((way.name, way.count)).or_default().push(run(program, way));
            }
        }
    }
    let median_of = |way: &Way, of: fn(&(f64, f64)) -> f64| {
        let mut samples: Vec<f64> = results[&(way.name, way.count)].iter().map(of).collect();
        samples.sort_by(f64::total_cmp);
        samples[samples.len() / 2]
    };
    let median = |way: &Way| median_of(way, |(nanos, _)| *nanos);
    let median_by = |name: &str, count: u32| {
        let mut ways = OURS.iter().chain(&WAYS);
        median(ways.find(|way| way.name == name && way.count == count).expect("it is measured"))
    };
    println!("### The peer, the same work\n");
    println!(
        "Whole frame, and what it takes more than a frame without entities (and without plugins"
    );
    println!(
        "for scripts) takes for each of as many. This crate on all cores where nothing else is"
    );
    println!(
        "said; the others run one entity after another. Memory is that of the whole process, at"
    );
    println!("most.\n");
    println!("| way | script | entities | ns per entity, whole frame | scripts | memory |");
    println!("| --- | --- | ---: | ---: | ---: | ---: |");
    for way in OURS.iter().chain(&WAYS) {
        let nanos = median(way);
        let scripts = nanos - median_by("nothing", way.count);
        let memory = median_of(way, |(_, kib)| *kib) / 1024.0;
        println!(
            "| {} | {} | {} | {nanos:.1} | {scripts:.1} | {memory:.0} MiB |",
            way.text, way.name, way.count,
        );
    }
    println!();
    println!("| target | wanted | measured | |");
    println!("| --- | --- | ---: | --- |");
    for (what, policy, wanted) in
        [("where it isolates", "entity", 120.0), ("where it doesn't", "script", 30.0)]
    {
        let [kept, looked_up] =
            ["kept", "looked_up"].map(|script| median_by(&format!("{policy}_{script}"), 1_000));
        let fastest = kept.min(looked_up);
        let without = |count| median_by("nothing", count);
        let scripts = fastest - without(1_000);
        let ratio = scripts / (median_by("pool", 1_000) - without(1_000));
        let met = if ratio >= wanted { "met" } else { "**missed**" };
        println!(
            "| against the peer {what}, 1,000 entities each, scripts | ≥ {wanted}x as fast \
             | {ratio:.1}x | {met} |"
        );
        let many = scripts / (median_by("pool", 10_000) - without(10_000));
        println!("| the same, this crate with 10,000 | | {many:.1}x | |");
        let one = scripts / (median_by("pool_one_thread", 1_000) - without(1_000));
        println!("| the same, this crate on one thread, 1,000 | | {one:.1}x | |");
        let whole = fastest / median_by("pool", 1_000);
        println!("| the same, whole frames, 1,000 entities each | | {whole:.1}x | |");
    }
}

/// Runs one way in a process of its own; gives nanoseconds and KiB.
fn run(program: &str, way: &Way) -> (f64, f64) {
    let output = Command::new(program)
        .args([way.name, &way.count.to_string()])
        .output()
        .unwrap_or_else(|error| panic!("{program} can't be run: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    let numbers = text.lines().last().and_then(|line| {
        let (nanos, kib) = line.trim().split_once(' ')?;
        Some((nanos.parse().ok()?, kib.parse().ok()?))
    });
    numbers.unwrap_or_else(|| {
        panic!("{program} {}: {text}{}", way.name, String::from_utf8_lossy(&output.stderr))
    })
}

/// The most memory that this process had, in KiB, where the system tells.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// Nanoseconds per entity and frame: the median.
fn measure(way: &str, count: u32) -> f64 {
    let mut app = match way {
        "nothing" => return time(&mut nothing(), count),
        "native" => native(),
        "entity_kept" => scripted(ContextPolicy::per_entity_and_script(), KEPT, count),
        "entity_looked_up" => scripted(ContextPolicy::per_entity_and_script(), LOOKED_UP, count),
        "script_kept" => scripted(ContextPolicy::per_script(), KEPT_FOR_ALL, count),
        "script_looked_up" => scripted(ContextPolicy::per_script(), LOOKED_UP, count),
        "script_empty" => scripted(ContextPolicy::per_script(), "function on_update() end", count),
        _ => panic!("there is no way {way}"),
    };
    if way == "native" {
        app.world_mut().spawn_batch((0..count).map(|_| Transform::default()));
    }
    let moves = way != "script_empty";
    // Scripts are loaded over several frames; all run when all have moved in the same frame.
    let mut before = vec![0.0; count as usize];
    let mut ready = false;
    for _ in 0..PATIENCE {
        app.update();
        let now = places(&mut app);
        ready = now.iter().zip(&before).all(|(now, before)| now - before == 1.0);
        if ready || (!moves && loaded(&app) == count as usize) {
            ready = true;
            break;
        }
        before = now;
    }
    assert!(ready, "{way}: not all entities move: {:?}", &before[..8]);

    let before = places(&mut app);
    let mut frames = 0.0;
    let nanos = time_with(&mut app, count, || frames += 1.0);
    if moves {
        for (now, before) in places(&mut app).iter().zip(&before) {
            assert_eq!(now - before, frames, "{way}: the work is not done");
        }
    }
    nanos
}

/// Nanoseconds of a frame for each of so many entities: the median.
fn time(app: &mut App, count: u32) -> f64 {
    time_with(app, count, || {})
}

/// As [`time`]; tells of each frame.
fn time_with(app: &mut App, count: u32, mut frame_is_over: impl FnMut()) -> f64 {
    let mut samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < MEASURED {
        let frame = Instant::now();
        app.update();
        samples.push(frame.elapsed().as_nanos() as f64 / f64::from(count));
        frame_is_over();
    }
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Where all entities are.
fn places(app: &mut App) -> Vec<f32> {
    let mut query = app.world_mut().query::<&Transform>();
    query.iter(app.world()).map(|transform| transform.translation.x).collect()
}

fn nothing() -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default()));
    app.finish();
    app.cleanup();
    app
}

fn native() -> App {
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default())).add_systems(
        Update,
        |mut entities: Query<&mut Transform>| {
            for mut transform in &mut entities {
                transform.translation.x += black_box(1.0);
            }
        },
    );
    app.finish();
    app.cleanup();
    app
}

fn scripted(policy: ContextPolicy, source: &str, count: u32) -> App {
    let mut app = App::new();
    let lua = LuaScriptingPlugin::default().set_context_policy(policy);
    app.add_plugins((MinimalPlugins, AssetPlugin::default()))
        .register_type::<Transform>()
        .add_plugins(BMSPlugin.set(lua))
        .add_systems(
            Update,
            (
                |mut events: MessageWriter<ScriptCallbackEvent>| {
                    events.write(ScriptCallbackEvent::new_for_all_scripts(OnUpdate, vec![]));
                },
                event_handler::<OnUpdate, LuaScriptingPlugin>,
            )
                .chain(),
        );
    app.finish();
    app.cleanup();
    let mut script = ScriptAsset::from(source.to_owned());
    script.language = Language::Lua;
    let script = app.world_mut().resource_mut::<Assets<ScriptAsset>>().add(script);
    for _ in 0..count {
        app.world_mut().spawn((Transform::default(), ScriptComponent(vec![script.clone()])));
    }
    app
}

/// How many entities have their scripts loaded.
fn loaded(app: &App) -> usize {
    app.world().resource::<ScriptContexts<LuaScriptingPlugin>>().read().all_residents_len()
}
