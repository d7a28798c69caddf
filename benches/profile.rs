//! Where the nanoseconds of a frame go.
//!
//! ```text
//! cargo bench --bench profile
//! ```
//!
//! By system: the stage of 10,000 entities, cut where one set ends and the next begins. Within a run: by
//! scripts of which each does a little more than the one before, on one worker. At the end the floors:
//! what Luau, the clock and Bevy take for the bare thing.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::counting::Counting;
use common::{
    SCRIPT, Way, add_script, app, assert_no_failure, crowd, finish, is_quick, limited, nanos,
    side_by_side, spawn, stages, timed, undisturbed,
};
use mlua::{Function, Lua, ffi};

#[global_allocator]
static HEAP: Counting = Counting;

const ENTITIES: u32 = 10_000;

/// Each does a little more than one before it: its name, which one, and the script.
const STEPS: [(&str, usize, &str); 7] = [
    ("an idle script: collecting only", 0, "function on_start() end"),
    ("taking a unit, the clean VM, the call, settling up", 0, "function on_update() end"),
    (
        "state in and out, 1 field, unused",
        1,
        "function on_start(self) self.frames = 0 end function on_update(self) end",
    ),
    (
        "the field changed, and kept",
        2,
        "function on_start(self) self.frames = 0 end function on_update(self) self.frames += 1 end",
    ),
    ("`entity.Transform`", 1, "function on_update() local _ = entity.Transform end"),
    ("`.translation` read", 4, "function on_update() local _ = entity.Transform.translation end"),
    (
        "`.translation` changed, written, and applied",
        5,
        "local STEP = vector.create(1, 0, 0)
         function on_update() local t = entity.Transform t.translation += STEP end",
    ),
];

fn main() {
    println!("### Where the nanoseconds of a frame go\n");
    by_system();
    let run = within_a_run();
    let floor = floors();
    println!(
        "\nA run takes {run:.0} ns. The bare call and the bare component, by `get_mut`, would take \
         {floor:.0} ns; the difference is what the table before that takes apart."
    );
}

fn rounds(many: usize) -> usize {
    if is_quick() { 3 } else { many }
}

/// When the sets of the current frame began and ended.
#[derive(Resource, Default)]
struct Cuts(Vec<Instant>);

fn cut(mut cuts: ResMut<Cuts>) {
    cuts.0.push(Instant::now());
}

fn by_system() {
    const SETS: [&str; 4] = ["collect", "execute", "apply", "maintain"];
    println!("ns per entity, by system, {ENTITIES} entities\n");
    println!("| workers | {} | stage | whole frame |", SETS.join(" | "));
    println!("| ---: | ---: | ---: | ---: | ---: | ---: | ---: |");
    for workers in [1, 2] {
        let mut app = app(limited(Some(workers)));
        app.init_resource::<Cuts>().add_systems(
            Update,
            (
                cut.before(ScriptSystems::Collect),
                cut.after(ScriptSystems::Collect).before(ScriptSystems::Execute),
                cut.after(ScriptSystems::Execute).before(ScriptSystems::Apply),
                cut.after(ScriptSystems::Apply).before(ScriptSystems::Maintain),
                cut.after(ScriptSystems::Maintain),
            ),
        );
        finish(&mut app);
        let script = add_script(&mut app, "bench.luau", SCRIPT);
        spawn(&mut app, &[script], ENTITIES);
        let mut samples = vec![Vec::new(); SETS.len() + 2];
        let frames = 10 + if is_quick() { 20 } else { 200 };
        for frame in 0..frames {
            let start = Instant::now();
            app.update();
            let whole = start.elapsed();
            let cuts = std::mem::take(&mut app.world_mut().resource_mut::<Cuts>().0);
            assert_eq!(cuts.len(), SETS.len() + 1);
            // The first frames start the scripts and warm up.
            if frame >= 10 {
                let sets = cuts.windows(2).map(|pair| pair[1] - pair[0]);
                let stage = app.world().resource::<LuaSnapshot>().frame.time;
                for (samples, time) in samples.iter_mut().zip(sets.chain([stage, whole])) {
                    samples.push(nanos(time) / f64::from(ENTITIES));
                }
            }
        }
        assert_no_failure(&app);
        let columns: Vec<String> =
            samples.iter().map(|samples| format!("{:.1}", undisturbed(samples))).collect();
        println!("| {workers} | {} |", columns.join(" | "));
    }
}

