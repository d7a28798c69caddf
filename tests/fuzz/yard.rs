//! A world in which one random script after another runs beside good ones.

use std::collections::HashSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Once;
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::ScriptLimits;
use bevy_lua_pool::{ScriptError, ScriptFailed};
use cpu_time::ProcessTime;

use super::common::{Lab, patient};

/// Frames that a script has.
const FRAMES: usize = 3;
/// Bytes by which the process may have grown since it was warm.
const MAX_GROWTH: usize = 128 * 1024 * 1024;
/// Scripts after which it is warm.
const WARM: usize = 30;
/// The most bytes that the text of one failure may have, its call stack included.
const MAX_TEXT: usize = 8 * 1024;
/// A run that takes so many times its limit was not stopped. It may take some by right, for its image and where it is
/// measured, and more in a build that isn't optimised or has a sanitizer.
const AGES: u32 = 50;
/// By how much a run may be late in an optimised build.
const GRACE: Duration = Duration::from_millis(5);

const PROBE: &str =
    concat!(include_str!("../common/marker.luau"), include_str!("../attacks/probe.luau"));

/// A list and a map that scripts change in place.
#[derive(Component, Reflect, Clone, Default)]
#[reflect(Default)]
struct Bag {
    items: Vec<f64>,
    prices: std::collections::BTreeMap<String, f64>,
}

pub(crate) struct Yard {
    lab: Lab,
    prober: Entity,
    good: Vec<Entity>,
    /// All that was there before the first script came.
    residents: HashSet<Entity>,
    /// What the probe finds where nobody else is.
    alone: String,
    frames: u64,
    scripts: usize,
    warm: usize,
    limit: Duration,
    pub(crate) tally: Tally,
}

/// What became of the scripts.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) scripts: u64,
    pub(crate) refused: u64,
    pub(crate) runs: u64,
    pub(crate) failed: u64,
    pub(crate) timeouts: u64,
    pub(crate) out_of_memory: u64,
    pub(crate) too_much: u64,
}

/// What was wrong with how a script was met.
#[derive(Debug, Default)]
pub(crate) struct Findings {
    pub(crate) problems: Vec<String>,
    /// The longest run, by the clock on the wall.
    longest: Duration,
    /// The same, if it was later than limit and grace.
    pub(crate) late: Option<Duration>,
}

/// The panics of `host.panics` are what is tried. All others are told.
fn keep_quiet_about_panics_on_purpose() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if panic.payload_as_str() != Some("on purpose") {
                usual(panic);
            }
        }));
    });
}

impl Yard {
    pub(crate) fn new() -> Self {
        Self::with_limit(Duration::from_millis(if cfg!(debug_assertions) { 40 } else { 2 }))
    }

    /// A world whose scripts run for no longer than that.
    pub(crate) fn with_limit(limit: Duration) -> Self {
        keep_quiet_about_panics_on_purpose();
        // One VM, so that everybody meets everybody.
        let patience =
            ScriptLimits { run_time_limit: Some(Duration::from_secs(10)), ..Default::default() };
        let scripts = ["good.luau", "probe.luau"].map(|path| (path.to_owned(), patience)).into();
        let mut lab = Lab::with_config(LuaPoolConfig {
            pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
            run_time_limit: limit,
            // On a busy machine no good script is to be late.
            sandbox: SandboxConfig { scripts, ..SandboxConfig::default() },
            max_failures: 0,
            ..patient()
        });
        lab.app
            .expose_component::<Bag>()
            .add_lua_function("host.panics", |(): ()| -> f64 { panic!("on purpose") })
            .add_lua_function("host.fails", |text: String| -> Result<f64, String> { Err(text) })
            .add_lua_function("host.echo", |value: ScriptValue| value);
        let good = lab.script(
            "good.luau",
            "function on_update(self, dt)
                self.n = (self.n or 0) + 1
                entity.Transform.translation += vector.create(1, 0, 0)
                send(entity.id, 'n', {n = self.n})
            end
            function on_message(self, _, payload)
                assert(payload.n == self.n)
                self.heard = (self.heard or 0) + 1
            end",
        );
        let prober = lab.script("probe.luau", PROBE);
        let world = lab.app.world_mut();
        let mut spawn = |script: &Handle<LuaScript>| {
            let bag = Bag { items: vec![1.0, 2.0], ..Bag::default() };
            world.spawn((Transform::default(), bag, LuaScripts::new(script.clone()))).id()
        };
        let first = spawn(&good);
        let prober = spawn(&prober);
        let mut yard = Self {
            good: vec![first, spawn(&good)],
            lab,
            prober,
            residents: HashSet::new(),
            alone: String::new(),
            frames: 0,
            scripts: 0,
            warm: 0,
            limit,
            tally: Tally::default(),
        };
        let mut findings = Findings::default();
        yard.alone = yard.frame(&mut findings);
        assert!(!yard.alone.contains("CHANGED"), "{}", yard.alone);
        assert_eq!(yard.frame(&mut findings), yard.alone, "each time alike");
        assert_eq!(findings.problems, [""; 0]);
        yard.residents = yard.entities().into_iter().collect();
        yard
    }

