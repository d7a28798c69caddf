//! A thousand entities, three scripts, two VMs, no window.
//!
//! ```sh
//! cargo run --release --no-default-features --example quickstart
//! ```
//!
//! Half of the entities circle, some hand a baton on, and some break on purpose. After 300 frames the
//! program shows what the pool did, and checks that the world is exactly what it should be.

use std::fmt::Display;
use std::time::Duration;

use bevy::log::LogPlugin;
use bevy::prelude::*;
use bevy::time::TimeUpdateStrategy;
use bevy_lua_pool::prelude::*;

/// Frames to run.
const FRAMES: u32 = 300;
/// The time between two frames, whatever the real time.
const STEP: Duration = Duration::from_micros(15_625); // 1/64 s

/// Entities that circle (`scripts/orbit.luau`).
const ORBITS: usize = 500;
/// Rings of runners (`scripts/relay.luau`), and runners in each.
const RINGS: usize = 40;
const RUNNERS: usize = 10;
/// Entities that break (`scripts/bad/crumbling.luau`).
const CRUMBLING: usize = 100;

/// How an entity circles. Scripts see it as `entity.Orbit`, because it is exposed to them in `main`.
#[derive(Component, Reflect)]
struct Orbit {
    radius: f32,
    /// Radians a second.
    speed: f32,
    /// Radians.
    start: f32,
}

/// Who gets the baton next. Scripts see an entity, to which they can `send`.
#[derive(Component, Reflect)]
struct Relay {
    next: Entity,
}

/// Marks the entities whose script breaks.
#[derive(Component)]
struct Crumbling;

/// What the host function `game.award` changes.
#[derive(Resource, Default)]
struct Score(u64);

/// What the game heard from its scripts.
#[derive(Resource, Default)]
struct Heard {
    laps: u64,
    failures: u64,
    put_aside: u64,
}

/// Keeps the scripts loaded, and counts the frames in which they ran.
#[derive(Resource)]
struct Show {
    orbit: Handle<LuaScript>,
    relay: Handle<LuaScript>,
    crumbling: Handle<LuaScript>,
    spawned: bool,
    frames: u32,
}

fn main() -> AppExit {
    App::new()
        .add_plugins((
            MinimalPlugins,
            AssetPlugin::default(),
            TransformPlugin,
            // Errors of scripts are logged once each, and counted after that.
            LogPlugin { filter: "error".into(), ..default() },
            LuaPoolPlugin { config_file: Some("lua_pool.ron".into()), ..default() },
        ))
        .insert_resource(TimeUpdateStrategy::ManualDuration(STEP))
        .init_resource::<Score>()
        .init_resource::<Heard>()
        // What scripts can reach, besides `Transform` and the like.
        .expose_component::<Orbit>()
        .expose_component::<Relay>()
        .add_lua_function("game.award", |ctx: &mut ScriptContext, points: u32| {
            // Scripts run in parallel on a world that nobody may change; this waits its turn.
            ctx.queue(move |world: &mut World| {
                world.resource_mut::<Score>().0 += u64::from(points);
            })
        })
        .add_systems(Startup, load)
        .add_systems(PreUpdate, spawn)
        .add_systems(Update, listen.after(ScriptSystems::Apply))
        .add_systems(Last, watch)
        .run()
}

fn load(mut commands: Commands, assets: Res<AssetServer>) {
    println!("1,000 entities, 3 scripts, {FRAMES} frames\n");
    commands.insert_resource(Show {
        orbit: assets.load("scripts/orbit.luau"),
        relay: assets.load("scripts/relay.luau"),
        crumbling: assets.load("scripts/bad/crumbling.luau"),
        spawned: false,
        frames: 0,
    });
}

