//! The table is complete, and built-ins do what they did.

use std::collections::BTreeSet;
use std::time::Duration;

use mlua::Value;

use super::*;
use crate::vm::raw::memory::weigh;
use crate::vm::{Api, STEP_NANOS, Vm, sandbox};

/// The functions that a fresh VM offers, as `library.name`; and those of no library.
fn offered() -> BTreeSet<String> {
    let lua = Lua::new_with(sandbox::libraries(), mlua::LuaOptions::new()).expect("memory");
    let globals = sandbox::build(&lua, &Api::default()).expect("memory");
    let mut names = BTreeSet::new();
    let mut add = |library: &str, table: &Table| {
        table.for_each(|key: String, value: Value| {
            if value.is_function() {
                names.insert(format!("{library}.{key}"));
            }
            Ok(())
        })
    };
    add("", &globals).expect("its keys are texts");
    globals
        .for_each(|library: String, value: Value| match value {
            Value::Table(table) if library != "_G" => add(&library, &table),
            _ => Ok(()),
        })
        .expect("its keys are texts");
    names
}

fn listed() -> Vec<String> {
    let name = |text: &CStr| text.to_str().expect("ASCII").to_owned();
    let full = |built_in: &BuiltIn| format!("{}.{}", name(built_in.library), name(built_in.name));
    BUILT_INS.iter().map(full).collect()
}

#[test]
fn every_function_that_scripts_find_has_a_row_and_every_row_a_function() {
    let (offered, listed) = (offered(), listed());
    let set: BTreeSet<_> = listed.iter().cloned().collect();
    assert_eq!(set.len(), listed.len(), "each once");
    let missing: Vec<_> = offered.difference(&set).collect();
    assert!(missing.is_empty(), "say in `BUILT_INS` what bounds these: {missing:?}");
    let gone: Vec<_> = set.difference(&offered).collect();
    assert!(gone.is_empty(), "these are not offered: {gone:?}");
    // And so in a VM.
    assert!(Vm::new(&Api::default(), 16 << 20).is_ok());
}

/// Evaluates a source in a fresh VM.
fn evaluate(source: &str) -> crate::ScriptValue {
    let mut vm = Vm::new(&Api::default(), 64 << 20).expect("memory");
    let program = crate::vm::Program::compile_expression("test", source).expect("it compiles");
    let limits = crate::vm::RunLimits {
        time: Duration::from_secs(60),
        memory: usize::MAX,
        value_size: 1 << 24,
    };
    let mut world = crate::vm::NoWorld::default();
    vm.evaluate(&program, &crate::ScriptTable::default(), 0, &mut world, &limits)
        .unwrap_or_else(|failure| panic!("{source}: {failure}"))
}

#[test]
fn functions_do_what_they_did() {
    for (source, expected) in [
        ("math.max(table.unpack({'1', 2, '3'}))", "3"),
        ("math.max(1, 7, 3) + math.abs('-2')", "9"),
        ("bit32.bor(1, '2', 4)", "7"),
        ("select('2', 'a', 'b')", "b"),
        ("string.char(72, '105')", "Hi"),
        ("('abc'):byte(-1)", "99"),
        ("('x'):rep('3')", "xxx"),
        ("('a b c'):gsub('%w', '%0%0', 2)", "aa bb c"),
        ("('a,b,,c'):split(',')[4] .. #('a,b,,c'):split(',')", "c4"),
        ("#('x'):rep(300000):split('y') + #(('x'):rep(200000) .. 'y'):split('y')", "3"),
        ("table.concat(('aaaabaaaab'):split('ab'), '|')", "aaa|aaa|"),
        (
            "string.format('%5.1f|%d|%s|%*|%q', '2.25', 3, 4, vector.one, 'x')",
            "  2.2|3|4|1, 1, 1|\"x\"",
        ),
        ("string.pack('<I2z', '258', 7)", "\u{2}\u{1}7\0"),
        ("(string.unpack('z', 'abc\\0'))", "abc"),
        ("table.concat({1, 2, 3}, '-')", "1-2-3"),
        ("table.concat({1, 2, 3}, '-', 2)", "2-3"),
        ("utf8.char(228, '8364')", "ä€"),
        ("utf8.codepoint('ä')", "228"),
        ("buffer.readu8(buffer.fromstring('A'), '0')", "65"),
        ("tostring(vector.create(1, '2', 3))", "1, 2, 3"),
        ("debug.traceback('m'):sub(1, 6)", "m\ntest"),
        ("(table.unpack({1, 2, 3}, '2'))", "2"),
        ("#table.move({1, 2, 3}, 1, 3, 2)", "4"),
        ("tonumber('ff', '16')", "255"),
    ] {
        let shown = match evaluate(source) {
            crate::ScriptValue::String(text) => text,
            value => value.to_string(),
        };
        assert_eq!(shown, expected, "{source}");
    }
    for (source, error) in [
        ("pcall(math.max)", "missing argument #1 to 'max' (number expected)"),
        ("pcall(math.sin, {})", "invalid argument #1 to 'sin' (number expected, got table)"),
        ("pcall(string.rep)", "missing argument #1 to 'rep' (string expected)"),
        ("pcall(table.concat, {1, {}})", "invalid value (table) at index 2 in table for 'concat'"),
    ] {
        let text = evaluate(&format!("select(2, {source})")).to_string();
        assert!(text.contains(error), "{source}: {text}");
    }
}

