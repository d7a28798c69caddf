//! What a VM promises by itself, without a world.

use std::sync::Arc;
use std::time::Duration;

use super::*;

mod caught;
mod closures;
mod image;
mod memory;
mod order;
mod rows;
mod sandbox;

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
fn every_kind_of_data_survives_a_round_trip() {
    let state = state_after(
        r#"function on_update(self)
            self.list = {1, "two", true, {3}}
            self.where = vector.create(1, 2, 3)
            self.bytes = "\255"
            self[0] = "zero"
            self[true] = "yes"
            self[1] = "first"
            self.sparse = {}
            self.sparse[2] = 2
            self.sparse[1] = 1
        end"#,
    );
    let mut vm = vm();
    let echo = program("function on_update(self) end");
    assert_eq!(update(&mut vm, &echo, &state), Outcome::Done(state.clone()));
    assert_eq!(state.array, vec!["first".into()]);
    assert_eq!(state.get("sparse").to_string(), "{1, 2}");
    assert_eq!(state.get("bytes"), &ScriptValue::Bytes(vec![0xff]));
}

#[test]
fn a_table_comes_to_the_same_in_whatever_order_its_fields_were_set() {
    let of = |from: i32, to: i32, step: i32| {
        state_after(&format!(
            "function on_update(self)
                self.list, self.map = {{}}, {{}}
                for n = {from}, {to}, {step} do
                    self.list[n] = n
                    self.map['k' .. n] = n
                    self.map[n + 0.5] = true
                    self.map[-n] = false
                end
            end"
        ))
    };
    let (up, down) = (of(1, 500, 1), of(500, 1, -1));
    assert_eq!(up, down);
    let ScriptValue::Table(list) = up.get("list") else { panic!("{up}") };
    assert!(list.fields.is_empty(), "{list}");
    assert!(list.array.iter().cloned().eq((1..=500).map(ScriptValue::from)), "{list}");
    let ScriptValue::Table(map) = up.get("map") else { panic!("{up}") };
    assert_eq!((map.array.len(), map.fields.len()), (0, 1500));
    assert!(map.fields.keys().is_sorted());
    assert_eq!(map.get("k77"), &77.0.into());
}

#[test]
fn what_cannot_be_kept_is_an_error_that_names_the_field() {
    for (value, what) in [
        ("function() end", "a function"),
        ("coroutine.create(function() end)", "a coroutine"),
        ("setmetatable({}, {})", "metatable"),
        ("buffer.create(1)", "buffer"),
    ] {
        let source = format!("function on_update(self) self.items = {{1, {{deep = {value}}}}} end");
        let text = failure(&source).error.to_string();
        assert!(text.contains("self.items[2].deep") && text.contains(what), "{text}");
    }
    let text = failure("function on_update(self) self.me = self end").error.to_string();
    assert!(text.contains("holds itself"), "{text}");
    let text = failure("function on_update(self) self.s = ('x'):rep(70000) end").error.to_string();
    assert!(text.contains("max_value_size"), "{text}");
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
fn random_numbers_depend_on_the_seed_alone() {
    let source = "local early = math.random()
        function on_update(self)
            self.early = early
            self.a, self.b = math.random(), math.random(6)
        end";
    let run = |vm: &mut Vm, seed| {
        let state = ScriptTable::default();
        let call = Call { callback: Callback::Update, state: &state, args: &[], seed };
        match vm.run(&program(source), call, &mut NoWorld::default(), &LIMITS) {
            Outcome::Done(state) => state,
            other => panic!("{other:?}"),
        }
    };
    let mut used = vm();
    let first = run(&mut used, 1);
    let second = run(&mut used, 2);
    assert_eq!(run(&mut used, 1), first);
    assert_eq!(run(&mut vm(), 1), first);
    assert_ne!(second.get("a"), first.get("a"));
    assert_eq!(
        second.get("early"),
        first.get("early"),
        "the file level depends on the script alone"
    );
}

#[test]
fn random_bounds_are_met_exactly() {
    let state = state_after(
        "function on_update(self)
            local seen = {}
            for _ = 1, 1000 do
                seen[math.random(3)] = true
                seen[math.random(-1, 0)] = true
                local x = math.random()
                assert(x >= 0 and x < 1)
            end
            self.seen = seen
            self.huge = math.random(-2147483648, 2147483647) // 1
            self.empty = pcall(math.random, 0)
        end",
    );
    assert_eq!(state.get("seen").to_string(), "{true, true, true, [-1] = true, [0] = true}");
    assert_eq!(state.get("empty"), &ScriptValue::Bool(false));
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

#[test]
fn random_numbers_of_the_widest_interval_are_no_overflow() {
    let state = state_after(
        "function on_update(self)
            for _ = 1, 99 do
                local n = math.random(-9e18, 9e18)
                assert(n >= -9e18 and n <= 9e18)
            end
            self.ok = true
        end",
    );
    assert_eq!(state.get("ok"), &ScriptValue::Bool(true));
}
