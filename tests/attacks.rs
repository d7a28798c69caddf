//! Attacks: whatever a stranger's script does, its own run ends with a reported error at worst. The frame
//! goes on, all other scripts do their work in the same frame, no data is lost, and nothing is seen that
//! should not be.
//!
//! Each file under `tests/attacks/<folder>/` is one attack. Its head says what it tries (`-- tries:`),
//! where it is known from (`-- from:`, if it is), and how it must end (`-- expect:`): `timeout`,
//! `memory`, `error <part of the message>`, `done <self.result>`, or `any`; ` | ` separates
//! alternatives. `self.leak` is to stay nil. A file `<name>_probe.luau` is the script of another entity,
//! which runs right after the attack on the same VM and looks for what it left.
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
