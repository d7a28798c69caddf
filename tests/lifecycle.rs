//! Which callbacks run, when, and in which order.

mod common;

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::Lab;

const DIARY: &str = "
local function note(self, what) self.diary = (self.diary or '') .. what .. ' ' end
function on_start(self) note(self, 'start') end
function on_update(self, dt) note(self, 'update') end
function on_message(self, name, payload, sender) note(self, name) end
function on_reload(self) note(self, 'reload') end
";

#[test]
fn on_start_runs_once_and_before_everything_else() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", DIARY);
    lab.app.world_mut().write_message(ToScript::new(entity, "hello", ScriptValue::Nil));
    lab.frames(2);
    assert_eq!(lab.field(entity, "diary"), "start hello update update ".into());
}

#[test]
fn on_update_gets_the_frame_time_in_seconds() {
    let mut lab = Lab::new();
    let entity = lab.entity("a.luau", "function on_update(self, dt) self.t = (self.t or 0) + dt end");
    lab.frames(5);
    let ScriptValue::Number(t) = lab.field(entity, "t") else { panic!("no time") };
    assert!((t - 0.1).abs() < 1e-6, "{t}");
}
