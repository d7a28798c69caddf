//! No built-in works for much longer than the time limit allows, whatever its arguments: those that a script
//! reaches are found in a VM, and each is called with all that makes a call long.
#![cfg(all(feature = "data-formats", feature = "linalg"))]
#![expect(clippy::unwrap_used, reason = "what is set up here can't fail")]

use std::time::Duration;

use bevy_lua_pool::{LuaEngine, ScriptError, ScriptValue, modules};
use cpu_time::ThreadTime;

/// What one call may take.
const LIMIT: Duration = Duration::from_millis(2);
/// What one may have taken when it is over. In a build without optimisation it is told from what is not bounded,
/// which takes a hundred times as long.
const MOST: Duration = Duration::from_millis(if OPTIMISED { 30 } else { 100 });

/// The same for functions of modules, which are Rust.
const MOST_OF_MODULES: Duration = Duration::from_millis(if OPTIMISED { 50 } else { 1000 });

/// The build is an optimised one.
const OPTIMISED: bool = !cfg!(debug_assertions);

/// Of so many attempts the shortest counts: the machine may be busy.
const ATTEMPTS: u32 = 3;
const MODULES: [&str; 5] = ["json.", "linalg.", "random.", "toml.", "yaml."];

/// So many digits, or spaces, in a row. More can't be, and to see that there aren't takes a while without optimisation.
const ROW: usize = if OPTIMISED { 49_152 } else { 64 };

