//! A plugin, or a call, that is missing: the app says which, and what to do about it.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;

use bevy::app::{App, TaskPoolPlugin};
use bevy::diagnostic::FrameCountPlugin;
use bevy::prelude::*;
use bevy::time::TimePlugin;
use bevy_lua_pool::prelude::*;
use common::{Lab, keep_log, log};

/// What an app says when it stops.
#[track_caller]
fn panics(body: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(body)).expect_err("it goes on");
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .expect("a text with the reason")
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
}

/// What an app without task pools says: those are the process's, so nobody else may have made them before.
fn without_task_pools() -> &'static str {
    static SAID: OnceLock<String> = OnceLock::new();
    SAID.get_or_init(|| {
        panics(|| {
            let mut app = App::new();
            app.add_plugins((TimePlugin, AssetPlugin::default(), LuaPoolPlugin::default()));
            app.finish();
            app.cleanup();
            app.update();
        })
    })
}

#[test]
fn without_task_pools_the_app_says_that_it_needs_them() {
    assert_says(without_task_pools(), &["LuaPoolPlugin", "`TaskPoolPlugin`", "add"]);
}

#[test]
fn without_assets_the_app_says_that_it_needs_them_first() {
    without_task_pools();
    let text = panics(|| {
        App::new().add_plugins((MinimalPlugins, LuaPoolPlugin::default()));
    });
    assert_says(&text, &["LuaPoolPlugin", "`AssetPlugin`", "before", "add"]);
    // Too late is as bad.
    let text = panics(|| {
        App::new().add_plugins((MinimalPlugins, LuaPoolPlugin::default(), AssetPlugin::default()));
    });
    assert_says(&text, &["LuaPoolPlugin", "`AssetPlugin`", "before"]);
}

#[test]
fn without_time_the_app_says_that_it_needs_it() {
    without_task_pools();
    let text = panics(|| {
        let mut app = App::new();
        app.add_plugins((
            TaskPoolPlugin::default(),
            FrameCountPlugin,
            AssetPlugin::default(),
            LuaPoolPlugin::default(),
        ));
        app.finish();
        app.cleanup();
        app.update();
    });
    assert_says(&text, &["LuaPoolPlugin", "`TimePlugin`", "add"]);
}

#[test]
fn an_app_that_was_not_finished_says_so() {
    without_task_pools();
    let app = || {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default(), LuaPoolPlugin::default()));
        app
    };
    let text = panics(|| app().update());
    assert_says(&text, &["LuaPoolPlugin", "`App::finish`"]);
    // Whichever of its schedules runs first.
    let text = panics(|| app().world_mut().run_schedule(FixedUpdate));
    assert_says(&text, &["LuaPoolPlugin", "`App::finish`"]);
    let mut app = app();
    app.finish();
    app.cleanup();
    app.update();
}

#[cfg(feature = "diagnostics")]
#[test]
fn diagnostics_may_be_added_before_and_after_the_pool() {
    without_task_pools();
    for first in [true, false] {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, AssetPlugin::default()));
        if first {
            app.add_plugins((LuaDiagnosticsPlugin, LuaPoolPlugin::default()));
        } else {
            app.add_plugins((LuaPoolPlugin::default(), LuaDiagnosticsPlugin));
        }
        app.finish();
        app.cleanup();
        app.update();
    }
}

#[test]
fn what_shows_the_pool_says_that_there_is_none() {
    without_task_pools();
    keep_log();
    #[cfg(feature = "diagnostics")]
    {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, LuaDiagnosticsPlugin));
        app.finish();
        app.cleanup();
        app.update();
        assert_says(&log(), &["LuaDiagnosticsPlugin", "LuaPoolPlugin"]);
    }
    #[cfg(feature = "panel")]
    {
        let mut app = App::new();
        app.add_plugins((MinimalPlugins, LuaOverlayPlugin::default()));
        app.finish();
        app.cleanup();
        app.update();
        assert_says(&log(), &["LuaOverlayPlugin"]);
    }
}

#[derive(Component, Reflect, Default)]
struct Late {
    n: f64,
}

#[test]
fn what_is_registered_is_there_whenever_it_is_registered() {
    without_task_pools();
    // Before the plugin.
    let mut app = App::new();
    app.add_lua_function("early", |(): ()| 1.0);
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), LuaPoolPlugin::default()));
    app.add_lua_function("later", |(): ()| 2.0);
    app.finish();
    app.cleanup();
    app.add_lua_function("last", |(): ()| 3.0);
    let source = "function on_update(self) self.sum = early() + later() + last() end";
    let script = LuaScript::from_source("sum.luau", source).expect("it compiles");
    let script = app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    let entity = app.world_mut().spawn(LuaScripts::new(script)).id();
    app.update();
    let states = app.world().get::<ScriptStates>(entity).expect("it ran");
    let state = states.get("sum.luau").expect("it ran");
    assert_eq!(state.get("sum"), &6.0.into());
}

#[test]
fn what_a_command_of_a_script_registers_is_there_in_the_next_frame() {
    without_task_pools();
    let mut lab = Lab::new();
    lab.app.add_lua_function("unlock", |ctx: &mut ScriptContext<'_>, (): ()| {
        ctx.queue(|world: &mut World| {
            world.add_lua_function("unlocked", |(): ()| 7.0).expose_component::<Late>();
        })
    });
    let source = "
        function on_start(self) unlock() end
        function on_update(self)
            self.found = unlocked and unlocked()
            if unlocked then entity.Late.n = 5 end
        end";
    let script = lab.script("a.luau", source);
    let entity = lab.app.world_mut().spawn((LuaScripts::new(script), Late::default())).id();
    lab.frames(2);
    assert_eq!(lab.field(entity, "found"), 7.0.into());
    assert_eq!(lab.app.world().get::<Late>(entity).expect("it is there").n, 5.0);
    assert_eq!(lab.failures(), Vec::<String>::new());
}
