//! The pool's configuration as an asset file.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::Library;
use common::{Lab, keep_log, log, patient};

const FILE: &str = "lua_pool.ron";

const COUNTS: &str = "function on_update(self) self.n = (self.n or 0) + 1 end";

/// An app that takes its configuration from a file with this text.
fn lab(text: &str) -> Lab {
    let config = LuaPoolConfig { pool: PoolConfig { max_size: 3, ..patient().pool }, ..patient() };
    let config_file = Some(FILE.to_owned());
    let mut lab =
        Lab::with_plugin(LuaPoolPlugin { config, config_file, ..LuaPoolPlugin::default() });
    lab.file(FILE, text);
    lab
}

fn in_force(lab: &Lab) -> LuaPoolConfig {
    lab.app.world().resource::<LuaPool>().config().clone()
}

#[test]
fn the_file_is_loaded_and_in_force() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\", frame_budget: \"8s\")");
    lab.frame();
    lab.until(|lab| in_force(lab).pool.max_size == 5);
    let expected = LuaPoolConfig {
        pool: PoolConfig { max_size: 5, ..PoolConfig::default() },
        run_time_limit: Duration::from_secs(9),
        frame_budget: Some(Duration::from_secs(8)),
        ..LuaPoolConfig::default()
    };
    assert_eq!(in_force(&lab), expected);
    assert_eq!(lab.snapshot().pool.max_size, 5);
}

#[test]
fn nothing_runs_before_the_file_is_loaded() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\")");
    let source = format!("{COUNTS} function on_message() end");
    let script = LuaScript::from_source("a.luau", &source).expect("it compiles");
    let script = lab.app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.hold_files(true);
    lab.app.world_mut().write_message(ToScript::new(entity, "x", ScriptValue::Nil));
    lab.frames(20);
    assert_eq!((in_force(&lab).pool.max_size, lab.snapshot().total.runs), (3, 0));
    lab.hold_files(false);
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(in_force(&lab).pool.max_size, 5);
    assert_eq!(lab.snapshot().total.undelivered, 0);
}

#[test]
fn a_changed_file_is_in_force_while_scripts_go_on() {
    let mut lab = lab("(max_size: 5, run_time_limit: \"9s\", max_log_lines: 7)");
    let entity = lab.entity("a.luau", COUNTS);
    lab.until(|lab| in_force(lab).pool.max_size == 5);
    lab.frame();
    lab.edit(FILE, "(max_size: 1, min_size: 0, run_time_limit: \"9s\", memory_limit: 4194304)");
    lab.until(|lab| in_force(lab).pool.max_size == 1);
    assert_eq!(in_force(&lab).max_log_lines, LuaPoolConfig::default().max_log_lines);
    let ScriptValue::Number(before) = lab.field(entity, "n") else { panic!("it never ran") };
    lab.frames(3);
    assert_eq!(lab.field(entity, "n"), (before + 3.0).into());
    assert!(lab.snapshot().vms.len() <= 1);
}

/// Texts that are no configuration, and what is said of each.
const WRONG: [(&str, &str); 8] = [
    ("(max_size: 0)", "`max_size` is 0: allowed is 1 to 1024"),
    ("(min_size: 9, max_size: 4)", "`min_size` is 9: allowed is 0 to `max_size`, which is 4"),
    ("(run_time_limit: \"1h\")", "`run_time_limit` is 3600s: allowed is 10us to 1min"),
    ("(\n  max_sise: 4,\n)", "at line 2, column"),
    ("(max_size: \"four\")", "at line 1, column"),
    ("(", "at line 1, column"),
    ("(sandbox: (scripts: {\"a/\": (), \"a/\": (preset: trusted)}))", "\"a/\" is there twice"),
    ("(sandbox: (libraries: [math], librarys: []))", "at line 1, column 31"),
];