/// Spawns everybody once the scripts are loaded. An entity could be spawned sooner: its scripts would
/// start when they arrive. Here all are to start in the same frame, so that the result is known.
fn spawn(
    mut commands: Commands,
    mut show: ResMut<Show>,
    assets: Res<AssetServer>,
    mut to_script: MessageWriter<ToScript>,
    mut exit: MessageWriter<AppExit>,
) {
    let scripts = [&show.orbit, &show.relay, &show.crumbling];
    if scripts.iter().any(|script| assets.load_state(*script).is_failed()) {
        exit.write(AppExit::error()); // the log says why
    }
    if show.spawned || !scripts.iter().all(|script| assets.is_loaded(*script)) {
        return;
    }

    for index in 0..ORBITS {
        commands.spawn((
            Transform::default(),
            Orbit { radius: 1.0 + index as f32, speed: 0.5, start: index as f32 / 100.0 },
            LuaScripts::new(show.orbit.clone()),
        ));
    }
    for _ in 0..RINGS {
        let ring: Vec<Entity> = (0..RUNNERS).map(|_| commands.spawn_empty().id()).collect();
        for (index, runner) in ring.iter().enumerate() {
            let next = ring[(index + 1) % RUNNERS];
            commands.entity(*runner).insert((Relay { next }, LuaScripts::new(show.relay.clone())));
        }
        // Game to script: calls `on_message(self, "go")`.
        to_script.write(ToScript::new(ring[0], "go", ScriptValue::Nil));
    }
    for _ in 0..CRUMBLING {
        commands.spawn((Transform::default(), Crumbling, LuaScripts::new(show.crumbling.clone())));
    }
    show.spawned = true;
}

/// Script to game: what scripts `emit`, and what went wrong.
fn listen(
    mut events: MessageReader<ScriptEvent>,
    mut failures: MessageReader<ScriptFailed>,
    mut heard: ResMut<Heard>,
) {
    heard.laps += events.read().filter(|event| event.name == "lap").count() as u64;
    for failed in failures.read() {
        heard.failures += 1;
        heard.put_aside += u64::from(failed.put_aside);
    }
}

/// Shows the progress, and after the last frame the result.
fn watch(world: &mut World) {
    let snapshot = world.resource::<LuaSnapshot>().clone();
    if snapshot.total.runs == 0 {
        return; // still loading
    }
    world.resource_mut::<Show>().frames += 1;
    let frames = world.resource::<Show>().frames;
    if frames.is_multiple_of(50) {
        println!(
            "frame {frames:>3}   {:>7} runs so far   {:>3} failed   script time {:.1?} a frame",
            count(snapshot.total.runs),
            snapshot.total.failed,
            snapshot.total.time / frames,
        );
    }
    if frames == FRAMES {
        println!();
        show_tables(&snapshot, world);
        let exit = check_world(&snapshot, world);
        world.write_message(exit);
    }
}

fn show_tables(snapshot: &LuaSnapshot, world: &World) {
    let LuaSnapshot { pool, run_time, total, .. } = snapshot;
    let heard = world.resource::<Heard>();

    println!("What the pool did");
    row("VMs made / replaced", format!("{} / {}", pool.created, pool.destroyed));
    row("VMs alive", format!("{} of at most {}", pool.idle + pool.leased, pool.max_size));
    row("memory of all VMs", {
        let bytes: usize = snapshot.vms.iter().map(|vm| vm.memory_bytes).sum();
        format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
    });
    row("leases", format!("{}, p99 {:.1?}", count(pool.acquired), pool.wait.p99));
    row("runs", count(total.runs));
    row("one run", format!("p50 {:.1?}, p99 {:.1?}", run_time.p50, run_time.p99));
    row("one frame", format!("{:.1?}", total.time / FRAMES));

    println!("\nWhat the scripts did");
    row("fields written", count(total.writes));
    row("messages, script to script", count(total.messages));
    row("messages, script to game", count(heard.laps));
    row("points awarded", count(world.resource::<Score>().0));
    row("failed runs", count(total.failed));

    println!(
        "\n{:<28} {:>8} {:>8} {:>7} {:>10} {:>8}",
        "script", "entities", "runs", "failed", "put aside", "mean"
    );
    for script in &snapshot.scripts {
        println!(
            "{:<28} {:>8} {:>8} {:>7} {:>10} {:>8.1?}",
            script.path,
            script.entities,
            count(script.runs),
            script.errors,
            script.put_aside,
            script.time.mean,
        );
    }
    for error in &snapshot.errors {
        let line = error.line.unwrap_or_default();
        println!("\n{}:{line}: {} ({} times)", error.script, error.message, error.count);
    }
}

