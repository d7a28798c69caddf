//! The frame: every entity reads its `Transform`, adds to it, writes it back, and counts in its state.
//!
//! ```text
//! cargo bench --bench frame                  # a minute or two
//! BENCH_QUICK=1 cargo bench --bench frame    # a first look
//! cargo bench --bench frame -- threads       # one row: see `ROWS`
//! ```
//!
//! Prints tables: what an entity costs, and what that is to be, each measured in this run. What is compared
//! is measured in turn, round by round, and a ratio is the median of the rounds' own ratios: so a machine
//! that slows down or does something else meets both sides.
//!
//! - `pool`: this crate, isolated, all limits on;
//! - `native`: a Bevy system in Rust;
//! - `shared_vm`: a loop over one VM that all entities share, without isolation and without limits, by
//!   mlua's safe API: a userdata for the component, `self` kept in Lua;
//! - `vm_per_entity`: a new VM for each entity and frame.
//!
//! *Whole frame* is `App::update`, with all that an otherwise empty headless app does; *stage* is what the
//! scripts take of it, from collecting to applying.

mod common;

use std::hint::black_box;
use std::time::{Duration, Instant};

use bevy::prelude::*;
use bevy_lua_pool::pool::{DestroyReason, PoolStats};
use bevy_lua_pool::prelude::*;
use common::counting::{Counting, count};
use common::{
    SCRIPT, Way, add_script, app, assert_moved, assert_no_failure, crowd, finish, is_quick,
    limited, median, nanos, quantile, ratio, side_by_side, spawn, stages, timed, whole_frames,
};
use mlua::{Function, Lua, Table, UserData, UserDataFields, Vector};

#[global_allocator]
static HEAP: Counting = Counting;

/// The same without a state.
const STATELESS: &str = "
local STEP = vector.create(1, 0, 0)

function on_update()
    local t = entity.Transform
    t.translation += STEP
end
";

const IDLE: &str = "function on_start(self) self.frames = 0 end";

/// The rows of the table of targets, by a name to ask for.
const ROWS: [(&str, Measure); 11] = [
    ("shared", against_a_shared_vm),
    ("vms", against_a_vm_each),
    ("hundred_thousand", hundred_thousand),
    ("growth", growth),
    ("script_size", script_size),
    ("threads", threads),
    ("limits", limits),
    ("memory", memory),
    ("steady", steady_state),
    ("idle", idle),
    ("mixed", mixed),
];

fn main() {
    // `--bench` is cargo's.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let [way, count] = &args[..] {
        // For `benches/peers`: one way, one number.
        let nanos = nanos_per_entity(way, count.parse().expect("a number of entities"));
        println!("{nanos} {}", most_memory());
        return;
    }
    let wanted = args.first();
    if wanted.is_none() {
        print_costs();
    }
    println!("\n### Targets\n\n| what | wanted | measured | |\n| --- | --- | --- | --- |");
    for (name, measure) in ROWS {
        if wanted.is_some_and(|wanted| wanted != name) {
            continue;
        }
        for Row { what, wanted, measured, met } in measure() {
            let met = match met {
                None => "",
                Some(true) => "met",
                Some(false) => "**missed**",
            };
            println!("| {what} | {wanted} | {measured} | {met} |");
        }
    }
}

/// Measures something for the table of targets.
type Measure = fn() -> Vec<Row>;

/// A line of the table of targets.
struct Row {
    what: String,
    wanted: &'static str,
    measured: String,
    met: Option<bool>,
}

impl Row {
    fn new(what: &str, wanted: &'static str, measured: impl Into<String>, met: bool) -> Self {
        Self { what: what.to_owned(), wanted, measured: measured.into(), met: Some(met) }
    }

    /// No target, but good to know.
    fn beside(what: &str, measured: impl Into<String>) -> Self {
        Self { what: what.to_owned(), wanted: "", measured: measured.into(), met: None }
    }

    fn times(what: &str, wanted: &'static str, ratio: f64, met: bool) -> Self {
        Self::new(what, wanted, format!("{ratio:.2}x"), met)
    }
}

