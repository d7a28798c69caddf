//! Luau's own benchmarks, on a pooled VM and in an engine beside plain mlua with Luau's sandbox.
//!
//! ```text
//! LUAU_BENCH=/path/to/luau/bench/tests cargo bench --bench luau             # all
//! LUAU_BENCH=/path/to/luau/bench/tests cargo bench --bench luau -- queen    # those with this in their path
//! ```
//!
//! They are not part of this crate: the folder is `bench/tests` of <https://github.com/luau-lang/luau>. Each source
//! hands its work to `bench.runCode`, and only that is measured, by the CPU clock of the thread. All three sides get
//! the same text, compiled alike, with the same small [`PRELUDE`] in front, and no limit that they could meet; they take
//! turns. Of each the best round counts: whatever else the machine does can only make one longer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bevy::prelude::Entity;
use bevy_lua_pool::vm::{
    Api, Field, FieldRef, Host, Live, LogLevel, NoWorld, Program, ReadResult, RunLimits, RunRandom,
    Vm,
};
use bevy_lua_pool::{Failure, LuaEngine, ScriptError, ScriptTable, ScriptValue, ScriptValues};
use cpu_time::ThreadTime;
use mlua::chunk::Compiler;
use mlua::{Function, Lua};

const FOLDER: &str = "LUAU_BENCH";

/// In front of each source: what Luau's `bench_support` and its command line offer, as far as they are used. `os` has
/// the clock alone and nothing is printed, on all sides: neither is what is measured. Some sources measure a part of
/// their work themselves, and return how long that took.
///
/// It goes before the first line, so that errors tell the lines of the source.
const PRELUDE: &str = r#"
BENCH = BENCH or { modules = {}, loaded = {}, spent = 0 }
local BENCH, os, print = BENCH, { clock = cpu_clock }, function() end
local function require(path)
    local name = string.match(path, "[^/]*$")
    if name == "bench_support" then
        return {
            runCode = function(work)
                local spent, runs = 0, bench_runs()
                for _ = 1, runs do
                    local start = os.clock()
                    local own = work()
                    spent += if type(own) == "number" then own else os.clock() - start
                end
                BENCH.spent += spent / runs
            end,
        }
    end
    if BENCH.loaded[name] == nil then
        local module = BENCH.modules[name] or error(`there is no module {path}`)
        BENCH.loaded[name] = module()
    end
    return BENCH.loaded[name]
end
"#;

/// Seconds that the work of a round lasts at least: if it is shorter, it is done several times. Not many, so that some
/// rounds of each side meet a quiet moment.
const LEAST: f64 = 0.01;

/// The VMs of a benchmark are made so often: where the heap happens to put things makes some percent.
const TIMES_MADE: usize = 4;

/// Rounds with the same VMs, unless they take longer than [`LONGEST`] together: then [`FEWEST`] are enough.
const ROUNDS: usize = 15;
const FEWEST: usize = 2;
const LONGEST: Duration = Duration::from_secs(4);

/// Those that take more than so many times as long as in plain mlua are counted.
const SLOW: f64 = 1.05;

const TIME: Duration = Duration::from_secs(60);
const MEMORY: usize = 1 << 30;

/// What all VMs may take together. A run whose garbage takes more than a quarter would be measured, on a VM of its own.
const VM_MEMORY: usize = 4 * MEMORY;

fn main() {
    let Some(folder) = std::env::var_os(FOLDER).map(PathBuf::from) else {
        println!(
            "set {FOLDER} to the folder of Luau's benchmarks, which is bench/tests of \
             https://github.com/luau-lang/luau"
        );
        return;
    };
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let mut files = Vec::new();
    find(&folder, &mut files).expect("the folder can be read");
    files.sort();

    println!("### Luau's own benchmarks\n");
    println!(
        "CPU ms of plain mlua with Luau's sandbox, and how many times as long they take in a `LuaEngine` and on a \
         pooled VM, with limits that they don't meet. The sources are `bench/tests` of \
         [Luau](https://github.com/luau-lang/luau): `{FOLDER}=<folder> cargo bench --no-default-features --bench luau`.\n"
    );
    println!("| | mlua | engine | pool |\n| --- | ---: | ---: | ---: |");
    let mut found = Found::default();
    for file in files {
        let path = file.strip_prefix(&folder).expect("it was found there");
        let name = path.to_string_lossy().replace('\\', "/");
        if name.contains(&filter) {
            let source = Source::read(&file).expect("the sources can be read");
            found.note(&name, compare(&source));
            io::stdout().flush().expect("the table can be written");
        }
    }
    found.sum_up();
}