/// Compares the world with what 300 frames must make of it.
fn check_world(snapshot: &LuaSnapshot, world: &mut World) -> AppExit {
    let frames = u64::from(FRAMES);
    let seconds = STEP.as_secs_f32() * FRAMES as f32;
    let mut checks = Checks::default();
    println!("\nIs the world what it should be?");

    let mut orbits = world.query::<(&Orbit, &Transform)>();
    let off = orbits.iter(world).map(|(orbit, transform)| {
        let angle = orbit.start + orbit.speed * seconds;
        let expected = Vec2::from_angle(angle) * orbit.radius;
        transform.translation.distance(expected.extend(0.0)) / orbit.radius
    });
    let off = off.fold(0.0, f32::max);
    checks.that("every orbit is where its speed takes it, to 1/1000", off < 1e-3);

    let mut runners = world.query_filtered::<&ScriptStates, With<Relay>>();
    let each = frames as f64 / RUNNERS as f64;
    let passed =
        |states: &ScriptStates| states.get("scripts/relay.luau").map(|it| it.get("passed").clone());
    let all = runners.iter(world).all(|states| passed(states) == Some(each.into()));
    checks.that("every runner passed the baton on equally often", all);

    // The first pass of each ring starts the run; every tenth after that ends a lap.
    let laps = RINGS as u64 * ((frames - 1) / RUNNERS as u64);
    checks.equal("messages from script to script", snapshot.total.messages, RINGS as u64 * frames);
    checks.equal("messages that found nobody", snapshot.total.undelivered, 0);
    checks.equal("laps that the game heard of", world.resource::<Heard>().laps, laps);
    checks.equal("points, 10 for each lap", world.resource::<Score>().0, 10 * laps);

    let mut broken = world.query_filtered::<(&Transform, &ScriptStates), With<Crumbling>>();
    let mut unharmed = 0;
    for (transform, states) in broken.iter(world) {
        let steps = states.get("scripts/bad/crumbling.luau").map(|it| it.get("steps").clone());
        let in_place = transform.translation == Vec3::new(10.0, 0.0, 0.0);
        unharmed += u64::from(in_place && steps == Some(10.0.into()));
    }
    let crumbling = CRUMBLING as u64;
    checks.equal("entities that no failed run changed", unharmed, crumbling);
    checks.equal(
        "failures reported, 5 for each",
        world.resource::<Heard>().failures,
        5 * crumbling,
    );
    checks.equal("scripts put aside", world.resource::<Heard>().put_aside, crumbling);

    let pool = &snapshot.pool;
    let alive = (pool.idle + pool.leased) as u64;
    checks.equal("VMs made - destroyed = alive", pool.created - pool.destroyed, alive);
    checks.that("never more VMs than max_size", alive <= pool.max_size as u64);
    checks.exit()
}

#[derive(Default)]
struct Checks {
    failed: usize,
}

impl Checks {
    fn that(&mut self, what: impl Display, holds: bool) {
        println!("  {:<6} {what}", if holds { "ok" } else { "FAILED" });
        self.failed += usize::from(!holds);
    }

    fn equal(&mut self, what: &str, got: u64, expected: u64) {
        if got == expected {
            self.that(format!("{what}: {}", count(got)), true);
        } else {
            self.that(format!("{what}: {}, expected {}", count(got), count(expected)), false);
        }
    }

    fn exit(&self) -> AppExit {
        match self.failed {
            0 => println!("\nAll is well."),
            failed => println!("\n{failed} of these FAILED."),
        }
        if self.failed == 0 { AppExit::Success } else { AppExit::error() }
    }
}

fn row(name: &str, value: impl Display) {
    println!("  {name:<28} {value}");
}

/// A number with commas.
fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
