//! Whatever a script did, the next one finds things as on a fresh VM: after a run on a pooled VM, and
//! after `LuaEngine::reset`. Scripts come from a grammar of what tends to leave traces.
#![cfg(feature = "data-formats")]
#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::time::Duration;

use bevy_lua_pool::vm::{Api, Call, Callback, NoWorld, Outcome, Program, RunLimits, Vm};
use bevy_lua_pool::{Failure, LuaEngine, ScriptError, ScriptTable, ScriptValue, modules};
use proptest::prelude::*;

const MEMORY: usize = 8 * 1024 * 1024;

/// A script of the grammar may run without end: what is stopped by these is not compared.
const LIMITS: RunLimits =
    RunLimits { time: Duration::from_millis(200), memory: usize::MAX, value_size: 1 << 20 };

fn expression() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (-3..10_i32).prop_map(|number| number.to_string()),
        prop::sample::select(vec![
            "'text'",
            "true",
            "nil",
            "{}",
            "{1, 2, x = 3}",
            "g0",
            "g1",
            "g2",
            "g3",
            "_G",
            "math.random(1, 1000000)",
            "math.pi",
            "tostring(1)",
            "#'abc'",
            "vector.create(1, 2, 3)",
            "print",
            "math",
            "string",
            "json",
            "coroutine.running()",
            "buffer.create(4)",
            "params",
            "bit32.band(6, 3)",
            "('x'):rep(3)",
            "json.encode({1, 2})",
            "getmetatable('')",
        ])
        .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(2, 8, 3, |inner| {
        prop_oneof![
            inner.clone().prop_map(|e| format!("{{{e}, x = {e}}}")),
            inner.clone().prop_map(|e| format!("function(...) return {e}, ... end")),
            inner.clone().prop_map(|e| format!("select(2, pcall(function() return {e} end))")),
            inner.clone().prop_map(|e| format!("tostring({e})")),
            inner.clone().prop_map(|e| format!("table.pack(pcall({e}, 1))")),
            inner.prop_map(|e| format!(
                "setmetatable({{}}, {{__index = function() return {e} end}})"
            )),
        ]
    })
}

fn global() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "g0", "g1", "g2", "g3", "_G.g0", "print", "math", "tostring", "params",
    ])
}

/// What goes for the built-ins, the environment and what else VMs share.
const ASSAULTS: [&str; 22] = [
    "math.pi = 3",
    "string.upper = nil",
    "rawset(math, 'pi', 3)",
    "rawset(_G, 'type', function() return 'mine' end)",
    "setmetatable(_G, {__index = function() return 'mine' end})",
    "setmetatable(string, {})",
    "getmetatable('').__index = nil",
    "getmetatable(_G).__index = nil",
    "table.clear(_G)",
    "table.clear(math)",
    "table.freeze(_G)",
    "for name in pairs(_G) do _G[name] = nil end",
    "_G[1] = 'one'; _G[true] = 2",
    "json.encode = nil",
    "json = {encode = function() return 'mine' end}",
    "g0 = coroutine.wrap(function() while true do coroutine.yield(g1) end end); g0()",
    "g1 = coroutine.create(function() coroutine.yield() end); coroutine.resume(g1)",
    "do local n = 0; g2 = function() n += 1; return n end; g2(); g2() end",
    "local t = setmetatable({}, {__len = function() return 3 end}); t[{}] = 1; g3 = t",
    "g0 = string.rep('x', 100000); g1 = {}; for i = 1, 100 do g1[i] = {i} end",
    "print('printed'); log.error('logged')",
    "local function deep() return deep() + 1 end; deep()",
];

fn statement() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        (global(), expression()).prop_map(|(g, e)| format!("{g} = {e}")),
        (global(), expression()).prop_map(|(g, e)| format!("pcall(function() {g}.x = {e} end)")),
        (global(), expression()).prop_map(|(g, e)| format!("pcall(table.insert, {g}, {e})")),
        (global(), expression()).prop_map(|(g, e)| format!("pcall({g}, {e})")),
        (global(), expression()).prop_map(|(g, e)| format!("function {g}() return {e} end")),
        expression().prop_map(|e| format!("local l = {e}; g1 = function() l = g0; return l end")),
        expression().prop_map(|e| format!("error({e})")),
        prop::sample::select(ASSAULTS.to_vec()).prop_map(|a| format!("do {a} end")),
        prop::sample::select(ASSAULTS.to_vec()).prop_map(|a| format!("pcall(function() {a} end)")),
    ];
    leaf.prop_recursive(2, 6, 3, |inner| {
        let body = prop::collection::vec(inner, 1..3).prop_map(|body| body.join("\n"));
        prop_oneof![
            body.clone().prop_map(|b| format!("pcall(function() {b} end)")),
            body.clone().prop_map(|b| format!("for i = 1, 2 do {b} end")),
            body.clone().prop_map(|b| format!("xpcall(function() {b} end, function() {b} end)")),
            body.prop_map(|b| format!("coroutine.wrap(function() {b} end)()")),
        ]
    })
}

fn script() -> impl Strategy<Value = String> {
    // An error somewhere in the middle would hide what follows.
    prop::collection::vec(statement(), 1..6).prop_map(|statements| {
        statements.iter().map(|s| format!("pcall(function() {s} end)\n")).collect()
    })
}