/// Adds the sources below a folder that are benchmarks. Those that others require lie in folders with a mark.
fn find(folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if folder.join("bench_resource_directory").exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "lua" || extension == "luau")
        {
            files.push(path);
        }
    }
    Ok(())
}

/// A benchmark: its text, and the modules that it requires, by their names.
struct Source {
    main: String,
    modules: BTreeMap<String, String>,
}

impl Source {
    fn read(path: &Path) -> io::Result<Self> {
        let main = fs::read_to_string(path)?;
        let mut modules = BTreeMap::new();
        add_modules(path, &main, &mut modules)?;
        Ok(Self { main, modules })
    }

    /// What runs one after the other where globals last.
    fn chunks(&self) -> Vec<String> {
        let modules = self.modules.iter().map(|(name, text)| module(name, text));
        modules.chain([self.work()]).map(|text| with_prelude(&text)).collect()
    }

    /// The same in one text.
    fn whole(&self) -> String {
        let modules: String = self.modules.iter().map(|(name, text)| module(name, text)).collect();
        with_prelude(&format!("{modules}{}", self.work()))
    }

    fn work(&self) -> String {
        format!("BENCH.spent = 0 {}\nreturn BENCH.spent", self.main)
    }
}

fn with_prelude(text: &str) -> String {
    format!("{} {text}", PRELUDE.replace('\n', " "))
}

fn module(name: &str, text: &str) -> String {
    format!("BENCH.modules['{name}'] = function() {text}\nend\n")
}

/// Adds what a text requires, and what that requires.
fn add_modules(path: &Path, text: &str, modules: &mut BTreeMap<String, String>) -> io::Result<()> {
    for required in text.split("require(\"./").skip(1).filter_map(|rest| rest.split('"').next()) {
        let name = required.rsplit('/').next().unwrap_or(required);
        if modules.contains_key(name) {
            continue;
        }
        let beside = path.with_file_name(required);
        let files = ["luau", "lua"].map(|extension| beside.with_extension(extension));
        // One that isn't there is missed when it is asked for.
        if let Some(file) = files.iter().find(|file| file.exists()) {
            let text = fs::read_to_string(file)?;
            modules.insert(name.to_owned(), text.clone());
            add_modules(file, &text, modules)?;
        }
    }
    Ok(())
}

/// The seconds of a benchmark in plain mlua, an engine, a pooled VM: the best round of each; or why it doesn't run.
type Times = [Result<f64, String>; 3];

/// Does the work of a benchmark so often as [`RUNS`] says; gives the seconds of each time.
type Side = Box<dyn FnMut() -> Result<f64, String>>;

fn compare(source: &Source) -> Times {
    RUNS.store(1, Ordering::Relaxed);
    let (_, first) = made(source);
    let Ok(once) = first[0] else { return first };
    RUNS.store((LEAST / once).ceil().clamp(1.0, 1000.0) as usize, Ordering::Relaxed);
    let mut best = first.map(|seconds| seconds.map(|_| f64::INFINITY));
    for _ in 0..TIMES_MADE {
        let (mut sides, _) = made(source);
        let start = Instant::now();
        let mut round = 0;
        while round < ROUNDS && (round < FEWEST || start.elapsed() < LONGEST) {
            for (best, side) in best.iter_mut().zip(&mut sides) {
                if let (Ok(seconds), Ok(side)) = (best.as_mut(), side) {
                    match side() {
                        Ok(now) => *seconds = now.min(*seconds),
                        Err(reason) => *best = Err(reason),
                    }
                }
            }
            round += 1;
        }
    }
    best
}

/// All sides, and what each gives first, which is not counted: it asks the system for memory that the next has.
fn made(source: &Source) -> ([Result<Side, String>; 3], Times) {
    let mut sides = [plain(source), engine(source), pooled(source)];
    let first = sides.each_mut().map(|side| side.as_mut().map_err(|reason| reason.clone())?());
    (sides, first)
}

