//! Built-ins that the sandbox has functions of its own for, or in front of, beside plain mlua with Luau's sandbox.
//!
//! ```text
//! cargo bench --bench wrappers               # all
//! cargo bench --bench wrappers -- pcall      # those with this in their name
//! ```
//!
//! Each case is a loop in Luau, in a pooled VM as it runs the scripts of entities, in an engine, and in mlua. They
//! take turns, in short rounds, and each round is compared with the one of mlua beside it: what else the machine
//! does concerns both.

use std::time::{Duration, Instant};

use bevy_lua_pool::vm::{Api, NoWorld, Program, RunLimits, Vm};
use bevy_lua_pool::{LuaEngine, ScriptTable, ScriptValue};
use mlua::{Function, Lua};

const ROUNDS: usize = 80;

/// The loops of a round.
const LOOPS: u32 = 10_000;

/// What it is, what is there before the loop, and what is done in it.
const CASES: &[(&str, &str, &str)] = &[
    ("an empty loop", "", ""),
    ("pcall", "local function f(a) return a end", "local _, x = pcall(f, i)"),
    ("pcall, of an error", "", "local _, x = pcall(error, i)"),
    (
        "xpcall",
        "local function f(a) return a end local function h(e) return e end",
        "local _, x = xpcall(f, h, i)",
    ),
    ("xpcall, of an error", "local function h(e) return e end", "local _, x = xpcall(error, h, i)"),
    (
        "coroutine.resume",
        "local resume = coroutine.resume
         local co = coroutine.create(function(a) while true do a = coroutine.yield(a) end end)",
        "local _, x = resume(co, i)",
    ),
    (
        "coroutine.wrap",
        "local co = coroutine.wrap(function(a) while true do a = coroutine.yield(a) end end)",
        "local x = co(i)",
    ),
    ("coroutine.create", "local function f(a) return a end", "local x = coroutine.create(f)"),
    (
        "setmetatable, in a constructor",
        "local M = {} M.__index = M
         function M.new(a) return setmetatable({a = a, b = 0}, M) end",
        "local x = M.new(i)",
    ),
    (
        "setmetatable, of a table that has one",
        "local M, t = {}, {} setmetatable(t, M)",
        "local x = setmetatable(t, M)",
    ),
    ("table.move, of 3", "local t, u = {1, 2, 3}, {0, 0, 0}", "table.move(t, 1, 3, 1, u)"),
    (
        "table.move, of 100",
        "local t, u = table.create(100, 1), table.create(100, 0)",
        "table.move(t, 1, 100, 1, u)",
    ),
    ("interpolation, of a number", "", "local x = `n is {i}`"),
    ("interpolation, of a text", "local t = {'abc', 'defg'}", "local x = `s is {t[i % 2 + 1]}`"),
    (
        "interpolation, of three",
        "local s, b = 'abc', true",
        "local x = `{s} has {i}, which is {b}`",
    ),
    ("string.format, %d", "", "local x = string.format('%d', i)"),
    ("string.format, %s %5.2f", "", "local x = ('%s %5.2f'):format('abc', i)"),
    ("tostring, of a number", "", "local x = tostring(i)"),
    ("tostring, of a boolean", "", "local x = tostring(true)"),
    ("string.sub, a method", "local s = 'abcdefgh'", "local x = s:sub(2, 5)"),
    ("string.byte, a method", "local s = 'abcdefgh'", "local x = s:byte(3)"),
    ("string.find", "local s = 'abcdefgh'", "local x = s:find('def', 1, true)"),
    ("string.find, of a pattern", "local s = 'abcd12gh'", "local x = s:find('%d+')"),
    ("string.gsub", "local s = 'abcd12gh'", "local x = s:gsub('%d', 'x')"),
    ("string.rep", "", "local x = ('ab'):rep(10)"),
    ("string.split", "", "local x = ('a,b,c'):split(',')"),
    ("string.upper", "", "local x = ('abcdef'):upper()"),
    ("table.concat, of 10", "local t = table.create(10, 'ab')", "local x = table.concat(t, ', ')"),
    ("table.sort, of 10", "local t = {1, 3, 2, 5, 4, 7, 6, 9, 8, 10}", "table.sort(t)"),
    (
        "table.sort, of 10 with a comparator",
        "local t = {1, 3, 2, 5, 4, 7, 6, 9, 8, 10}",
        "table.sort(t, function(a, b) return a < b end)",
    ),
    (
        "table.insert, in front, and table.remove",
        "local t = {1, 2, 3}",
        "table.insert(t, 1, i) table.remove(t, 1)",
    ),
    ("table.insert and table.remove", "local t = {1, 2, 3}", "table.insert(t, i) table.remove(t)"),
    ("table.find", "local t = {1, 2, 3, 4, 5}", "local x = table.find(t, 4)"),
    ("table.clone", "local t = {1, 2, 3, a = 1}", "local x = table.clone(t)"),
    ("table.create", "", "local x = table.create(10, 0)"),
    ("table.unpack", "local t = {1, 2, 3}", "local x, y = table.unpack(t)"),
    ("table.pack", "", "local x = table.pack(i, i)"),
    ("table.clear", "local t = {}", "t[1] = i table.clear(t)"),
    ("table.freeze", "", "local x = table.freeze({})"),
    ("select, of all", "local function f(...) return select('#', ...) end", "local x = f(i, i)"),
    ("next", "local t = {a = 1}", "local x = next(t)"),
    ("pairs", "local t = {a = 1, b = 2}", "for k, v in pairs(t) do end"),
    ("ipairs", "local t = {1, 2}", "for k, v in ipairs(t) do end"),
    ("rawset", "local t = {}", "rawset(t, 'a', i)"),
    ("assert", "", "local x = assert(i)"),
    ("tonumber, of a text", "", "local x = tonumber('12')"),
    ("math.random", "", "local x = math.random(1, 6)"),
    ("math.noise", "", "local x = math.noise(i, 0.5)"),
    ("buffer.fill", "local b = buffer.create(16)", "buffer.fill(b, 0, 1)"),
    ("utf8.char", "", "local x = utf8.char(228)"),
    ("string.pack", "", "local x = string.pack('<I4', i)"),
];

