//! What a VM promises by itself, without a world.

use super::*;
use crate::error::Failure;
use crate::value::{ScriptTable, ScriptValue};
use crate::vm::call::Call;
use crate::vm::callback::Callback;
use crate::vm::engage::engage;
use crate::vm::host::{LogLevel, NoWorld};
use crate::vm::limits::RunLimits;
use crate::vm::native_stack::with_native_stack;
use crate::vm::outcome::{CallResult, Outcome};
use crate::vm::program::Program;
use crate::vm::state_change::StateChange;

mod caught;
mod closures;
mod image;
mod memory;
mod order;
mod random;
mod rows;
mod sandbox;
mod values;

const LIMITS: RunLimits =
    RunLimits { time: Duration::from_secs(5), memory: usize::MAX, value_size: 64 * 1024 };

fn vm() -> Vm {
    Vm::new(&Api::default(), 16 * 1024 * 1024).expect("a VM fits into 16 MiB")
}

fn program(source: &str) -> Program {
    Program::compile("scripts/test.luau", source).expect("the test's script compiles")
}

fn update(vm: &mut Vm, program: &Program, state: &ScriptTable) -> Outcome {
    let call = Call { callback: Callback::Update, state, args: &[0.5.into()], seed: 7 };
    vm.run(program, call, &mut NoWorld::default(), &LIMITS)
}

