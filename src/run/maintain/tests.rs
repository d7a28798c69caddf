use std::io;
use std::sync::{Mutex, PoisonError};

use bevy::log::tracing_subscriber::fmt;

use super::*;
use crate::config::LuaPoolConfig;
use crate::pool::{IncidentKind, PoolConfig};
use crate::testing::{TestApp, patient_config};

static LOG: Mutex<Vec<u8>> = Mutex::new(Vec::new());

struct LogBuffer;

impl io::Write for LogBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        LOG.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// One VM, and limits that a busy machine doesn't reach by accident.
fn with_one_vm() -> TestApp {
    let patient = patient_config();
    let pool = PoolConfig { max_size: 1, min_size: 0, ..patient.pool };
    TestApp::with_config(LuaPoolConfig { pool, ..patient })
}

#[test]
fn the_script_that_changed_a_vm_is_named_in_a_warning_and_in_the_metrics() {
    // Another test may have been first.
    let _ = fmt().with_ansi(false).with_writer(|| LogBuffer).try_init();
    let mut test = with_one_vm();
    let ran = "function on_update(self) end";
    test.spawn((), "quarantine/innocent.luau", ran);
    test.spawn((), "quarantine/rogue.luau", ran);
    // The VM is found sound after the first frame.
    test.frame();
    test.frame();
    {
        // No script can; so the test does it in the script's stead.
        let pool = test.app.world().resource::<LuaPool>().clone();
        let vm = pool.vms().acquire().unwrap();
        vm.thaw("math");
    }
    test.frame();

    let snapshot = test.snapshot();
    assert_eq!((snapshot.pool.quarantines, snapshot.pool.created), (1, 2));
    assert_eq!(snapshot.total.failed, 0, "nobody else notices");
    assert_eq!(snapshot.total.runs, 6);
    let [row] = &snapshot.incidents[..] else {
        panic!("{:?}", snapshot.incidents);
    };
    assert_eq!((row.incident.kind, row.incident.vm), (IncidentKind::ValidationFailed, Some(0)));
    assert_eq!((row.count, row.incident.program.as_deref()), (1, Some("quarantine/rogue.luau")));
    let counts: Vec<(&str, u64)> =
        snapshot.scripts.iter().map(|row| (&*row.path, row.quarantines)).collect();
    assert_eq!(counts, [("quarantine/innocent.luau", 0), ("quarantine/rogue.luau", 1)]);

    let log = LOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let log = String::from_utf8_lossy(&log);
    let warning = log.lines().find(|line| line.contains("rogue.luau")).unwrap_or(&log);
    for says in [
        "WARN",
        "VM 0, which ran \"quarantine/rogue.luau\" last: found changed, and is destroyed",
        "`math` can be written to",
        "these ran: quarantine/rogue.luau, quarantine/innocent.luau",
    ] {
        assert!(warning.contains(says), "{says:?} is not in {warning:?}");
    }
}

#[test]
fn the_same_incident_is_counted_and_kept_once() {
    let mut test = with_one_vm();
    let ran = "function on_update(self) end";
    test.spawn((), "quarantine/again.luau", ran);
    test.frame();
    for _ in 0..3 {
        test.frame();
        let pool = test.app.world().resource::<LuaPool>().clone();
        pool.vms().acquire().unwrap().thaw("table");
    }
    test.frame();
    let snapshot = test.snapshot();
    let counts: Vec<u64> = snapshot.incidents.iter().map(|row| row.count).collect();
    assert_eq!(counts, [3]);
    assert_eq!(snapshot.incidents[0].incident.vm, Some(2), "the most recent one");
    assert_eq!(snapshot.scripts[0].quarantines, 3);
}