/// A script, and after it all that can be seen from where it ran: globals, built-ins, random numbers.
fn watched(script: &str) -> String {
    format!(
        "local pcall, type, pairs, tostring, concat, sort, random =
            pcall, type, pairs, tostring, table.concat, table.sort, math.random
        local seen = {{}}
        local function see(name, value, depth)
            local shown = type(value) == 'table' and '' or tostring(value)
            seen[#seen + 1] = tostring(name) .. ' ' .. type(value) .. ' ' .. shown
            if type(value) == 'table' and depth < 3 then
                for key, inner in pairs(value) do
                    see(tostring(name) .. '.' .. tostring(key), inner, depth + 1)
                end
            end
        end
        local function look()
            local names = {{}}
            for name, value in pairs(_G) do
                if name ~= '_G' then see(name, value, 0) end
                if type(name) == 'string' and type(value) == 'function' then
                    names[#names + 1] = name
                end
            end
            sort(names)
            for _, name in names do
                local done, value = pcall(_G[name])
                see(name .. '()', value, 0)
            end
            for _, name in {{'math', 'string', 'table', 'json', 'coroutine', 'print', 'type'}} do
                see(name, _G[name], 0)
            end
            see('pi', math.pi, 0)
            see('type', type(1), 0)
            see('upper', ('x'):upper(), 0)
            see('encode', json.encode({{1}}), 0)
        end
        see('before', pcall(look), 0)
        {script}
        see('after', pcall(look), 0)
        see('random', random(), 0)
        sort(seen)
        return concat(seen, '\\n')"
    )
}

fn api() -> Api {
    let mut api = Api::default();
    for function in modules::json().functions() {
        api.add_library_function(function.name()).unwrap();
    }
    api
}

/// On a pooled VM: the value, the log lines.
type Seen = (Result<ScriptValue, Failure>, Vec<String>);

fn on_vm(vm: &mut Vm, source: &str) -> Seen {
    let program = Program::compile("x.luau", source).unwrap();
    let mut host = NoWorld::default();
    let params = ScriptTable::from([("x", 1.0)]);
    let result = vm.evaluate(&program, &params, 7, &mut host, &LIMITS);
    (result, host.lines.into_iter().map(|(_, text)| text).collect())
}

fn callback_on_vm(vm: &mut Vm, source: &str) -> (Outcome, Vec<String>) {
    let source =
        format!("function on_update(self)\nself.seen = (function()\n{source}\nend)()\nend");
    let program = Program::compile("x.luau", &source).unwrap();
    let mut host = NoWorld::default();
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 7 };
    let outcome = vm.run(&program, call, &mut host, &LIMITS);
    (outcome, host.lines.into_iter().map(|(_, text)| text).collect())
}

fn new_engine() -> LuaEngine {
    LuaEngine::builder()
        .memory_limit(MEMORY)
        .time_limit(LIMITS.time)
        .module(modules::json())
        .prelude("lib.luau", "g3 = {lib = true}; function from_lib() return g3 end")
        .build()
        .unwrap()
}

fn on_engine(engine: &mut LuaEngine, source: &str) -> (Seen, Result<ScriptTable, Failure>) {
    let result = engine.evaluate(source);
    let output = engine.take_output().into_iter().map(|line| line.text.to_string()).collect();
    ((result, output), engine.state())
}

#[test]
fn the_watcher_sees_what_a_script_leaves_behind() {
    let mut engine = new_engine();
    let clean = on_engine(&mut engine, &watched(""));
    for trace in ["g0 = 1", "function from_lib() end", "math = {}", "g3.more = 1"] {
        engine.reset().unwrap();
        engine.run(trace).unwrap();
        assert_ne!(on_engine(&mut engine, &watched("")), clean, "{trace}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn a_run_on_a_pooled_vm_sees_nothing_of_earlier_ones(a in script(), b in script()) {
        let (api, b) = (api(), watched(&b));
        let mut used = Vm::new(&api, MEMORY).unwrap();
        let _ = on_vm(&mut used, &a);
        let _ = callback_on_vm(&mut used, &a);
        prop_assume!(!used.is_spent());
        let mut fresh = Vm::new(&api, MEMORY).unwrap();
        let seen = [on_vm(&mut used, &b), on_vm(&mut fresh, &b)];
        prop_assume!(!used.is_spent() && !fresh.is_spent());
        prop_assert_eq!(&seen[0], &seen[1]);
        let mut fresh = Vm::new(&api, MEMORY).unwrap();
        let seen = [callback_on_vm(&mut used, &b), callback_on_vm(&mut fresh, &b)];
        prop_assume!(!used.is_spent() && !fresh.is_spent());
        prop_assert_eq!(&seen[0], &seen[1]);
    }

    #[test]
    fn after_reset_an_engine_is_as_it_was_made(a in script(), b in script()) {
        let b = watched(&b);
        let mut used = new_engine();
        let _ = used.run(&a);
        let _ = used.evaluate(&b);
        prop_assert!(used.reset().is_ok());
        prop_assert_eq!(used.coroutines(), vec![]);
        let mut fresh = new_engine();
        let seen = [on_engine(&mut used, &b), on_engine(&mut fresh, &b)];
        let stopped = seen.iter().any(|((result, _), _)| {
            matches!(result, Err(Failure { error: ScriptError::TimedOut { .. }, .. }))
        });
        prop_assume!(!stopped);
        prop_assert_eq!(&seen[0], &seen[1]);
    }
}
