//! Changes are applied the same however many there are, and are noted as changes.

use bevy::MinimalPlugins;
use bevy::app::App;
use bevy::asset::{AssetPlugin, Assets};
use bevy::prelude::Ref;

use super::*;
use crate::config::LuaPoolConfig;
use crate::plugin::LuaPoolPlugin;
use crate::script::{LuaScript, LuaScripts};

/// So few that they are looked up, and so many that they are swept.
const COUNTS: [usize; 2] = [10, 2 * MIN_SWEPT];

fn crowd(source: &str, count: usize) -> App {
    let patience = std::time::Duration::from_secs(60);
    let config =
        LuaPoolConfig { run_time_limit: patience, max_failures: 2, ..LuaPoolConfig::default() };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    let mut app = App::new();
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let world = app.world_mut();
    let script = LuaScript::from_source("crowd", source).unwrap();
    let script = world.resource_mut::<Assets<LuaScript>>().add(script);
    world.spawn_batch(vec![LuaScripts::new(script); count]).for_each(drop);
    app
}

#[test]
fn a_state_is_changed_in_the_frames_in_which_it_is_and_in_no_other() {
    for count in COUNTS {
        let source = "function on_start(self) self.n = 0 end
            function on_update(self) self.n += 1 self.half = self.n // 2 end";
        let mut app = crowd(source, count);
        app.update();
        let mut idle = crowd(&source.replace("self.n += 1 self.half = self.n // 2", ""), count);
        idle.update();
        for _ in 0..3 {
            for (app, expected) in [(&mut app, count), (&mut idle, 0)] {
                app.world_mut().clear_trackers();
                let before = app.world_mut().increment_change_tick();
                app.update();
                let now = app.world_mut().change_tick();
                let mut states = app.world_mut().query::<Ref<ScriptStates>>();
                let changed = states.iter(app.world());
                let changed =
                    changed.filter(|states| states.last_changed().is_newer_than(before, now));
                assert_eq!(changed.count(), expected, "of {count}");
            }
        }
    }
}

#[test]
fn a_success_forgets_a_failure_however_many_there_are() {
    for count in COUNTS {
        let mut app = crowd(
            "function on_update(self)
                assert(self.good)
            end",
            count,
        );
        for frame in 0..9 {
            let mut states = app.world_mut().query::<&mut ScriptStates>();
            for mut states in states.iter_mut(app.world_mut()) {
                if let Some(state) = states.get_mut("crowd") {
                    state.set("good", frame % 2 == 1);
                }
            }
            app.update();
            let mut states = app.world_mut().query::<&ScriptStates>();
            assert!(!states.iter(app.world()).any(|states| states.is_put_aside("crowd")));
        }
    }
}

#[test]
fn set_bits_are_numbers() {
    let left = [1 << 3 | 1 << 63, 0, 1];
    assert_eq!(set_bits(&left).collect::<Vec<_>>(), [3, 63, 128]);
    assert_eq!(set_bits(&[]).count(), 0);
}