#[test]
fn a_changed_file_that_is_wrong_is_logged_with_its_place_and_what_was_in_force_stays() {
    keep_log();
    for (text, says) in WRONG {
        let mut edited = lab("(max_size: 5, run_time_limit: \"9s\")");
        edited.frame();
        let entity = edited.entity("a.luau", COUNTS);
        edited.until(|lab| in_force(lab).pool.max_size == 5);
        // The count tells this line from those of others.
        let seen = log().matches(says).count();
        edited.edit(FILE, text);
        edited.until(|_| log().matches(says).count() > seen);
        assert_eq!(in_force(&edited).pool.max_size, 5, "{text}");
        let runs = edited.snapshot().total.runs;
        edited.frames(3);
        assert!(edited.snapshot().total.runs > runs, "scripts go on");
        assert_ne!(edited.field(entity, "n"), ScriptValue::Nil);
        edited.edit(FILE, "(max_size: 6, run_time_limit: \"9s\")");
        edited.until(|lab| in_force(lab).pool.max_size == 6);
    }
}

/// Whether no script of the app runs, and the app says so.
#[track_caller]
fn assert_stopped(lab: &mut Lab, says: &str) {
    lab.frame();
    lab.until(|lab| lab.app.world().resource::<LuaPool>().stopped().is_some());
    lab.frames(5);
    assert_eq!(lab.snapshot().total.runs, 0, "it runs under rules that nobody wrote");
    let pool = lab.app.world().resource::<LuaPool>();
    let stopped = pool.stopped().expect("it still is").to_owned();
    assert!(!pool.is_ready());
    for part in [says, "no script runs", "LuaPoolPlugin", "config_file_required"] {
        assert!(stopped.contains(part), "{part:?} is not in {stopped:?}");
    }
    assert_eq!(lab.snapshot().stopped.as_deref(), Some(&*stopped));
    assert!(log().contains(&stopped), "{}", log());
}

#[test]
fn no_script_runs_before_a_wrong_file_is_mended() {
    keep_log();
    for (text, says) in WRONG {
        let mut wrong = lab(text);
        let entity = wrong.entity("a.luau", COUNTS);
        assert_stopped(&mut wrong, says);
        // Another wrong text changes nothing.
        wrong.edit(FILE, "(max_size: 2000)");
        wrong.frames(5);
        assert_stopped(&mut wrong, "LuaPoolPlugin");
        wrong.edit(FILE, "(max_size: 6, run_time_limit: \"9s\", sandbox: (libraries: [math]))");
        wrong.until(|lab| lab.snapshot().total.runs > 0);
        assert_eq!(in_force(&wrong).pool.max_size, 6);
        assert_eq!(in_force(&wrong).sandbox.libraries, [Library::Math].into());
        assert_eq!(wrong.app.world().resource::<LuaPool>().stopped(), None);
        assert_eq!(wrong.snapshot().stopped, None);
        assert_ne!(wrong.field(entity, "n"), ScriptValue::Nil);
    }
}

/// An app whose configuration file has this name.
fn lab_of(file: &str, required: bool) -> Lab {
    Lab::with_plugin(LuaPoolPlugin {
        config: LuaPoolConfig { pool: PoolConfig { max_size: 3, ..patient().pool }, ..patient() },
        config_file: Some(file.to_owned()),
        config_file_required: required,
        ..LuaPoolPlugin::default()
    })
}

#[test]
fn no_script_runs_before_a_missing_file_is_there() {
    keep_log();
    let mut lab = lab_of("late.ron", true);
    lab.entity("a.luau", COUNTS);
    assert_stopped(&mut lab, "late.ron");
    lab.edit("late.ron", "(max_size: 6, run_time_limit: \"9s\")");
    lab.until(|lab| lab.snapshot().total.runs > 0);
    assert_eq!(in_force(&lab).pool.max_size, 6);
}

#[test]
fn a_file_that_the_asset_server_refuses_is_a_missing_one() {
    keep_log();
    for path in ["../outside.ron", "/etc/outside.ron"] {
        let mut lab = lab_of(path, true);
        lab.entity("a.luau", COUNTS);
        assert_stopped(&mut lab, path);
    }
}

