//! Ranges, RON, and what errors say.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::LuaPoolConfig;
use crate::pool::{ConfigError, PoolConfig};
use crate::sandbox::{Library, SandboxConfig, ScriptLimits};

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn wrong_field(config: &LuaPoolConfig) -> &'static str {
    match config.validate() {
        Err(ConfigError::Invalid { field, value, .. }) => {
            assert!(!value.is_empty());
            field
        }
        other => panic!("expected an invalid field, got {other:?}"),
    }
}

fn limits(millis: u64) -> ScriptLimits {
    let run_time_limit = Some(Duration::from_millis(millis));
    ScriptLimits { run_time_limit, ..ScriptLimits::default() }
}

#[test]
fn the_default_is_valid_and_documented() {
    let config = LuaPoolConfig::default();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!(config.pool, PoolConfig::default());
    assert_eq!(config.max_value_size, 65_536);
    assert_eq!(config.run_time_limit, Duration::from_millis(2));
    assert_eq!(config.run_memory(), 8 * MIB);
    assert_eq!((config.max_failures, config.retry_interval), (5, 60));
    assert_eq!(config.max_retry_interval, 3600);
    assert_eq!(config.sandbox, SandboxConfig::untrusted());
}

#[test]
fn each_wrong_value_names_its_field() {
    type Change = fn(&mut LuaPoolConfig);
    let cases: &[(&str, Change)] = &[
        ("max_size", |c| c.pool.max_size = 0),
        ("run_time_limit", |c| c.run_time_limit = Duration::ZERO),
        ("run_time_limit", |c| c.run_time_limit = HOUR),
        ("frame_budget", |c| c.frame_budget = Some(Duration::ZERO)),
        ("frame_budget", |c| c.frame_budget = Some(HOUR)),
        ("max_log_lines", |c| c.max_log_lines = 1_000_001),
        ("max_messages", |c| c.max_messages = usize::MAX),
        ("max_commands", |c| c.max_commands = 1_000_001),
        ("max_value_size", |c| c.max_value_size = 1023),
        ("max_value_size", |c| c.max_value_size = 17 * MIB),
        ("run_memory_limit", |c| c.run_memory_limit = Some(256 * 1024 - 1)),
        ("run_memory_limit", |c| c.run_memory_limit = Some(17 * MIB)),
        ("retry_interval", |c| c.retry_interval = 3601),
        ("max_retry_interval", |c| c.max_retry_interval = 0),
        ("max_retry_interval", |c| c.max_retry_interval = u32::MAX),
        ("run_time_limit", |c| c.sandbox.limits.run_time_limit = Some(HOUR)),
        ("run_memory_limit", |c| c.sandbox.limits.run_memory_limit = Some(1)),
        ("max_commands", |c| c.sandbox.limits.max_commands = Some(1_000_001)),
        ("max_spawned_together", |c| {
            c.sandbox.limits.max_spawned_together = Some(1_000_001);
        }),
        ("run_memory_limit", |c| {
            let limits = ScriptLimits { run_memory_limit: Some(17 * MIB), ..Default::default() };
            c.sandbox.scripts.insert("mods/".to_owned(), limits);
        }),
        ("sandbox.scripts", |c| _ = c.sandbox.scripts.insert("/mods".to_owned(), limits(1))),
        ("sandbox.scripts", |c| _ = c.sandbox.scripts.insert(String::new(), limits(1))),
    ];
    for (field, change) in cases {
        let mut config = LuaPoolConfig::default();
        change(&mut config);
        assert_eq!(wrong_field(&config), *field);
    }
}