/// Rounds of a comparison.
fn rounds(many: usize) -> usize {
    if is_quick() { 3 } else { many }
}

/// For `benches/peers`: nanoseconds per entity, the median of some frames.
fn nanos_per_entity(way: &str, count: u32) -> f64 {
    let (script, workers) = match way {
        "pool" => (STATELESS, None),
        "pool_one_thread" => (STATELESS, Some(1)),
        "pool_with_state" => (SCRIPT, None),
        _ => panic!("there is no way {way}"),
    };
    let mut app = crowd(limited(workers), &[script], count);
    let mut samples = Vec::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(1500) {
        let frame = Instant::now();
        app.update();
        samples.push(nanos(frame.elapsed()) / f64::from(count));
    }
    let frames = samples.len() as f64 + 2.0;
    if way == "pool_with_state" {
        assert_moved(&mut app, frames);
    } else {
        assert_no_failure(&app);
        let mut transforms = app.world_mut().query::<&Transform>();
        for transform in transforms.iter(app.world()) {
            assert_eq!(f64::from(transform.translation.x), frames, "the work is not done");
        }
    }
    median(&samples)
}

/// The most memory that this process had, in KiB, where the system tells.
fn most_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_ascii_whitespace().next()?.parse().ok()).unwrap_or(0)
}

/// What an entity costs each way.
fn print_costs() {
    println!("### What an entity costs\n");
    println!(
        "ns per entity, in a whole frame; the pool uses {} threads, the others one\n",
        threads_in_use()
    );
    println!(
        "| entities | native system | one shared VM, nothing isolated | this crate | a new VM each |"
    );
    println!("| ---: | ---: | ---: | ---: | ---: |");
    for count in [1_000, 10_000, 100_000] {
        let pool = whole_frames(crowd(limited(None), &[SCRIPT], count));
        let mut ways = vec![native(count), shared_vm(count), pool];
        // A hundred thousand VMs a frame tell nothing that a thousand don't.
        if count == 1_000 {
            ways.push(vm_per_entity(count));
        }
        let samples = side_by_side(&mut ways, rounds(7), Duration::from_millis(50));
        let each: Vec<String> = samples
            .iter()
            .map(|samples| format!("{:.0}", median(samples) / f64::from(count)))
            .chain([String::new()])
            .take(4)
            .collect();
        println!("| {count} | {} |", each.join(" | "));
    }
}

fn threads_in_use() -> usize {
    let app = app(limited(None));
    let tasks = bevy::tasks::ComputeTaskPool::get().thread_num() + 1;
    drop(app);
    tasks
}

fn against_a_shared_vm() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    let one = whole_frames(crowd(limited(Some(1)), &[SCRIPT], COUNT));
    let all = whole_frames(crowd(limited(None), &[SCRIPT], COUNT));
    let mut ways = [one, all, shared_vm(COUNT)];
    let samples = side_by_side(&mut ways, rounds(21), Duration::from_millis(30));
    let (one, all) = (ratio(&samples[0], &samples[2]), ratio(&samples[1], &samples[2]));
    vec![
        Row::times(
            "against one shared VM, nothing isolated; one thread each",
            "≤ 1.00x",
            one,
            one <= 1.0,
        ),
        Row::beside("the same, this crate on all cores", format!("{all:.2}x")),
    ]
}

fn against_a_vm_each() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    const VMS: u32 = 200;
    let one = whole_frames(crowd(limited(Some(1)), &[SCRIPT], COUNT));
    let all = whole_frames(crowd(limited(None), &[SCRIPT], COUNT));
    let mut ways = [vm_per_entity(VMS), one, all];
    let samples = side_by_side(&mut ways, rounds(11), Duration::from_millis(30));
    let scale = f64::from(COUNT) / f64::from(VMS);
    let one = ratio(&samples[0], &samples[1]) * scale;
    let all = ratio(&samples[0], &samples[2]) * scale;
    vec![
        Row::new(
            "against a new VM per entity and frame; one thread each",
            "≥ 150x as fast",
            format!("{one:.0}x"),
            one >= 150.0,
        ),
        Row::beside("the same, this crate on all cores", format!("{all:.0}x")),
    ]
}

