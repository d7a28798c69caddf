//! The main figures in Bevy's [`DiagnosticsStore`].

use bevy::app::{App, Last, Plugin};
use bevy::diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic};
use bevy::log::error;
use bevy::prelude::{DetectChanges, IntoSystem, Res, World};

use crate::pool::DestroyReason;
use crate::run::LuaScripting;
use crate::snapshot::LuaSnapshot;

/// Publishes [`LuaSnapshot`]'s main figures as diagnostics, and names their paths.
///
/// They are measured at the end of each frame ([`Last`]) in which scripts could run. Bevy's
/// `DiagnosticsPlugin` keeps their history.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuaDiagnosticsPlugin;

impl LuaDiagnosticsPlugin {
    /// VMs destroyed since the start for one reason: `lua_pool/destroyed/reset_failed`.
    #[must_use]
    pub const fn destroyed_by(reason: DestroyReason) -> DiagnosticPath {
        DiagnosticPath::const_new(match reason {
            DestroyReason::Idle => "lua_pool/destroyed/idle",
            DestroyReason::Lifetime => "lua_pool/destroyed/lifetime",
            DestroyReason::UseCount => "lua_pool/destroyed/use_count",
            DestroyReason::Evicted => "lua_pool/destroyed/evicted",
            DestroyReason::Spent => "lua_pool/destroyed/spent",
            DestroyReason::ResetFailed => "lua_pool/destroyed/reset_failed",
            DestroyReason::ResetTimedOut => "lua_pool/destroyed/reset_too_slow",
            DestroyReason::ValidationFailed => "lua_pool/destroyed/validation_failed",
            DestroyReason::Discarded => "lua_pool/destroyed/discarded",
            DestroyReason::OverMemory => "lua_pool/destroyed/over_memory",
            DestroyReason::Panicked => "lua_pool/destroyed/panicked",
            DestroyReason::Shrunk => "lua_pool/destroyed/shrunk",
            DestroyReason::Closed => "lua_pool/destroyed/closed",
            DestroyReason::TooLate => "lua_pool/destroyed/made_too_late",
            DestroyReason::Foreign => "lua_pool/destroyed/foreign",
        })
    }
}

macro_rules! diagnostics {
    (
        figures { $($name:ident, $path:literal, $suffix:literal, $doc:literal, $value:expr;)* }
        timings { $($p50:ident, $p90:ident, $p99:ident, $max:ident, $of:literal, $what:literal, $timing:ident;)* }
    ) => {
        impl LuaDiagnosticsPlugin {
            $(#[doc = $doc]
            pub const $name: DiagnosticPath = DiagnosticPath::const_new($path);)*

            $(#[doc = concat!("Milliseconds that ", $what, " took at most in half of all cases.")]
            pub const $p50: DiagnosticPath =
                DiagnosticPath::const_new(concat!("lua_pool/", $of, "/p50"));
            #[doc = concat!("Milliseconds that ", $what, " took at most in nine of ten cases.")]
            pub const $p90: DiagnosticPath =
                DiagnosticPath::const_new(concat!("lua_pool/", $of, "/p90"));
            #[doc = concat!("Milliseconds that ", $what, " took at most in 99 of 100 cases.")]
            pub const $p99: DiagnosticPath =
                DiagnosticPath::const_new(concat!("lua_pool/", $of, "/p99"));
            #[doc = concat!("Milliseconds that ", $what, " ever took at most.")]
            pub const $max: DiagnosticPath =
                DiagnosticPath::const_new(concat!("lua_pool/", $of, "/max"));)*

            fn register(app: &mut App) {
                $(app.register_diagnostic(Diagnostic::new(Self::$name).with_suffix($suffix));)*
                for path in [$(Self::$p50, Self::$p90, Self::$p99, Self::$max),*] {
                    app.register_diagnostic(Diagnostic::new(path).with_suffix("ms"));
                }
                for reason in DestroyReason::ALL {
                    app.register_diagnostic(Diagnostic::new(Self::destroyed_by(reason)));
                }
            }
        }

        fn measure(snapshot: Res<LuaSnapshot>, mut diagnostics: Diagnostics) {
            if !snapshot.is_changed() {
                return;
            }
            type It = LuaDiagnosticsPlugin;
            $(diagnostics.add_measurement(&It::$name, || {
                let value: fn(&LuaSnapshot) -> f64 = $value;
                value(&snapshot)
            });)*
            let pool = &snapshot.pool;
            $(for (path, time) in [
                (It::$p50, pool.$timing.p50),
                (It::$p90, pool.$timing.p90),
                (It::$p99, pool.$timing.p99),
                (It::$max, pool.$timing.max),
            ] {
                diagnostics.add_measurement(&path, || time.as_secs_f64() * 1e3);
            })*
            for (reason, count) in DestroyReason::ALL.into_iter().zip(pool.destroyed_by) {
                diagnostics.add_measurement(&It::destroyed_by(reason), || count as f64);
            }
        }
    };
}

