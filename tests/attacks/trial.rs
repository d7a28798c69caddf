//! One attack in one app: one VM, so that everybody meets everybody, with good scripts before and after
//! it, and a probe that runs right after it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use bevy::asset::LoadState;
use bevy::ecs::observer::Observer;
use bevy::ecs::resource::IsResource;
use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{ScriptError, ScriptFailed};

use cpu_time::ProcessTime;

use super::common::{Lab, patient};
use super::header::{Attack, Outcome};
use super::host::{Bag, Hidden, Secret, add_host};

/// Frames that an attack has.
const FRAMES: usize = 4;
/// The most bytes by which the process may have grown after an attack.
const MAX_GROWTH: usize = 64 * 1024 * 1024;
/// The most bytes that the text of one failure may have, its call stack included.
const MAX_TEXT: usize = 8 * 1024;
/// By how much a run may be late. Only optimised builds are held to it.
const GRACE: Duration = Duration::from_millis(5);
/// Runs that the scripts of one frame may last together, by their limit and grace.
const SHARE: u32 = 10;
/// No attack takes longer in a build without optimisation, however busy the machine.
const AGES: Duration = Duration::from_secs(30);
/// Trials of an attack that was late, after which the process was larger, or in which a good script ran out
/// of time: the machine may have done something else.
const PATIENCE: usize = 8;
/// What the scripts of one frame may make: entities, and messages to entities.
const MAX_MADE: u64 = 2048;

/// The path of the attack, which scripts that it spawns carry too.
const SCRIPT: &str = "attack.luau";
const MARKER: &str = include_str!("../common/marker.luau");
const NEIGHBOUR: &str = include_str!("neighbour.luau");
const PROBE: &str = include_str!("probe.luau");

/// The limits under which the attacks of a folder run.
pub(crate) fn config(folder: &str) -> LuaPoolConfig {
    let config = LuaPoolConfig {
        pool: PoolConfig { min_size: 1, max_size: 1, ..patient().pool },
        max_failures: 0,
        ..patient()
    };
    // More than a run has by default: what takes its time with much memory takes longest.
    let config = LuaPoolConfig { run_memory_limit: Some(config.pool.memory_limit), ..config };
    match folder {
        // Where time is what is attacked, the limit is the default one; a build without optimisation
        // needs more for the good scripts.
        "time" | "frame" => {
            let slow = cfg!(debug_assertions);
            let run_time_limit = if slow {
                Duration::from_millis(40)
            } else {
                LuaPoolConfig::default().run_time_limit
            };
            LuaPoolConfig { run_time_limit, ..config }
        }
        "memory" => LuaPoolConfig {
            pool: PoolConfig { memory_limit: 4 * 1024 * 1024, ..config.pool },
            run_memory_limit: None,
            ..config
        },
        _ => config,
    }
}

/// Runs an attack, and tells all that is wrong.
pub(crate) fn run(attack: &Attack, config: &LuaPoolConfig) -> Vec<String> {
    let mut verdict = Verdict::default();
    for _ in 0..PATIENCE {
        verdict = run_once(attack, config);
        if !verdict.disturbed && (verdict.doubtful.is_none() || !verdict.problems.is_empty()) {
            break;
        }
    }
    verdict.problems.into_iter().chain(verdict.doubtful).collect()
}

fn run_once(attack: &Attack, config: &LuaPoolConfig) -> Verdict {
    let before = resident_memory();
    let trial = catch_unwind(AssertUnwindSafe(|| Trial::new(config, attack).run(attack)));
    let mut verdict = trial.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
        let problems = vec![format!("a panic: {}", text.unwrap_or("no message"))];
        Verdict { problems, ..Verdict::default() }
    });
    let growth = resident_memory().saturating_sub(before);
    if growth > MAX_GROWTH {
        // What leaks, grows each time; what the allocator keeps for later, does not.
        let grown = format!("the process grew by {} MiB", growth >> 20);
        verdict.doubtful.get_or_insert(grown);
    }
    verdict
}

/// What is wrong with how an attack was met.
#[derive(Default)]
struct Verdict {
    problems: Vec<String>,
    /// A run or a frame took too long, or the process grew: once is an accident.
    doubtful: Option<String>,
    /// A good script ran out of time, so that nothing that was found says anything.
    disturbed: bool,
}

struct Trial {
    lab: Lab,
    attacker: Entity,
    prober: Entity,
    good: Vec<Entity>,
    /// What the probe found in each frame.
    found: Vec<String>,
    outcome: Outcome,
    /// The attack has an `on_update`.
    each_frame: bool,
    verdict: Verdict,
    time_limit: Duration,
    longest_run: Duration,
    longest_frame: Duration,
    /// Something was spawned: its runs may be put off.
    spawned: bool,
}

