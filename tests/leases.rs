//! What holds for a lease, whoever has it: the VM that comes back is the one that went out, the
//! configuration in force is the last one that was set, and figures name who had it.

mod common;

use std::panic::Location;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant};

use bevy_lua_pool::LuaPoolConfig;
use bevy_lua_pool::engine::ExecuteError;
use bevy_lua_pool::pool::{PoolConfig, VmPool};
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::sandbox::{Library, ScriptLimits};
use bevy_lua_pool::vm::{Api, LuauFactory, LuauResetter, Vm};
use bevy_lua_pool::{LuauPool, ScriptError, Setting};
use common::{Lab, patient};

const MIB: usize = 1024 * 1024;

/// A VM that the pool didn't make: scripts on it find more than they may.
fn foreign() -> Vm {
    let mut api = Api::default();
    api.add_function("spy").expect("the name is free");
    Vm::new(&api, 64 * MIB).expect("there is memory")
}

/// A pool of one VM.
fn one_vm() -> LuaPoolConfig {
    LuaPoolConfig { pool: PoolConfig { min_size: 0, max_size: 1, ..patient().pool }, ..patient() }
}

fn luau_pool(config: LuaPoolConfig) -> LuauPool {
    LuauPool::builder().config(config).build().expect("the configuration is valid")
}

fn run(pool: &LuauPool, source: &str) -> Result<ScriptValue, ExecuteError> {
    pool.execute(source, ScriptTable::default())
}

/// Whether a source is true.
#[track_caller]
fn holds(pool: &LuauPool, source: &str) -> bool {
    run(pool, source).expect(source) == true.into()
}

/// That so many foreign VMs were found and destroyed, and who brought them.
#[track_caller]
fn assert_found(vms: &VmPool<Vm>, brought_at: &[u32]) {
    let stats = vms.stats();
    assert_eq!(stats.destroyed, brought_at.len() as u64, "{stats:?}");
    assert_eq!(stats.idle, 0, "it is leased on");
    let incidents = vms.maintain(Instant::now()).incidents;
    assert_eq!(incidents.len(), brought_at.len(), "{incidents:?}");
    for line in brought_at {
        let place = format!("tests/leases.rs:{line}:");
        assert!(incidents.iter().any(|it| it.message.contains(&place)), "{place}: {incidents:?}");
    }
}

#[test]
fn a_vm_that_a_borrower_put_in_the_place_of_its_own_is_never_leased_on() {
    let pool = luau_pool(one_vm());
    let line = line!() + 1;
    *pool.vms().acquire().expect("it is free") = foreign();
    assert_found(pool.vms(), &[line]);
    assert!(holds(&pool, "spy == nil"));
}

#[test]
fn vms_that_changed_their_places_are_found_on_both_sides() {
    let [left, right] = [(); 2].map(|()| luau_pool(one_vm()));
    let line = line!() + 2;
    {
        let mut one = left.vms().acquire().expect("it is free");
        let mut other = right.vms().acquire().expect("it is free");
        std::mem::swap(&mut *one, &mut *other);
    }
    assert_found(left.vms(), &[line]);
    assert_found(right.vms(), &[line + 1]);

    // In one pool, too: each has its own memory limit, age and leases.
    let both = luau_pool(LuaPoolConfig {
        pool: PoolConfig { min_size: 0, max_size: 2, ..patient().pool },
        ..patient()
    });
    let line = line!() + 2;
    {
        let mut one = both.vms().acquire().expect("it is free");
        let mut other = both.vms().acquire().expect("there is room");
        std::mem::swap(&mut *one, &mut *other);
    }
    assert_found(both.vms(), &[line, line + 1]);
}

#[test]
fn a_vm_that_was_put_back_in_time_is_what_it_was() {
    let pool = luau_pool(one_vm());
    let mut lease = pool.vms().acquire().expect("it is free");
    let own = std::mem::replace(&mut *lease, foreign());
    *lease = own;
    drop(lease);
    assert_eq!((pool.vms().stats().idle, pool.vms().stats().destroyed), (1, 0));
    assert!(pool.vms().maintain(Instant::now()).incidents.is_empty());
}

#[test]
fn entities_never_run_on_a_vm_that_the_app_brought() {
    let mut lab = Lab::with_config(one_vm());
    let counts = "function on_update(self) self.n = (self.n or 0) + 1 self.spied = spy ~= nil end";
    let entity = lab.entity("a.luau", counts);
    lab.frame();
    let pool = lab.app.world().resource::<LuaPool>().clone();
    let line = line!() + 1;
    *pool.vms().acquire().expect("it is free") = foreign();
    lab.frames(3);
    assert_eq!(lab.field(entity, "spied"), false.into());
    assert_eq!(lab.field(entity, "n"), 4.0.into());
    let [row] = &lab.snapshot().incidents[..] else { panic!("{:?}", lab.snapshot().incidents) };
    assert!(row.incident.message.contains(&format!("tests/leases.rs:{line}:")), "{row:?}");
}

