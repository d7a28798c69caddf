//! What a VM holds from run to run, and what that takes from runs: nothing.

use super::*;
use crate::pool::PoolConfig;
use crate::vm::program_stats::ProgramStats;

/// A script whose file level holds a table of so many rows of data.
fn with_data(name: &str, rows: usize) -> Program {
    let rows: String = (0..rows).map(|n| format!("{{id = {n}, x = {n}.5}},")).collect();
    let source = format!("local data = {{{rows}}} function on_update(self) self.n = #data end");
    Program::compile(name, &source).expect("it compiles")
}

#[test]
fn a_program_with_much_data_stays_loaded() {
    let mut vm = vm();
    let script = with_data("data.luau", 5_000);
    for _ in 0..5 {
        let expected = Outcome::Done(ScriptTable::from([("n", 5_000.0)]));
        assert_eq!(update(&mut vm, &script, &ScriptTable::default()), expected);
        assert!(vm.is_ready_for(&script, Callback::Update), "it was dropped");
    }
}

/// One as the default configuration has them.
fn usual_vm() -> Vm {
    Vm::new(&Api::default(), PoolConfig::default().memory_limit).expect("it can be made")
}

/// A script of some 2 kB that has little in common with others.
fn small(number: usize) -> Program {
    let functions: String = (0..10)
        .map(|k| {
            format!(
                "function lib.f{k}_{number}(a, b)
                    -- What it does, and why it is needed.
                    if a.field{k} > b then
                        return a.other_{number} * {k} + b
                    end
                    return math.max(a.x, b)
                end\n"
            )
        })
        .collect();
    let source =
        format!("local lib = {{}} {functions} function on_update(self) self.lib = lib == nil end");
    Program::compile(&format!("small{number}.luau"), &source).expect("it compiles")
}

/// Runs each once, then more often; gives what the later rounds did.
fn in_turn(vm: &mut Vm, programs: &[Program], rounds: usize) -> ProgramStats {
    let round = |vm: &mut Vm| {
        for program in programs {
            let outcome = update(vm, program, &ScriptTable::default());
            assert!(matches!(outcome, Outcome::Done(_)), "{}: {outcome:?}", program.name());
        }
        vm.end_lease();
        vm.counts.stats()
    };
    let before = round(vm);
    let mut after = before;
    for _ in 0..rounds {
        after = round(vm);
    }
    assert!(!vm.is_spent());
    ProgramStats {
        loads: after.loads - before.loads,
        images: after.images - before.images,
        evictions: after.evictions - before.evictions,
        crowded_out: after.crowded_out - before.crowded_out,
        measured: after.measured,
    }
}

#[test]
fn a_thousand_small_programs_stay_loaded() {
    let programs: Vec<Program> = (0..1000).map(small).collect();
    let mut vm = usual_vm();
    assert_eq!(in_turn(&mut vm, &programs, 3), ProgramStats::default());
    assert!(vm.used_memory() > vm.resting.pages + 4 * MIB, "{}: they are small", vm.used_memory());
}

#[test]
fn ten_large_programs_stay_loaded() {
    let programs: Vec<Program> =
        (0..10).map(|n| with_data(&format!("large{n}.luau"), 200 * 1024 / 25)).collect();
    let mut vm = usual_vm();
    let later = in_turn(&mut vm, &programs, 3);
    assert_eq!(later, ProgramStats { measured: later.measured, ..ProgramStats::default() });
}

#[test]
fn where_not_all_have_room_those_stay_that_have() {
    let programs: Vec<Program> =
        (0..12).map(|n| with_data(&format!("large{n}.luau"), 4000)).collect();
    let mut vm = Vm::new(&Api::default(), 7 * MIB).expect("it can be made");
    in_turn(&mut vm, &programs, 4);
    let later = in_turn(&mut vm, &programs, 4);
    assert!(later.crowded_out > 0, "{later:?}");
    assert!(later.loads < 4 * 12 * 2 / 3, "some stay: {later:?}");
    assert_eq!(later.measured, 0);
}

#[test]
fn programs_that_nobody_uses_any_more_make_room() {
    let old: Vec<Program> = (0..5).map(|n| with_data(&format!("old{n}.luau"), 4000)).collect();
    let new: Vec<Program> = (0..5).map(|n| with_data(&format!("new{n}.luau"), 4000)).collect();
    let mut vm = Vm::new(&Api::default(), 7 * MIB).expect("it can be made");
    in_turn(&mut vm, &old, 3);
    in_turn(&mut vm, &new, 6);
    let later = in_turn(&mut vm, &new, 4);
    assert_eq!(later, ProgramStats::default());
    assert!(vm.counts.stats().evictions > 0);
}

