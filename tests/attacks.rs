//! Attacks: whatever a stranger's script does, its own run ends with a reported error at worst. The frame
//! goes on, all other scripts do their work in the same frame, no data is lost, and nothing is seen that
//! should not be.
//!
//! Each file under `tests/attacks/<folder>/` is one attack. Its head says what it tries (`-- tries:`), where it is
//! known from (`-- from:`, if it is), and the one way in which it must end (`-- expect:`):
//!
//! | ending | what the harness saw |
//! | --- | --- |
//! | `done <literal>` | no run failed, and a run set `self.result` to this (or emitted it as `result`) |
//! | `error <part>` | runs failed, each with this in its message |
//! | `error "<message>"` | runs failed, each with this message and no more |
//! | `unloadable <part>` | the file was not loaded, with this in the message; nothing ran |
//! | `timeout` | runs failed, each by its limit on time |
//! | `memory` | runs failed, each by the limit on memory |
//! | `time` | as `timeout`, or a built-in was refused that takes longer than the limit (which depends on the build) |
//! | `limit` | as `time` or `memory` (which of them depends on the speed of the machine) |
//!
//! An attack that loads runs in every frame. `self.leak` is to stay nil. A file `<name>_probe.luau` is the script of
//! another entity, which runs right after the attack on the same VM and looks for what it left.
//!
//! `ATTACK=time/sort cargo test --test attacks` runs only those whose name contains that.

mod common;
#[path = "attacks/header.rs"]
mod header;
#[path = "attacks/host.rs"]
mod host;
#[path = "attacks/trial.rs"]
mod trial;

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use header::Attack;

/// Runs all attacks of a folder and reports those that were not fended off, all together.
#[track_caller]
fn are_fended_off(folder: &str) {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    // Memory is measured of the whole process.
    let _turn = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
    let mut attacks =
        Attack::all(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(folder));
    assert!(!attacks.is_empty(), "{folder} is empty");
    if let Ok(only) = std::env::var("ATTACK") {
        attacks.retain(|attack| attack.name.contains(&only));
    }
    let config = trial::config(folder.rsplit('/').next().unwrap_or(folder));
    let mut problems = Vec::new();
    for attack in &attacks {
        let found = trial::run(attack, &config);
        problems.extend(found.into_iter().map(|problem| format!("{}: {problem}", attack.name)));
    }
    assert!(
        problems.is_empty(),
        "{} problems with {} attacks:\n{}",
        problems.len(),
        attacks.len(),
        problems.join("\n")
    );
}

#[test]
fn attacks_on_time_end_in_time() {
    are_fended_off("attacks/time");
}

#[test]
fn attacks_on_memory_end_within_it() {
    are_fended_off("attacks/memory");
}

#[test]
fn attacks_on_the_stack_are_errors() {
    are_fended_off("attacks/stack");
}

#[test]
fn attacks_on_isolation_see_nothing_and_leave_nothing() {
    are_fended_off("attacks/isolation");
}

#[test]
fn attacks_on_what_is_out_of_reach_find_nothing() {
    are_fended_off("attacks/reach");
}

#[test]
fn attacks_on_the_host_fail_their_own_run() {
    are_fended_off("attacks/host");
}

#[test]
fn attacks_on_the_frame_cost_no_more_than_their_share() {
    are_fended_off("attacks/frame");
}

/// What the harness says about a script with this head and text.
fn problems_of(expect: &str, source: &str) -> String {
    let source = format!("-- tries: nothing\n-- expect: {expect}\n\n{source}");
    let attack = Attack::new("test/of_the_harness", &source).expect("its head is well-formed");
    trial::run(&attack, &trial::config("isolation")).join("\n")
}

const RUNS: &str = "function on_update(self) self.result = 1 end";
const FAILS: &str = "function on_update(self) error('a message') end";
const HUNGRY: &str = "function on_update(self) ('x'):rep(1000000000) end";

#[test]
fn the_harness_accepts_what_ends_as_expected() {
    for (expect, source) in [
        ("done 1", RUNS),
        ("error a message", FAILS),
        ("error \"a message\"", FAILS),
        ("memory", HUNGRY),
        ("limit", HUNGRY),
        ("unloadable Expected identifier", "local = 1"),
    ] {
        assert_eq!(problems_of(expect, source), "", "{expect}");
    }
}

#[test]
fn the_harness_reports_an_attack_that_never_runs() {
    let misspelt = RUNS.replace("on_update", "on_updat");
    for expect in ["done 1", "error a message", "timeout", "memory", "time", "limit"] {
        let found = problems_of(expect, &misspelt);
        assert!(found.contains("it never ran"), "{expect}: {found}");
        assert!(found.contains("the attack did not run in frame 1"), "{expect}: {found}");
    }
}

#[test]
fn the_harness_reports_an_attack_that_ends_differently() {
    for (expect, source, happened) in [
        ("done 1", FAILS, "a message"),
        ("done 2", RUNS, "it was done: 1"),
        ("error a message", RUNS, "it was done: 1"),
        ("timeout", HUNGRY, "needed more memory"),
        ("time", HUNGRY, "needed more memory"),
        ("memory", FAILS, "a message"),
        ("limit", FAILS, "a message"),
        ("unloadable a message", FAILS, "a message"),
        ("done 1", "local = 1", "it was not loaded"),
        ("error Expected identifier", "local = 1", "it was not loaded"),
    ] {
        let found = problems_of(expect, source);
        assert!(found.contains(happened), "{expect}: {found}");
    }
}

#[test]
fn the_harness_reports_an_attack_with_another_message() {
    let found = problems_of("error \"a mess\"", FAILS);
    assert!(found.contains("expected Message(\"a mess\"), but:"), "{found}");
    let found = problems_of("error another message", FAILS);
    assert!(found.contains("expected Error(\"another message\"), but:"), "{found}");
    // The file's name is in every failure, and says nothing.
    let found = problems_of("error luau:4: a message", FAILS);
    assert!(found.contains("but: attack.luau:4: a message"), "{found}");
    let found = problems_of("unloadable another message", "local = 1");
    assert!(found.contains("but: it was not loaded: Expected identifier"), "{found}");
}

#[test]
fn a_head_states_one_ending_that_says_something() {
    for expect in [
        "any",
        "timeout | memory",
        "timeout after a while",
        "done nil",
        "done",
        "error",
        "error attack.luau",
        "unloadable",
        "nothing",
    ] {
        let source = format!("-- tries: nothing\n-- expect: {expect}\n");
        assert!(Attack::new("test/of_a_head", &source).is_err(), "{expect}");
    }
    assert!(Attack::new("test/of_a_head", "-- tries: nothing\n").is_err());
    assert!(Attack::new("test/of_a_head", "-- expect: timeout\n").is_err());
}