fn main() {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    println!("### What the sandbox adds to built-ins\n");
    println!("ns for each loop in plain mlua; times as long\n");
    println!("| | mlua | entities | engine |\n| --- | ---: | ---: | ---: |");
    for (name, before, body) in CASES.iter().filter(|(name, ..)| name.contains(&filter)) {
        let [plain, entities, engine] = compare(before, body);
        println!("| {name} | {plain:.0} | {entities:.2}x | {engine:.2}x |");
    }
}

/// The nanoseconds of a loop in mlua, and how many times as long it takes in a pooled VM and in an engine: the
/// median of the rounds.
fn compare(before: &str, body: &str) -> [f64; 3] {
    let source = format!("{before}\nfor i = 1, {LOOPS} do {body} end\nreturn 1");

    let lua = Lua::new();
    lua.sandbox(true).expect("it can be sandboxed");
    let function: Function = lua.load(&source).into_function().expect("it compiles");
    let mut plain = || assert_eq!(function.call::<f64>(()).expect("it runs"), 1.0);

    let limits = RunLimits { time: Duration::from_secs(60), memory: 64 << 20, value_size: 1 << 20 };
    let mut vm = Vm::new(&Api::default(), 256 << 20).expect("it can be made");
    let program = Program::compile("wrappers", &source).expect("it compiles");
    let mut entities = || {
        let (params, mut world) = (ScriptTable::default(), NoWorld::default());
        let value = vm.evaluate(&program, &params, 0, &mut world, &limits);
        assert_eq!(value, Ok(ScriptValue::from(1.0)));
    };

    let builder = LuaEngine::builder().time_limit(Duration::from_secs(60));
    let mut engine = builder.build().expect("it can be made");
    let mut engine = || assert_eq!(engine.evaluate(&source), Ok(1.0.into()));

    let mut found = [const { Vec::new() }; 3];
    for round in 0..ROUNDS + ROUNDS / 10 {
        let first = time(&mut plain);
        let (entities, engine) = (time(&mut entities), time(&mut engine));
        let plain = (first + time(&mut plain)) / 2.0;
        if round >= ROUNDS / 10 {
            found[0].push(plain / f64::from(LOOPS));
            found[1].push(entities / plain);
            found[2].push(engine / plain);
        }
    }
    found.map(|mut rounds| {
        rounds.sort_by(f64::total_cmp);
        rounds[rounds.len() / 2]
    })
}

/// In nanoseconds.
fn time(what: &mut impl FnMut()) -> f64 {
    let start = Instant::now();
    what();
    start.elapsed().as_nanos() as f64
}