const MIB: usize = 1024 * 1024;

#[test]
fn a_run_that_called_deeply_leaves_no_long_stack_and_one_collection() {
    let mut vm = usual_vm();
    let data = with_data("data.luau", 5_000);
    let deep = program(
        "local function deep(n) local a, b, c, d, e, f, g, h = n if n == 0 then return 0 end return 1 + deep(n - 1) end
         function on_update(self) self.n = deep(4000) end",
    );
    let expected = Outcome::Done(ScriptTable::from([("n", 4_000.0)]));
    for script in [&data, &deep] {
        update(&mut vm, script, &ScriptTable::default());
    }
    vm.collect();
    let (floor, before) = (vm.floor.objects, vm.collections);
    for round in 1..=5 {
        assert_eq!(update(&mut vm, &deep, &ScriptTable::default()), expected);
        vm.collect();
        assert_eq!(vm.counts.stats().measured, 0);
        let now = vm.floor.objects;
        assert!(now.abs_diff(floor) < 4096, "{now} bytes, {floor} before");
        assert!(vm.collections - before <= 2 * round, "{} in {round}", vm.collections - before);
    }
}

/// Bodies of callbacks that hold or waste memory, `N` times something.
const HUNGRY: [&str; 13] = [
    "local t = {} for i = 1, N * 10 do t[i] = {i} end self.n = #t",
    "local t = {} for i = 1, N * 60 do t[i] = i end self.n = #t",
    "local s for i = 1, N do s = ('x'):rep(1000) .. i end self.n = #s",
    "local t = {} for i = 1, N do t[i] = ('x'):rep(500) .. i end self.n = #t",
    "local t = {} for i = 1, N * 8 do t[i] = 'shared ' .. i end self.n = #t",
    "local t = {} for i = 1, N do t[i] = buffer.create(900) end self.n = #t",
    "local t = {} for i = 1, N do t[i] = coroutine.create(function() coroutine.yield(i) end)
        coroutine.resume(t[i]) end self.n = #t",
    "local s = ('x'):rep(N * 150) local a = s .. 'a' local b = s .. 'b' local c = s .. 'c' local d = a .. 'd'
        self.n = #a + #b + #c + #d",
    "local held = {} for i = 1, N do held[i % 50 + 1] = table.create(100, i)
        local waste = {i, {i}, tostring(i)} end self.n = #held",
    "local function f(n) if n == 0 then return 0 end return 1 + f(n - 1) end self.n = f(N * 3)",
    "self.ok = pcall(function() local t = {} for i = 1, N * 10 do t[i] = {i} end end)",
    "local s = '' for i = 1, N do s ..= ('y'):rep(100) end self.n = #s",
    "local t = {} for i = 1, N * 8 do t['key' .. i] = i end t = nil
        local u = {} for i = 1, N * 4 do u[i] = {} end self.n = #u",
];

fn hungry(file_level: &str) -> Vec<(Program, RunLimits)> {
    let mut programs = Vec::new();
    for memory in [256 * 1024, MIB] {
        for (which, body) in HUNGRY.iter().enumerate() {
            for size in [2, 4, 5, 6, 8, 9, 10, 12, 20] {
                let n = (memory / 1024 * size / 10).to_string();
                let body = body.replace('N', &n);
                let source = format!("{file_level} function on_update(self) {body} end");
                let name = format!("hungry{which}_{size}_{memory}.luau");
                let program = Program::compile(&name, &source).expect("it compiles");
                // Under a sanitizer they take long.
                let time = Duration::from_secs(60);
                programs.push((program, RunLimits { memory, time, ..LIMITS }));
            }
        }
    }
    programs
}

/// What a run comes to that is measured from the beginning.
fn measured((program, limits): &(Program, RunLimits)) -> Outcome {
    let (mut vm, mut host, state) = (vm(), NoWorld::default(), ScriptTable::default());
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 1 };
    match engage(|_| vm.run_measured(program, call, &mut host, limits)) {
        Ok(None) => Outcome::Missing,
        Ok(Some(change)) => Outcome::Done(change.applied_to(&state)),
        Err(failure) => Outcome::Failed(*failure),
    }
}

