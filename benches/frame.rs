//! The frame: every entity reads its `Transform`, adds to it, writes it back, and counts in its state.
//!
//! ```text
//! cargo bench --bench frame
//! ```
//!
//! Four ways to do the same work, in one run, and their ratios at the end:
//!
//! - `pool`: this crate, whole frame (`App::update`), isolated, all limits on;
//! - `native`: a Bevy system in Rust, whole frame;
//! - `shared_vm`: a loop over one VM that all entities share, without isolation and without limits, by
//!   mlua's safe API: a userdata for the component, `self` kept in Lua;
//! - `vm_per_entity`: a new VM for each entity and frame.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bevy::asset::{AssetPlugin, Assets};
use bevy::prelude::*;
use bevy_lua_pool::LuaScript;
use bevy_lua_pool::prelude::*;
use criterion::{BenchmarkId, Criterion, Throughput};
use mlua::{Function, Lua, Table, UserData, UserDataFields, Vector};

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

const COUNTS: [u32; 3] = [1_000, 10_000, 100_000];

thread_local! {
    /// Nanoseconds per entity, by way and number of entities.
    static RESULTS: RefCell<BTreeMap<(u32, &'static str), Vec<f64>>> = const { RefCell::new(BTreeMap::new()) };
}

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    let mut group = criterion.benchmark_group("frame");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(3));
    group.sample_size(20);
    for count in COUNTS {
        group.throughput(Throughput::Elements(count.into()));
        let mut bench = |way: &'static str, mut frame: Box<dyn FnMut()>| {
            group.bench_function(BenchmarkId::new(way, count), |bencher| {
                bencher.iter_custom(|iterations| {
                    let start = Instant::now();
                    for _ in 0..iterations {
                        frame();
                    }
                    let took = start.elapsed();
                    let each = took.as_nanos() as f64 / iterations as f64 / f64::from(count);
                    RESULTS.with_borrow_mut(|all| all.entry((count, way)).or_default().push(each));
                    took
                });
            });
        };
        bench("native", native(count));
        bench("shared_vm", shared_vm(count));
        bench("pool", pool(count));
        // A hundred thousand VMs a frame tell nothing that a thousand don't.
        if count == COUNTS[0] {
            bench("vm_per_entity", vm_per_entity(count));
        }
    }
    group.finish();
    criterion.final_summary();
    print_ratios();
}

fn print_ratios() {
    let median = |count, way| {
        RESULTS.with_borrow(|all| {
            let mut samples = all.get(&(count, way))?.clone();
            samples.sort_by(f64::total_cmp);
            samples.get(samples.len() / 2).copied()
        })
    };
    println!("\nns per entity and frame (median), and how many times as fast the pool is");
    println!("{:>9} {:>16} {:>12} {:>10}", "entities", "way", "ns", "ratio");
    for count in COUNTS {
        let Some(ours) = median(count, "pool") else { continue };
        for way in ["native", "shared_vm", "pool", "vm_per_entity"] {
            if let Some(theirs) = median(count, way) {
                println!("{count:>9} {way:>16} {theirs:>12.1} {:>9.2}x", theirs / ours);
            }
        }
    }
}

fn pool(count: u32) -> Box<dyn FnMut()> {
    let mut app = App::new();
    // All limits are on; this one is so high that a busy machine doesn't end a run by accident.
    let config = PoolConfig { run_time_limit: Duration::from_secs(1), ..PoolConfig::default() };
    let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
    app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin));
    app.finish();
    app.cleanup();
    let script = LuaScript::from_source("bench.luau", SCRIPT).expect("the script compiles");
    let handle = app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
    for _ in 0..count {
        app.world_mut().spawn((Transform::default(), LuaScripts::new(handle.clone())));
    }
    // The first frame starts the scripts.
    app.update();
    app.update();
    let mut states = app.world_mut().query::<(&Transform, &ScriptStates)>();
    for (transform, states) in states.iter(app.world()) {
        let frames = states.get("bench.luau").expect("it has a state").get("frames").clone();
        assert_eq!((transform.translation.x, frames), (2.0, 2.0.into()), "the work is not done");
    }
    Box::new(move || app.update())
}

#[derive(Component)]
struct Frames(f64);

fn native(count: u32) -> Box<dyn FnMut()> {
    let mut app = App::new();
    app.add_plugins(MinimalPlugins).add_systems(
        Update,
        |mut entities: Query<(&mut Transform, &mut Frames)>| {
            for (mut transform, mut frames) in &mut entities {
                frames.0 += 1.0;
                transform.translation += black_box(Vec3::X);
            }
        },
    );
    for _ in 0..count {
        app.world_mut().spawn((Transform::default(), Frames(0.0)));
    }
    Box::new(move || app.update())
}

/// The component as mlua's users expose one.
#[derive(Clone, Copy)]
struct TransformHandle(Transform);

impl UserData for TransformHandle {
    fn add_fields<F: UserDataFields<Self>>(fields: &mut F) {
        fields.add_field_method_get("translation", |_, this| {
            let Vec3 { x, y, z } = this.0.translation;
            Ok(Vector::new(x, y, z))
        });
        fields.add_field_method_set("translation", |_, this, value: Vector| {
            this.0.translation = Vec3::new(value.x(), value.y(), value.z());
            Ok(())
        });
    }
}

fn load(lua: &Lua) -> Function {
    lua.load(SCRIPT).exec().expect("the script runs");
    lua.globals().get("on_update").expect("the script defines it")
}

fn run_once(lua: &Lua, update: &Function, this: &Table, transform: &mut Transform) {
    let entity = lua.create_table().expect("memory");
    let handle = lua.create_userdata(TransformHandle(*transform)).expect("memory");
    entity.raw_set("Transform", &handle).expect("memory");
    lua.globals().raw_set("entity", entity).expect("memory");
    update.call::<()>((this, 0.016)).expect("the script runs");
    *transform = handle.borrow::<TransformHandle>().expect("nobody else has it").0;
}

fn shared_vm(count: u32) -> Box<dyn FnMut()> {
    let lua = Lua::new();
    let update = load(&lua);
    let mut world = World::new();
    let mut states = Vec::new();
    for _ in 0..count {
        world.spawn(Transform::default());
        let state = lua.create_table().expect("memory");
        state.raw_set("frames", 0).expect("memory");
        states.push(state);
    }
    let mut query = world.query::<&mut Transform>();
    Box::new(move || {
        for (mut transform, state) in query.iter_mut(&mut world).zip(&states) {
            run_once(&lua, &update, state, &mut transform);
        }
    })
}

fn vm_per_entity(count: u32) -> Box<dyn FnMut()> {
    let mut world = World::new();
    let mut states = vec![0.0; count as usize];
    for _ in 0..count {
        world.spawn(Transform::default());
    }
    let mut query = world.query::<&mut Transform>();
    Box::new(move || {
        for (mut transform, frames) in query.iter_mut(&mut world).zip(&mut states) {
            let lua = Lua::new();
            lua.sandbox(true).expect("memory");
            let update = load(&lua);
            let state = lua.create_table().expect("memory");
            state.raw_set("frames", *frames).expect("memory");
            run_once(&lua, &update, &state, &mut transform);
            *frames = state.raw_get::<f64>("frames").expect("the script set it");
        }
    })
}
