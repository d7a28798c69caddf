//! Ordinary Luau: every function of the libraries does here what it does in plain Luau, and fails with the same
//! message; what differs by intention stands in the guide, under "Intended differences from plain Luau".

use std::collections::BTreeSet;
use std::time::Duration;

use bevy_lua_pool::{LuaEngine, LuaPoolConfig, LuauPool, PoolConfig, ScriptTable, ScriptValue};

// ---- three ways to run a source ------------------------------------------------------------------

const MIB: usize = 1024 * 1024;

struct Ways {
    plain: mlua::Lua,
    engine: LuaEngine,
    pool: LuauPool,
}

impl Ways {
    fn new() -> Self {
        let long = Duration::from_secs(60);
        let engine = LuaEngine::builder().time_limit(long).memory_limit(512 * MIB).build();
        let config = LuaPoolConfig {
            pool: PoolConfig { memory_limit: 512 * MIB, max_size: 1, ..PoolConfig::default() },
            run_time_limit: long,
            max_value_size: 16 * MIB,
            ..LuaPoolConfig::default()
        };
        Self {
            plain: mlua::Lua::new(),
            engine: engine.expect("there is memory"),
            pool: LuauPool::builder().config(config).build().expect("there is memory"),
        }
    }

    /// The text that a source returns: in plain Luau, in an engine, in a pooled run.
    fn run(&mut self, source: &str) -> [String; 3] {
        let text = |value: ScriptValue| match value {
            ScriptValue::String(text) => text,
            ScriptValue::Bytes(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            other => panic!("{other}"),
        };
        let plain: mlua::LuaString =
            self.plain.load(source).set_name("=chunk").eval().expect("plain Luau runs it");
        let pooled = self.pool.execute_named("chunk", source, ScriptTable::default());
        [
            plain.to_string_lossy(),
            text(self.engine.evaluate(source).expect("an engine runs it")),
            text(pooled.expect("a pool runs it")),
        ]
    }
}

// ---- calls ---------------------------------------------------------------------------------------

/// Shows what a call gave, or how it failed, on one line.
const SHOW: &str = r##"
local lines = {}
local show
local function number(n)
    if n ~= n then return "nan" end
    return string.format("%.17g", n)
end
local function keyed(a, b)
    local x, y = type(a), type(b)
    if x ~= y then return x < y end
    if x == "number" or x == "string" then return a < b end
    return false
end
function show(value, depth)
    local kind = type(value)
    if kind == "number" then return number(value) end
    if kind == "string" then return string.format("%q", value) end
    if kind == "vector" then
        return "<" .. number(value.x) .. " " .. number(value.y) .. " " .. number(value.z) .. ">"
    end
    if kind == "buffer" then return "buffer " .. string.format("%q", buffer.tostring(value)) end
    if kind == "table" and depth < 3 then
        local keys, parts = {}, {}
        for key in value do table.insert(keys, key) end
        table.sort(keys, keyed)
        for _, key in keys do
            table.insert(parts, show(key, depth + 1) .. "=" .. show(value[key], depth + 1))
        end
        return "{" .. table.concat(parts, ", ") .. "}"
    end
    if kind == "nil" or kind == "boolean" then return tostring(value) end
    return kind
end
local function results(ok, ...)
    local parts = {}
    for n = 1, math.min(select("#", ...), 40) do
        parts[n] = show((select(n, ...)), 0)
    end
    return (if ok then "" else "error ") .. table.concat(parts, ", ")
end
local function try(f) table.insert(lines, results(pcall(f))) end
local function try_caught(f, ...) table.insert(lines, results(pcall(f, ...))) end
"##;

/// A function and calls of it.
struct Calls {
    function: String,
    arguments: Vec<String>,
}

/// A call whose result differs.
struct Difference {
    call: String,
    plain: String,
    ours: String,
}

impl Calls {
    /// Calls the function as scripts do, and hands it to `pcall`; gives what differs from plain Luau.
    fn compare(&self, ways: &mut Ways) -> Vec<Difference> {
        let mut differences = Vec::new();
        for part in self.arguments.chunks(500) {
            let mut source = SHOW.to_owned();
            for arguments in part {
                let function = &self.function;
                let comma = if arguments.is_empty() { "" } else { ", " };
                source.push_str(&format!("try(function() return {function}({arguments}) end)\n"));
                source.push_str(&format!("try_caught({function}{comma}{arguments})\n"));
            }
            source.push_str("return table.concat(lines, '\\n')");
            let [plain, engine, pool] = ways.run(&source);
            let calls = part.iter().flat_map(|arguments| {
                let call = format!("{}({arguments})", self.function);
                [call.clone(), format!("pcall: {call}")]
            });
            for (way, ours) in [("engine", &engine), ("pool", &pool)] {
                assert_eq!(plain.lines().count(), ours.lines().count(), "{}", self.function);
                let lines = plain.lines().zip(ours.lines());
                for (call, (plain, ours)) in calls.clone().zip(lines) {
                    let (plain, ours) = (without_addresses(plain), without_addresses(ours));
                    if plain != ours {
                        differences.push(Difference {
                            call: format!("{call} ({way})"),
                            plain,
                            ours,
                        });
                    }
                }
            }
        }
        differences
    }
}

/// `table: 0x55d0c0ffee` is `table` here.
fn without_addresses(line: &str) -> String {
    let mut parts = line.split(": 0x");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        text.push_str(part.trim_start_matches(|c: char| c.is_ascii_hexdigit()));
    }
    text
}

