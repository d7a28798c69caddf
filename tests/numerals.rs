//! Bounded: no instruction works for long because a text in it is read as a number.
#![cfg(feature = "data-formats")]

use bevy_lua_pool::engine::ExecuteError;
use bevy_lua_pool::{LuaEngine, LuauPool, ScriptError, ScriptValue, modules};

/// Digits in a row that no text may have more of.
const MOST: usize = 48 * 1024;

/// Ways to make a text that takes long to be read as a number.
const WAYS: [&str; 20] = [
    "('9'):rep(50000)",
    "('.5'):rep(30000)",
    "' ' .. ('\\t'):rep(49152)",
    "table.concat(table.create(50000, 1))",
    "table.concat(table.create(50000, '1'))",
    "table.concat(table.create(100, ('1'):rep(1000)))",
    "(('x'):rep(50000):gsub('x', '1'))",
    "'0x' .. ('f'):rep(50000)",
    "('0xf' .. ('e'):rep(49152))",
    "('%s%s'):format(('7'):rep(40000), ('7'):rep(40000))",
    "`{('7'):rep(40000)}{('7'):rep(40000)}`",
    "`nan({('a'):rep(50000)}`",
    "'NaN(' .. ('A'):rep(50000)",
    "(('f'):rep(50000) .. 'x0'):reverse()",
    "('s' .. ('0x' .. ('F'):rep(40000)) .. ('F'):rep(40000)):lower()",
    "string.char(table.unpack(table.create(60000, 57)))",
    "utf8.char(table.unpack(table.create(60000, 57)))",
    "buffer.tostring((function() local b = buffer.create(50000) buffer.fill(b, 0, 48) return b end)())",
    "buffer.readstring((function() local b = buffer.create(90000) buffer.fill(b, 0, 48) return b end)(), 1, 60000)",
    "json.decode('\"' .. ('1\\\\u0031'):rep(30000) .. '\"')",
];

fn is_refused(error: &ScriptError) -> bool {
    matches!(error, ScriptError::LongNumeral { limit: MOST })
}

#[test]
fn no_script_makes_a_text_that_takes_long_to_be_read_as_a_number() {
    let configure = |config: &mut bevy_lua_pool::LuaPoolConfig| config.max_value_size = 1024 * 1024;
    let pool = LuauPool::builder().configure(configure).module(modules::json()).build().unwrap();
    let mut engine = LuaEngine::builder().module(modules::json()).build().unwrap();
    for way in WAYS {
        // It is refused before it can be used.
        for source in [way.to_owned(), format!("local s = {way} used = true return s")] {
            let result = engine.evaluate(&source).map(|value| value.size());
            let failure = result.expect_err(&source);
            assert!(is_refused(&failure.error), "{source}: {failure}");
            assert_eq!(engine.get("used"), Ok(().into()), "{source}");
            match pool.execute(&source, ()) {
                Err(ExecuteError::Failed(failure)) if is_refused(&failure.error) => {}
                other => panic!("{source}: {other:?}"),
            }
        }
    }
    assert_eq!(engine.evaluate("1 + '1'"), Ok(2.into()), "and it goes on");
}

#[test]
fn no_script_keeps_such_a_text_that_it_was_refused() {
    let mut engine = LuaEngine::new().unwrap();
    let caught = engine.evaluate_all(
        "local s = ('9'):rep(40000)
        local kept = s
        local function keep() return kept end
        local t = {}
        local ok, message = pcall(function()
            kept = s
            kept ..= s
        end)
        local also, _ = pcall(function()
            local mine = s
            keep = function() return mine end
            mine = 'a' .. mine .. mine
        end)
        local further = pcall(function() t[1] = s .. s end)
        return ok, also, further, #kept, keep(), #t, message",
    );
    let caught = caught.unwrap();
    let no = ScriptValue::from(false);
    assert_eq!(caught[..3], [no.clone(), no.clone(), no]);
    assert_eq!(caught[3..6], [40_000.into(), ScriptValue::Nil, 0.into()]);
    let message = caught[6].as_str().unwrap();
    assert!(message.starts_with("chunk:7: a text with more than 49152 digits"), "{message}");
}

