//! What compiles, and what does not.

use super::*;

#[test]
fn a_syntax_error_names_file_line_and_reason() {
    let error = Program::compile("scripts/x.luau", "local a = 1\nlocal b = = 2\n").map(|_| ());
    let Err(ScriptError::Syntax { script, line, message, incomplete: false }) = error else {
        panic!("not a syntax error: {error:?}");
    };
    assert_eq!((script.as_str(), line), ("scripts/x.luau", 2));
    assert!(message.contains('='), "{message}");
}

#[test]
fn bytecode_and_oversized_text_are_refused() {
    assert!(matches!(
        Program::compile_bytes("x", &[6, 3, 0xff, 1]),
        Err(ScriptError::NotText { offset: 2 })
    ));
    let long = " ".repeat(MAX_SOURCE_SIZE + 1);
    assert!(matches!(Program::compile("x", &long), Err(ScriptError::TooLarge { .. })));
    let program = Program::compile("x", &long[1..]);
    assert!(program.is_ok(), "exactly the limit compiles");
}

#[test]
fn text_nested_too_deeply_is_a_syntax_error_not_a_crash() {
    let source = format!("return {}1{}", "(".repeat(100_000), ")".repeat(100_000));
    assert!(matches!(Program::compile("x", &source), Err(ScriptError::Syntax { .. })));
}

#[test]
fn however_many_strings_a_script_has_they_may_collide_by_chance_but_not_on_purpose() {
    let list = |names: Vec<String>| format!("return {{'{}'}}", names.join("','"));
    for source in [
        list((0..20_000).map(|n| format!("k{n}")).collect()),
        list((0..10_000).map(|n| format!("item_{n:05}_name")).collect()),
        list((0..12_000).map(|n| format!("{n:x}")).collect()),
        list((0..5_000).map(|n| format!("assets/models/tree_{n}/leaf.png")).collect()),
    ] {
        let compiled = Program::compile("names.luau", &source);
        assert!(compiled.is_ok(), "{}: {:?}", &source[..40], compiled.err());
    }
    let all = include_str!("../../../tests/attacks/host/collisions_in_source.luau");
    let names: Vec<&str> =
        all.lines().filter_map(|line| line.trim().strip_suffix(" = 1,")).collect();
    let of = |count: usize| {
        Program::compile("all.luau", &format!("return {{'{}'}}", names[..count].join("','")))
    };
    assert!(of(50).is_ok());
    assert!(matches!(of(80), Err(ScriptError::Syntax { .. })), "they would fill a table of all");
}