    /// Runs a script, from loading to `on_stop`.
    pub(crate) fn run(&mut self, source: &str) -> Findings {
        let mut findings = Findings::default();
        self.scripts += 1;
        self.tally.scripts += 1;
        let start = ProcessTime::now();
        let ran = catch_unwind(AssertUnwindSafe(|| self.run_frames(source, &mut findings)));
        if let Err(panic) = ran {
            let text = panic.downcast_ref::<String>().map(String::as_str);
            let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
            findings.problems.push(format!("a panic: {}", text.unwrap_or("no message")));
        }
        // What the system ran meanwhile is no fault of the run.
        let longest = findings.longest.min(start.elapsed());
        if longest > self.limit * AGES {
            let limit = self.limit;
            findings.problems.push(format!("a run took {longest:?} with a limit of {limit:?}"));
        }
        let memory = resident_memory();
        if self.scripts <= WARM {
            self.warm = self.warm.max(memory);
        } else if memory > self.warm + MAX_GROWTH {
            findings.problems.push(format!("the process holds {} MiB", memory >> 20));
        }
        findings.problems.dedup();
        findings
    }

    fn run_frames(&mut self, source: &str, findings: &mut Findings) {
        let script = match LuaScript::from_source("random.luau", source) {
            Ok(script) => script,
            Err(error) => {
                self.tally.refused += 1;
                if !matches!(error, ScriptError::Syntax { .. } | ScriptError::TooLarge { .. }) {
                    findings.problems.push(format!("it does not compile: {error}"));
                }
                return;
            }
        };
        let script = self.lab.app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
        let entity = self
            .lab
            .app
            .world_mut()
            .spawn((Transform::default(), Bag::default(), LuaScripts::new(script)))
            .id();
        for frame in 0..=FRAMES {
            if frame == FRAMES {
                self.lab.app.world_mut().despawn(entity);
            }
            let greeting = ToScript::new(entity, "n", f64::from(frame as u32));
            self.lab.app.world_mut().write_message(greeting);
            let found = self.frame(findings);
            if found != self.alone {
                let line = found.lines().zip(self.alone.lines()).find(|(a, b)| a != b);
                findings.problems.push(format!("the probe found {line:?}"));
            }
        }
        for entity in self.entities() {
            if !self.residents.contains(&entity) {
                self.lab.app.world_mut().despawn(entity);
            }
        }
    }