fn hundred_thousand() -> Vec<Row> {
    const COUNT: u32 = 100_000;
    let mut app = crowd(limited(None), &[SCRIPT], COUNT);
    let (frames, time) = if is_quick() { (60, 5) } else { (600, 15) };
    let mut stage = Vec::new();
    let mut whole = Vec::new();
    let start = Instant::now();
    while whole.len() < frames && start.elapsed() < Duration::from_secs(time) {
        let frame = Instant::now();
        app.update();
        whole.push(nanos(frame.elapsed()) / 1e6);
        stage.push(nanos(app.world().resource::<LuaSnapshot>().frame.time) / 1e6);
    }
    let frames = whole.len();
    assert_moved(&mut app, frames as f64 + 2.0);
    let (middle, p99) = (median(&stage), quantile(&stage, 0.99));
    let steady = median(&stage[frames / 2..]) / median(&stage[..frames / 2]);
    vec![
        Row::new(
            &format!("100,000 entities on {} threads, stage, median", threads_in_use()),
            "≤ 16.6 ms",
            format!("{middle:.1} ms"),
            middle <= 16.6,
        ),
        Row::new(
            &format!("the same, p99 of {frames} frames"),
            "< 20 ms",
            format!("{p99:.1} ms"),
            p99 < 20.0,
        ),
        Row::beside(
            "the same, the later half of the frames against the earlier",
            format!("{steady:.2}x"),
        ),
        Row::beside(
            "the same, whole frame, median and p99",
            format!("{:.1} ms, {:.1} ms", median(&whole), quantile(&whole, 0.99)),
        ),
    ]
}

fn growth() -> Vec<Row> {
    const FEW: u32 = 1_000;
    const MANY: u32 = 100_000;
    let mut ways = [FEW, MANY].map(|count| stages(crowd(limited(None), &[SCRIPT], count)));
    let samples = side_by_side(&mut ways, rounds(11), Duration::from_millis(30));
    let growth = ratio(&samples[1], &samples[0]) * f64::from(FEW) / f64::from(MANY);
    let what = "growth from 1,000 to 100,000 entities, stage, per entity";
    vec![Row::times(what, "≤ 1.20x", growth, growth <= 1.2)]
}

fn script_size() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    let (short, long) = (script_of(12, 2), script_of(300, 50));
    let lines = |text: &str| text.lines().count();
    let what =
        format!("a script of {} lines against one of {}, stage", lines(&long), lines(&short));
    let mut ways = [long, short].map(|text| stages(crowd(limited(None), &[&text], COUNT)));
    let samples = side_by_side(&mut ways, rounds(21), Duration::from_millis(30));
    let ratio = ratio(&samples[0], &samples[1]);
    vec![Row::times(&what, "≤ 1.10x", ratio, ratio <= 1.1)]
}

/// A script that does the usual work and defines so many functions and constant tables besides: 25 lines
/// if they are few, about a thousand if there are 300 and 50.
fn script_of(functions: usize, tables: usize) -> String {
    let lines = if functions > 100 { "\n" } else { " " };
    let mut text = String::new();
    for n in 0..tables {
        text += &format!("local TABLE{n} = {{{lines}name = \"row {n}\", weight = {n}.5, {n} }}\n");
    }
    for n in 0..functions {
        let table = n % tables;
        text += &format!("function helper{n}(x){lines}return x + #TABLE{table}.name{lines}end\n");
    }
    text + SCRIPT
}

fn threads() -> Vec<Row> {
    const COUNT: u32 = 100_000;
    let mut ways = [Some(1), Some(2)].map(|size| stages(crowd(limited(size), &[SCRIPT], COUNT)));
    let samples = side_by_side(&mut ways, rounds(11), Duration::from_millis(30));
    let speedup = ratio(&samples[0], &samples[1]);
    let what = "two threads against one, 100,000 entities, stage";
    vec![Row::times(what, "≥ 1.80x", speedup, speedup >= 1.8)]
}