#[test]
fn a_run_that_begins_anew_gets_its_vm_in_the_pools_own_way() {
    let pool = luau_pool(one_vm());
    run(&pool, "1").expect("nothing is wrong with it");
    let error =
        run(&pool, "local t = {} while true do t[#t + 1] = {} end").expect_err("it is much");
    let ExecuteError::Failed(failure) = error else { panic!("{error}") };
    assert!(matches!(failure.error, ScriptError::OutOfMemory { .. }), "{failure}");
    let stats = pool.vms().stats();
    assert_eq!((stats.created, stats.idle), (stats.destroyed, 0), "{stats:?}");
    assert_eq!(stats.destroyed_by.iter().sum::<u64>(), stats.created, "each is counted: {stats:?}");
    assert!(pool.vms().maintain(Instant::now()).incidents.is_empty());
}

#[test]
fn another_configuration_is_in_force_from_the_next_run_on() {
    let pool = luau_pool(one_vm());
    assert!(holds(&pool, "#string.rep('x', 3) == 3 and #buffer.tostring(buffer.create(7)) == 7"));

    let sandbox = SandboxConfig {
        libraries: [Library::Math, Library::Table].into(),
        limits: ScriptLimits {
            run_time_limit: Some(Duration::from_millis(30)),
            ..ScriptLimits::default()
        },
        ..SandboxConfig::default()
    };
    let config = LuaPoolConfig {
        pool: PoolConfig { max_size: 2, ..one_vm().pool },
        max_log_lines: 1,
        sandbox,
        ..one_vm()
    };
    pool.set_config(config.clone()).expect("it is valid");
    assert!(holds(&pool, "string == nil and buffer == nil and math.abs(-1) == 1"));
    let error = run(&pool, "while true do end").expect_err("it never ends");
    let ExecuteError::Failed(failure) = error else { panic!("{error}") };
    let ScriptError::TimedOut { limit, .. } = failure.error else { panic!("{failure}") };
    assert_eq!(limit, Duration::from_millis(30));
    let error = run(&pool, "print(1) print(2)").expect_err("one line is allowed").to_string();
    assert!(error.contains("`max_log_lines`"), "{error}");
    assert_eq!(pool.vms().stats().max_size, 2);

    // Memory, of the VM and of the run.
    let config = LuaPoolConfig {
        pool: PoolConfig { memory_limit: 3 * MIB, ..config.pool },
        run_memory_limit: Some(MIB),
        ..config
    };
    pool.set_config(config.clone()).expect("it is valid");
    let error = run(&pool, "table.create(2^18)").expect_err("that is 4 MiB");
    let ExecuteError::Failed(failure) = error else { panic!("{error}") };
    let ScriptError::OutOfMemory { limit, setting, .. } = failure.error else {
        panic!("{failure}")
    };
    assert_eq!((limit, setting), (MIB, Setting::RunMemoryLimit));

    // One that is not valid changes nothing.
    let wrong = LuaPoolConfig {
        pool: PoolConfig { lifetime_jitter: 7.0, ..PoolConfig::default() },
        ..LuaPoolConfig::default()
    };
    assert!(pool.set_config(wrong).is_err());
    assert_eq!(pool.config(), config);
    assert!(holds(&pool, "string == nil"));

    pool.set_config(patient()).expect("it is valid");
    assert!(holds(&pool, "#string.rep('x', 3) == 3"));
}

#[test]
fn no_run_begins_on_a_vm_of_the_configuration_before() {
    let pool = luau_pool(LuaPoolConfig {
        pool: PoolConfig { max_size: 3, ..patient().pool },
        ..patient()
    });
    pool.vms().warm_up().expect("there is memory");
    // Leased while the configuration changes, idle later.
    let leases = [(); 2].map(|()| pool.vms().acquire().expect("there is room"));
    let libraries = [Library::Math].into();
    let sandbox = SandboxConfig { libraries, ..SandboxConfig::default() };
    pool.set_config(LuaPoolConfig {
        pool: PoolConfig { max_size: 3, ..patient().pool },
        sandbox,
        ..patient()
    })
    .expect("it is valid");
    drop(leases);
    for _ in 0..5 {
        assert!(holds(&pool, "string == nil"));
    }
}