#[test]
fn the_borders_of_each_range_are_allowed() {
    let config = LuaPoolConfig {
        pool: PoolConfig { memory_limit: MIB, ..PoolConfig::default() },
        run_time_limit: Duration::from_micros(10),
        frame_budget: Some(Duration::from_micros(10)),
        max_log_lines: 0,
        max_messages: 0,
        max_commands: 1_000_000,
        max_value_size: MIB,
        max_failures: 0,
        retry_interval: 1,
        max_retry_interval: 1,
        run_memory_limit: Some(256 * 1024),
        sandbox: SandboxConfig {
            libraries: BTreeSet::new(),
            modules: Some(BTreeSet::new()),
            limits: ScriptLimits {
                run_time_limit: Some(Duration::from_secs(60)),
                run_memory_limit: Some(MIB),
                allow_non_finite: Some(true),
                max_commands: Some(0),
                max_spawned_together: Some(1_000_000),
            },
            scripts: BTreeMap::from([("mods/".to_owned(), ScriptLimits::untrusted())]),
        },
    };
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn ron_text_has_the_fields_of_the_pool_beside_the_others() {
    let text = r#"(
        max_size: 4, // one per thread
        acquire_timeout: "20ms",
        frame_budget: "4ms",
        leak_threshold: None,
    )"#;
    let expected = LuaPoolConfig {
        pool: PoolConfig {
            max_size: 4,
            acquire_timeout: Duration::from_millis(20),
            leak_threshold: None,
            ..PoolConfig::default()
        },
        frame_budget: Some(Duration::from_millis(4)),
        ..LuaPoolConfig::default()
    };
    assert_eq!(LuaPoolConfig::from_ron(text), Ok(expected));
    assert_eq!(LuaPoolConfig::from_ron("()"), Ok(LuaPoolConfig::default()));
}

#[test]
fn a_written_configuration_reads_back_the_same() {
    let config = LuaPoolConfig {
        pool: PoolConfig { acquire_timeout: Duration::from_micros(1500), ..PoolConfig::default() },
        frame_budget: Some(Duration::from_micros(1500)),
        ..LuaPoolConfig::default()
    };
    let text = ron::to_string(&config).expect("a configuration is plain data");
    // Plain RON writes `Some(…)` in full, which the reader understands as well.
    assert_eq!(LuaPoolConfig::from_ron(&text), Ok(config), "{text}");
}