/// The steps of each call, besides those of none.
fn steps_of<const N: usize>(large: &str, calls: [&str; N]) -> [u64; N] {
    let mut vm = Vm::new(&Api::default(), 64 << 20).expect("memory");
    vm.count_steps(true);
    let time = Duration::from_secs(60);
    let limits = crate::vm::RunLimits { time, memory: usize::MAX, value_size: 1024 };
    let mut steps = |call: &str| {
        let source = format!("{large} function on_update(self) {call} end");
        let program = crate::vm::Program::compile("test", &source).expect("it compiles");
        let (callback, state) = (crate::vm::Callback::Update, &crate::ScriptTable::default());
        let of = crate::vm::Call { callback, state, args: &[], seed: 0 };
        let outcome = vm.run(&program, of, &mut crate::vm::NoWorld::default(), &limits);
        assert!(matches!(outcome, crate::vm::Outcome::Done(_)), "{call}: {outcome:?}");
        vm.used().steps
    };
    let none = steps("");
    calls.map(|call| steps(call) - none)
}

#[test]
fn a_small_part_of_something_large_is_for_free() {
    let large = "local text, bytes = ('x'):rep(4000000), buffer.create(8000000)
        local list = table.create(100000, 1) ";
    let calls = [
        "local _ = text:sub(7, 9)",
        "local _ = text:sub(-3)",
        "local _ = text:byte(-1)",
        "utf8.codepoint(text, 5)",
        "utf8.len(text, 5, 9)",
        "utf8.offset(text, 1)",
        "utf8.offset(text, -3)",
        "utf8.offset(text, 0, 7)",
        "string.unpack('<I4', text, 5)",
        "buffer.fill(bytes, 9, 1, 4)",
        "buffer.copy(bytes, 0, bytes, 9, 4)",
        "buffer.readstring(bytes, 9, 4)",
        "table.remove(table.clone{1})",
        "assert(true, text)",
        "select(2, text)",
        "table.unpack(list, 1, 3)",
    ];
    for (call, steps) in calls.iter().zip(steps_of(large, calls)) {
        assert!(steps < 10, "{call}: {steps} steps");
    }
    let calls = [
        "local _ = text:sub(7)",
        "utf8.len(text)",
        "utf8.offset(text, 3000000)",
        "buffer.fill(bytes, 9, 1)",
        "table.unpack(list, 1, 3000)",
    ];
    for (call, steps) in calls.iter().zip(steps_of(large, calls)) {
        assert!(steps > 1000, "{call}: {steps} steps");
    }
}

#[test]
fn what_a_built_in_does_is_counted_whichever_way_it_does_it() {
    let large = "local function numbers(n)
            local list = table.create(n)
            for i = 1, n do list[i] = i * 7919 % 10007 end
            return list
        end
        local list, few = numbers(20000), numbers(100)
        local map, empty = {}, {}
        for i = 1, 50000 do map['x' .. i], empty['x' .. i] = i, i end
        table.clear(empty)
        local text = ('x'):rep(90000) ";
    let calls = [
        ("table.sort(table.clone(list))", 100_000),
        ("table.sort(table.clone(few))", 400),
        ("table.clone(map)", 20_000),
        ("table.clone(empty)", 20_000),
        ("table.clear(table.clone(map))", 40_000),
        ("local _ = text:split('y')", 5_000),
        ("local _ = text:split('')", 100_000),
    ];
    let all = steps_of(large, calls.map(|(call, _)| call));
    for ((call, least), steps) in calls.iter().zip(all) {
        assert!((*least..50 * least).contains(&steps), "{call}: {steps} steps");
    }
}

#[test]
fn each_text_that_a_format_makes_of_a_value_is_a_step() {
    const COUNT: u64 = 1000;
    let all = format!(
        "local numbers, tables = table.create({COUNT}, 1), table.create({COUNT}, {{}})
        local all, functions = ('%*'):rep({COUNT}), {{table.unpack}} "
    );
    let calls = ["numbers", "tables"]
        .map(|values| format!("local _ = string.format(all, functions[1]({values}))"));
    let [numbers, tables] = steps_of(&all, [&calls[0], &calls[1]]);
    let of_bytes = COUNT * 4 * "table".len() as u64 / STEP_NANOS;
    assert_eq!(tables - numbers, COUNT + of_bytes);
}