#[test]
fn an_app_may_change_the_configuration_of_its_pool_by_another_handle() {
    let mut lab = Lab::with_config(one_vm());
    let entity = lab.entity("a.luau", "function on_update(self) self.found = string ~= nil end");
    lab.frame();
    assert_eq!(lab.field(entity, "found"), true.into());
    let mut pool = lab.app.world().resource::<LuaPool>().clone();
    let libraries = [Library::Math].into();
    let sandbox = SandboxConfig { libraries, ..SandboxConfig::default() };
    let config = LuaPoolConfig { sandbox, max_commands: 3, ..one_vm() };
    pool.set_config(config.clone()).expect("it is valid");
    lab.frame();
    assert_eq!(lab.field(entity, "found"), false.into());
    assert_eq!(lab.app.world().resource::<LuaPool>().config(), &config);
    // The pool of VMs has its own part of it.
    let sizes = PoolConfig { max_size: 2, ..config.pool };
    pool.vms().set_config(sizes).expect("it is valid");
    lab.frame();
    let expected = LuaPoolConfig { pool: sizes, ..config };
    assert_eq!(lab.app.world().resource::<LuaPool>().config(), &expected);
    assert_eq!(lab.field(entity, "found"), false.into());
}

#[test]
fn a_pool_of_ones_own_takes_another_configuration_as_well() {
    let config = one_vm().pool;
    let factory = LuauFactory::new(Arc::new(Api::default()), config.memory_limit);
    let pool = VmPool::new(config, factory, LuauResetter).expect("it is valid");
    drop(pool.acquire().expect("there is room"));
    let config = PoolConfig { memory_limit: 2 * MIB, ..config };
    pool.set_config(config).expect("it is valid");
    assert_eq!(pool.stats().destroyed, 1, "VMs of the old limit are replaced");
    pool.set_config(PoolConfig { max_size: 2, ..config }).expect("it is valid");
    drop(pool.acquire().expect("there is room"));
    pool.set_config(PoolConfig { max_size: 3, ..config }).expect("it is valid");
    assert_eq!(pool.stats().destroyed, 1, "and those that fit are not");
}

#[test]
fn the_place_of_a_lease_is_that_of_who_asked_for_the_run() {
    let cell: Arc<OnceLock<Weak<LuauPool>>> = Arc::default();
    let known = Arc::clone(&cell);
    let place = move |(): ()| -> String {
        let pool = known.get().and_then(Weak::upgrade).expect("it is there");
        let vms = pool.vms().vms();
        let place: &Location<'_> = vms[0].leased_at.expect("it is leased");
        format!("{}:{}", place.file(), place.line())
    };
    let pool = LuauPool::builder().config(one_vm()).function("place", place).build();
    let pool = Arc::new(pool.expect("the name is free"));
    cell.set(Arc::downgrade(&pool)).expect("once");
    let line = line!() + 1;
    let found = pool.execute("place()", ScriptTable::default()).expect("it runs");
    assert_eq!(found, format!("tests/leases.rs:{line}").into());
}

#[test]
fn the_last_program_tells_one_source_from_another() {
    let pool = luau_pool(one_vm());
    let last = |source: &str| {
        run(&pool, source).expect("nothing is wrong with it");
        let last = pool.vms().vms()[0].last_program.clone().expect("something ran");
        last.to_string()
    };
    assert_eq!(last("1 + 1"), "[string \"1 + 1\"]");
    assert_eq!(last("\n\n  local x = 2\nreturn x"), "[string \"local x = 2...\"]");
    let long = format!("return '{}'", "é".repeat(200));
    let shown = last(&long);
    assert!(shown.starts_with("[string \"return 'é") && shown.ends_with("...\"]"), "{shown}");
    assert!(shown.chars().count() < 100, "{shown}");
}

#[test]
fn a_source_that_has_a_name_goes_by_it_everywhere() {
    let limits =
        ScriptLimits { run_time_limit: Some(Duration::from_millis(30)), ..ScriptLimits::default() };
    let sandbox = SandboxConfig {
        scripts: [("rules/".to_owned(), limits)].into(),
        ..SandboxConfig::default()
    };
    let pool = luau_pool(LuaPoolConfig { sandbox, ..one_vm() });
    let named = |name: &str, source: &str| pool.execute_named(name, source, ScriptTable::default());
    assert_eq!(named("rules/tax.luau", "1 + 1").expect("it is Lua"), 2.0.into());
    assert_eq!(pool.vms().vms()[0].last_program.as_deref(), Some("rules/tax.luau"));
    // The same source by another name, and by none.
    for name in ["a.luau", "b.luau", "a.luau"] {
        let error = named(name, "error('no')").expect_err("it fails").to_string();
        assert!(error.starts_with(&format!("{name}:1: no")), "{error}");
    }
    let error = run(&pool, "error('no')").expect_err("it fails").to_string();
    assert!(error.starts_with("execute:1: no"), "{error}");
    let error = named("rules/endless.luau", "while true do end").expect_err("it never ends");
    let ExecuteError::Failed(failure) = error else { panic!("{error}") };
    let ScriptError::TimedOut { limit, .. } = failure.error else { panic!("{failure}") };
    assert_eq!(limit, Duration::from_millis(30), "that of the rule for its folder");
}