// ---- arguments -----------------------------------------------------------------------------------

/// Values of all kinds, and numbers and texts at the edges.
const VALUES: [&str; 40] = [
    "nil",
    "true",
    "false",
    "0",
    "1",
    "2",
    "3",
    "-1",
    "7",
    "0.5",
    "-3.7",
    "16",
    "31",
    "32",
    "255",
    "''",
    "'a'",
    "'abc'",
    "'10'",
    "' 0x1F '",
    "'%d'",
    "'(%a)(%d*)'",
    "'a,b,,c'",
    "'ä€x'",
    "'\\255\\0z'",
    "'<i4'",
    "{}",
    "{1, 2, 3}",
    "{'b', 'a', 5}",
    "{a = 1, b = {2}}",
    "setmetatable({}, {__index = {x = 1}, __tostring = function() return 'shown' end})",
    "table.freeze({1, 2})",
    "function(...) return ... end",
    "math.abs",
    "coroutine.create(function() return 1 end)",
    "buffer.fromstring('abcdefghijklmnop')",
    "vector.create(1, -2, 3)",
    "vector.zero",
    "1e10",
    "0/0",
];

/// Numbers that are large, for functions that don't allocate by them.
const LARGE: [&str; 8] =
    ["2^31", "-2^31", "2^32", "2^53", "-2^53", "math.huge", "-math.huge", "1e308"];

/// Those that make so much, or work for so long, as a number says.
const GROWING: [&str; 7] = [
    "string.rep",
    "table.create",
    "table.move",
    "table.concat",
    "buffer.create",
    "table.unpack",
    "unpack",
];

/// A small generator (xorshift), always the same.
struct Dice(u64);

impl Dice {
    fn pick<'v>(&mut self, values: &[&'v str]) -> &'v str {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        values[(self.0 % values.len() as u64) as usize]
    }
}