fn limits() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    const NONE: usize = 1 << 40;
    let off = LuaPoolConfig {
        pool: PoolConfig { memory_limit: NONE, leak_threshold: None, ..limited(Some(1)).pool },
        frame_budget: None,
        run_time_limit: Duration::from_secs(60),
        max_log_lines: 1_000_000,
        max_messages: 1_000_000,
        max_commands: 1_000_000,
        max_value_size: NONE,
        max_failures: 0,
        ..limited(Some(1))
    };
    let mut ways = [limited(Some(1)), off].map(|config| stages(crowd(config, &[SCRIPT], COUNT)));
    let samples = side_by_side(&mut ways, rounds(41), Duration::from_millis(30));
    let ratio = ratio(&samples[0], &samples[1]);
    let what = "limits on against limits off (as far as the configuration can), stage";
    vec![Row::times(what, "≤ 1.02x", ratio, ratio <= 1.02)]
}

fn memory() -> Vec<Row> {
    const COUNT: u32 = 20_000;
    let bytes_of = |script: Option<&str>| {
        let (app, heap) = count(|| {
            let mut app = app(limited(None));
            finish(&mut app);
            match script {
                Some(script) => {
                    let script = add_script(&mut app, "bench.luau", script);
                    spawn(&mut app, &[script], COUNT);
                }
                None => {
                    drop(app.world_mut().spawn_batch(vec![Transform::default(); COUNT as usize]))
                }
            }
            app.update();
            app.update();
            app
        });
        if script.is_some() {
            assert_no_failure(&app);
        }
        drop(app);
        heap.bytes as f64
    };
    let state = {
        let state = ScriptTable::from([("frames", 1.0)]);
        let (copies, heap) = count(|| vec![state; COUNT as usize]);
        drop(copies);
        heap.bytes as f64 / f64::from(COUNT)
    };
    let each = (bytes_of(Some(SCRIPT)) - bytes_of(None)) / f64::from(COUNT);

    let four = LuaPoolConfig {
        pool: PoolConfig { min_size: 4, max_size: 4, ..limited(None).pool },
        ..limited(None)
    };
    let app = crowd(four, &[SCRIPT], 1_000);
    let vms = &app.world().resource::<LuaSnapshot>().vms;
    assert_eq!(vms.len(), 4);
    let pool = vms.iter().map(|vm| vm.memory_bytes).sum::<usize>() as f64 / (1024.0 * 1024.0);
    vec![
        Row::new(
            &format!("memory of a scripted entity beyond its state (which takes {state:.0} B)"),
            "< 1,024 B",
            format!("{:.0} B", each - state),
            each - state < 1024.0,
        ),
        Row::new("memory of a pool of 4 VMs", "< 8 MiB", format!("{pool:.2} MiB"), pool < 8.0),
    ]
}

fn steady_state() -> Vec<Row> {
    const FRAMES: u32 = 50;
    const MORE: u32 = 2_000;
    let heap_of = |entities| {
        let mut app = crowd(limited(None), &[SCRIPT], entities);
        for _ in 0..10 {
            app.update();
        }
        let ((), heap) = count(|| (0..FRAMES).for_each(|_| app.update()));
        assert_moved(&mut app, f64::from(FRAMES + 12));
        heap
    };
    let (few, many) = (heap_of(1_000), heap_of(1_000 + MORE));
    let per_run = |few: u64, many: u64| (many as f64 - few as f64) / f64::from(FRAMES * MORE);
    let (rust, luau) = (per_run(few.rust, many.rust), per_run(few.luau, many.luau));
    vec![
        Row::new(
            "heap allocations of a run in the steady state, Rust part",
            "0",
            format!("{rust:.3}"),
            rust < 0.0005,
        ),
        Row::beside("the same, Luau's part", format!("{luau:.3}")),
        vms_made(),
        vms_retired(),
    ]
}