#[test]
fn what_was_refused_before_is_no_matter_later() {
    // Old values may lie in registers that a function doesn't use yet.
    let mut engine = LuaEngine::new().unwrap();
    let source = "
        local function deep(n)
            local a, b, c, d = n, n, n, n
            if n > 0 then return deep(n - 1) end
            return pcall(string.rep, '9', 60000), pcall(table.concat, table.create(60000, 1)), a, b, c, d
        end
        for i = 1, 20 do
            deep(i)
            local large = table.create(60000, i)
            large = ('x'):rep(60000 + i) .. i
            deep(i % 3)
            for _ = 1, 3 do large ..= 'y' end
        end
        return 'done'";
    assert_eq!(engine.evaluate(source), Ok("done".into()));
}

#[test]
fn registers_are_looked_at_whatever_lies_above_them() {
    let mut engine = LuaEngine::new().unwrap();
    let source = "
        local function count(...) return select('#', ...) end
        local all = table.create(60000, 57)
        local grown = {}
        for i = 1, 50000 do grown[i] = i end
        return count('x' .. 'y', table.unpack(all)) + count(table.unpack(grown))";
    assert_eq!(engine.evaluate(source), Ok(110_001.into()));
}

#[test]
fn long_texts_that_are_read_as_numbers_at_once_are_no_matter() {
    let mut engine = LuaEngine::builder().value_limit(64 * 1024 * 1024).build().unwrap();
    for text in [
        format!("('9'):rep({MOST})"),
        "('0110\\n'):rep(20000)".to_owned(),
        "('1,'):rep(100000)".to_owned(),
        "('deadbeef'):rep(20000)".to_owned(),
        "('lorem ipsum '):rep(20000) .. 'x'".to_owned(),
        "'-' .. ('abc'):rep(100000)".to_owned(),
    ] {
        let length = engine.evaluate(&format!("local s = {text} local t = s .. '-' return #t"));
        assert!(length.is_ok(), "{text}: {length:?}");
    }
    assert_eq!(
        engine.evaluate("local t = {} for i = 1, 1e5 do t[i] = i end return #t"),
        Ok(100_000.into())
    );
}

#[test]
fn the_host_hands_out_no_such_text_and_a_script_may_catch_that() {
    let mut engine = LuaEngine::builder()
        .function("digits", |count: usize| "9".repeat(count))
        .function("nested", |count: usize| vec![vec!["9".repeat(count)]])
        .build()
        .unwrap();
    assert_eq!(engine.evaluate(&format!("#digits({MOST})")), Ok(MOST.into()));
    let failure = engine.evaluate("digits(50000)").unwrap_err();
    assert!(is_refused(&failure.error), "{failure}");
    assert_eq!(engine.evaluate("(pcall(nested, 50000))"), Ok(false.into()));
    let digits = "9".repeat(50_000);
    let given = [
        engine.set("text", digits.as_str()),
        engine.call("print", digits.as_str()).map(|_| ()),
        engine.restore(&[("text", digits.as_str())].into()),
    ];
    for result in given {
        assert!(is_refused(&result.unwrap_err().error));
    }
    let params = [("text", vec![digits])];
    match LuauPool::builder().build().unwrap().execute("#params.text", params) {
        Err(ExecuteError::Failed(failure)) if is_refused(&failure.error) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_source_with_such_a_text_has_a_safepoint_before_each_use_of_one() {
    let digits = "9".repeat(200_000);
    let mut engine =
        LuaEngine::builder().time_limit(std::time::Duration::from_millis(20)).build().unwrap();
    let source = format!("local s = '{digits}' local _ {}", "_ = s + 1 ".repeat(3000));
    // What it takes to compile it counts as well; the next time it is compiled.
    let _ = engine.run(&source);
    let failure = engine.run(&source).unwrap_err();
    assert!(
        matches!(failure.error, ScriptError::TimedOut { used, .. } if used.as_millis() < 200),
        "{failure}"
    );
}