/// No argument, each value, each pair with some common second ones, and some of more arguments.
fn arguments(function: &str) -> Vec<String> {
    let mut values = VALUES.to_vec();
    if GROWING.contains(&function) {
        values.retain(|value| *value != "1e10");
    } else if function == "math.random" {
        // What is not within 32 bits means something else here.
        values.retain(|value| !["1e10", "0/0"].contains(value));
    } else {
        values.extend(LARGE);
    }
    let mut all = vec![String::new()];
    all.extend(values.iter().map(|value| (*value).to_owned()));
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15 ^ function.len() as u64);
    for first in &values {
        for _ in 0..3 {
            all.push(format!("{first}, {}", dice.pick(&values)));
        }
    }
    for count in 3..=6 {
        for _ in 0..30 {
            let values: Vec<_> = (0..count).map(|_| dice.pick(&values)).collect();
            all.push(values.join(", "));
        }
    }
    all
}

/// Every function that scripts find in Luau's libraries, by its full name.
fn functions() -> BTreeSet<String> {
    let mut engine = LuaEngine::new().expect("there is memory");
    let lua = mlua::Lua::new();
    let mut all = BTreeSet::new();
    let mut add = |name: String| {
        let there = engine.evaluate(&format!("type({name})")) == Ok("function".into());
        if there {
            all.insert(name);
        }
    };
    for pair in lua.globals().pairs::<String, mlua::Value>() {
        let (name, value) = pair.expect("names are texts");
        match value {
            mlua::Value::Function(_) => add(name),
            mlua::Value::Table(library) if name != "_G" => {
                for pair in library.pairs::<String, mlua::Value>() {
                    let (member, value) = pair.expect("names are texts");
                    if value.is_function() {
                        add(format!("{name}.{member}"));
                    }
                }
            }
            _ => {}
        }
    }
    all
}

/// These have tests of their own: what they do is no result, or depends on more than their arguments.
const APART: [&str; 4] = ["print", "coroutine.yield", "coroutine.running", "debug.traceback"];

#[test]
fn every_function_gives_what_it_gives_in_plain_luau_and_fails_with_the_same_message() {
    let mut ways = Ways::new();
    let mut differences = Vec::new();
    let mut calls = 0;
    for function in functions() {
        if APART.contains(&&*function) {
            continue;
        }
        let arguments = arguments(&function);
        calls += arguments.len();
        differences.extend(Calls { function, arguments }.compare(&mut ways));
    }
    println!("{calls} calls");
    differences.retain(|difference| !is_intended(difference));
    let shown = differences.iter().take(5);
    let shown: Vec<String> = shown
        .map(|Difference { call, plain, ours }| {
            format!("{call}: {ours}, but {plain} in plain Luau")
        })
        .collect();
    assert!(shown.is_empty(), "{} differ: {shown:#?}", differences.len());
}

/// Whether a difference has a row in the guide; each row has a test below.
fn is_intended(Difference { call, ours, .. }: &Difference) -> bool {
    let call = call.trim_start_matches("pcall: ");
    let (function, _) = call.split_once('(').expect("it is a call");
    match function {
        "getmetatable" => ours == "false",
        "math.random" => !ours.starts_with("error"),
        _ => false,
    }
}

/// What a source returns or how it fails, in all three ways.
fn same_everywhere(source: &str) -> String {
    let source = format!("{SHOW}\ntry(function() {source} end)\nreturn lines[1]");
    let [plain, engine, pool] = Ways::new().run(&source);
    assert_eq!((&*engine, &*pool), (&*plain, &*plain), "{source}");
    plain
}

#[test]
fn whatever_makes_a_text_shows_a_vector_as_plain_luau_does() {
    let shown = "1, -2.5, 3";
    let vector = "local v = vector.create(1, -2.5, 3)";
    for text in ["tostring(v)", "string.format('%*', v)", "`{v}`"] {
        let found = same_everywhere(&format!("{vector} return {text}"));
        assert_eq!(found, format!("{shown:?}"), "{text}");
    }
    // These take no vector, there and here.
    for call in ["string.format('%s', v)", "table.concat({v})", "v .. ''", "error(v)"] {
        assert!(same_everywhere(&format!("{vector} return {call}")).starts_with("error "));
    }
    let mut engine = LuaEngine::new().expect("there is memory");
    engine.run(&format!("{vector} print(v, 'x') log.warn(v)")).expect("it runs");
    let lines = engine.take_output();
    let texts: Vec<_> = lines.iter().map(|line| &*line.text).collect();
    assert_eq!(texts, [format!("{shown}\tx"), shown.to_owned()]);
    let failure = engine.run(&format!("{vector} error(v)")).expect_err("it raises one");
    assert!(failure.to_string().contains(shown), "{failure}");
    let co = format!(
        "{vector} local co = coroutine.create(error) return select(2, coroutine.resume(co, v))"
    );
    assert_eq!(engine.evaluate(&co).map(|value| value.to_string()), Ok("(1, -2.5, 3)".into()));
}