#[test]
fn an_app_that_says_so_runs_without_its_file() {
    keep_log();
    for (file, text) in [("nowhere.ron", None), (FILE, Some("(max_size: 0)"))] {
        let mut lab = lab_of(file, false);
        text.into_iter().for_each(|text| lab.file(file, text));
        lab.entity("a.luau", COUNTS);
        lab.until(|lab| lab.snapshot().total.runs > 0);
        assert_eq!(
            in_force(&lab),
            LuaPoolConfig { pool: PoolConfig { max_size: 3, ..patient().pool }, ..patient() }
        );
        assert_eq!(lab.app.world().resource::<LuaPool>().stopped(), None);
        lab.edit(file, "(max_size: 6, run_time_limit: \"9s\")");
        lab.until(|lab| in_force(lab).pool.max_size == 6);
    }
    let says = "without the configuration file \"nowhere.ron\"";
    assert!(log().contains(says), "{}", log());
}

/// What the app says when it doesn't start.
#[track_caller]
fn refuses(plugin: LuaPoolPlugin) -> String {
    let started = catch_unwind(AssertUnwindSafe(|| {
        let mut lab = Lab::with_plugin(plugin);
        lab.frame();
    }));
    let payload = started.expect_err("it starts");
    payload.downcast_ref::<String>().expect("a text with the reason").clone()
}