#[test]
fn an_unknown_ron_field_is_named_with_its_place() {
    let text = "(\n    max_size: 4,\n    max_comands: 5,\n)";
    let Err(ConfigError::Syntax { line, column, message }) = LuaPoolConfig::from_ron(text) else {
        panic!("there is no such field")
    };
    assert_eq!((line, column), (3, 5));
    for part in ["max_comands", "max_commands", "max_size"] {
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn a_builder_sets_fields_and_checks_the_whole() {
    let built = LuaPoolConfig::builder().max_size(4).max_commands(7).leak_threshold(None).build();
    let expected = LuaPoolConfig {
        pool: PoolConfig { max_size: 4, leak_threshold: None, ..PoolConfig::default() },
        max_commands: 7,
        ..LuaPoolConfig::default()
    };
    assert_eq!(built, Ok(expected));
    let pool = PoolConfig { max_size: 3, ..PoolConfig::default() };
    let built = LuaPoolConfig::builder().pool(pool).min_size(1).build().expect("it is valid");
    assert_eq!(built.pool, PoolConfig { min_size: 1, ..pool });
    let wrong = LuaPoolConfig::builder().memory_limit(MIB).max_value_size(2 * MIB).build();
    let error = wrong.expect_err("no value is larger than a VM").to_string();
    assert!(error.contains("`max_value_size` is 2097152: allowed is"), "{error}");
}

#[test]
fn a_sandbox_is_written_as_what_differs_from_a_preset() {
    let sandbox = |text: &str| LuaPoolConfig::from_ron(text).expect(text).sandbox;
    assert_eq!(sandbox("(sandbox: ())"), SandboxConfig::untrusted());
    assert_eq!(sandbox("(sandbox: (preset: untrusted))"), SandboxConfig::untrusted());
    assert_eq!(sandbox("(sandbox: (preset: trusted))"), SandboxConfig::trusted());
    let text = r#"(
        sandbox: (
            preset: trusted,
            libraries: [math, string],
            modules: ["json"],
            scripts: {
                "scripts/boss.luau": (run_time_limit: "8ms", run_memory_limit: 1048576),
                "scripts/": (preset: trusted, run_memory_limit: 2097152),
                "mods/": (preset: untrusted),
                "tools/": (preset: trusted, run_time_limit: "1s"),
            },
        ),
    )"#;
    let memory = |bytes, limits| ScriptLimits { run_memory_limit: Some(bytes), ..limits };
    let rules = [
        ("scripts/boss.luau", memory(MIB, limits(8))),
        ("scripts/", memory(2 * MIB, ScriptLimits::trusted())),
        ("mods/", ScriptLimits::default()),
        (
            "tools/",
            ScriptLimits { max_commands: Some(2560), allow_non_finite: Some(true), ..limits(1000) },
        ),
    ];
    let expected = SandboxConfig {
        libraries: BTreeSet::from([Library::Math, Library::String]),
        modules: Some(BTreeSet::from(["json".to_owned()])),
        limits: ScriptLimits::trusted(),
        scripts: rules.map(|(rule, limits)| (rule.to_owned(), limits)).into(),
    };
    assert_eq!(sandbox(text), expected);
    let config = LuaPoolConfig { sandbox: expected, ..LuaPoolConfig::default() };
    let text = ron::to_string(&config).expect("a configuration is plain data");
    assert_eq!(LuaPoolConfig::from_ron(&text), Ok(config), "{text}");
}

#[test]
fn a_wrong_sandbox_is_told_with_field_value_and_what_is_allowed() {
    for (text, says) in [
        (
            "(sandbox: (scripts: {\"mods/\": (run_time_limit: \"1h\")}))",
            "`run_time_limit` is 3600s for \"mods/\" in `sandbox.scripts`: allowed is 10us to 1min",
        ),
        (
            "(sandbox: (limits: (run_memory_limit: 5)))",
            "`run_memory_limit` is 5 in `sandbox.limits`: allowed is 262144 (256 KiB) to \
             `memory_limit`, which is 16777216",
        ),
        (
            "(sandbox: (scripts: {\"../x\": ()}))",
            "`sandbox.scripts` is {\"../x\": …}: allowed is the path of an asset such as \
             \"scripts/boss.luau\", or a folder such as \"scripts/\"",
        ),
        ("(retry_interval: 4000)", "allowed is 0 to `max_retry_interval`, which is 3600"),
        ("(sandbox: (libraries: [maths]))", "at line 1, column 24"),
        ("(sandbox: (preset: friendly))", "at line 1"),
        ("(sandbox: (library: [math]))", "`library`"),
        ("(sandbox: (scripts: {\"mods/\": (time: \"1h\")}))", "`time`"),
    ] {
        let error = LuaPoolConfig::from_ron(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
}

#[test]
fn numbers_and_durations_that_are_none_are_told_with_their_place() {
    for (text, says) in [
        ("(run_time_limit: \"5\")", "at line 1, column 1"),
        ("(run_time_limit: 5)", "at line 1, column 1"),
        ("(max_commands: -1)", "at line 1, column"),
        ("(\n  max_size: 4,\n  max_size: 5,\n)", "at line 3, column"),
        ("(run_time_limit: \"18446744073709551615s\")", "`run_time_limit` is 184467"),
        ("(sandbox: (libraries: [math, string, math]))", "Math is there twice"),
        ("(sandbox: (modules: [\"json\", \"json\"]))", "\"json\" is there twice"),
        ("(sandbox: (scripts: {\"a/\": (), \"a/\": ()}))", "\"a/\" is there twice"),
        ("(sandbox: (scripts: {\"a/\": (run_time_limit: \"-1s\")}))", "at line 1, column"),
    ] {
        let error = LuaPoolConfig::from_ron(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert_eq!(LuaPoolConfig::from_ron("\u{feff}()"), Ok(LuaPoolConfig::default()));
}
