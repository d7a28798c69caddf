//! The end of an app, at any moment: nothing hangs, and no VM is left.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use bevy::prelude::*;
use bevy_lua_pool::pool::PoolError;
use bevy_lua_pool::prelude::*;
use common::Lab;

/// Long enough never to pass in a test that works.
const LONG: Duration = Duration::from_secs(60);

const COUNTS: &str = "function on_update(self) self.n = (self.n or 0) + 1 end";

fn pool(lab: &Lab) -> LuaPool {
    lab.app.world().resource::<LuaPool>().clone()
}

fn fails() {
    panic!("the game has a bug");
}

#[test]
fn an_app_that_panics_in_the_middle_of_a_frame_gives_all_vms_back() {
    for before in [ScriptSystems::Execute, ScriptSystems::Apply, ScriptSystems::Maintain] {
        let mut lab = Lab::new();
        lab.entity("a.luau", COUNTS);
        lab.frame();
        lab.app.add_systems(Update, fails.after(ScriptSystems::Collect).before(before));
        let pool = pool(&lab);
        assert!(catch_unwind(AssertUnwindSafe(|| lab.frame())).is_err());
        assert_eq!(pool.vms().stats().leased, 0);
        drop(lab);
        assert!(pool.vms().close(LONG));
        let stats = pool.vms().stats();
        assert_eq!((stats.idle, stats.created - stats.destroyed), (0, 0), "{stats:?}");
    }
}

#[test]
fn an_app_may_be_dropped_while_a_thread_has_one_of_its_vms() {
    let mut lab = Lab::new();
    lab.entity("a.luau", COUNTS);
    lab.frame();
    let (app_gone, is_gone) = channel();
    let (leased, is_leased) = channel();
    let pool = pool(&lab);
    let borrower = thread::spawn(move || {
        let vm = pool.vms().acquire_timeout(LONG).expect("one is free");
        leased.send(()).expect("somebody waits");
        is_gone.recv_timeout(LONG).expect("the app goes");
        assert!(!vm.is_spent());
        drop(vm);
        pool.vms().stats()
    });
    is_leased.recv_timeout(LONG).expect("it gets one");
    drop(lab);
    app_gone.send(()).expect("somebody waits");
    let stats = borrower.join().expect("the VM is as good as ever");
    assert_eq!((stats.leased, stats.created - stats.destroyed), (0, stats.idle as u64));
}

#[test]
fn a_pool_that_is_closed_under_a_running_app_runs_nothing_and_says_why() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", COUNTS);
    lab.frames(2);
    let before = lab.field(entity, "n");
    let pool = pool(&lab);
    assert!(pool.vms().close(LONG));
    lab.frames(3);
    assert!(matches!(pool.vms().acquire(), Err(PoolError::Closed)));
    assert_eq!(lab.field(entity, "n"), before, "what is due waits, and nobody crashes");
    assert_eq!(lab.snapshot().frame.deferred, 1);
}