/// In so many frames that a VM which is replaced now and then is replaced.
const STEADY_FRAMES: u32 = 2_500;

/// VMs made in the steady state, and those of them that took the place of one that had been leased
/// `max_use_count` times.
fn vms_in_steady_frames(config: LuaPoolConfig) -> (u64, u64) {
    let mut app = crowd(config, &[SCRIPT], 200);
    let figures = |app: &App| app.world().resource::<LuaSnapshot>().pool;
    let before = figures(&app);
    (0..STEADY_FRAMES).for_each(|_| app.update());
    assert_moved(&mut app, f64::from(STEADY_FRAMES + 2));
    let after = figures(&app);
    let retired = |figures: PoolStats| figures.destroyed_by(DestroyReason::UseCount);
    (after.created - before.created, retired(after) - retired(before))
}

/// None is needed, as long as none is to be retired.
fn vms_made() -> Row {
    let (made, _) = vms_in_steady_frames(LuaPoolConfig {
        pool: PoolConfig { max_use_count: 0, ..limited(None).pool },
        ..limited(None)
    });
    let what = format!(
        "VMs made in {STEADY_FRAMES} frames of the steady state, if none is retired \
         (`max_use_count: 0`)"
    );
    Row::new(&what, "0", made.to_string(), made == 0)
}

/// By default each VM is retired after so many leases, as a precaution, and another one takes its place.
fn vms_retired() -> Row {
    let config = limited(None);
    let leases = config.pool.max_use_count;
    let (made, retired) = vms_in_steady_frames(config);
    let what = format!(
        "the same with the default, which retires a VM after {leases} leases, of which a frame takes one \
         for each thread; and how many were retired"
    );
    Row::beside(&what, format!("{made}, {retired}"))
}

fn idle() -> Vec<Row> {
    const COUNT: u32 = 100_000;
    let idle = crowd(limited(None), &[IDLE], COUNT);
    let mut plain = app(limited(None));
    finish(&mut plain);
    plain.world_mut().spawn_batch(vec![Transform::default(); COUNT as usize]);
    let mut ways = [whole_frames(idle), whole_frames(plain)];
    let samples = side_by_side(&mut ways, rounds(21), Duration::from_millis(30));
    let each = (median(&samples[0]) - median(&samples[1])) / f64::from(COUNT);
    let what = "an idle entity (a script without `on_update`), whole frame";
    vec![Row::new(what, "< 5 ns", format!("{each:.1} ns"), each < 5.0)]
}

fn mixed() -> Vec<Row> {
    const COUNT: u32 = 10_000;
    // Each differs from the others.
    let scripts: Vec<String> = (0..100)
        .map(|number| format!("{SCRIPT}\nfunction helper() return {number} end\n"))
        .collect();
    let texts: Vec<&str> = scripts.iter().map(String::as_str).collect();
    let mut ways =
        [&texts[..], &texts[..1]].map(|texts| stages(crowd(limited(None), texts, COUNT)));
    let samples = side_by_side(&mut ways, rounds(21), Duration::from_millis(30));
    let ratio = ratio(&samples[0], &samples[1]);
    let what = "100 scripts over 10,000 entities, mixed, against one script, stage";
    vec![Row::times(what, "≤ 1.30x", ratio, ratio <= 1.3)]
}

#[derive(Component)]
struct Frames(f64);

fn native(count: u32) -> Way {
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
    whole_frames(app)
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

fn shared_vm(count: u32) -> Way {
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
    timed(move || {
        for (mut transform, state) in query.iter_mut(&mut world).zip(&states) {
            run_once(&lua, &update, state, &mut transform);
        }
    })
}

fn vm_per_entity(count: u32) -> Way {
    let mut world = World::new();
    let mut states = vec![0.0; count as usize];
    for _ in 0..count {
        world.spawn(Transform::default());
    }
    let mut query = world.query::<&mut Transform>();
    timed(move || {
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