#[test]
fn a_wrong_call_is_an_error_at_the_place_of_the_call() {
    for call in [
        "math.random(1, 2, 3)",
        "math.random(2, 1)",
        "math.random(0)",
        "math.random({})",
        "pcall()",
        "xpcall(print)",
        "xpcall(print, 1)",
        "xpcall()",
        "coroutine.resume()",
        "coroutine.resume(1)",
        "tostring()",
        "table.isfrozen(1)",
        "setmetatable(1, 2)",
    ] {
        let message = same_everywhere(call);
        assert!(message.starts_with("error \"chunk:"), "{call}: {message}");
    }
}

/// What recursion through a protected call comes to, and where plain Luau has no place, there is none here.
#[test]
fn a_protected_call_that_fails_itself_says_nothing_in_front() {
    for source in [
        "return pcall(nil)",
        "return pcall(pcall)",
        "return pcall(xpcall, print, 1)",
        "return pcall(coroutine.resume, 1)",
        "return pcall(error, 'x', 1)",
        "local function f() local ok, message = pcall(f) return ok, message end return f()",
    ] {
        assert!(!same_everywhere(source).contains("host"), "{source}");
    }
}

// ---- the table in the guide ----------------------------------------------------------------------

/// What plain Luau has and scripts don't find, as `library.name`; of a library that is gone its name alone.
fn gone() -> BTreeSet<String> {
    let mut engine = LuaEngine::new().expect("there is memory");
    let mut is_gone = |name: &str| engine.evaluate(name) == Ok(ScriptValue::Nil);
    let lua = mlua::Lua::new();
    let mut all = BTreeSet::new();
    for pair in lua.globals().pairs::<String, mlua::Value>() {
        let (name, value) = pair.expect("names are texts");
        if is_gone(&name) {
            all.insert(name);
        } else if let mlua::Value::Table(library) = value
            && name != "_G"
        {
            let members = library.pairs::<String, mlua::Value>();
            let members = members.map(|pair| format!("{name}.{}", pair.expect("texts").0));
            all.extend(members.filter(|member| is_gone(member)));
        }
    }
    all
}

#[test]
fn what_is_gone_is_what_the_guide_says() {
    let guide = include_str!("../src/lib.rs");
    let row = guide.lines().find(|line| line.contains("are not there |")).expect("it has a row");
    let told = row.split('`').skip(1).step_by(2).map(str::to_owned);
    assert_eq!(gone(), told.collect());
}

/// What a source gives or how it fails, in a pooled run, which is as one of an entity.
fn pooled(source: &str) -> Result<ScriptValue, String> {
    let config =
        LuaPoolConfig { run_time_limit: Duration::from_millis(200), ..LuaPoolConfig::default() };
    let pool = LuauPool::builder().config(config).build().expect("there is memory");
    pool.execute(source, ScriptTable::default()).map_err(|error| error.to_string())
}

#[test]
fn libraries_and_shared_metatables_are_out_of_reach() {
    for change in ["string.rep = nil", "math.pi = 3", "table.insert(math, 1)", "rawset(math, 1, 1)"]
    {
        let error = pooled(change).expect_err("it is read-only");
        assert!(error.contains("readonly table"), "{change}: {error}");
    }
    for value in ["''", "vector.zero", "_G"] {
        assert_eq!(pooled(&format!("getmetatable({value})")), Ok(false.into()), "{value}");
    }
}