fn plain(source: &Source) -> Result<Side, String> {
    let text = |error: mlua::Error| error.to_string();
    let make = || -> mlua::Result<(Lua, Function)> {
        let lua = Lua::new();
        lua.globals().set("cpu_clock", lua.create_function(|_, ()| Ok(now()))?)?;
        lua.globals().set("bench_runs", lua.create_function(|_, ()| Ok(runs()))?)?;
        lua.sandbox(true)?;
        let load = |text: &String| -> mlua::Result<Function> {
            // As this crate compiles.
            let compiler = Compiler::new().set_optimization_level(1).set_debug_level(1);
            lua.load(text).set_name("=chunk").set_compiler(compiler).into_function()
        };
        let chunks: Vec<_> = source.chunks().iter().map(load).collect::<mlua::Result<_>>()?;
        let (main, modules) = chunks.split_last().expect("there is one at least");
        modules.iter().try_for_each(|module| module.call::<()>(()))?;
        Ok((lua, main.clone()))
    };
    let (lua, main) = make().map_err(text)?;
    Ok(Box::new(move || {
        lua.gc_collect().map_err(text)?;
        main.call(()).map_err(text).and_then(some_work)
    }))
}

fn engine(source: &Source) -> Result<Side, String> {
    let text = |failure: Failure| failure.to_string();
    let builder = LuaEngine::builder().time_limit(TIME).memory_limit(MEMORY);
    let builder = builder.function("cpu_clock", now).function("bench_runs", runs);
    let mut engine = builder.build().expect("it can be made");
    let mut chunks = source.chunks();
    let main = chunks.pop().expect("there is one at least");
    chunks.iter().try_for_each(|module| engine.run(module)).map_err(text)?;
    Ok(Box::new(move || {
        engine.collect_garbage();
        engine.evaluate_as(&main).map_err(text).and_then(some_work)
    }))
}

fn pooled(source: &Source) -> Result<Side, String> {
    let mut api = Api::default();
    for (number, name) in (0..).zip(["cpu_clock", "bench_runs"]) {
        assert_eq!(api.add_function(name), Ok(number));
    }
    let mut vm = Vm::new(&api, VM_MEMORY).expect("it can be made");
    let limits = RunLimits { time: TIME, memory: MEMORY, value_size: 1 << 20 };
    let program = Program::compile("chunk", &source.whole());
    let program = program.map_err(|error| format!("chunk: {error}"))?;
    let mut host = Clock::default();
    Ok(Box::new(move || {
        let value = vm.evaluate(&program, &ScriptTable::default(), 0, &mut host, &limits);
        match value.map_err(|failure| failure.to_string())? {
            ScriptValue::Number(seconds) => some_work(seconds),
            other => Err(format!("it returned {other:?}")),
        }
    }))
}

fn some_work(seconds: f64) -> Result<f64, String> {
    if seconds > 0.0 { Ok(seconds) } else { Err("it gave no work to `bench.runCode`".to_owned()) }
}

/// How often the work of a benchmark is done in a round.
static RUNS: AtomicUsize = AtomicUsize::new(1);

fn runs() -> f64 {
    RUNS.load(Ordering::Relaxed) as f64
}

/// CPU time of this thread, in seconds.
fn now() -> f64 {
    ThreadTime::now().as_duration().as_secs_f64()
}

/// The world of a pooled VM here: a clock. Where a run begins once more, to be measured, the clock goes on, while the
/// pool would tell again what it told before.
#[derive(Default)]
struct Clock(NoWorld);

