use proptest::prelude::*;

use super::*;

const FORMATS: [&str; 3] = ["json", "yaml", "toml"];

fn encode(format: &str, value: impl Into<ScriptValue>) -> String {
    match call(&format!("{format}.encode"), [value.into()]) {
        Ok(ScriptValue::String(text)) => text,
        other => panic!("{format}: {other:?}"),
    }
}

fn decode(format: &str, text: &str) -> Result<ScriptValue, ScriptError> {
    call(&format!("{format}.decode"), [text.into()])
}

/// Values that natural data tells apart, within a table by field. JSON's numbers are read fast: the last
/// digit of the longest ones may differ, so these are short.
fn natural(number: BoxedStrategy<f64>) -> impl Strategy<Value = ScriptValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(ScriptValue::from),
        any::<i32>().prop_map(ScriptValue::from),
        (-(1_i64 << 53)..=1_i64 << 53).prop_map(|whole| ScriptValue::Number(whole as f64)),
        number.prop_map(ScriptValue::from),
        any::<String>().prop_map(ScriptValue::from),
        // What YAML or TOML could take for something else.
        prop::sample::select(vec![
            "null",
            "~",
            "yes",
            "No",
            "true",
            "1e3",
            "0x10",
            "0o7",
            "1_000",
            "-",
            "- a",
            "a: b",
            ".nan",
            "",
            " ",
            "a\nb",
            "a\n",
            "\n",
            "#",
            "&a",
            "*a",
            "!x",
            "2024-05-01",
            "<<",
            "'",
            "\"",
            "\\",
            "\u{85}",
            "\u{2028}",
            "\u{feff}",
            "\0",
            "a\tb",
            "  indented\nless",
            "?",
            "|",
            ">",
            "%",
            "@",
            "`",
            "[",
            "{",
        ])
        .prop_map(ScriptValue::from),
    ];
    let value = leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6).prop_map(list),
            prop::collection::btree_map(any::<String>(), inner, 1..6)
                .prop_map(|fields| ScriptTable::from_iter(fields).into()),
        ]
    });
    prop::collection::btree_map("[a-z<~-]{1,4}|.*", value, 1..6)
        .prop_map(|fields| ScriptTable::from_iter(fields).into())
}

fn short_number() -> BoxedStrategy<f64> {
    (-1e9..1e9_f64).prop_map(|number| (number * 8.0).trunc() / 8.0).boxed()
}

fn any_number() -> BoxedStrategy<f64> {
    prop_oneof![prop::num::f64::NORMAL, Just(f64::INFINITY), Just(f64::NEG_INFINITY)].boxed()
}

proptest! {
    #[test]
    fn what_json_wrote_it_reads(value in natural(short_number())) {
        let text = encode("json", value.clone());
        prop_assert_eq!(decode("json", &text).expect(&text), value.clone());
        let Ok(ScriptValue::String(pretty)) = call("json.encode_pretty", [value.clone()]) else {
            panic!("it can be written");
        };
        prop_assert_eq!(decode("json", &pretty).expect(&text), value);
    }

    #[test]
    fn what_yaml_wrote_it_reads(value in natural(any_number())) {
        let text = encode("yaml", value.clone());
        prop_assert_eq!(decode("yaml", &text).expect(&text), value, "{}", text);
    }

    #[test]
    fn what_toml_wrote_it_reads(value in natural(any_number())) {
        let text = encode("toml", value.clone());
        prop_assert_eq!(decode("toml", &text).expect(&text), value, "{}", text);
    }

    #[test]
    fn no_text_makes_a_decoder_panic(text in "[\\[\\]{}:,\"'&*a<\\-! \n0-9.#|>=]{0,60}|.*") {
        for format in FORMATS {
            let _ = decode(format, &text);
        }
    }

    #[test]
    fn what_json_reads_yaml_reads_alike(value in natural(short_number())) {
        let text = encode("json", value.clone());
        if text.is_ascii() && !text.contains("\\u007f") && !text.contains('\u{7f}') {
            prop_assert_eq!(decode("yaml", &text).expect(&text), value, "{}", text);
        }
    }
}