#[test]
fn an_app_with_a_wrong_configuration_does_not_start() {
    type Change = fn(&mut LuaPoolConfig);
    let wrong: [(Change, &str); 5] = [
        (|it| it.pool.lifetime_jitter = 7.0, "`lifetime_jitter` is 7.0: allowed is 0.0 to 0.5"),
        (
            |it| it.pool.lifetime_jitter = f64::NAN,
            "`lifetime_jitter` is NaN: allowed is 0.0 to 0.5",
        ),
        (|it| it.pool.max_size = 0, "`max_size` is 0: allowed is 1 to 1024"),
        (|it| it.run_time_limit = Duration::MAX, "allowed is 10us to 1min"),
        (
            |it| it.sandbox.limits.run_memory_limit = Some(1),
            "`run_memory_limit` is 1 in `sandbox.limits`",
        ),
    ];
    for (change, says) in wrong {
        // What is asked for besides is not loosened: nothing runs at all.
        let mut config = LuaPoolConfig::default();
        config.sandbox.libraries.clear();
        change(&mut config);
        let text = refuses(LuaPoolPlugin { config, ..LuaPoolPlugin::default() });
        for part in ["LuaPoolPlugin", "`config`", says, "change it"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }
    for path in ["", "lua_pool.ron#label"] {
        let config_file = Some(path.to_owned());
        let text = refuses(LuaPoolPlugin { config_file, ..LuaPoolPlugin::default() });
        assert!(text.contains("LuaPoolPlugin") && text.contains("`config_file`"), "{text}");
    }
}

#[test]
fn one_vm_is_asked_for_by_its_number_alone() {
    for max_size in [1, 2] {
        let config = LuaPoolConfig {
            pool: PoolConfig { max_size, ..PoolConfig::default() },
            ..LuaPoolConfig::default()
        };
        let mut lab = Lab::with_config(config.clone());
        lab.frame();
        assert_eq!(in_force(&lab), config);
        let pool = lab.snapshot().pool;
        assert_eq!(
            (pool.min_size, pool.max_size, pool.created),
            (max_size, max_size, max_size as u64)
        );
    }
    let mut lab = lab("(max_size: 1, run_time_limit: \"9s\")");
    lab.frame();
    lab.until(|lab| in_force(lab).pool.max_size == 1);
    lab.frame();
    assert_eq!(lab.snapshot().pool.min_size, 1);
}

#[test]
fn a_configuration_that_the_app_sets_is_checked() {
    let mut lab = Lab::new();
    lab.frame();
    let before = in_force(&lab);
    let mut pool = lab.app.world_mut().resource_mut::<LuaPool>();
    let wrong = LuaPoolConfig {
        pool: PoolConfig { max_size: 0, ..PoolConfig::default() },
        ..LuaPoolConfig::default()
    };
    let problem = pool.set_config(wrong).expect_err("no pool has no size").to_string();
    assert!(problem.contains("`max_size` is 0"), "{problem}");
    assert_eq!(pool.config(), &before);
    pool.set_config(LuaPoolConfig { pool: PoolConfig { max_size: 7, ..before.pool }, ..before })
        .expect("it is valid");
    assert_eq!(pool.config().pool.max_size, 7);
}

/// Whether the VMs of this app offer scripts what an expression needs.
#[track_caller]
fn finds(lab: &mut Lab, expression: &str) -> bool {
    let (_, failure) = lab.run_on((), &format!("local _ = {expression}"));
    failure.is_none()
}

#[test]
fn libraries_that_the_file_takes_away_are_gone_from_the_living_pool() {
    let mut lab = lab("(max_size: 2, run_time_limit: \"9s\")");
    let entity = lab.entity("a.luau", COUNTS);
    lab.until(|lab| in_force(lab).pool.max_size == 2);
    lab.frames(2);
    assert!(finds(&mut lab, "math.abs(-1) + #('x'):rep(3)"));
    let made = lab.snapshot().pool.created;

    let text = "(max_size: 2, run_time_limit: \"9s\", sandbox: (libraries: [math]))";
    lab.edit(FILE, text);
    lab.until(|lab| in_force(lab).sandbox.libraries == [Library::Math].into());
    assert!(finds(&mut lab, "math.abs(-1)"));
    for gone in ["('x'):rep(3)", "string.rep('x', 3)", "table.create(1)", "vector.zero"] {
        assert!(!finds(&mut lab, gone), "{gone}");
    }
    assert!(lab.snapshot().pool.created > made, "VMs were replaced");

    lab.edit(FILE, "(max_size: 2, run_time_limit: \"9s\")");
    lab.until(|lab| in_force(lab).sandbox == SandboxConfig::default());
    assert!(finds(&mut lab, "#('x'):rep(3)"));
    let ScriptValue::Number(before) = lab.field(entity, "n") else { panic!("it never ran") };
    lab.frames(3);
    assert_eq!(lab.field(entity, "n"), (before + 3.0).into(), "scripts went on");
}

#[test]
fn vms_stay_if_only_limits_of_scripts_change() {
    let mut lab = lab("(max_size: 1, min_size: 1, run_time_limit: \"9s\")");
    lab.entity("a.luau", COUNTS);
    lab.until(|lab| in_force(lab).pool.max_size == 1);
    lab.frames(2);
    let made = lab.snapshot().pool.created;
    let text = "(max_size: 1, min_size: 1, run_time_limit: \"9s\", sandbox: (scripts: {\"a.luau\": \
                (run_time_limit: \"8s\")}))";
    lab.edit(FILE, text);
    lab.until(|lab| !in_force(lab).sandbox.scripts.is_empty());
    lab.frames(3);
    assert_eq!(lab.snapshot().pool.created, made);
}

#[cfg(feature = "data-formats")]
#[test]
fn only_the_modules_that_the_sandbox_allows_are_there_even_on_a_second_try() {
    use bevy_lua_pool::modules;

    keep_log();
    let modules = Some(["json".to_owned(), "jsn".to_owned()].into());
    let sandbox = SandboxConfig { modules, ..SandboxConfig::default() };
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { max_size: 1, min_size: 1, ..patient().pool },
        sandbox,
        ..patient()
    });
    lab.app.add_lua_module(modules::json()).add_lua_module(modules::toml());
    assert!(finds(&mut lab, "json.encode({})"));
    assert!(!finds(&mut lab, "toml.encode({})"));
    assert!(log().contains("allows the module `jsn`, which nobody has added"), "{}", log());
    // A module that comes late is held against the list too.
    lab.app.add_lua_module(modules::yaml());
    assert!(!finds(&mut lab, "yaml.encode({})"));
    // A run that ran out of memory gets a second chance on a VM of its own.
    let probe = "self.found = toml ~= nil local s = ('x'):rep(2^24)";
    let (_, failure) = lab.run_on((), &format!("{probe} if toml then error('toml is there') end"));
    let failure = failure.expect("that much is not allowed");
    assert!(failure.contains("run_memory_limit"), "{failure}");
    lab.app.world_mut().resource_mut::<LuaPool>().set_config(patient()).expect("it is valid");
    assert!(finds(&mut lab, "toml.encode({}) .. yaml.encode({})"));
}