impl Host for Clock {
    fn call(
        &mut self,
        function: u32,
        _: Vec<ScriptValue>,
        _: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        Ok(ScriptValue::from(if function == 0 { now() } else { runs() }).into())
    }
    fn entity(&self) -> Entity {
        self.0.entity()
    }
    fn component(&mut self, entity: Entity, name: &str) -> Result<ReadResult, ScriptError> {
        self.0.component(entity, name)
    }
    fn set_component(
        &mut self,
        entity: Entity,
        name: &str,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        self.0.set_component(entity, name, value)
    }
    fn field(&mut self, place: FieldRef, field: Field<'_>) -> Result<ReadResult, ScriptError> {
        self.0.field(place, field)
    }
    fn set_field(
        &mut self,
        place: FieldRef,
        field: Field<'_>,
        value: ScriptValue,
    ) -> Result<(), ScriptError> {
        self.0.set_field(place, field, value)
    }
    fn copy(&mut self, place: FieldRef) -> Result<ScriptValue, ScriptError> {
        self.0.copy(place)
    }
    fn replace(
        &mut self,
        place: FieldRef,
        value: ScriptValue,
        before: usize,
    ) -> Result<(), ScriptError> {
        self.0.replace(place, value, before)
    }
    fn name(&self, place: FieldRef) -> String {
        self.0.name(place)
    }
    fn live(&mut self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError> {
        self.0.live(namespace, path)
    }
    fn log(&mut self, level: LogLevel, text: String, line: Option<u32>) -> Result<(), ScriptError> {
        self.0.log(level, text, line)
    }
    fn begin(&mut self) {
        self.0.begin();
    }
    fn rewind(&mut self) {
        self.0.rewind();
    }
}

/// What came out, of the engine and of the pool.
#[derive(Default)]
struct Found {
    ratios: [Vec<(String, f64)>; 2],
    /// The name, where it doesn't run, and why. Where plain mlua doesn't run it, nothing else is said.
    refused: Vec<(String, &'static str, String)>,
}

impl Found {
    /// A line of the table.
    fn note(&mut self, name: &str, [plain, ours @ ..]: Times) {
        let base = plain.as_ref().ok().copied();
        let cell = base.map_or_else(String::new, |seconds| format!("{:.2}", seconds * 1e3));
        print!("| {name} | {cell} |");
        for (ratios, side) in self.ratios.iter_mut().zip(&ours) {
            match (side, base) {
                (Ok(seconds), Some(base)) => {
                    print!(" {:.2}x |", seconds / base);
                    ratios.push((name.to_owned(), seconds / base));
                }
                (Ok(_), None) => print!(" runs |"),
                (Err(_), _) => print!(" |"),
            }
        }
        println!();
        let first_line = |reason: String| reason.lines().next().unwrap_or_default().to_owned();
        let [engine, pool] = ours.map(|side| side.err().map(first_line));
        let refused = match (plain.err().map(first_line), engine, pool) {
            (Some(reason), ..) => vec![("mlua", reason)],
            (None, Some(engine), Some(pool)) if engine == pool => vec![("engine, pool", engine)],
            (None, engine, pool) => {
                let each = [("engine", engine), ("pool", pool)];
                each.into_iter().filter_map(|(side, reason)| Some((side, reason?))).collect()
            }
        };
        let of = |(side, reason)| (name.to_owned(), side, reason);
        self.refused.extend(refused.into_iter().map(of));
    }

    fn sum_up(&mut self) {
        println!("\n| | engine | pool |\n| --- | ---: | ---: |");
        let ratios = &mut self.ratios;
        ratios.iter_mut().for_each(|all| all.sort_by(|(_, a), (_, b)| b.total_cmp(a)));
        type Figure = dyn Fn(&[(String, f64)]) -> String;
        let line = |what: &str, figure: &Figure| {
            println!("| {what} | {} | {} |", figure(&ratios[0]), figure(&ratios[1]));
        };
        line("benchmarks", &|all| all.len().to_string());
        line("geometric mean", &|all| {
            if all.is_empty() {
                return String::new();
            }
            let sum: f64 = all.iter().map(|(_, ratio)| ratio.ln()).sum();
            format!("{:.3}x", (sum / all.len() as f64).exp())
        });
        line("worst", &|all| {
            all.first().map_or_else(String::new, |(name, ratio)| format!("{ratio:.2}x, {name}"))
        });
        line(&format!("over {SLOW:.2}x"), &|all| {
            all.iter().filter(|(_, ratio)| *ratio > SLOW).count().to_string()
        });
        if !self.refused.is_empty() {
            println!("\n| does not run | in | why |\n| --- | --- | --- |");
        }
        for (name, side, reason) in &self.refused {
            println!("| {name} | {side} | {} |", reason.replace('|', "\\|"));
        }
    }
}