#[test]
fn errors_of_a_text_tell_function_line_and_column() {
    for (format, text) in [
        ("json", "{\n  \"a\": 1,\n  b\n}"),
        ("yaml", "a: 1\nb: [1,\nc: ]x"),
        ("toml", "a = 1\nb = 2\nc = =\n"),
    ] {
        let error = refused(&format!("{format}.decode"), [text.into()]);
        assert!(error.starts_with(&format!("{format}.decode: ")), "{error}");
        assert!(error.contains("line 3"), "{error}");
        assert!(error.contains("column "), "{error}");
        assert!(!error.contains('\n'), "one line: {error}");
    }
}

#[test]
fn a_key_that_comes_twice_is_an_error_in_every_format() {
    for (format, text) in
        [("json", r#"{"a": 1, "a": 2}"#), ("yaml", "a: 1\na: 2"), ("toml", "a = 1\na = 2")]
    {
        let error = refused(&format!("{format}.decode"), [text.into()]);
        assert!(error.contains('a') && error.contains("line"), "{error}");
    }
}

#[test]
fn more_than_32_levels_are_an_error_in_every_format_both_ways() {
    let nested = |levels: usize| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    let deep = |levels| (0..levels).fold(ScriptValue::from(true), |inner, _| list([inner]));
    for format in ["json", "yaml"] {
        assert!(decode(format, &nested(32)).is_ok(), "{format}");
        encode(format, deep(32));
        for levels in [33, 100, 127, 200, 100_000] {
            refused(&format!("{format}.decode"), [nested(levels).into()]);
        }
        let error = refused(&format!("{format}.encode"), [deep(33)]);
        assert!(error.contains("32 levels"), "{error}");
    }
    assert!(decode("toml", &format!("a = {}", nested(31))).is_ok());
    for levels in [32, 79, 200, 100_000] {
        refused("toml.decode", [format!("a = {}", nested(levels)).into()]);
    }
    let dotted = format!("{}a = 1", "a.".repeat(100_000));
    refused("toml.decode", [dotted.into()]);
    let keys = "{\"a\":".repeat(100_000);
    refused("json.decode", [keys.into()]);
    let block: String = (0..2000).map(|level| format!("{}a:\n", " ".repeat(level))).collect();
    refused("yaml.decode", [block.into()]);
}

#[test]
fn a_whole_number_that_lua_cannot_hold_is_an_error_in_every_format() {
    for (format, text) in [
        ("json", "[1, 9007199254740993]"),
        ("json", "-9007199254740993"),
        ("yaml", "a: 9007199254740993"),
        ("toml", "a = 9007199254740993"),
    ] {
        let error = refused(&format!("{format}.decode"), [text.into()]);
        assert!(error.contains("9007199254740993 can't be held exactly"), "{error}");
        assert!(error.contains("line 1"), "{error}");
    }
    let error = refused("json.decode", ["[1e999]".into()]);
    assert!(error.contains("out of range"), "{error}");
}

#[test]
fn json_has_no_nan_the_others_have() {
    for number in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let table: ScriptValue = ScriptTable::from([("speed", list([number]))]).into();
        let error = refused("json.encode", [table.clone()]);
        assert!(error.contains("`speed[1]`") && error.contains("finite"), "{error}");
        for format in ["yaml", "toml"] {
            let text = encode(format, table.clone());
            let back = decode(format, &text).expect("it is valid");
            assert_eq!(back.to_string(), table.to_string(), "{text}");
        }
    }
}

#[test]
fn null_is_absent_in_an_object_and_an_error_in_an_array_unless_replaced() {
    let read = decode("json", r#"{"a": null, "b": 1}"#).expect("it is JSON");
    assert_eq!(read.to_string(), "{b = 1}");
    assert_eq!(decode("json", "null"), Ok(ScriptValue::Nil));
    for (format, text) in [("json", r#"{"a": [1, null]}"#), ("yaml", "a:\n- 1\n- ~\n")] {
        let decode = format!("{format}.decode");
        let error = refused(&decode, [text.into()]);
        assert!(error.contains("element 2 of the list is nil"), "{error}");
        let options = ScriptTable::from([("null", "none")]);
        let read = call(&decode, [text.into(), options.into()]).expect("replaced");
        assert_eq!(read.to_string(), r#"{a = {1, "none"}}"#);
    }
}

#[test]
fn an_empty_table_is_an_object_unless_told_otherwise() {
    let empty = || ScriptValue::from(ScriptTable::default());
    let options = |kind: &str| ScriptValue::from(ScriptTable::from([("empty", kind)]));
    assert_eq!(encode("json", empty()), "{}");
    assert_eq!(call("json.encode", [empty(), options("object")]), Ok("{}".into()));
    assert_eq!(call("json.encode", [empty(), options("array")]), Ok("[]".into()));
    let nested: ScriptValue = ScriptTable::from([("items", empty())]).into();
    assert_eq!(call("toml.encode", [nested, options("array")]), Ok("items = []\n".into()));
    assert_eq!(encode("toml", empty()), "");
    for wrong in [options("list"), ScriptTable::from([("emtpy", "array")]).into(), 1.0.into()] {
        let error = refused("json.encode", [empty(), wrong]);
        assert!(error.contains("argument 2") && error.contains(r#"{empty = "array"}"#), "{error}");
    }
}

#[test]
fn a_whole_toml_text_is_a_table() {
    for wrong in [1.0.into(), ScriptValue::Nil, "x".into(), list([1.0])] {
        assert!(refused("toml.encode", [wrong]).starts_with("toml.encode: "));
    }
}

#[test]
fn dates_of_toml_are_strings() {
    let text = "a = 2024-05-01T10:00:00Z\nb = [07:32:00, 2024-05-01]\n";
    let read = decode("toml", text).expect("it is TOML");
    assert_eq!(read.to_string(), r#"{a = "2024-05-01T10:00:00Z", b = {"07:32:00", "2024-05-01"}}"#);
}

#[test]
fn tables_of_toml_may_come_before_plain_values() {
    let table = ScriptTable::from([
        ("a", ScriptTable::from([("x", list([ScriptTable::from([("y", 1.0)])]))]).into()),
        ("b", ScriptValue::from(2.0)),
    ]);
    let text = encode("toml", table.clone());
    assert_eq!(decode("toml", &text), Ok(table.into()), "{text}");
}

#[test]
fn keys_of_yaml_may_be_numbers_and_elements_go_to_the_list() {
    let read = decode("yaml", "1: a\n2: b\ntrue: c\n7: d\n").expect("it is YAML");
    assert_eq!(read.to_string(), r#"{"a", "b", [true] = "c", [7] = "d"}"#);
}

#[test]
fn yaml_does_not_take_norway_for_a_boolean() {
    let read = decode("yaml", "country: no\nopen: true\n").expect("it is YAML");
    assert_eq!(read.to_string(), r#"{country = "no", open = true}"#);
}

#[test]
fn yaml_that_repeats_itself_without_end_is_an_error() {
    // A list of nine lists of nine … of one text.
    let mut bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n".to_owned();
    for (this, last) in ('b'..='k').zip('a'..) {
        let many = vec![format!("*{last}"); 9].join(",");
        bomb.push_str(&format!("{this}: &{this} [{many}]\n"));
    }
    refused("yaml.decode", [bomb.into()]);

    // One long text, many times.
    let long = "x".repeat(20_000);
    let many = "- *a\n".repeat(8_000);
    refused("yaml.decode", [format!("- &a {long}\n{many}").into()]);

    // Merge keys, each of the one before.
    let mut merges = "a: &a {x: 1, y: 2, z: 3}\n".to_owned();
    for (this, last) in ('b'..='z').zip('a'..) {
        let many = vec![format!("*{last}"); 20].join(",");
        merges.push_str(&format!("{this}: &{this} {{<<: [{many}], {this}: 1}}\n"));
    }
    let _ = decode("yaml", &merges);

    // Ordinary use is far from that.
    let base = "base: &base {hp: 10, tags: [a, b]}\n";
    let uses: String =
        (0..60).map(|unit| format!("unit{unit}: {{<<: *base, id: {unit}}}\n")).collect();
    assert!(decode("yaml", &format!("{base}{uses}")).is_ok());
}

#[test]
fn text_after_the_value_is_an_error() {
    assert!(refused("json.decode", ["1 2".into()]).contains("trailing"));
    refused("yaml.decode", ["a: 1\n---\nb: 2\n".into()]);
    refused("json.decode", ["".into()]);
}
