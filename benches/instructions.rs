//! Instructions of one run, counted by callgrind: what a busy machine can't blur.
//!
//! ```text
//! cargo bench --bench instructions               # a table
//! cargo bench --bench instructions -- profile    # and all functions that take most of them
//! ```
//!
//! Needs `valgrind`; takes half a minute. The program runs itself under callgrind, some frames of 1,000 entities on one worker
//! and then twice as many, and divides the difference by the runs in it: so what happens once is left out.
//! The work of a run is taken apart by scripts that do less of it.

mod common;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Duration;

use bevy_lua_pool::LuaPoolConfig;
use common::{assert_moved, crowd, limited};

/// Set in the program that callgrind runs: the number of a case, and of frames.
const CHILD: &str = "BENCH_INSTRUCTIONS_CHILD";

const ENTITIES: u32 = 1_000;
const FRAMES: u32 = 5;

/// Scripts that do ever more; the last one does all that a run in the other benches does.
const CASES: [(&str, &str); 7] = [
    ("nothing: it has no callback for the frame", "function on_start() end"),
    ("an empty callback", "function on_update() end"),
    (
        "a state of 1 field, unused",
        "function on_start(self) self.n = 0 end function on_update() end",
    ),
    (
        "a state of 1 field, counted up",
        "function on_start(self) self.n = 0 end function on_update(self) self.n += 1 end",
    ),
    (
        "a component, read",
        "local x function on_update() local t = entity.Transform local v = t.translation end",
    ),
    (
        "a component, read, changed and written",
        "local STEP = vector.create(1, 0, 0)
         function on_update() local t = entity.Transform t.translation += STEP end",
    ),
    ("all of it: the run of the frame bench", common::SCRIPT),
];

fn main() -> ExitCode {
    if let Ok(child) = std::env::var(CHILD) {
        let (case, frames) = child.split_once(' ').expect("two numbers");
        run(case.parse().expect("a number"), frames.parse().expect("a number"));
        return ExitCode::SUCCESS;
    }
    let profile = std::env::args().any(|arg| arg == "profile");
    if let Err(error) = Command::new("valgrind").arg("--version").output() {
        eprintln!("instructions can't be counted without `valgrind`: {error}");
        return ExitCode::FAILURE;
    }

    println!("### Instructions of a run\n");
    println!("One worker, 1,000 entities, whole frame.\n");
    println!("| what its script does | instructions |\n| --- | ---: |");
    let mut all = BTreeMap::new();
    for (case, (name, _)) in CASES.iter().enumerate() {
        let costs = per_run(case);
        println!("| {name} | {:.0} |", costs.values().map(|cost| cost.own).sum::<f64>());
        all = costs;
    }
    let of_this_crate = |name: &str| name.starts_with("bevy_lua_pool::");
    list("functions of this crate, with what they call", &all, 15, of_this_crate, |c| c.inclusive);
    if profile {
        list("all functions, with what they call", &all, 80, |_| true, |cost| cost.inclusive);
        list("all functions, without", &all, 80, |_| true, |cost| cost.own);
    }
    ExitCode::SUCCESS
}

/// What callgrind watches.
fn run(case: usize, frames: u32) {
    // Under callgrind all is fifty times as slow.
    let config = LuaPoolConfig { run_time_limit: Duration::from_secs(60), ..limited(Some(1)) };
    let mut app = crowd(config, &[CASES[case].1], ENTITIES);
    for _ in 0..frames {
        app.update();
    }
    if case == CASES.len() - 1 {
        assert_moved(&mut app, f64::from(frames + 2));
    } else {
        common::assert_no_failure(&app);
    }
}

