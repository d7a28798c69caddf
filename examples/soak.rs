//! Two worlds in step: one with good scripts, the other with the same and hostile ones among them.
//!
//! ```sh
//! cargo run --release --no-default-features --example soak            # 100,000 frames
//! cargo run --release --no-default-features --example soak -- 1000    # as many as you like
//! ```
//!
//! Every twentieth of a thousand entities loops forever, hoards memory, floods, fails, panics or leaves
//! garbage. Whatever these do, the good ones must come to the same as in the world without them, memory
//! must stay flat, and every VM must be accounted for. The exit code tells.

use std::fmt::Display;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy::time::TimeUpdateStrategy;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::ScriptLimits;
use bevy_lua_pool::{ScriptError, ScriptFailed, ScriptState};

/// Frames to run where the command line doesn't say.
const FRAMES: u64 = 100_000;
/// The time between two frames, whatever the real time.
const STEP: Duration = Duration::from_micros(15_625); // 1/64 s
/// Entities with good scripts.
const GOOD: usize = 950;
/// Entities with hostile ones.
const HOSTILE: usize = 50;
/// Bytes by which the process may grow once it is warm: what allocators keep, not what leaks.
const MAX_GROWTH: usize = 24 * MIB;
/// Of so many things that went wrong the details are told.
const TOLD: u64 = 5;
const MIB: usize = 1024 * 1024;

/// Each is carried by many entities. What they come to depends on nobody else but their neighbour.
const GOOD_SCRIPTS: [(&str, &str); 4] = [
    (
        "good/wander.luau",
        "local SPEED = 3
        function on_start(self) self.angle = math.random() end
        function on_update(self, dt)
            self.n = (self.n or 0) + 1
            self.angle += (math.random() - 0.5) * dt * SPEED
            local t = entity.Transform
            t.translation += vector.create(math.cos(self.angle), math.sin(self.angle), 0) * dt
        end",
    ),
    (
        "good/talk.luau",
        "function on_message(self, name, payload)
            if name == 'neighbour' then self.neighbour = payload else self.heard = payload end
        end
        function on_update(self)
            self.said = (self.said or 0) + 1
            if self.neighbour then send(self.neighbour, 'hello', self.said) end
        end",
    ),
    (
        "good/book.luau",
        "local function summary(items)
            local copy = table.clone(items)
            table.sort(copy, function(a, b) return a.price < b.price end)
            local texts = {}
            for n, item in copy do texts[n] = string.format('%s=%.2f', item.name, item.price) end
            return table.concat(texts, ';')
        end
        function on_start(self) self.items = {} end
        function on_update(self)
            local name = ('item%d'):format(math.random(1, 99))
            table.insert(self.items, {name = name:upper(), price = math.random() * 10})
            if #self.items > 3 then table.remove(self.items, 1) end
            self.summary = summary(self.items):gsub('ITEM', 'i')
        end",
    ),
    (
        // Its file level runs anew for every run.
        "good/file_level.luau",
        "local runs, cache = 0, {}
        setmetatable(cache, {__index = function(_, key) return key * 2 end})
        function on_fixed_update(self)
            runs += 1
            cache[runs] = runs
            self.fixed = (self.fixed or 0) + runs + cache[1] + cache[21]
        end
        function on_update(self)
            runs += 1
            self.total = (self.total or 0) + runs
            self.seen = tostring(shared) .. tostring(rawget(_G, 'leak'))
        end",
    ),
];