#[test]
fn how_large_a_table_is_can_be_asked() {
    let lua = Lua::new();
    for (list, rest) in [(0, 0), (5, 0), (0, 64), (100, 1024)] {
        // SAFETY: inside a protected call, with the table on top.
        let room = unsafe {
            let mut room = (0, 0);
            lua.exec_raw::<()>((), |state| {
                ffi::lua_createtable(state, list, rest);
                room = weigh::room_of_table(state, -1);
                ffi::lua_pop(state, 1);
            })
            .expect("memory");
            room
        };
        assert_eq!(room, (list as usize, (rest as usize).max(1)));
    }
}

#[test]
fn values_are_shown_in_formats_as_they_are_elsewhere() {
    let source = "string.format('%*|%*|%*|%*|%*|%*', 1.5, 'x', nil, true, vector.one, {})";
    let shown = evaluate(source).to_string();
    assert!(shown.contains("1.5|x|nil|true|1, 1, 1|table"), "{shown}");
}

#[test]
fn a_long_list_with_numbers_is_put_together_as_a_short_one() {
    let long = "local t = {} for n = 1, 3000 do t[n] = if n % 3 == 0 then n else 'x' .. n end ";
    let whole = "local s = '' for n = 1, 3000 do s ..= (if n > 1 then ', ' else '') .. t[n] end
        return table.concat(t, ', ') == s";
    assert_eq!(evaluate(&format!("{long}{whole}")), true.into());
    let part =
        "return table.concat(t, '', 700, 2100) == table.concat(table.move(t, 700, 2100, 1, {}))";
    assert_eq!(evaluate(&format!("{long}{part}")), true.into());
    let wrong = "t[2001] = {} return select(2, pcall(table.concat, t, ','))";
    let error = evaluate(&format!("{long}{wrong}")).to_string();
    assert!(error.contains("(table) at index 2001 in table for 'concat'"), "{error}");
    let far = "return select(2, pcall(table.concat, t, '', 1e15, 1e15 + 700))";
    assert!(evaluate(&format!("{long}{far}")).to_string().contains("invalid value"));
}

/// What plain Luau gives for a source.
fn plainly(source: &str) -> String {
    let lua = Lua::new();
    let value: Value = lua.load(source).set_name("@test").eval().expect("it is right");
    value.to_string().expect("it can be shown")
}

#[test]
fn protected_calls_do_what_luaus_own_do() {
    let show = "local function show(...)
        local all = table.pack(...)
        for n = 1, all.n do all[n] = tostring(all[n]) end
        return table.concat(all, '|')
    end ";
    for calls in [
        "return show(pcall(select, 2, 1, 2, 3), pcall(type, nil), pcall(pcall, error, 1))",
        "return show(pcall(nil))",
        "return show(pcall(function() error('told') end))",
        "return show(pcall(function() pcall() end))",
        "return show(pcall(xpcall, 1))",
        "return show(pcall(xpcall, 1, 2))",
        "return show(xpcall(function(...) return select('#', ...), ... end, error, nil, 2, nil))",
        "return show(xpcall(error, function(...) return select('#', ...) .. show(...) end, 'e', 0))",
        "return show(xpcall(error, function() error('again') end))",
        "return show(xpcall(function() local x = nil + 1 end, debug.traceback))",
        "return show(pcall(coroutine.resume))",
        "return show(coroutine.resume(coroutine.create(error), 'e'))",
        "return show(xpcall(function() return xpcall(error, tostring, {1} and 7) end, print))",
        // They can be slept in.
        "local co = coroutine.wrap(function(...)
            local function sleep(...) return coroutine.yield(...) end
            local a = show(pcall(sleep, ...))
            local b = show(xpcall(sleep, tostring, a))
            local c = show(pcall(function() sleep(b) error('woken', 0) end))
            local d = show(xpcall(function() sleep(c) error('woken') end, debug.traceback))
            return d
        end)
        return show(co(1, 2), co(3, 4), co(5), co(), co(), pcall(co))",
        "local t = table.create(200, 1)
        return #show(pcall(table.unpack, t)) + #show(xpcall(table.unpack, error, t))",
    ] {
        let source = format!("{show}{calls}");
        let found = match evaluate(&source) {
            crate::ScriptValue::String(text) => text.to_string(),
            value => value.to_string(),
        };
        assert_eq!(found, plainly(&source), "{calls}");
    }
}