diagnostics! {
    figures {
    FRAME_TIME, "lua_pool/frame_time", "ms", "Milliseconds that the frame spent on scripts.",
        |it| it.frame.time.as_secs_f64() * 1e3;
    RUNS, "lua_pool/runs", "", "Callbacks that ran in the frame.", |it| it.frame.runs as f64;
    FAILED, "lua_pool/failed", "", "Runs of the frame that failed.", |it| it.frame.failed as f64;
    DEFERRED, "lua_pool/deferred", "", "Runs that wait for the next frame.",
        |it| it.frame.deferred as f64;
    CONFLICTS, "lua_pool/conflicts", "", "Fields that two runs of the frame wrote.",
        |it| it.frame.conflicts as f64;
    LEASED, "lua_pool/leased", "", "VMs leased at the same time in the frame, at most.",
        |it| it.history.back().map_or(0.0, |sample| sample.leased as f64);
    IDLE, "lua_pool/idle", "", "VMs that wait for work.", |it| it.pool.idle as f64;
    CREATED, "lua_pool/created", "", "VMs made since the start.", |it| it.pool.created as f64;
    DESTROYED, "lua_pool/destroyed", "", "VMs destroyed since the start.",
        |it| it.pool.destroyed as f64;
    WAITING, "lua_pool/waiting", "", "Threads that wait for a VM.", |it| it.pool.waiting as f64;
    TIMEOUTS, "lua_pool/timeouts", "", "Leases since the start that were not to be had in time.",
        |it| it.pool.timeouts as f64;
    RESETS, "lua_pool/resets", "", "VMs wiped clean since the start.", |it| it.pool.resets as f64;
    RESET_ERRORS, "lua_pool/reset_errors", "", "VMs since the start that could not be wiped clean.",
        |it| it.pool.reset_errors as f64;
    CREATE_ERRORS, "lua_pool/create_errors", "", "VMs since the start that could not be made.",
        |it| it.pool.create_errors as f64;
    QUARANTINED, "lua_pool/quarantined", "", "VMs taken out of use since the start.",
        |it| it.pool.quarantines as f64;
    MEMORY, "lua_pool/memory", "KiB", "Memory of all VMs, in KiB.",
        |it| it.vms.iter().map(|vm| vm.memory_bytes).sum::<usize>() as f64 / 1024.0;
    }
    timings {
    WAIT_P50, WAIT_P90, WAIT_P99, WAIT_MAX, "wait", "the wait for a VM", wait;
    CREATE_P50, CREATE_P90, CREATE_P99, CREATE_MAX, "create", "the making of a VM", create;
    RESET_P50, RESET_P90, RESET_P99, RESET_MAX, "reset", "the reset of a VM", reset;
    LEASE_P50, LEASE_P90, LEASE_P99, LEASE_MAX, "lease", "a lease", use_time;
    }
}

impl Plugin for LuaDiagnosticsPlugin {
    fn build(&self, _: &mut App) {}

    fn finish(&self, app: &mut App) {
        if !app.world().contains_resource::<LuaScripting>() {
            error!("LuaDiagnosticsPlugin has nothing to measure: add `LuaPoolPlugin`");
            return;
        }
        Self::register(app);
        app.add_systems(Last, measure.pipe(on_this_thread));
    }
}

/// Makes the system that is piped into it run on the thread of the schedule: to hand it to another thread takes longer
/// than it does.
fn on_this_thread(_: &mut World) {}