fn run_of((program, limits): &(Program, RunLimits), vm: &mut Vm) -> Outcome {
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 1 };
    vm.run(program, call, &mut NoWorld::default(), limits)
}

#[test]
fn whether_a_run_fails_for_memory_depends_on_its_script_alone() {
    let hungry = || hungry("local list = {1, 2, 3}");
    let exactly: Vec<Outcome> = hungry().iter().map(measured).collect();
    let alone: Vec<Outcome> = hungry().iter().map(|it| run_of(it, &mut vm())).collect();
    assert_eq!(alone, exactly);
    let failed = alone.iter().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
    let done = alone.iter().filter(|outcome| matches!(outcome, Outcome::Done(_))).count();
    assert!(failed > 20 && done > 20, "{failed} failed, {done} did not");
    for outcome in &alone {
        if let Outcome::Failed(failure) = outcome {
            assert!(matches!(failure.error, ScriptError::OutOfMemory { .. }), "{failure}");
        }
    }

    // In turn on one VM, forwards and backwards, after others, and again.
    let shared = program(
        "local t = {} for i = 1, 9000 do t[i] = 'shared ' .. i end
         function on_update(self) self.n = #t end",
    );
    let litter = program(
        "function on_update() for i = 1, 3000 do local t = {i, {i}, 'litter ' .. i} end end",
    );
    for backwards in [false, true] {
        let mut vm = vm();
        let programs = hungry();
        for round in 0..3 {
            let mut order: Vec<usize> = (0..programs.len()).collect();
            if backwards {
                order.reverse();
            }
            for place in order {
                if place % 5 == round {
                    update(&mut vm, &shared, &ScriptTable::default());
                    update(&mut vm, &litter, &ScriptTable::default());
                }
                let outcome = run_of(&programs[place], &mut vm);
                let name = programs[place].0.name();
                assert_eq!(outcome, alone[place], "{name}, {round}, {backwards}");
                if vm.is_spent() && place % 3 > 0 {
                    vm = super::vm();
                }
            }
        }
    }
}

#[test]
fn a_file_level_may_hold_what_a_run_may_and_so_may_each_callback() {
    for (held, memory) in [(700, MIB), (200, 256 * 1024), (6000, 8 * MIB)] {
        let script = program(&format!(
            "local kept = ('x'):rep({held} * 1024)
             function on_update(self) local s = ('y'):rep({held} * 1024) self.n = #s + #kept end"
        ));
        let mut vm = vm();
        for _ in 0..3 {
            let outcome = run_of_limits(&script, memory, &mut vm);
            assert!(matches!(outcome, Outcome::Done(_)), "{held}: {outcome:?}");
        }
    }
}

fn run_of_limits(program: &Program, memory: usize, vm: &mut Vm) -> Outcome {
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 1 };
    vm.run(program, call, &mut NoWorld::default(), &RunLimits { memory, ..LIMITS })
}

#[test]
fn runs_that_stay_away_from_their_limit_are_not_measured() {
    for memory in [256 * 1024, MIB, 8 * MIB, usize::MAX] {
        let script =
            program("local t = {1, 2} function on_update(self) self.n = #t self.s = {} end");
        let mut vm = vm();
        for _ in 0..5000 {
            assert!(matches!(run_of_limits(&script, memory, &mut vm), Outcome::Done(_)));
        }
        let stats = vm.counts.stats();
        assert_eq!((stats.loads, stats.images, stats.measured), (1, 1, 0), "{memory}");
        assert!(!vm.is_spent());
    }
}

#[test]
fn what_is_measured_is_as_long_as_it_has_to() {
    // A run that needs much goes there at once, and comes back when it no longer does.
    let script = program(
        "function on_update(self, much) local s = ('x'):rep(much and 700 * 1024 or 10) self.n = #s end",
    );
    let mut vm = vm();
    for (much, measured) in [(false, 0), (true, 1), (true, 2), (false, 3), (false, 3), (true, 4)] {
        let state = ScriptTable::default();
        let args = [much.into()];
        let call = Call { callback: Callback::Update, state: &state, args: &args, seed: 1 };
        let limits = RunLimits { memory: MIB, ..LIMITS };
        let outcome = vm.run(&script, call, &mut NoWorld::default(), &limits);
        assert!(matches!(outcome, Outcome::Done(_)), "{outcome:?}");
        assert_eq!(vm.counts.stats().measured, measured);
        if vm.is_spent() {
            vm.spent = false;
        }
    }
}
