//! Configuration: ranges, RON, and what errors say.

use std::time::Duration;

use crate::pool::{ConfigError, Overflow, PoolConfig};

const MIB: usize = 1024 * 1024;
const HOUR: Duration = Duration::from_secs(60 * 60);
const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);

fn wrong_field(config: &PoolConfig) -> &'static str {
    match config.validate() {
        Err(ConfigError::Invalid { field, value, .. }) => {
            assert!(!value.is_empty());
            field
        }
        other => panic!("expected an invalid field, got {other:?}"),
    }
}

fn syntax(text: &str) -> (usize, usize, String) {
    match PoolConfig::from_ron(text) {
        Err(ConfigError::Syntax { line, column, message }) => (line, column, message),
        other => panic!("expected a syntax error, got {other:?}"),
    }
}

#[test]
fn the_default_is_valid_and_documented() {
    let config = PoolConfig::default();
    assert_eq!(config.validate(), Ok(()));
    assert_eq!((config.min_size, config.max_size), (2, 10));
    assert_eq!(config.overflow, Overflow::Wait);
    assert_eq!(config.acquire_timeout, Duration::from_millis(50));
    assert_eq!(config.create_timeout, Duration::from_secs(5));
    assert_eq!(config.reset_timeout, Duration::from_millis(100));
    assert_eq!(config.health_check_interval, Duration::from_secs(30));
    assert_eq!(config.lifetime_jitter, 0.1);
    assert_eq!(config.max_use_count, 1000);
    assert_eq!(config.leak_threshold, Some(Duration::from_secs(30)));
    assert_eq!(config.max_resting_memory, None);
    assert_eq!(config.max_idle_time, Duration::from_secs(300));
    assert_eq!(config.max_lifetime, Duration::from_secs(1800));
    assert_eq!(config.memory_limit, 16 * 1024 * 1024);
}

#[test]
fn each_wrong_value_names_its_field() {
    type Change = fn(&mut PoolConfig);
    let cases: &[(&str, Change)] = &[
        ("min_size", |c| c.min_size = 11),
        ("min_size", |c| (c.min_size, c.max_size) = (3, 1)),
        ("max_size", |c| c.max_size = 0),
        ("max_size", |c| c.max_size = 1025),
        ("acquire_timeout", |c| c.acquire_timeout = HOUR * 2),
        ("create_timeout", |c| c.create_timeout = Duration::ZERO),
        ("create_timeout", |c| c.create_timeout = HOUR * 2),
        ("reset_timeout", |c| c.reset_timeout = Duration::from_micros(999)),
        ("reset_timeout", |c| c.reset_timeout = Duration::MAX),
        ("health_check_interval", |c| c.health_check_interval = Duration::ZERO),
        ("health_check_interval", |c| c.health_check_interval = YEAR * 2),
        ("max_resting_memory", |c| c.max_resting_memory = Some(64 * 1024 - 1)),
        ("max_resting_memory", |c| c.max_resting_memory = Some(16 * MIB + 1)),
        ("max_idle_time", |c| c.max_idle_time = Duration::ZERO),
        ("max_idle_time", |c| c.max_idle_time = YEAR * 2),
        ("max_lifetime", |c| c.max_lifetime = Duration::from_micros(999)),
        ("max_lifetime", |c| c.max_lifetime = Duration::MAX),
        ("lifetime_jitter", |c| c.lifetime_jitter = -0.1),
        ("lifetime_jitter", |c| c.lifetime_jitter = 0.6),
        ("lifetime_jitter", |c| c.lifetime_jitter = f64::NAN),
        ("lifetime_jitter", |c| c.lifetime_jitter = f64::INFINITY),
        ("leak_threshold", |c| c.leak_threshold = Some(Duration::ZERO)),
        ("memory_limit", |c| c.memory_limit = MIB - 1),
    ];
    for (field, change) in cases {
        let mut config = PoolConfig::default();
        change(&mut config);
        assert_eq!(wrong_field(&config), *field);
    }
}

#[test]
fn the_borders_of_each_range_are_allowed() {
    let config = PoolConfig {
        min_size: 1024,
        max_size: 1024,
        overflow: Overflow::Defer,
        acquire_timeout: Duration::ZERO,
        create_timeout: Duration::from_millis(1),
        reset_timeout: HOUR,
        health_check_interval: YEAR,
        max_idle_time: Duration::from_millis(1),
        max_lifetime: YEAR,
        lifetime_jitter: 0.5,
        max_use_count: 0,
        leak_threshold: None,
        max_resting_memory: Some(64 * 1024),
        memory_limit: MIB,
    };
    assert_eq!(config.validate(), Ok(()));
}

#[test]
fn the_first_wrong_field_is_reported_and_the_text_says_what_is_allowed() {
    let config = PoolConfig { max_size: 0, memory_limit: 0, ..PoolConfig::default() };
    let text = config.validate().expect_err("two fields are wrong").to_string();
    assert_eq!(
        text,
        "`max_size` is 0: allowed is 1 to 1024; change it, or leave it out to have the default"
    );
}

#[test]
fn ron_text_overrides_what_it_names_and_keeps_the_rest() {
    let text = r#"(
        max_size: 4, // one per thread
        acquire_timeout: "20ms",
        leak_threshold: None,
    )"#;
    let expected = PoolConfig {
        max_size: 4,
        acquire_timeout: Duration::from_millis(20),
        leak_threshold: None,
        ..PoolConfig::default()
    };
    assert_eq!(PoolConfig::from_ron(text), Ok(expected));
    assert_eq!(PoolConfig::from_ron("()"), Ok(PoolConfig::default()));
}