/// The functions of the last case that take most.
fn list(
    what: &str,
    costs: &BTreeMap<String, Cost>,
    length: usize,
    filter: impl Fn(&str) -> bool,
    by: impl Fn(&Cost) -> f64,
) {
    println!("\n| of these, in the last case: {what} | instructions |\n| --- | ---: |");
    let mut rows: Vec<_> = costs
        .iter()
        .filter(|(name, _)| filter(name))
        .map(|(name, cost)| (by(cost), name))
        .collect();
    rows.sort_by(|a, b| b.0.total_cmp(&a.0));
    for (cost, name) in rows.iter().take(length) {
        println!("| `{name}` | {cost:.0} |");
    }
}

/// The instructions of a function for one run.
#[derive(Clone, Copy, Default)]
struct Cost {
    own: f64,
    /// With those of the functions that it calls. Of recursive ones this is too much.
    inclusive: f64,
}

/// The instructions of one run, by function.
fn per_run(case: usize) -> BTreeMap<String, Cost> {
    let few = count(case, FRAMES);
    let mut many = count(case, 2 * FRAMES);
    for (name, cost) in few {
        let more = many.entry(name).or_default();
        more.own -= cost.own;
        more.inclusive -= cost.inclusive;
    }
    let runs = f64::from(FRAMES) * f64::from(ENTITIES);
    for cost in many.values_mut() {
        cost.own /= runs;
        cost.inclusive /= runs;
    }
    many
}

/// Has callgrind count.
fn count(case: usize, frames: u32) -> BTreeMap<String, Cost> {
    let out = out_file(case, frames);
    let ended = Command::new("valgrind")
        .args(["--tool=callgrind", "--dump-instr=no", "--fair-sched=no"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(std::env::current_exe().expect("a running program has a path"))
        .env(CHILD, format!("{case} {frames}"))
        // So that no worker changes to another stack, which callgrind loses track of.
        .env("RUST_MIN_STACK", (16 * 1024 * 1024).to_string())
        .output()
        .expect("valgrind was there just now");
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    let text = std::fs::read_to_string(&out).expect("callgrind wrote it");
    std::fs::remove_file(&out).expect("callgrind wrote it");
    parse(&text)
}

fn out_file(case: usize, frames: u32) -> PathBuf {
    let id = std::process::id();
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("callgrind.{id}.{case}.{frames}"))
}

/// Reads what callgrind writes: <https://valgrind.org/docs/manual/cl-format.html>.
fn parse(text: &str) -> BTreeMap<String, Cost> {
    let mut names: BTreeMap<&str, &str> = BTreeMap::new();
    let mut costs: BTreeMap<&str, Cost> = BTreeMap::new();
    let mut current = "";
    let mut called = None;
    for line in text.lines() {
        if let Some((kind, value)) = line.split_once('=') {
            match kind {
                "fn" | "cfn" => {
                    // `(number) name` where it is new, `(number)` after that.
                    let (number, name) = value.split_once(' ').unwrap_or((value, ""));
                    if !name.is_empty() {
                        names.insert(number, name);
                    }
                    if kind == "fn" { current = number } else { called = Some(number) }
                }
                "calls" => {}
                _ => continue,
            }
            continue;
        }
        let mut words = line.split_ascii_whitespace();
        let starts_with =
            |word: &str| word.starts_with(|c: char| c.is_ascii_digit() || "+-*".contains(c));
        if !words.next().is_some_and(starts_with) {
            continue;
        }
        let cost: f64 = words.next().and_then(|word| word.parse().ok()).unwrap_or(0.0);
        match called.take() {
            // The line after `calls=` is what the call took.
            Some(number) => {
                // Of a function that calls itself only the outermost call counts.
                if number != current {
                    costs.entry(number).or_default().inclusive += cost;
                }
            }
            None => {
                costs.entry(current).or_default().own += cost;
            }
        }
    }
    let mut by_name: BTreeMap<String, Cost> = BTreeMap::new();
    for (number, cost) in costs {
        let name = names.get(number).copied().unwrap_or(number);
        let sum = by_name.entry(name.to_owned()).or_default();
        sum.own += cost.own;
        sum.inclusive += cost.inclusive;
    }
    by_name
}
