//! The steady state: frame after frame the same work, for which no VM is made, and nothing is asked of the
//! heap that grows with the number of runs.

#[path = "../benches/common/counting.rs"]
mod counting;

use std::time::Duration;

use bevy::asset::AssetPlugin;
use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use counting::{Counting, count, sites};

#[global_allocator]
static HEAP: Counting = Counting;

/// One read-modify-write of a component, and a counter in the state.
const SCRIPT: &str = "
local STEP = vector.create(1, 0, 0)

function on_start(self)
    self.frames = 0
end

function on_update(self, dt)
    self.frames += 1
    local t = entity.Transform
    t.translation += STEP
end
";

/// Frames that are counted.
const FRAMES: u32 = 20;
/// Frames until everything has the size that it needs.
const SETTLING: u32 = 10;

/// An app whose scripts have settled.
fn settled(entities: usize) -> App {
    let mut app = App::new();
    let config = LuaPoolConfig {
        pool: PoolConfig { acquire_timeout: Duration::from_secs(10), ..PoolConfig::default() },
        // On a busy machine too.
        run_time_limit: Duration::from_secs(10),
        ..LuaPoolConfig::default()
    };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin))
        .insert_resource(Time::<Fixed>::from_duration(Duration::from_secs(100_000)));
    app.finish();
    app.cleanup();
    let script = LuaScript::from_source("steady.luau", SCRIPT).expect("the script compiles");
    let script = app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    for _ in 0..entities {
        app.world_mut().spawn((Transform::default(), LuaScripts::new(script.clone())));
    }
    frames(&mut app, SETTLING);
    app
}

fn frames(app: &mut App, frames: u32) {
    for _ in 0..frames {
        app.update();
    }
}

/// That everybody was moved in every frame.
fn assert_moved(app: &mut App, frames: u32) {
    let mut transforms = app.world_mut().query::<(&Transform, &ScriptStates)>();
    for (transform, states) in transforms.iter(app.world()) {
        assert_eq!(f64::from(transform.translation.x), f64::from(frames));
        let state = states.get("steady.luau").expect("it has a state");
        assert_eq!(state.get("frames"), &f64::from(frames).into());
    }
}

/// One test: what other tests of this program ask for would be counted too.
#[test]
fn a_steady_frame_asks_the_heap_for_nothing_that_grows_with_the_runs_and_makes_no_vm() {
    // What tells Luau's blocks from Rust's: they are aligned to 16, all of them.
    let lua = mlua::Lua::new();
    let script = lua.load("local t = {} for i = 1, 1000 do t[i] = buffer.create(5000) end");
    let script = script.into_function().expect("it compiles");
    let (done, taken) = count(|| script.call::<()>(()));
    done.expect("there is memory");
    assert!(taken.luau >= 1_000, "mlua's allocator is not what it was: {taken:?}");
    assert!(taken.rust < 10, "mlua's allocator is not what it was: {taken:?}");
    drop(lua);

    let [few, many] = [500, 2_500].map(|entities| {
        let mut app = settled(entities);
        let created = app.world().resource::<LuaSnapshot>().pool.created;
        let ((), heap) = count(|| frames(&mut app, FRAMES));
        assert_moved(&mut app, SETTLING + FRAMES);
        let snapshot = app.world().resource::<LuaSnapshot>();
        assert_eq!((snapshot.total.failed, snapshot.total.deferred), (0, 0));
        assert_eq!(snapshot.pool.created, created, "no VM is made");
        heap
    });
    // 2,000 entities in 20 frames: with one block a run it would be 40,000. A few more are buffers that
    // begin small in every frame and double.
    let more = many.rust.saturating_sub(few.rust);
    let mut app = settled(2_500);
    assert!(
        more < 100,
        "{more} blocks more for 40,000 runs more; in one frame of 2,500 entities:\n{}",
        sites(|| app.update())
    );
}
