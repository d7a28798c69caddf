//! What the benches share: a headless app full of scripted entities, and a way to time several things
//! side by side.
#![allow(dead_code, unreachable_pub, reason = "each bench uses a part of it")]

pub mod counting;

use std::time::{Duration, Instant};

use bevy::asset::{AssetPlugin, Assets};
use bevy::prelude::*;
use bevy_lua_pool::prelude::*;

/// The work of an entity and frame in all benches: one read-modify-write of a component, and a counter
/// in the state.
pub const SCRIPT: &str = "
local STEP = vector.create(1, 0, 0)

function on_start(self)
    self.frames = 0
end

function on_update(self, dt)
    self.frames += 1
    local t = entity.Transform
    t.translation += STEP
end
";

/// All limits on, on one worker if that is wanted. Those of time are so high that a busy machine doesn't
/// end a run by accident; what they cost is the same.
pub fn limited(workers: Option<usize>) -> LuaPoolConfig {
    let default = LuaPoolConfig::default();
    let max_size = workers.unwrap_or(default.pool.max_size);
    LuaPoolConfig {
        pool: PoolConfig {
            min_size: default.pool.min_size.min(max_size),
            max_size,
            ..default.pool
        },
        run_time_limit: Duration::from_secs(1),
        frame_budget: Some(Duration::from_secs(60)),
        ..default
    }
}

/// A headless app with the plugin and without entities.
pub fn app(config: LuaPoolConfig) -> App {
    let mut app = App::new();
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    // No fixed steps: how many there are depends on the clock.
    app.insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(100_000)));
    app
}

/// Registration is over.
pub fn finish(app: &mut App) {
    app.finish();
    app.cleanup();
}

/// Adds a script, known by this path.
pub fn add_script(app: &mut App, path: &str, source: &str) -> Handle<LuaScript> {
    let script = LuaScript::from_source(path, source).expect("the script compiles");
    app.world_mut().resource_mut::<Assets<LuaScript>>().add(script)
}

/// Spawns entities with a `Transform`; they carry the scripts in turn.
pub fn spawn(app: &mut App, scripts: &[Handle<LuaScript>], count: u32) {
    for script in scripts.iter().cycle().take(count as usize) {
        app.world_mut().spawn((Transform::default(), LuaScripts::new(script.clone())));
    }
}

/// An app whose entities carry these scripts in turn; all of them have started.
pub fn crowd(config: LuaPoolConfig, sources: &[&str], count: u32) -> App {
    let mut app = app(config);
    finish(&mut app);
    let scripts: Vec<_> = sources
        .iter()
        .enumerate()
        .map(|(number, source)| add_script(&mut app, &format!("bench{number}.luau"), source))
        .collect();
    spawn(&mut app, &scripts, count);
    // The first frame starts the scripts.
    app.update();
    app.update();
    assert_no_failure(&app);
    app
}

/// That no run failed or was put off since the app began.
pub fn assert_no_failure(app: &App) {
    let snapshot = app.world().resource::<LuaSnapshot>();
    assert_eq!((snapshot.total.failed, snapshot.total.deferred), (0, 0), "{:#?}", snapshot.errors);
}

/// That every entity was moved, and counted, once for each frame.
pub fn assert_moved(app: &mut App, frames: f64) {
    assert_no_failure(app);
    let mut states = app.world_mut().query::<(&Transform, &ScriptStates)>();
    let mut entities = 0;
    for (transform, states) in states.iter(app.world()) {
        let state = states.iter().next().expect("it has a state");
        let moved = f64::from(transform.translation.x);
        assert_eq!((moved, state.fields.get("frames")), (frames, &frames.into()));
        entities += 1;
    }
    assert!(entities > 0, "nobody was there to be moved");
}

/// Seconds are for people, nanoseconds for computing.
pub fn nanos(time: Duration) -> f64 {
    time.as_secs_f64() * 1e9
}

/// The value in the middle.
pub fn median(samples: &[f64]) -> f64 {
    quantile(samples, 0.5)
}

/// What it takes when nothing else is in the way: a quarter of the samples are lower.
pub fn undisturbed(samples: &[f64]) -> f64 {
    quantile(samples, 0.25)
}

/// The value that this share of the samples does not exceed.
pub fn quantile(samples: &[f64], share: f64) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    let place = (sorted.len() as f64 * share).ceil() as usize;
    sorted[place.clamp(1, sorted.len()) - 1]
}

/// Something that can be done again and again; gives the nanoseconds that count.
pub type Way = Box<dyn FnMut() -> f64>;

/// A way whose every call counts as a whole.
pub fn timed(mut call: impl FnMut() + 'static) -> Way {
    Box::new(move || {
        let start = Instant::now();
        call();
        nanos(start.elapsed())
    })
}

/// The whole frame of an app.
pub fn whole_frames(mut app: App) -> Way {
    timed(move || app.update())
}

/// What the scripts take of an app's frame, from collecting to applying.
pub fn stages(mut app: App) -> Way {
    Box::new(move || {
        app.update();
        nanos(app.world().resource::<LuaSnapshot>().frame.time)
    })
}

/// Nanoseconds of each of these ways, one sample a round. The rounds go through all of them in turn, so
/// that what else the machine does meets all alike; a sample is the median of so many calls as have
/// lasted `least`.
pub fn side_by_side(ways: &mut [Way], rounds: usize, least: Duration) -> Vec<Vec<f64>> {
    let mut samples = vec![Vec::with_capacity(rounds); ways.len()];
    for round in 0..=rounds {
        for (way, samples) in ways.iter_mut().zip(&mut samples) {
            let start = Instant::now();
            let mut calls = vec![way()];
            while start.elapsed() < least {
                calls.push(way());
            }
            // The first round warms up.
            if round > 0 {
                samples.push(median(&calls));
            }
        }
    }
    samples
}

/// How many times as long the first takes as the second: the median of the rounds' own ratios.
pub fn ratio(first: &[f64], second: &[f64]) -> f64 {
    let ratios: Vec<f64> = first.iter().zip(second).map(|(first, second)| first / second).collect();
    median(&ratios)
}

/// Less work, for a first look: set `BENCH_QUICK`.
pub fn is_quick() -> bool {
    std::env::var_os("BENCH_QUICK").is_some()
}