/// Values that make calls long.
const VALUES: &str = "
digits = ('9'):rep(49152)
long = (('1'):rep(row) .. 'x'):rep(3000000 // row)
spaces = ((' '):rep(row) .. 'x'):rep(3000000 // row)
many = table.create(30000, digits)
numbers = table.create(20000)
for n = 1, 20000 do numbers[n] = n + 0.5 end
list = table.create(200000, 'x')
sparse = {[1] = 1, [2] = 2}
for n = 1, 50000 do sparse[n * 3] = n end
bytes = buffer.create(1000000)
set = '[' .. ('a'):rep(100000) .. ']*x'
captures = ('('):rep(30) .. '.*' .. (')'):rep(30)
percents = ('%%'):rep(1500000)
formats = ('%d'):rep(7000)
quotes = ('%q'):rep(7000)
packs = ('z'):rep(15000)
floats = ('d'):rep(15000)
slices = ('c12'):rep(80000)
prints = coroutine.create(print)
clashes = clashing(20000)
clash_slices = ('c44'):rep(20000)
";

/// `clashing(n)`: so many different texts of 44 bytes, one after another, that all have one hash.
const CLASHING: &str = "
local function mix(a, b, h)
    a = (bit32.bxor(a, h) - bit32.rrotate(h, 14)) % 4294967296
    b = (bit32.bxor(b, a) - bit32.rrotate(a, 11)) % 4294967296
    h = (bit32.bxor(h, b) - bit32.rrotate(b, 25)) % 4294967296
    return a, b, h
end
function clashing(count)
    local all = buffer.create(count * 44)
    for n = 0, count - 1 do
        local at = n * 44
        buffer.writeu32(all, at, n)
        local a, b, h = mix(n, 0, 44)
        buffer.writeu32(all, at + 12, (-a) % 4294967296)
        buffer.writeu32(all, at + 16, (-b) % 4294967296)
        buffer.writeu32(all, at + 20, (-h) % 4294967296)
    end
    return buffer.tostring(all)
end
";

/// Arguments that make calls long.
const ARGUMENTS: [&str; 50] = [
    "",
    "table.unpack(many)",
    "1, table.unpack(many)",
    "'#', table.unpack(many)",
    "'x', table.unpack(many)",
    "print, table.unpack(many)",
    "prints, table.unpack(many)",
    "table.unpack(numbers)",
    "long",
    "spaces",
    "long, long",
    "long, spaces",
    "long, long, long",
    "long, long, long, long, long",
    "1, long",
    "1, long, long",
    "1, 1, long",
    "'x', long",
    "'x', long, long",
    "'x', 1, long",
    "'x', 'x', 'x', long",
    "long, 1, -1",
    "long, 36",
    "long, 1e9",
    "long, 1, 1e9",
    "long, set",
    "digits, set",
    "'x', set",
    "long, captures",
    "long, '(.-)%1%1'",
    "long, '%f[' .. long .. ']'",
    "long, '.', digits",
    "digits, '.', '%0%0%0%0'",
    "digits, ''",
    "list, long",
    "list, long, long",
    "list, 1, long, long, list",
    "list, '', 1, long",
    "list, 1, 1e9, 2, sparse",
    "sparse, 1, 2e9, 2",
    "numbers, long",
    "table.create(200000)",
    "bytes, long, long",
    "bytes, 0, long, long",
    "bytes, 0, bytes, long, long",
    "vector.one, vector.one, long",
    "percents .. '%d', 1",
    "formats, table.unpack(many, 1, 7000)",
    "quotes, table.unpack(numbers, 1, 7000)",
    "packs, table.unpack(numbers, 1, 15000)",
];

/// For single functions.
const SPECIAL: [(&str, &str); 9] = [
    ("string.unpack", "clash_slices, clashes"),
    ("string.unpack", "slices, long"),
    ("string.unpack", "floats, long"),
    ("string.pack", "floats, table.unpack(many, 1, 15000)"),
    ("string.rep", "digits, '1000'"),
    ("utf8.codepoint", "long, 1, -1"),
    ("string.byte", "long, 1, -1"),
    ("table.concat", "numbers"),
    ("table.move", "sparse, 1, 2000000000, 5, {}"),
];

/// Every function that a script reaches in an engine with all modules.
const NAMES: &str = "
local names = {}
for library, members in BUILT_INS do
    if type(members) == 'function' then
        table.insert(names, library)
    elseif type(members) == 'table' and library ~= '_G' then
        for name, member in members do
            if type(member) == 'function' then
                table.insert(names, `{library}.{name}`)
            end
        end
    end
end
return names
";

fn engine() -> LuaEngine {
    let mut engine = LuaEngine::builder()
        .modules(modules::all())
        .time_limit(Duration::from_secs(60))
        .memory_limit(64 << 20)
        .build()
        .unwrap();
    engine.run(CLASHING).unwrap();
    engine.set("row", ROW).unwrap();
    engine.run(VALUES).unwrap();
    engine
}

/// The names of the functions that scripts reach.
fn names(engine: &mut LuaEngine) -> Vec<String> {
    let globals = [
        "assert",
        "bit32",
        "buffer",
        "coroutine",
        "debug",
        "error",
        "getmetatable",
        "ipairs",
        "json",
        "linalg",
        "log",
        "math",
        "next",
        "pairs",
        "pcall",
        "print",
        "random",
        "rawequal",
        "rawget",
        "rawlen",
        "rawset",
        "select",
        "setmetatable",
        "string",
        "table",
        "toml",
        "tonumber",
        "tostring",
        "type",
        "typeof",
        "unpack",
        "utf8",
        "vector",
        "xpcall",
        "yaml",
    ];
    let list: Vec<_> = globals.iter().map(|name| format!("{name} = {name}")).collect();
    let source = format!("local BUILT_INS = {{{}}} {NAMES}", list.join(", "));
    let ScriptValue::Table(names) = engine.evaluate(&source).unwrap() else { panic!("a list") };
    let text = |name: &ScriptValue| match name {
        ScriptValue::String(name) => name.clone(),
        other => panic!("{other}"),
    };
    let mut names: Vec<_> = names.array.iter().map(text).collect();
    names.sort();
    assert!(names.len() > 150, "{names:?}");
    names
}

#[test]
fn no_built_in_outlasts_the_time_limit_whatever_its_arguments() {
    let mut engine = engine();
    let names = names(&mut engine);
    engine.set_time_limit(LIMIT);
    let usual =
        names.iter().flat_map(|name| ARGUMENTS.iter().map(move |args| (name.as_str(), *args)));
    let most = |name: &str| {
        let of_module = MODULES.iter().any(|module| name.starts_with(module));
        if of_module { MOST_OF_MODULES } else { MOST }
    };
    let mut late: Vec<(String, Duration)> = Vec::new();
    for (name, arguments) in usual.chain(SPECIAL) {
        // What ends the run or others is not to be called again and again.
        let source = match name {
            "coroutine.yield" => format!("coroutine.wrap({name})({arguments})"),
            _ => format!("for n = 1, 5 do pcall(function() return {name}({arguments}) end) end"),
        };
        let mut attempt = || {
            let began = ThreadTime::now();
            let _ = engine.run(&source);
            let time = began.elapsed();
            // A coroutine is resumed once.
            if arguments.starts_with("prints") {
                engine.run("prints = coroutine.create(print)").unwrap();
            }
            engine.take_output();
            time
        };
        let mut shortest = attempt();
        for _ in 1..ATTEMPTS {
            if shortest > most(name) {
                shortest = shortest.min(attempt());
            }
        }
        if shortest > most(name) {
            late.push((format!("{name}({arguments})"), shortest));
        }
    }
    late.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
    assert!(late.is_empty(), "{}: {late:#?}", late.len());
}

#[test]
fn texts_that_collide_are_freed_in_about_the_time_that_they_were_made_in() {
    let limit = Duration::from_millis(60);
    let mut engine = LuaEngine::builder().time_limit(Duration::from_secs(60)).build().unwrap();
    engine.run(CLASHING).unwrap();
    engine.run("all = buffer.fromstring(clashing(200000))").unwrap();
    engine.set_time_limit(limit);
    let source = "kept = {} local n = 0
        while true do
            kept[n + 1] = buffer.readstring(all, n * 44, 44)
            n += 1
        end";
    let began = ThreadTime::now();
    let failure = engine.run(source).unwrap_err();
    assert!(matches!(failure.error, ScriptError::TimedOut { .. }), "{failure}");
    let ran = began.elapsed();
    engine.set("kept", ScriptValue::Nil).unwrap();
    let began = ThreadTime::now();
    engine.collect_garbage();
    let freed = began.elapsed();
    println!("ran for {ran:?}, freed in {freed:?}");
    assert!(ran < 5 * limit && freed < 3 * limit, "{ran:?}, then {freed:?}");
}

#[test]
fn arguments_of_a_host_function_are_bounded_together() {
    let builder = LuaEngine::builder().value_limit(1000);
    let builder = builder.function("count", |values: (String, String, Option<String>)| {
        values.0.len() + values.1.len() + values.2.map_or(0, |text| text.len())
    });
    let mut engine = builder.build().unwrap();
    engine.run("text = ('x'):rep(900)").unwrap();
    assert_eq!(engine.evaluate("count(text, text)").unwrap(), 1800.0.into());
    let failure = engine.evaluate("count(text, text, text)").unwrap_err();
    assert!(matches!(failure.error, ScriptError::TooMuch { limit: 1000, .. }), "{failure}");
}