const HOSTILE_SCRIPTS: [(&str, &str); 14] = [
    ("bad/endless.luau", "function on_update() while true do end end"),
    (
        "bad/swallows.luau",
        "function on_update() while true do pcall(function() while true do end end) end end",
    ),
    (
        "bad/coroutines.luau",
        "function on_update()
            while true do coroutine.wrap(function() while true do coroutine.create(print) end end)() end
        end",
    ),
    ("bad/hoards.luau", "function on_update() local t = {} while true do t[#t + 1] = {} end end"),
    ("bad/doubles.luau", "function on_update() local s = 'x' while true do s ..= s end end"),
    (
        "bad/hoards_and_catches.luau",
        "function on_update()
            local kept = {}
            while true do pcall(function() kept[#kept + 1] = buffer.create(2^20) end) end
        end",
    ),
    ("bad/fails.luau", "function on_update(self) self.x = 1 world.spawn() error({'no'}) end"),
    ("bad/fails_at_file_level.luau", "local n = 1\nerror('never loads')"),
    ("bad/recurses.luau", "local function f() return f() + 1 end function on_update() f() end"),
    ("bad/panics.luau", "function on_update() pcall(host.panics) end"),
    (
        "bad/floods.luau",
        "function on_message() end
        function on_update()
            for n = 1, 32 do print(('flood'):rep(100)) end
            for n = 1, 50 do send(entity.id, 'flood', ('x'):rep(1000)) end
            for n = 1, 20 do world.despawn(world.spawn{Transform = {}}) end
        end",
    ),
    ("bad/floods_too_much.luau", "function on_update() while true do emit('flood', 1) end end"),
    (
        "bad/litters.luau",
        "function on_update(self)
            local t = {}
            for n = 1, 1000 do t[n] = {n, tostring(n)} end
            self.kept = {('k'):rep(1000)}
        end",
    ),
    (
        "bad/pollutes.luau",
        "shared = {}
        function on_update()
            leak, shared = 'leak', 'changed'
            _G.leak = 'leak'
            pcall(function() string.format = nil end)
            pcall(function() math.random = function() return 0 end end)
            pcall(function() getmetatable('').__index = {} end)
            pcall(rawset, math, 'cos', math.sin)
            math.random()
        end",
    ),
];

fn main() -> ExitCode {
    let frames = std::env::args().nth(1).map_or(Ok(FRAMES), |frames| frames.parse());
    let Ok(frames) = frames else {
        eprintln!("the number of frames must be a whole number");
        return ExitCode::FAILURE;
    };
    keep_quiet_about_panics_on_purpose();
    println!("{GOOD} entities with good scripts, {HOSTILE} with hostile ones, {frames} frames\n");
    let (mut alone, mut among) = (Soaked::new(false), Soaked::new(true));
    let mut memory = Memory::default();
    let mut checks = Checks::default();
    let start = Instant::now();
    for frame in 1..=frames {
        alone.frame();
        among.frame();
        if frame.is_multiple_of((frames / 20).max(1)) {
            memory.sample(frame, frames);
            let differing = alone.differing(&among);
            println!(
                "frame {frame:>7} after {:>5.0?}   {:>4} MiB   {:>10} runs, {:>7} failed, {:>6} VMs \
                 made   {differing} differ",
                start.elapsed(),
                resident_memory() / MIB,
                among.snapshot().total.runs,
                among.snapshot().total.failed,
                among.snapshot().pool.created,
            );
            checks.none(format!("good entities that differ after frame {frame}"), differing);
        }
    }
    among.report(&alone);
    among.check(&mut checks);
    alone.check(&mut checks);
    memory.check(&mut checks);
    checks.exit()
}

/// A world that runs.
struct Soaked {
    app: App,
    name: &'static str,
    good: Vec<Entity>,
    hostile: usize,
    failures: Failures,
    slowest: Duration,
    took: Duration,
    /// Frames in which a VM was missing or there was one too many.
    unaccounted: u64,
    /// Frames in which VMs held more than they may.
    too_large: u64,
}

#[derive(Default)]
struct Failures {
    of_good: u64,
    timeouts: u64,
    memory: u64,
    panics: u64,
    too_much: u64,
    others: u64,
}

impl Soaked {
    fn new(hostile: bool) -> Self {
        // The operator's own scripts, which may be slow when the machine is.
        let patient = ScriptLimits {
            run_time_limit: Some(Duration::from_secs(10)),
            ..ScriptLimits::trusted()
        };
        let config = LuaPoolConfig {
            pool: PoolConfig {
                max_size: 2,
                // Nobody waits in vain, whatever else the machine does.
                acquire_timeout: Duration::from_secs(60),
                create_timeout: Duration::from_secs(60),
                reset_timeout: Duration::from_secs(60),
                ..PoolConfig::default()
            },
            sandbox: SandboxConfig {
                scripts: [("good/".to_owned(), patient)].into(),
                ..SandboxConfig::untrusted()
            },
            // Hostile scripts come back often.
            retry_interval: 16,
            max_retry_interval: 256,
            ..LuaPoolConfig::default()
        };
        let mut app = App::new();
        app.add_plugins((
            MinimalPlugins,
            AssetPlugin::default(),
            TransformPlugin,
            LuaPoolPlugin { config, seed: 7, ..default() },
        ))
        .insert_resource(TimeUpdateStrategy::ManualDuration(STEP))
        .add_lua_function("host.panics", |(): ()| -> f64 { panic!("on purpose") });
        app.finish();
        app.cleanup();
        let mut soaked = Self {
            app,
            name: if hostile { "among hostile ones" } else { "alone" },
            good: Vec::new(),
            hostile: 0,
            failures: Failures::default(),
            slowest: Duration::ZERO,
            took: Duration::ZERO,
            unaccounted: 0,
            too_large: 0,
        };
        soaked.good = soaked.spawn(&GOOD_SCRIPTS, GOOD);
        if hostile {
            soaked.hostile = soaked.spawn(&HOSTILE_SCRIPTS, HOSTILE).len();
        }
        // Each talker's neighbour is the next but three, which carries the same script; the last one's is the first.
        let talks = |n: &usize| GOOD_SCRIPTS[n % GOOD_SCRIPTS.len()].0 == "good/talk.luau";
        for n in (0..GOOD).filter(talks) {
            let next = n + GOOD_SCRIPTS.len();
            let next = if next < GOOD { next } else { n % GOOD_SCRIPTS.len() };
            let (to, neighbour) = (soaked.good[n], soaked.good[next]);
            soaked.app.world_mut().write_message(ToScript::new(to, "neighbour", neighbour));
        }
        soaked
    }

    fn spawn(&mut self, scripts: &[(&str, &str)], count: usize) -> Vec<Entity> {
        let world = self.app.world_mut();
        let mut assets = world.resource_mut::<Assets<LuaScript>>();
        let handles: Vec<_> = scripts
            .iter()
            .map(|(path, source)| {
                assets.add(LuaScript::from_source(path, source).expect("it compiles"))
            })
            .collect();
        (0..count)
            .map(|n| {
                let scripts = LuaScripts::new(handles[n % handles.len()].clone());
                world.spawn((Transform::default(), scripts)).id()
            })
            .collect()
    }

    fn frame(&mut self) {
        let start = Instant::now();
        self.app.update();
        let took = start.elapsed();
        self.took += took;
        self.slowest = self.slowest.max(took);
        let pool = self.snapshot().pool;
        let alive = pool.idle + pool.leased;
        let accounted = pool.created - pool.destroyed == alive as u64
            && pool.leased == 0
            && alive <= pool.max_size;
        self.unaccounted += u64::from(!accounted);
        let limit = LuaPoolConfig::default().pool.memory_limit;
        let too_large = self.snapshot().vms.iter().any(|vm| vm.memory_bytes > limit);
        self.too_large += u64::from(too_large);
        let failed: Vec<_> =
            self.app.world_mut().resource_mut::<Messages<ScriptFailed>>().drain().collect();
        for failed in failed {
            let failures = &mut self.failures;
            if failed.failure.script.starts_with("good/") {
                failures.of_good += 1;
                if failures.of_good <= TOLD {
                    println!("{}: {} of {}", self.name, failed.failure, failed.entity);
                }
            }
            *match failed.failure.error {
                ScriptError::TimedOut { .. } => &mut failures.timeouts,
                ScriptError::OutOfMemory { .. } => &mut failures.memory,
                ScriptError::HostPanicked { .. } => &mut failures.panics,
                ScriptError::TooMuch { .. } => &mut failures.too_much,
                _ => &mut failures.others,
            } += 1;
        }
    }

    fn snapshot(&self) -> &LuaSnapshot {
        self.app.world().resource()
    }

    /// Good entities that are not as in the other world.
    fn differing(&self, other: &Self) -> u64 {
        assert_eq!(self.good, other.good, "the good ones are the first in both worlds");
        let same = |entity: Entity| {
            let (here, there) = (self.app.world(), other.app.world());
            here.get::<Transform>(entity) == there.get::<Transform>(entity)
                && self.state(entity) == other.state(entity)
        };
        let differing: Vec<_> = self.good.iter().filter(|entity| !same(**entity)).collect();
        for entity in differing.iter().take(TOLD as usize) {
            let [here, there] = [self, other].map(|world| world.state(**entity));
            println!("{entity} of {}: {:?}, not {:?}", here.script, there.fields, here.fields);
        }
        differing.len() as u64
    }

    fn state(&self, entity: Entity) -> &ScriptState {
        let states = self.app.world().get::<ScriptStates>(entity).expect("it carries a script");
        states.iter().next().expect("it ran")
    }

    fn report(&self, alone: &Self) {
        let total = self.snapshot().total;
        let pool = &self.snapshot().pool;
        let Failures { timeouts, memory, panics, too_much, others, .. } = &self.failures;
        println!("\nAmong hostile scripts");
        row("runs", total.runs);
        row("failed runs", total.failed);
        row("  out of time", timeouts);
        row("  out of memory", memory);
        row("  panics of the host", panics);
        row("  too much output", too_much);
        row("  other errors", others);
        row("tried again after being put aside", total.retries);
        row("deferred", total.deferred);
        row("messages, log lines", format!("{}, {}", total.messages, total.log_lines));
        row("VMs made, thrown away", format!("{}, {}", pool.created, pool.destroyed));
        let frames = self.frames();
        let mean = |soaked: &Self| soaked.took / u32::try_from(frames.max(1)).unwrap_or(u32::MAX);
        row("mean frame, alone", format!("{:.2?}", mean(alone)));
        row("mean frame, among hostile ones", format!("{:.2?}", mean(self)));
        row("slowest frame", format!("{:.2?}", self.slowest));
        println!("\n{:<32} {:>9} {:>9} {:>8} {:>8}", "script", "runs", "failed", "aside", "p99");
        for script in &self.snapshot().scripts {
            let p99 = format!("{:.1?}", script.time.p99);
            let (path, runs, errors) = (&script.path, script.runs, script.errors);
            println!("{path:<32} {runs:>9} {errors:>9} {:>8} {p99:>8}", script.put_aside);
        }
        println!();
    }

    fn frames(&self) -> u64 {
        let scripts = &self.snapshot().scripts;
        let wander = scripts.iter().find(|script| &*script.path == GOOD_SCRIPTS[0].0);
        // Each entity starts, and runs once in each frame.
        wander.map_or(0, |script| script.runs / script.entities.max(1) as u64)
    }

    fn check(&self, checks: &mut Checks) {
        let name = self.name;
        let total = self.snapshot().total;
        checks.none(format!("{name}: failures of good scripts"), self.failures.of_good);
        checks.none(format!("{name}: runs that had no VM"), total.deferred);
        checks.none(format!("{name}: messages that found nobody"), total.undelivered);
        checks.none(format!("{name}: frames with VMs unaccounted for"), self.unaccounted);
        checks.none(format!("{name}: frames with a VM too large"), self.too_large);
        if self.hostile > 0 {
            let Failures { timeouts, memory, panics, too_much, others, .. } = self.failures;
            for (what, count) in [
                ("timeouts", timeouts),
                ("out of memory", memory),
                ("panics", panics),
                ("too much output", too_much),
                ("other errors", others),
            ] {
                checks.that(format!("{name}: {what} were met: {count}"), count > 0);
            }
        }
    }
}

/// What the process held over time.
#[derive(Default)]
struct Memory {
    warm: usize,
    most: usize,
}

impl Memory {
    fn sample(&mut self, frame: u64, of: u64) {
        let now = resident_memory();
        if frame <= of / 4 {
            self.warm = self.warm.max(now);
        }
        self.most = self.most.max(now);
    }

    fn check(&self, checks: &mut Checks) {
        let (warm, most) = (self.warm, self.most);
        let grown = most.saturating_sub(warm);
        checks.that(
            format!("memory is flat: {} MiB when warm, {} MiB at most", warm / MIB, most / MIB),
            grown <= MAX_GROWTH,
        );
    }
}

#[derive(Default)]
struct Checks {
    failed: usize,
    passed: usize,
}

impl Checks {
    fn that(&mut self, what: impl Display, holds: bool) {
        if holds {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        println!("  {:<6} {what}", if holds { "ok" } else { "FAILED" });
    }

    fn none(&mut self, what: impl Display, count: u64) {
        if count == 0 {
            self.passed += 1;
        } else {
            self.that(format!("{what}: {count}"), false);
        }
    }

    fn exit(&self) -> ExitCode {
        println!("\n{} checks passed, {} failed.", self.passed, self.failed);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn row(name: &str, value: impl Display) {
    println!("  {name:<36} {value}");
}

/// The panics of `host.panics` are what is tried here. All others are told.
fn keep_quiet_about_panics_on_purpose() {
    let usual = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.payload_as_str() != Some("on purpose") {
            usual(panic);
        }
    }));
}

/// Bytes of memory that this process has resident; 0 where that can't be told.
fn resident_memory() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string(Path::new("/proc/self/statm")).unwrap_or_default();
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    resident.map_or(0, |pages| pages * PAGE)
}
