//! The pool's configuration as an asset file.

mod common;

use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, keep_log, log, patient};

const FILE: &str = "lua_pool.ron";

const COUNTS: &str = "function on_update(self) self.n = (self.n or 0) + 1 end";

/// An app that takes its configuration from a file with this text.
fn lab(text: &str) -> Lab {
    let config = PoolConfig { max_size: 3, ..patient() };
    let config_file = Some(FILE.to_owned());
    let mut lab =
        Lab::with_plugin(LuaPoolPlugin { config, config_file, ..LuaPoolPlugin::default() });
    lab.file(FILE, text);
    lab
}

fn in_force(lab: &Lab) -> PoolConfig {
    lab.app.world().resource::<LuaPool>().config().clone()
}

#[test]
fn the_file_is_loaded_and_in_force() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\", frame_budget: \"8s\")");
    lab.frame();
    lab.until(|lab| in_force(lab).max_size == 5);
    let expected = PoolConfig {
        max_size: 5,
        run_time_limit: Duration::from_secs(9),
        frame_budget: Some(Duration::from_secs(8)),
        ..PoolConfig::default()
    };
    assert_eq!(in_force(&lab), expected);
    assert_eq!(lab.snapshot().pool.max_size, 5);
}

#[test]
fn nothing_runs_before_the_file_is_loaded() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\")");
    let script = LuaScript::from_source("a.luau", COUNTS).expect("it compiles");
    let script = lab.app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.hold_files(true);
    lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    lab.frames(20);
    assert_eq!((in_force(&lab).max_size, lab.snapshot().total.runs), (3, 0));
    lab.hold_files(false);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(in_force(&lab).max_size, 5);
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

#[test]
fn a_changed_file_is_in_force_while_scripts_go_on() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\", max_log_lines: 7)");
    let entity = lab.entity("a.luau", COUNTS);
    lab.until(|lab| in_force(lab).max_size == 5);
    lab.frame();
    lab.edit(FILE, "(max_size: 1, min_size: 0, run_time_limit: \"9s\", memory_limit: 4194304)");
    lab.until(|lab| in_force(lab).max_size == 1);
    assert_eq!(in_force(&lab).max_log_lines, PoolConfig::default().max_log_lines);
    let ScriptValue::Number(before) = lab.field(entity, "n") else { panic!("it never ran") };
    lab.frames(3);
    assert_eq!(lab.field(entity, "n"), (before + 3.0).into());
    assert!(lab.snapshot().vms.len() <= 1);
}

#[test]
fn a_wrong_file_is_logged_with_its_place_and_the_app_goes_on_with_what_was_in_force() {
    keep_log();
    for (text, says) in [
        ("(max_size: 0)", "`max_size` is 0: allowed is 1 to 1024"),
        ("(min_size: 9, max_size: 4)", "`min_size` is 9: allowed is 0 to `max_size`, which is 4"),
        ("(run_time_limit: \"1h\")", "`run_time_limit` is 3600s: allowed is 10us to 1min"),
        ("(\n  max_sise: 4,\n)", "at line 2, column"),
        ("(max_size: \"four\")", "at line 1, column"),
        ("(", "at line 1, column"),
    ] {
        // From the start …
        let mut wrong = lab(text);
        let entity = wrong.entity("a.luau", COUNTS);
        wrong.until(|lab| lab.snapshot().total.runs > 0);
        assert_eq!(in_force(&wrong), PoolConfig { max_size: 3, ..patient() }, "{text}");
        assert_ne!(wrong.field(entity, "n"), ScriptValue::Nil);

        // … and as an edit. The count tells this app's line from those of others.
        let mut edited = lab("(max_size: 5, run_time_limit: \"9s\")");
        edited.frame();
        edited.until(|lab| in_force(lab).max_size == 5);
        let seen = log().matches(says).count();
        edited.edit(FILE, text);
        edited.until(|_| log().matches(says).count() > seen);
        assert_eq!(in_force(&edited).max_size, 5, "{text}");
        assert!(seen >= 1, "{text}: {}", log());
        edited.edit(FILE, "(max_size: 6, run_time_limit: \"9s\")");
        edited.until(|lab| in_force(lab).max_size == 6);
    }
}

#[test]
fn a_missing_file_is_logged_and_scripts_run_with_what_was_in_force() {
    keep_log();
    let config_file = Some("nowhere.ron".to_owned());
    let mut lab = Lab::with_plugin(LuaPoolPlugin {
        config: PoolConfig { max_size: 3, ..patient() },
        config_file,
        ..LuaPoolPlugin::default()
    });
    lab.entity("a.luau", COUNTS);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(in_force(&lab).max_size, 3);
    assert!(log().contains("nowhere.ron"), "{}", log());
}

#[test]
fn a_wrong_configuration_in_the_plugin_is_logged_and_the_defaults_are_used() {
    keep_log();
    let config = PoolConfig { lifetime_jitter: 7.0, ..PoolConfig::default() };
    let mut lab = Lab::with_config(config);
    lab.frame();
    assert_eq!(in_force(&lab), PoolConfig::default());
    assert!(log().contains("`lifetime_jitter` is 7.0: allowed is 0.0 to 0.5"), "{}", log());
}

#[test]
fn a_configuration_that_the_app_sets_is_checked() {
    let mut lab = Lab::new();
    lab.frame();
    let before = in_force(&lab);
    let mut pool = lab.app.world_mut().resource_mut::<LuaPool>();
    let wrong = PoolConfig { max_size: 0, ..PoolConfig::default() };
    let problem = pool.set_config(wrong).expect_err("no pool has no size").to_string();
    assert!(problem.contains("`max_size` is 0"), "{problem}");
    assert_eq!(pool.config(), &before);
    pool.set_config(PoolConfig { max_size: 7, ..before }).expect("it is valid");
    assert_eq!(pool.config().max_size, 7);
}