    /// Runs a frame and checks all that must hold after it; gives what the probe found.
    fn frame(&mut self, findings: &mut Findings) -> String {
        self.lab.frame();
        self.frames += 1;
        let problems = &mut findings.problems;
        let stats = self.lab.stats();
        self.tally.runs += stats.runs;
        if stats.deferred > 0 {
            problems.push(format!("{} runs were deferred", stats.deferred));
        }
        for failed in self.lab.drain::<ScriptFailed>() {
            self.tally.failed += 1;
            let text = failed.failure.to_string();
            match &failed.failure.error {
                ScriptError::TimedOut { .. } => self.tally.timeouts += 1,
                ScriptError::OutOfMemory { .. } => self.tally.out_of_memory += 1,
                ScriptError::TooMuch { .. } => self.tally.too_much += 1,
                ScriptError::HostPanicked { function, .. } if function != "host.panics" => {
                    problems.push(format!("a panic: {text}"));
                }
                _ => {}
            }
            if text.len() > MAX_TEXT {
                let start: String = text.chars().take(500).collect();
                problems.push(format!("an error of {} bytes: {start} …", text.len()));
            }
            for told in [env!("CARGO_MANIFEST_DIR"), ".rs:", "/home/", "/root/"] {
                if text.contains(told) {
                    problems.push(format!("an error tells `{told}`: {text}"));
                }
            }
            if self.good.contains(&failed.entity) || failed.entity == self.prober {
                problems.push(format!("a good script failed: {text}"));
            }
        }
        for entity in &self.good {
            let world = self.lab.app.world();
            let x = world.get::<Transform>(*entity).map(|transform| transform.translation.x);
            let states = world.get::<ScriptStates>(*entity);
            let state = states.and_then(|states| states.get("good.luau"));
            let numbers = ["n", "heard"].map(|field| match state.map(|state| state.get(field)) {
                Some(ScriptValue::Number(number)) => *number as u64,
                _ => 0,
            });
            // As `f32`: after many frames adding 1 changes nothing any more.
            let served = numbers == [self.frames, self.frames - 1]
                && (x == Some(self.frames as f32) || self.frames > 1 << 24);
            if !served {
                problems.push(format!("{entity} has {numbers:?} and {x:?} after {}", self.frames));
            }
        }
        let pool = self.lab.snapshot().pool;
        if pool.created - pool.destroyed != (pool.idle + pool.leased) as u64 || pool.leased > 0 {
            problems.push(format!("VMs are unaccounted for: {pool:?}"));
        }
        let sample = self.lab.snapshot().history.back().copied().unwrap_or_default();
        findings.longest = findings.longest.max(sample.longest_run);
        if !cfg!(debug_assertions) && sample.longest_run > self.limit + GRACE {
            findings.late = findings.late.max(Some(sample.longest_run));
        }
        let found = self.lab.drain::<ScriptEvent>().into_iter();
        let found = found.filter(|event| event.entity == self.prober && event.name == "found");
        let texts: Vec<_> = found.map(|event| event.payload.to_string()).collect();
        if texts.len() != 1 {
            findings.problems.push(format!("the probe ran {} times", texts.len()));
        }
        // Random numbers differ from frame to frame.
        let lines = texts.iter().flat_map(|text| text.lines());
        let lines: Vec<_> = lines.filter(|line| !line.contains("random ")).collect();
        lines.join("\n")
    }

    fn entities(&mut self) -> Vec<Entity> {
        let world = self.lab.app.world_mut();
        world.query::<Entity>().iter(world).collect()
    }

    /// The names in a library, or of the globals if there is no such library.
    pub(crate) fn members(&mut self, library: &str) -> Vec<String> {
        let (entity, failure) = self.lab.run_on(
            (),
            &format!(
                "self.names = {{}} for name in {library} do table.insert(self.names, name) end"
            ),
        );
        assert_eq!(failure, None);
        let names = self.lab.field(entity, "names");
        let ScriptValue::Table(names) = names else { panic!("{names}") };
        let mut names: Vec<_> = names
            .array
            .iter()
            .map(|name| match name {
                ScriptValue::String(name) => name.clone(),
                other => panic!("{other} is no name"),
            })
            .collect();
        names.sort();
        names
    }
}

/// Bytes of memory that this process has resident; 0 where that can't be told.
pub(crate) fn resident_memory() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string(Path::new("/proc/self/statm")).unwrap_or_default();
    let resident = statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok());
    resident.map_or(0, |pages| pages * PAGE)
}