/// Runs `on_update` once on an empty state and gives the state after it.
#[track_caller]
fn state_after(source: &str) -> ScriptTable {
    match update(&mut vm(), &program(source), &ScriptTable::default()) {
        Outcome::Done(state) => state,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn failure(source: &str) -> Failure {
    match update(&mut vm(), &program(source), &ScriptTable::default()) {
        Outcome::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_steps_of_a_run_do_not_depend_on_what_the_vm_knows_already() {
    let large: ScriptTable = (0..100).map(|n| (format!("field{n}"), 1.0)).collect();
    let mut found = Vec::new();
    for own in [false, true] {
        let program = program("function on_update(self) self.field0 += 1 end");
        if own {
            program.has_own_file_levels();
        }
        let mut vm = vm();
        vm.count_steps(true);
        for _ in 0..3 {
            assert!(matches!(update(&mut vm, &program, &large), Outcome::Done(_)));
            found.push(vm.used().steps);
        }
    }
    assert!(found.iter().all(|steps| *steps == found[0]), "{found:?}");
}

#[test]
fn a_run_takes_its_state_and_arguments_and_leaves_its_state() {
    let mut vm = vm();
    let program = program("function on_update(self, dt) self.t = (self.t or 0) + dt end");
    let mut state = ScriptTable::default();
    for _ in 0..3 {
        match update(&mut vm, &program, &state) {
            Outcome::Done(next) => state = next,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(state, ScriptTable::from([("t", 1.5)]));
}

#[test]
fn the_time_of_the_last_run_is_known_of_an_evaluation_too_wherever_it_ran() {
    let mut vm = vm();
    let limits = RunLimits { memory: 256 * 1024, ..LIMITS };
    for (measured, source) in [(0, "return 1"), (1, "return buffer.len(buffer.create(200000))")] {
        vm.last_run_time = Duration::ZERO;
        let mut host = NoWorld::default();
        let outcome = vm.evaluate(&program(source), &ScriptTable::default(), 1, &mut host, &limits);
        assert!(outcome.is_ok(), "{source}: {outcome:?}");
        assert_eq!(vm.counts.stats().measured, measured, "{source}");
        assert!(vm.last_run_time() > Duration::ZERO, "{source}");
    }
}

#[test]
fn a_script_without_the_callback_is_told_apart_and_its_callbacks_are_known() {
    let program = program("function on_start(self) end");
    assert_eq!(program.callbacks(), None);
    assert_eq!(update(&mut vm(), &program, &ScriptTable::default()), Outcome::Missing);
    let known = program.callbacks().expect("the file level ran");
    assert!(known.contains(Callback::Start) && !known.contains(Callback::Update));
}

#[test]
fn an_error_has_its_line_and_its_call_stack() {
    let failure = failure(
        "local function inner()\n  error('no good')\nend\n\nfunction on_update(self)\n  inner()\nend",
    );
    assert_eq!(failure.line, Some(2));
    assert_eq!(failure.error, ScriptError::Raised { message: "no good".to_owned() });
    assert!(failure.traceback.contains("scripts/test.luau:2 in inner"), "{}", failure.traceback);
    assert!(
        failure.traceback.contains("scripts/test.luau:6 in on_update"),
        "{}",
        failure.traceback
    );
}

#[test]
fn an_error_object_is_shown_by_its_tostring() {
    let failure = failure(
        "function on_update() error(setmetatable({}, {__tostring = function() return 'E7' end})) end",
    );
    assert_eq!(failure.error.to_string(), "E7");
}

#[test]
fn an_endless_loop_costs_its_budget_even_inside_pcall() {
    let limits = RunLimits { time: Duration::from_millis(2), ..LIMITS };
    for source in [
        "function on_update() while true do end end",
        "function on_update() while true do pcall(function() while true do end end) end end",
        "function on_update() pcall(function() while true do end end) end",
        "function on_update() xpcall(function() while true do end end, function() while true do end \
         end) end",
        "function on_update() error(setmetatable({}, {__tostring = function() while true do end \
         end})) end",
        "while true do end",
        "function on_update() coroutine.wrap(function() while true do end end)() end",
    ] {
        let mut vm = vm();
        let state = ScriptTable::default();
        let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 0 };
        let outcome = vm.run(&program(source), call, &mut NoWorld::default(), &limits);
        let Outcome::Failed(failure) = outcome else { panic!("{source}: {outcome:?}") };
        assert!(matches!(failure.error, ScriptError::TimedOut { .. }), "{source}: {failure}");
        assert!(vm.is_spent());
    }
}

#[test]
fn memory_is_bounded_and_the_vm_is_thrown_away_after_it_ran_out() {
    let mut vm = vm();
    let hog = program("function on_update() local t = {} while true do t[#t + 1] = {} end end");
    let Outcome::Failed(failure) = update(&mut vm, &hog, &ScriptTable::default()) else {
        panic!("16 MiB held all that");
    };
    assert!(matches!(failure.error, ScriptError::OutOfMemory { .. }), "{failure}");
    assert!(vm.is_spent());
}

#[test]
fn garbage_of_earlier_runs_takes_no_memory_from_the_next() {
    let mut vm = vm();
    let hungry = program("function on_update() local s = ('x'):rep(7 * 1024 * 1024) end");
    for _ in 0..20 {
        let outcome = update(&mut vm, &hungry, &ScriptTable::default());
        assert_eq!(outcome, Outcome::Done(ScriptTable::default()));
    }
}

#[test]
fn deep_recursion_is_an_error_of_the_run() {
    with_native_stack(|| {
        for source in [
            "function on_update() local function f() return f() + 1 end f() end",
            "function on_update() local function f(s) return (s:gsub('.', f)) end f('x') end",
            "function on_update() local t = {} setmetatable(t, {__index = function(t, k) return \
             t[k] end}) return t.x end",
        ] {
            let text = failure(source).to_string();
            assert!(text.contains("overflow"), "{text}");
        }
    });
}

#[test]
fn nothing_that_reaches_outside_is_there() {
    let state = state_after(
        "function on_update(self)
            for _, name in {'getfenv', 'setfenv', 'loadstring', 'load', 'require', 'newproxy',
                'collectgarbage', 'gcinfo', 'os', 'io', 'package', 'dofile'} do
                assert(_G[name] == nil, name)
            end
            assert(math.randomseed == nil)
            assert(debug.info == nil)
            self.ok = true
        end",
    );
    assert_eq!(state.get("ok"), &ScriptValue::Bool(true));
}

#[test]
fn addresses_are_not_shown() {
    let state = state_after(
        "function on_update(self)
            self.a = tostring({}) .. tostring(vector) .. tostring(function() end) .. string.format('%*', {})
            self.b = tostring({}) .. tostring(math) .. tostring(function() end) .. string.format('%*', {})
        end",
    );
    assert_eq!(state.get("a"), state.get("b"));
}

#[test]
fn nothing_crosses_from_one_run_to_the_next() {
    let mut vm = vm();
    let state = ScriptTable::default();
    let mark = program(
        "shared = {n = 0}
        local captured = 0
        local t = {}
        function on_update(self)
            shared.n += 1
            captured += 1
            t.x = (t.x or 0) + 1
            stray = (stray or 0) + 1
            _G.sneaky = (_G.sneaky or 0) + 1
            self.seen = {shared.n, captured, t.x, stray, sneaky}
            pcall(function() string.leak = 1 end)
            pcall(function() getmetatable('').__index.leak = 1 end)
            pcall(function() math.pi = 3 end)
            pcall(rawset, table, 'leak', 1)
            pcall(function() table.insert(coroutine, 1) end)
            pcall(function() getmetatable(_G).__index = nil end)
        end",
    );
    let probe = program(
        "function on_update(self)
            self.stray, self.sneaky, self.shared = stray, sneaky, shared
            self.leak = string.leak or table.leak or ('').leak or coroutine[1]
            self.pi = math.pi == 3
        end",
    );
    for _ in 0..3 {
        let Outcome::Done(after) = update(&mut vm, &mark, &state) else { panic!() };
        assert_eq!(after.get("seen").to_string(), "{1, 1, 1, 1, 1}");
        let Outcome::Done(after) = update(&mut vm, &probe, &state) else { panic!() };
        assert_eq!(after, ScriptTable::from([("pi", false)]));
    }
}

#[test]
fn the_file_level_has_no_entity_and_says_why() {
    let text = failure("local t = entity.Transform function on_update() end").error.to_string();
    assert!(text.contains("`entity.Transform`") && text.contains("on_start"), "{text}");
}

#[test]
fn logging_keeps_the_order_and_joins_by_tabs() {
    let mut host = NoWorld::default();
    let state = ScriptTable::default();
    let program =
        program("function on_update() print('a', 1, nil) log.warn('b') log.error({}) end");
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 0 };
    assert!(matches!(vm().run(&program, call, &mut host, &LIMITS), Outcome::Done(_)));
    assert_eq!(host.lines[0], (LogLevel::Info, "a\t1\tnil".to_owned()));
    assert_eq!(host.lines[1], (LogLevel::Warn, "b".to_owned()));
    assert_eq!(host.lines[2].0, LogLevel::Error);
}

#[test]
fn ten_thousand_runs_leave_memory_flat() {
    let mut vm = vm();
    let program = program("x = {} function on_update(self) y = {} self.n = (self.n or 0) + 1 end");
    let mut state = ScriptTable::default();
    let mut peak = 0;
    for run in 0..10_000 {
        match update(&mut vm, &program, &state) {
            Outcome::Done(next) => state = next,
            other => panic!("{other:?}"),
        }
        if run == 5_000 {
            peak = vm.used_memory();
        }
    }
    assert!(vm.used_memory() <= peak + GARBAGE_SLACK, "{peak} → {}", vm.used_memory());
    assert_eq!(state.get("n"), &ScriptValue::Number(10_000.0));
}

#[test]
fn a_vm_moves_between_threads() {
    let mut vm = vm();
    let program = Arc::new(program("function on_update(self) self.ok = true end"));
    let moved = Arc::clone(&program);
    let handle = std::thread::spawn(move || {
        let outcome = update(&mut vm, &moved, &ScriptTable::default());
        (vm, outcome)
    });
    let (mut vm, first) = handle.join().expect("the thread ran");
    assert_eq!(update(&mut vm, &program, &ScriptTable::default()), first);
}

#[test]
fn a_global_that_a_callback_assigns_is_told_once_and_with_its_name() {
    let mut vm = vm();
    let program = program(
        "function helper() end  limit = 3
        function on_update(self) score = 1 limit = 4 local fine = 2 end",
    );
    for expected in [vec![(Callback::Update, "score".to_owned())], vec![]] {
        assert!(matches!(update(&mut vm, &program, &ScriptTable::default()), Outcome::Done(_)));
        assert_eq!(program.take_strays(), expected);
    }
}

#[test]
fn memory_that_runs_out_in_a_coroutine_is_told_as_such() {
    let failure = failure(
        "function on_update() coroutine.wrap(function() local s = ('x'):rep(2^24) end)() end",
    );
    assert!(matches!(failure.error, ScriptError::OutOfMemory { .. }), "{failure}");
}

#[test]
fn a_host_function_gets_no_flood_of_arguments() {
    let mut api = Api::default();
    api.add_function("game.f").expect("a free name");
    let mut vm = Vm::new(&api, 16 * 1024 * 1024).expect("a VM fits into 16 MiB");
    let program = program(
        "function on_update(self)
            local ok, message = pcall(game.f, table.unpack(table.create(5000, 1)))
            self.message = message
        end",
    );
    let Outcome::Done(state) = update(&mut vm, &program, &ScriptTable::default()) else {
        panic!("the script catches the error");
    };
    let text = state.get("message").to_string();
    assert!(text.contains("game.f: 5000 arguments; at most 255"), "{text}");
}
