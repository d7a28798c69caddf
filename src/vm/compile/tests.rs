//! Which texts merely end too early, and which are wrong.

use super::*;

/// Whether the text is incomplete, as a source and as a console reads it. It must not compile.
#[track_caller]
fn incomplete(text: &str) -> (bool, bool) {
    let compile = |text: &str, _: usize| compile(Purpose::Session, "console", text);
    let source = compile(text, 0).expect_err(text);
    let console = expression_or_source(text, MAX_SOURCE_SIZE, compile)
        .map_or_else(|error| error.is_incomplete(), |_| false);
    (source.is_incomplete(), console)
}

#[test]
fn a_text_that_merely_ends_too_early_is_told_from_a_wrong_one() {
    for text in [
        "function f(",
        "function f(a,",
        "function f()",
        "function",
        "local function f() return 1",
        "local x =",
        "local",
        "local x = 5 +",
        "x = ",
        "x = {",
        "x = { 1, 2,",
        "x = { a = 1",
        "f(",
        "f(1,",
        "f{",
        "a.",
        "a:",
        "a[1",
        "(a",
        "if x",
        "if x then",
        "if x then y() else",
        "if x then y() elseif",
        "for",
        "for i",
        "for i = 1, 3 do",
        "for k, v in pairs(t)",
        "while true",
        "while true do",
        "repeat",
        "repeat x() until",
        "do local x = 1",
        "x = function()",
        "return function(a) if a then",
        "local x: ",
        "local t = { f = function() end,",
        "f() -- a comment\ng(",
        "local x = if a then 1",
        "local x = if a then 1 else",
        "type T = {",
        // Long strings and comments.
        "x = [[",
        "x = [[one\ntwo",
        "x = [==[one ]] ]=] ",
        "--[[ a comment",
        "--[==[ a ]] comment\n",
        "f() --[[",
        "f([[",
        "x = { [[a]], [=[b",
        "f [[",
        "x = f [[one",
        "x = `{ [[one",
        "x = 'it is' .. [[",
        // Strings that go on in the next line.
        "x = 'one\\",
        "x = 'one\\\n",
        "x = \"one\\z\n   ",
        "x = `one\\",
        // Expressions in interpolated strings.
        "x = `one {",
        "x = `one { two",
        "x = `{ `{",
        "x = `{ { 1, ",
        "x = `\\u{48} {",
    ] {
        assert_eq!(incomplete(text), (true, true), "{text:?}");
    }
    for text in [
        "x = = 1",
        "x = 1 = 2",
        "end",
        "f())",
        "x = { 1, 2 )",
        "function f( end",
        "function 1",
        "local 1",
        "for i do",
        "for i = 1 do end",
        "if x then end end",
        "if x then y( end",
        "return 1 2",
        "while true do end end",
        "x = 1 }",
        "a.1",
        "goto x y",
        "x = 0x",
        "x = 1e",
        "x = @",
        "x = \\",
        "break",
        "local x = 5 5",
        "x = 'one",
        "x = 'one\nx = 2",
        "x = \"one",
        "x = \"one\n x = [[",
        "x = 'one' 'two",
        "x = [[one]] [[two",
        "x = `one",
        "x = `one {two}",
        "x = `{}`",
        "x = `one {{",
        "x = '\\xzz'",
        "x = = '<eof>'",
        "x = = [[",
        "= --[[ a comment",
        "f() f --[[ a comment",
        "x = [[one]] + [[two]] [[",
        "x = 1 y = = 2 f(",
    ] {
        assert_eq!(incomplete(text), (false, false), "{text:?}");
    }
}

#[test]
fn what_a_console_reads_as_an_expression_may_end_too_early_too() {
    for text in ["1 +", "a ==", "not", "#", "-", "a and", "(1 + 2) *", "`{a}` .."] {
        assert_eq!(incomplete(text), (false, true), "{text:?}");
    }
    // What could be an assignment is a whole expression.
    for text in ["a", "a.b", "a[1]", "1 + 1"] {
        assert_eq!(incomplete(text), (false, false), "{text:?}");
    }
}

#[test]
fn a_text_that_ends_too_early_is_right_once_it_is_continued() {
    for (text, rest) in [
        ("function f(", "a) return a end"),
        ("x = [[one", "two]]"),
        ("--[[ a comment", "that ends ]] x = 1"),
        ("x = 'one\\", "two'"),
        ("x = `one {", "two}`"),
        ("for i = 1, 3 do", "f(i) end"),
    ] {
        assert!(compile(Purpose::Runs, "console", &format!("{text}\n{rest}")).is_ok(), "{text:?}");
    }
}
