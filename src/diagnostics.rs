//! The main figures in Bevy's [`DiagnosticsStore`].

use bevy::app::{App, Plugin};
use bevy::diagnostic::{Diagnostic, DiagnosticPath, Diagnostics, RegisterDiagnostic};
use bevy::prelude::Res;

use crate::snapshot::LuaSnapshot;

/// Registers [`LuaSnapshot`]'s main figures as diagnostics, and names their paths. Added by
/// [`LuaPoolPlugin`](crate::LuaPoolPlugin).
///
/// Outside an app with `DiagnosticsPlugin` nobody reads them.
#[derive(Clone, Copy, Debug, Default)]
pub struct LuaDiagnosticsPlugin;

macro_rules! diagnostics {
    ($($name:ident, $path:literal, $suffix:literal, $doc:literal, $value:expr;)*) => {
        impl LuaDiagnosticsPlugin {
            $(#[doc = $doc]
            pub const $name: DiagnosticPath = DiagnosticPath::const_new($path);)*

            fn register(app: &mut App) {
                $(app.register_diagnostic(Diagnostic::new(Self::$name).with_suffix($suffix));)*
            }
        }

        pub(crate) fn measure(snapshot: Res<LuaSnapshot>, mut diagnostics: Diagnostics) {
            $(diagnostics.add_measurement(&LuaDiagnosticsPlugin::$name, || {
                let value: fn(&LuaSnapshot) -> f64 = $value;
                value(&snapshot)
            });)*
        }
    };
}

diagnostics! {
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
    WAIT_TIME, "lua_pool/wait_time", "ms", "Nine of ten waits for a VM were at most this long.",
        |it| it.pool.wait.p90.as_secs_f64() * 1e3;
    MEMORY, "lua_pool/memory", "KiB", "Memory of all VMs, in KiB.",
        |it| it.vms.iter().map(|vm| vm.memory_bytes).sum::<usize>() as f64 / 1024.0;
}

impl Plugin for LuaDiagnosticsPlugin {
    fn build(&self, app: &mut App) {
        Self::register(app);
    }
}