#[test]
fn no_text_has_an_address() {
    for (value, kind) in [
        ("{}", "table"),
        ("print", "function"),
        ("coroutine.create(print)", "thread"),
        ("buffer.create(1)", "buffer"),
    ] {
        for text in ["tostring(x)", "string.format('%*', x)", "`{x}`"] {
            assert_eq!(pooled(&format!("local x = {value} return {text}")), Ok(kind.into()));
        }
    }
}

#[test]
fn a_printed_line_is_cut() {
    let mut engine = LuaEngine::new().expect("there is memory");
    engine.run("print(('x'):rep(5000), {})").expect("it runs");
    let lines = engine.take_output();
    assert!((1900..=2010).contains(&lines[0].text.len()), "{}", lines[0].text.len());
}

#[test]
fn random_numbers_are_those_of_the_run_and_may_be_large() {
    let draw = "local t = {} for n = 1, 5 do t[n] = math.random(1, 2^50) end return t";
    assert_eq!(pooled(draw), pooled(draw));
    let whole = "for n = 1, 100 do
            local x = math.random(1, 2^50)
            assert(x % 1 == 0 and x >= 1 and x <= 2^50)
        end
        return math.random(2^50) > 2^31";
    assert_eq!(pooled(whole), Ok(true.into()));
    assert_eq!(pooled("math.random(2.9, 2.1)"), Ok(2.0.into()), "fractions are cut off");
}

#[test]
fn no_table_is_weak_but_in_an_engine() {
    let fill = "local weak = setmetatable({}, {__mode = 'v'})
        for n = 1, 20000 do weak[n] = {} end
        local kept = 0
        for _ in weak do kept += 1 end
        return kept";
    assert_eq!(pooled(fill), Ok(20_000.0.into()));
    let mut engine = LuaEngine::new().expect("there is memory");
    let kept = engine.evaluate(fill).expect("it runs");
    assert!(matches!(kept, ScriptValue::Number(kept) if kept < 20_000.0), "{kept:?}");
}

#[test]
fn what_can_not_be_done_in_time_says_so() {
    for call in ["string.rep('x', 2^40)", "table.create(2^40)"] {
        let error = pooled(&format!("select(2, pcall(function() {call} end))")).expect("caught");
        assert!(error.to_string().contains("takes too long"), "{error}");
    }
}

#[test]
fn libraries_are_found_through_a_metatable() {
    let found = pooled("rawget(_G, 'bit32') == nil and _G.bit32 == bit32 and _G['math'] == math");
    assert_eq!(found, Ok(true.into()));
}

#[test]
fn no_text_takes_long_to_be_read_as_a_number() {
    let error = pooled("('9'):rep(49153)").expect_err("it is too long");
    assert!(error.contains("more than 49152 digits, or spaces, in a row"), "{error}");
    assert_eq!(pooled("#('9'):rep(49152)"), Ok(49_152.into()));
}

#[test]
fn no_limit_is_caught() {
    for (hang, says) in [
        ("pcall(function() while true do end end)", "time"),
        ("xpcall(function() while true do end end, print)", "time"),
        ("coroutine.resume(coroutine.create(function() while true do end end))", "time"),
        (
            "pcall(function() local t = {} while true do t[#t + 1] = ('x'):rep(1e5) .. #t end end)",
            "memory",
        ),
    ] {
        let error = pooled(&format!("{hang} return 1")).expect_err("it ends the run");
        assert!(error.contains(says), "{hang}: {error}");
    }
}

#[test]
fn a_source_is_text_and_not_too_long() {
    assert!(pooled("return '\0'").is_err());
    assert!(pooled(&format!("return 1 --{}", "x".repeat(256 * 1024))).is_err());
}