/// Gives what all of it takes.
fn within_a_run() -> f64 {
    println!("\nns per entity, by what its script does, one worker, stage\n");
    println!("| what | more | in all |\n| --- | ---: | ---: |");
    let scripts = STEPS.iter().map(|(_, _, script)| *script).chain([SCRIPT]);
    let mut ways: Vec<Way> =
        scripts.map(|script| stages(crowd(limited(Some(1)), &[script], ENTITIES))).collect();
    let samples = side_by_side(&mut ways, rounds(21), Duration::from_millis(20));
    let all = |step: usize| undisturbed(&samples[step]) / f64::from(ENTITIES);
    for (step, (name, before, _)) in STEPS.iter().enumerate() {
        let more = if step == 0 { all(0) } else { all(step) - all(*before) };
        println!("| {name} | {more:.1} | {:.1} |", all(step));
    }
    println!("| all of it: the run of the frame bench | | {:.1} |", all(STEPS.len()));
    all(STEPS.len())
}

/// Gives what no run can do without.
fn floors() -> f64 {
    const CALLS: u32 = 10_000;
    println!("\n| floor | ns |\n| --- | ---: |");
    let floor = |name: &str, way: Way| {
        let samples = side_by_side(&mut [way], rounds(21), Duration::from_millis(5));
        let nanos = undisturbed(&samples[0]) / f64::from(CALLS);
        println!("| {name} | {nanos:.1} |");
        nanos
    };

    let lua = Lua::new();
    let empty = lua.load("return function() end").eval::<Function>().expect("it is a function");
    let call = floor("a raw `lua_pcall` of an empty function", raw_calls(lua, empty, CALLS));

    floor(
        "two looks at the clock",
        timed(move || {
            for _ in 0..CALLS {
                black_box(black_box(Instant::now()).elapsed());
            }
        }),
    );

    let mut world = World::new();
    world.spawn_batch(vec![Transform::default(); CALLS as usize]);
    let mut query = world.query::<&mut Transform>();
    floor(
        "a component, read, changed and written by a Bevy query",
        timed(move || {
            for mut transform in query.iter_mut(&mut world) {
                transform.translation += black_box(Vec3::X);
            }
        }),
    );

    let mut world = World::new();
    let entities: Vec<Entity> =
        world.spawn_batch(vec![Transform::default(); CALLS as usize]).collect();
    let component = floor(
        "the same by `World::get_mut`, entity by entity",
        timed(move || {
            for entity in &entities {
                let mut transform = world.get_mut::<Transform>(*entity).expect("it is there");
                transform.translation += black_box(Vec3::X);
            }
        }),
    );
    call + component
}

/// Calls a function that takes and gives nothing, in one protected stretch.
#[expect(unsafe_code, reason = "it is the raw call that is measured")]
fn raw_calls(lua: Lua, function: Function, calls: u32) -> Way {
    timed(move || {
        let loops = |state: *mut ffi::lua_State| {
            // SAFETY: the function is at 1; each call takes its copy off the stack and leaves nothing, and
            // mlua made room for more than that.
            unsafe {
                for _ in 0..calls {
                    ffi::lua_pushvalue(state, 1);
                    assert_eq!(ffi::lua_pcall(state, 0, 0, 0), 0);
                }
                ffi::lua_settop(state, 0);
            }
        };
        // SAFETY: `loops` leaves the stack as `()` wants it: empty.
        unsafe { lua.exec_raw::<()>(&function, loops) }.expect("nothing in it fails");
    })
}