#[test]
fn a_written_configuration_reads_back_the_same() {
    let config =
        PoolConfig { leak_threshold: Some(Duration::from_micros(1500)), ..PoolConfig::default() };
    let text = ron::to_string(&config).expect("a configuration is plain data");
    // Plain RON writes `Some(…)` in full, which the reader understands as well.
    assert_eq!(PoolConfig::from_ron(&text), Ok(config), "{text}");
}

#[test]
fn an_unknown_ron_field_is_named_with_its_place() {
    let (line, column, message) = syntax("(\n    max_size: 4,\n    max_sise: 5,\n)");
    assert_eq!(line, 3);
    assert_eq!(column, 5);
    assert!(message.contains("max_sise") && message.contains("max_size"), "{message}");
}

#[test]
fn broken_ron_text_is_reported_with_its_place() {
    let (line, column, message) = syntax("(\n    max_size 4,\n)");
    assert_eq!(line, 2);
    assert!(column > 1 && !message.is_empty());
    let (line, _, message) = syntax("(\n    acquire_timeout: \"soon\",\n)");
    assert_eq!(line, 2);
    assert!(!message.is_empty());
}

#[test]
fn ron_text_with_a_forbidden_value_names_the_field() {
    let error = PoolConfig::from_ron("(max_size: 0)").expect_err("0 is not allowed");
    assert!(matches!(error, ConfigError::Invalid { field: "max_size", .. }), "{error}");
}

#[test]
fn a_builder_sets_fields_and_checks_the_whole() {
    let built =
        PoolConfig::builder().max_size(4).overflow(Overflow::Fail).leak_threshold(None).build();
    let expected = PoolConfig {
        max_size: 4,
        overflow: Overflow::Fail,
        leak_threshold: None,
        ..PoolConfig::default()
    };
    assert_eq!(built, Ok(expected));
    let wrong = PoolConfig::builder().min_size(5).max_size(4).build();
    let error = wrong.expect_err("the smallest size is above the largest").to_string();
    assert!(error.contains("`min_size` is 5: allowed is 0 to `max_size`, which is 4"), "{error}");
}

#[test]
fn every_field_can_be_written_in_ron() {
    let text = r#"(
        overflow: Defer,
        create_timeout: "1s",
        reset_timeout: "20ms",
        health_check_interval: "5s",
        max_resting_memory: 1048576,
    )"#;
    let expected = PoolConfig {
        overflow: Overflow::Defer,
        create_timeout: Duration::from_secs(1),
        reset_timeout: Duration::from_millis(20),
        health_check_interval: Duration::from_secs(5),
        max_resting_memory: Some(MIB),
        ..PoolConfig::default()
    };
    assert_eq!(PoolConfig::from_ron(text), Ok(expected));
}

#[test]
fn a_small_memory_limit_does_not_turn_every_lease_into_a_new_vm() {
    let config = |memory_limit| PoolConfig { memory_limit, ..PoolConfig::default() };
    assert_eq!(config(16 * MIB).resting_memory(), 14 * MIB);
    assert_eq!(config(MIB).resting_memory(), 4 * MIB, "more than such a VM can hold");
}

#[test]
fn the_default_of_min_size_is_never_too_much() {
    let config = PoolConfig { max_size: 1, ..PoolConfig::default() };
    assert_eq!((config.validate(), config.kept_size()), (Ok(()), 1));
    assert_eq!(PoolConfig::from_ron("(max_size: 1)"), Ok(config));
    assert_eq!(PoolConfig::builder().max_size(1).build(), Ok(config));
    let larger = PoolConfig { max_size: 10, ..config };
    assert_eq!((larger.validate(), larger.kept_size()), (Ok(()), 2), "the default again");
    for (min_size, kept) in [(0, 0), (1, 1), (2, 1)] {
        let config = PoolConfig { min_size, max_size: 1, ..PoolConfig::default() };
        assert_eq!((config.validate(), config.kept_size()), (Ok(()), kept));
    }
}

#[test]
fn numbers_and_durations_that_are_none_are_told_with_their_place() {
    for (text, says) in [
        ("(acquire_timeout: \"-5ms\")", "at line 1, column"),
        ("(acquire_timeout: \"99999999999999999999s\")", "at line 1, column"),
        ("(acquire_timeout: \"18446744073709551615s 1s\")", "at line 1, column"),
        ("(acquire_timeout: \"18446744073709551615s 1000000000ns\")", "a duration is too long"),
        ("(acquire_timeout: \"\")", "at line 1, column"),
        ("(acquire_timeout: \"5\")", "at line 1, column"),
        ("(acquire_timeout: 5)", "at line 1, column"),
        ("(acquire_timeout: NaN)", "at line 1, column"),
        ("(lifetime_jitter: NaN)", "`lifetime_jitter` is NaN"),
        ("(lifetime_jitter: inf)", "`lifetime_jitter` is inf"),
        ("(lifetime_jitter: 1e999)", "`lifetime_jitter` is inf"),
        ("(max_size: -1)", "at line 1, column"),
        ("(max_size: 18446744073709551616)", "at line 1, column"),
        ("(max_size: 1.5)", "at line 1, column"),
        ("(\n  max_size: 4,\n  max_size: 5,\n)", "at line 3, column"),
        ("(max_size: 4) (max_size: 5)", "at line 1, column 14"),
    ] {
        let error = PoolConfig::from_ron(text).expect_err(text).to_string();
        assert!(error.contains(says), "{text}: {error}");
    }
    assert_eq!(PoolConfig::from_ron("\u{feff}()"), Ok(PoolConfig::default()));
}