impl Trial {
    fn new(config: &LuaPoolConfig, attack: &Attack) -> Self {
        let mut lab = Lab::with_config(config.clone());
        add_host(&mut lab.app);
        // One stage a frame, so that the frames of all trials are alike.
        lab.app.insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(1_000_000)));
        let neighbour = lab.script("neighbour.luau", NEIGHBOUR);
        let general = lab.script("probe.luau", &format!("{MARKER}{PROBE}"));
        let special = lab.script("special.luau", attack.probe.as_deref().unwrap_or(""));
        lab.file(SCRIPT, &attack.source);
        let each_frame = attack.source.contains("function on_update(");
        let attack = lab.load(SCRIPT);
        let server = lab.app.world().resource::<AssetServer>().clone();
        let mut verdict = Verdict::default();
        let mut broken = None;
        if let LoadState::Failed(error) = server.load_state(&attack) {
            if error.to_string().len() > MAX_TEXT {
                let problem = "the error of a script that does not load is long";
                verdict.problems.push(problem.to_owned());
            }
            let mut errors = lab.snapshot().errors.iter();
            let row = errors.find(|row| &*row.script == SCRIPT && row.callback.is_none());
            broken = Some(row.map_or("an error that the snapshot lacks", |row| &*row.message));
        }
        let broken = broken.map(str::to_owned);

        let world = lab.app.world_mut();
        let observer = world.spawn(Observer::new(|_: On<Add, Secret>| {})).id();
        let mut resources = world.query_filtered::<Entity, With<IsResource>>();
        let resource = resources.iter(world).next().expect("resources are entities");
        let gone = world.spawn_empty().id();
        let mut spawn = |scripts: LuaScripts| {
            let bag = Bag { items: vec![1.0, 2.0], ..Bag::default() };
            let hidden = Hidden { observer, resource, gone };
            let secret = Secret { text: "the secret".to_owned() };
            world.spawn((Transform::default(), bag, hidden, secret, scripts)).id()
        };
        let mut good: Vec<_> = (0..2).map(|_| spawn(LuaScripts::new(neighbour.clone()))).collect();
        let attacker = spawn(LuaScripts::new(attack));
        let prober = spawn(LuaScripts::new(special).with(general));
        good.extend((0..2).map(|_| spawn(LuaScripts::new(neighbour.clone()))));
        world.despawn(gone);
        let outcome = Outcome { broken, ..Outcome::default() };
        Self {
            lab,
            attacker,
            prober,
            good,
            found: Vec::new(),
            outcome,
            each_frame,
            verdict,
            time_limit: config.run_time_limit,
            longest_run: Duration::ZERO,
            longest_frame: Duration::ZERO,
            spawned: false,
        }
    }

    fn run(mut self, attack: &Attack) -> Verdict {
        self.frames();
        if let Err(problem) = attack.judge(&self.outcome) {
            self.problem(problem);
        }
        for (frame, (found, alone)) in self.found.clone().iter().zip(alone()).enumerate() {
            let mut lines = found.lines().zip(alone.lines());
            if let Some((found, alone)) = lines.find(|(found, alone)| found != alone) {
                let found: String = found.chars().take(200).collect();
                self.problem(format!("in frame {frame} the probe found `{found}`, not `{alone}`"));
            } else if found != alone {
                self.problem(format!("in frame {frame} the probe found more or less"));
            }
        }
        let (run, frame) = (self.longest_run, self.longest_frame);
        println!("{}: longest run {run:?}, longest frame {frame:?}", attack.name);
        self.verdict.problems.dedup();
        self.verdict
    }

    fn frames(&mut self) {
        for frame in 1..=FRAMES {
            for entity in self.good.clone() {
                let greeting = ToScript::new(entity, "host", frame as f64 - 1.0);
                self.lab.app.world_mut().write_message(greeting);
            }
            let start = ProcessTime::now();
            self.lab.frame();
            let used = start.elapsed();
            self.take_failures();
            self.check_time(used);
            self.check_output();
            self.check_neighbours(frame as f64);
            self.check_pool();
            self.check_that_it_ran(frame);
            for event in self.lab.drain::<ScriptEvent>() {
                if event.entity == self.prober && event.name == "found" {
                    self.found.push(event.payload.to_string());
                } else if event.entity == self.attacker && event.name == "result" {
                    self.outcome.result = event.payload;
                }
            }
            if self.found.len() != frame {
                self.problem(format!("the probe did not run in frame {frame}"));
            }
        }
        for (entity, who) in [(self.attacker, "the attack"), (self.prober, "its probe")] {
            let states = self.lab.app.world().get::<ScriptStates>(entity);
            let state = states.and_then(|states| states.iter().next());
            let fields = state.map(|state| state.fields.clone()).unwrap_or_default();
            if *fields.get("leak") != ScriptValue::Nil {
                self.problem(format!("{who} saw {}", fields.get("leak")));
            }
            let result = fields.get("result");
            if entity == self.attacker && *result != ScriptValue::Nil {
                self.outcome.result = result.clone();
            }
        }
    }

    fn problem(&mut self, problem: String) {
        self.verdict.problems.push(problem);
    }

    fn take_failures(&mut self) {
        for failed in self.lab.drain::<ScriptFailed>() {
            let text = failed.failure.to_string();
            if text.len() > MAX_TEXT {
                self.problem(format!("an error of {} bytes", text.len()));
            }
            for told in ["0x", env!("CARGO_MANIFEST_DIR"), ".rs:", "/home/", "/root/"] {
                if text.contains(told) {
                    self.problem(format!("an error tells `{told}`: {text}"));
                }
            }
            if &*failed.failure.script == SCRIPT {
                self.outcome.failures.push(failed);
            } else if self.good.contains(&failed.entity) || failed.entity == self.prober {
                self.verdict.disturbed |=
                    matches!(failed.failure.error, ScriptError::TimedOut { .. });
                self.problem(format!("a good script failed: {text}"));
            }
        }
    }

    /// A script with an `on_update` runs in every frame, others at least in the first one: as long as the entity is
    /// there and nobody has to wait.
    fn check_that_it_ran(&mut self, frame: usize) {
        let mut rows = self.lab.snapshot().scripts.iter();
        let runs = rows.find(|row| &*row.path == SCRIPT).map_or(0, |row| row.runs);
        let ran = runs > self.outcome.runs;
        self.outcome.runs = self.outcome.runs.max(runs);
        let alive = self.lab.app.world().get_entity(self.attacker).is_ok();
        let waits = self.lab.stats().deferred > 0;
        let is_due = frame == 1 || self.each_frame;
        if self.outcome.broken.is_none() && alive && is_due && !waits && !ran {
            self.problem(format!("the attack did not run in frame {frame}"));
        }
    }

    /// `used` is the time of all processors that the frame took: on a busy machine it takes longer by the
    /// clock, and no run takes longer than that.
    fn check_time(&mut self, used: Duration) {
        let sample = self.lab.snapshot().history.back().copied().unwrap_or_default();
        self.longest_run = self.longest_run.max(sample.longest_run.min(used));
        self.longest_frame = self.longest_frame.max(sample.frame.min(used));
        let (run, frame) = if cfg!(debug_assertions) {
            (AGES, AGES)
        } else {
            (self.time_limit + GRACE, SHARE * (self.time_limit + GRACE))
        };
        for (what, took, limit) in
            [("run", self.longest_run, run), ("frame", self.longest_frame, frame)]
        {
            if took > limit {
                let late = format!("a {what} took {took:?}, limit and grace are {limit:?}");
                self.verdict.doubtful.get_or_insert(late);
            }
        }
    }

    fn check_output(&mut self) {
        let stats = self.lab.stats();
        for (what, made) in [("entities", stats.spawned), ("messages", stats.messages)] {
            if made > MAX_MADE {
                self.problem(format!("{made} {what} in one frame"));
            }
        }
    }

    fn check_neighbours(&mut self, frame: f64) {
        self.spawned |= self.lab.stats().spawned > 0;
        if self.lab.stats().deferred > 0 && !self.spawned {
            self.problem(format!("{} runs were deferred", self.lab.stats().deferred));
        }
        for entity in self.good.clone() {
            let x = self.lab.app.world().get::<Transform>(entity).map(|place| place.translation.x);
            let items = self.lab.app.world().get::<Bag>(entity).map(|bag| bag.items.len());
            let states = self.lab.app.world().get::<ScriptStates>(entity);
            let state = states.and_then(|states| states.iter().next());
            let counts = ["n", "heard", "told"].map(|count| {
                state.map_or(ScriptValue::Nil, |state| state.fields.get(count).clone())
            });
            let expected = [frame, frame - 1.0, frame].map(ScriptValue::from);
            let served =
                counts == expected && x == Some(frame as f32) && items == Some(2 + frame as usize);
            if !served {
                self.problem(format!("in frame {frame} {entity} has {counts:?}, {x:?}, {items:?}"));
            }
        }
    }

    fn check_pool(&mut self) {
        let pool = self.lab.snapshot().pool;
        if pool.created - pool.destroyed != (pool.idle + pool.leased) as u64 || pool.leased > 0 {
            self.problem(format!("VMs are unaccounted for: {pool:?}"));
        }
    }
}

/// What the probe finds where nobody attacks.
fn alone() -> &'static [String] {
    static ALONE: OnceLock<Vec<String>> = OnceLock::new();
    ALONE.get_or_init(|| {
        let harmless = Attack::harmless();
        let mut trial = Trial::new(&config("isolation"), &harmless);
        trial.frames();
        assert_eq!(trial.verdict.problems, [""; 0]);
        let as_ever = trial.found.iter().all(|found| !found.contains("CHANGED"));
        assert!(as_ever, "the probe expects what never was: {}", trial.found[0]);
        trial.found
    })
}

/// Bytes of memory that this process has resident; 0 where that can't be told.
fn resident_memory() -> usize {
    const PAGE: usize = 4096;
    let statm = std::fs::read_to_string(Path::new("/proc/self/statm")).unwrap_or_default();
    statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .map_or(0, |pages: usize| pages * PAGE)
}
