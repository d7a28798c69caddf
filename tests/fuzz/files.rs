//! Random files: bytes, and valid scripts and configurations with mistakes in them.

use std::path::Path;
use std::time::Duration;

use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::{Api, Call, Callback, NoWorld, Outcome, Program, RunLimits, Vm};

use super::generator::Choices;

/// The longest that a run may take. It is what ends it, and no measure of anything.
const TIME: Duration = Duration::from_millis(20);

const CONFIGS: [&str; 3] = [
    include_str!("../../assets/lua_pool.ron"),
    r#"(
        min_size: 1, max_size: 8, overflow: Defer, acquire_timeout: "1s 500ms", lifetime_jitter: 0.25,
        leak_threshold: None, max_resting_memory: 5000000, run_time_limit: "3ms", frame_budget: "8ms",
        max_value_size: 100000, max_failures: 3, retry_interval: 10, max_retry_interval: 1000,
        sandbox: (
            preset: trusted,
            libraries: [math, string, table, bit32],
            modules: ["json", "toml"],
            limits: (run_time_limit: "5ms", run_memory_limit: 1000000),
            scripts: {
                "scripts/boss.luau": (run_time_limit: "8ms"),
                "mods/": (preset: untrusted),
                "net://": (preset: trusted, run_memory_limit: 300000),
            },
        ),
    )"#,
    "(sandbox: (scripts: {}))",
];

/// Pieces that a mutation may put anywhere.
const PIECES: [&[u8]; 24] = [
    b"",
    b"(",
    b")",
    b"((((((((((((((((",
    b"{",
    b"}",
    b"\"",
    b"[[",
    b"--[==[",
    b"\\u{110000}",
    b"\0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
    b"\x1bLua",
    b"1e999999",
    b"-1",
    b"18446744073709551616",
    b"\"1h\"",
    b"Some(",
    b"None",
    b"end",
    b" function ",
    b" while true do ",
    b"r#\"",
];

pub(crate) struct Files {
    scripts: Vec<Vec<u8>>,
    pub(crate) reader: Reader,
}

/// Reads files as everything that they may be.
pub(crate) struct Reader {
    vm: Vm,
    pub(crate) tally: Tally,
}

/// What became of the files.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub(crate) files: u64,
    /// Those that are valid as scripts.
    pub(crate) scripts: u64,
    /// Those that are valid as configurations.
    pub(crate) configs: u64,
}

impl Files {
    pub(crate) fn new() -> Self {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/scripts");
        let mut paths: Vec<_> = std::fs::read_dir(folder)
            .expect("the examples have scripts")
            .map(|entry| entry.expect("it can be listed").path())
            .filter(|path| path.extension().is_some_and(|extension| extension == "luau"))
            .collect();
        paths.sort();
        let scripts = paths.iter().map(|path| std::fs::read(path).expect("it can be read"));
        Self { scripts: scripts.collect(), reader: Reader::new() }
    }

    /// Makes a file.
    pub(crate) fn make(&self, choices: &mut dyn Choices) -> Vec<u8> {
        match choices.choose(8) {
            0 => {
                let length = choices.choose(2000);
                (0..length).map(|_| choices.choose(256) as u8).collect()
            }
            1..=3 => {
                let script = choices.choose(self.scripts.len());
                mutated(self.scripts[script].clone(), choices)
            }
            _ => mutated(CONFIGS[choices.choose(CONFIGS.len())].into(), choices),
        }
    }
}

impl Reader {
    pub(crate) fn new() -> Self {
        Self { vm: vm(), tally: Tally::default() }
    }

    /// Reads a file as a script and as a configuration.
    pub(crate) fn read(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.tally.files += 1;
        if let Ok(program) = Program::compile_bytes("random.luau", bytes) {
            self.tally.scripts += 1;
            self.run(&program);
        }
        let Ok(text) = std::str::from_utf8(bytes) else { return Ok(()) };
        let Ok(config) = LuaPoolConfig::from_ron(text) else { return Ok(()) };
        self.tally.configs += 1;
        config.validate().map_err(|problem| format!("read and not valid: {problem}"))?;
        let written = ron::to_string(&config).map_err(|problem| problem.to_string())?;
        match LuaPoolConfig::from_ron(&written) {
            Ok(again) if again == config => Ok(()),
            other => Err(format!("written as {written}, it is read as {other:?}")),
        }
    }

    /// A script with a mistake in it is a script like any other.
    fn run(&mut self, program: &Program) {
        if self.vm.is_spent() {
            self.vm = vm();
        }
        let state = ScriptTable::default();
        let limits = RunLimits { time: TIME, ..RunLimits::from(&LuaPoolConfig::default()) };
        for callback in [Callback::Start, Callback::Update] {
            let call = Call { callback, state: &state, args: &[0.5.into()], seed: 1 };
            let outcome = self.vm.run(program, call, &mut NoWorld::default(), &limits);
            if matches!(outcome, Outcome::Failed(_)) && self.vm.is_spent() {
                self.vm = vm();
            }
        }
    }
}

fn vm() -> Vm {
    Vm::new(&Api::default(), LuaPoolConfig::default().pool.memory_limit).expect("it fits")
}

/// Changes bytes, takes some away, doubles some, puts pieces in.
fn mutated(mut bytes: Vec<u8>, choices: &mut dyn Choices) -> Vec<u8> {
    for _ in 0..choices.choose(6) {
        let at = choices.choose(bytes.len() + 1);
        let end = (at + choices.choose(20)).min(bytes.len());
        match choices.choose(6) {
            0 if at < bytes.len() => bytes[at] = choices.choose(256) as u8,
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                let to = choices.choose(bytes.len() + 1);
                bytes.splice(to..to, piece);
            }
            3 => bytes.truncate(at),
            4 => {
                // A number of the file becomes another one.
                let digit = bytes.iter().skip(at).position(u8::is_ascii_digit).map(|n| n + at);
                if let Some(digit) = digit {
                    bytes[digit] = b'0' + choices.choose(10) as u8;
                }
            }
            _ => {
                let piece = PIECES[choices.choose(PIECES.len())];
                bytes.splice(at..at, piece.iter().copied());
            }
        }
    }
    bytes
}
