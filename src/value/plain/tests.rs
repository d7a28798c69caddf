use std::collections::{BTreeMap, HashMap};

use bevy::prelude::{Entity, Vec3};
use proptest::prelude::*;
use serde::{Deserialize, Serialize};

use super::*;
use crate::value::types::ScriptTable;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    flag: bool,
    small: i8,
    large: u64,
    half: f32,
    whole: f64,
    letter: char,
    text: String,
    maybe: Option<Box<Everything>>,
    list: Vec<Stack>,
    pair: (u8, String),
    by_name: BTreeMap<String, Choice>,
    by_number: HashMap<u32, bool>,
    newtype: Meters,
    position: Point,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Stack {
    count: u16,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Meters(f64);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Point(i32, i32);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
enum Choice {
    Unit,
    Newtype(u8),
    Maybe(Option<u8>),
    Tuple(u8, String),
    Struct { a: Vec<u8>, b: Option<bool> },
}

#[derive(Debug, PartialEq, Deserialize)]
struct Xyz {
    x: f32,
    y: f32,
    z: f32,
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Unit),
        any::<u8>().prop_map(Choice::Newtype),
        any::<Option<u8>>().prop_map(Choice::Maybe),
        any::<(u8, String)>().prop_map(|(a, b)| Choice::Tuple(a, b)),
        any::<(Vec<u8>, Option<bool>)>().prop_map(|(a, b)| Choice::Struct { a, b }),
    ]
}

prop_compose! {
    fn everything()(
        flag: bool, small: i8, large in 0..=1_u64 << 53, half in -1e30_f32..1e30, whole in -1e300..1e300,
        letter: char, text: String, counts: Vec<u16>, pair: (u8, String),
        by_name in prop::collection::btree_map(".*", choice(), 0..4),
        by_number in prop::collection::hash_map(0..6_u32, any::<bool>(), 0..6),
        point: (i32, i32),
    ) -> Everything {
        let list = counts.into_iter().map(|count| Stack { count }).collect();
        Everything {
            flag, small, large, half, whole, letter, text, maybe: None, list, pair, by_name, by_number,
            newtype: Meters(whole), position: Point(point.0, point.1),
        }
    }
}

/// Values that natural data tells apart: no entities, no vectors, no bytes, no empty tables.
fn natural(number: impl Strategy<Value = f64> + 'static) -> impl Strategy<Value = ScriptValue> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(ScriptValue::from),
        any::<i32>().prop_map(ScriptValue::from),
        number.prop_map(ScriptValue::from),
        any::<String>().prop_map(ScriptValue::from),
    ];
    leaf.prop_recursive(4, 32, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 1..6)
                .prop_map(|array| { ScriptTable { array, ..ScriptTable::default() }.into() }),
            prop::collection::btree_map(any::<String>(), inner, 1..6)
                .prop_map(|fields| ScriptTable::from_iter(fields).into()),
        ]
    })
}

proptest! {
    #[test]
    fn what_serde_wrote_into_a_value_comes_back(outer in everything(), inner in everything()) {
        let value = Everything { maybe: Some(Box::new(inner)), ..outer };
        let script = to_value(&value).expect("all of it fits");
        prop_assert_eq!(from_value::<Everything>(script).expect("and comes back"), value);
    }

    #[test]
    fn natural_data_survives_a_format(value in natural((-1e9..1e9_f64).prop_map(|x| (x * 8.0).trunc() / 8.0))) {
        let json = serde_json::to_string(&Plain::new(&value)).expect("natural data");
        prop_assert_eq!(serde_json::from_str::<PlainValue>(&json).expect("it is JSON").0, value);
    }

    #[test]
    fn a_value_is_natural_data_of_itself(value in natural(prop::num::f64::NORMAL)) {
        prop_assert_eq!(to_value(&Plain::new(&value)).expect("natural data"), value.clone());
        prop_assert_eq!(from_value::<PlainValue>(value.clone()).expect("natural data").0, value);
    }
}

fn list(values: impl IntoIterator<Item = ScriptValue>) -> ScriptValue {
    ScriptTable { array: values.into_iter().collect(), ..ScriptTable::default() }.into()
}

fn nested(levels: usize) -> ScriptValue {
    (0..levels).fold(ScriptValue::from(true), |inner, _| list([inner]))
}

fn error<T: std::fmt::Debug, E: ToString>(result: Result<T, E>) -> String {
    result.expect_err("it has to be refused").to_string()
}

#[test]
fn errors_name_the_place() {
    let items = |count: f64| list([ScriptTable::from([("count", count)]).into()]);
    let read = |count| {
        from_value::<HashMap<String, Vec<Stack>>>(
            ScriptTable::from([("items", items(count))]).into(),
        )
    };
    assert_eq!(read(3.0).expect("it fits")["items"], [Stack { count: 3 }]);
    for wrong in [-1.0, 0.5, 65_536.0, f64::NAN, f64::INFINITY] {
        let error = error(read(wrong));
        assert!(error.contains("`items[1].count` takes whole number from 0 to 65535"), "{error}");
    }
    let error = error(to_value(&BTreeMap::from([("ids", [1, u64::MAX])])));
    assert!(error.contains("`ids[2]` = 18446744073709551615"), "{error}");
}

#[test]
fn a_whole_number_that_lua_cannot_hold_is_inexact() {
    assert!(matches!(to_value(&((1_u64 << 53) + 1)), Err(ScriptError::Inexact { .. })));
    assert!(matches!(to_value(&i64::MIN), Err(ScriptError::Inexact { .. })));
    let error = error(serde_json::from_str::<PlainValue>("[9007199254740993]"));
    assert!(error.contains("9007199254740993 can't be held exactly"), "{error}");
    assert!(error.contains("line 1"), "{error}");
}

#[test]
fn a_missing_or_misspelt_field_is_told() {
    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only reading it matters")]
    struct Strict {
        count: u8,
    }
    let error = error(from_value::<Strict>(ScriptTable::from([("cuont", 1.0)]).into()));
    assert!(error.contains("did you mean `count`"), "{error}");
    let missing = from_value::<Stack>(ScriptTable::default().into()).expect_err("no count");
    assert!(missing.to_string().contains("lacks the field `count`"), "{missing}");
}

#[test]
fn an_empty_table_is_both_an_empty_list_and_an_empty_map() {
    let empty = || ScriptValue::from(ScriptTable::default());
    assert_eq!(from_value::<Vec<u8>>(empty()), Ok(Vec::new()));
    assert_eq!(from_value::<BTreeMap<String, u8>>(empty()), Ok(BTreeMap::new()));
    let text = |plain: Plain<'_>| serde_json::to_string(&plain).expect("natural data");
    assert_eq!(text(Plain::new(&empty())), "{}");
    assert_eq!(text(Plain::new(&empty()).empty_lists()), "[]");
}

#[test]
fn a_vector_is_three_numbers_or_the_fields_x_y_z() {
    let vector = || ScriptValue::from(Vec3::new(1.0, 2.0, 3.5));
    assert_eq!(from_value::<[f32; 3]>(vector()), Ok([1.0, 2.0, 3.5]));
    assert_eq!(from_value::<Vec<f64>>(vector()), Ok(vec![1.0, 2.0, 3.5]));
    assert_eq!(from_value::<Xyz>(vector()), Ok(Xyz { x: 1.0, y: 2.0, z: 3.5 }));
    assert_eq!(from_value::<(f32, f32)>(Vec3::new(1.0, 2.0, 0.0).into()), Ok((1.0, 2.0)));
    assert!(from_value::<(f32, f32)>(vector()).is_err(), "z would be lost");
    let json = serde_json::to_string(&Plain::new(&vector())).expect("natural data");
    assert_eq!(json, "[1.0,2.0,3.5]");
}

#[test]
fn an_entity_is_its_bits() {
    let entity = Entity::from_raw_u32(7).expect("a small index");
    assert_eq!(from_value::<u64>(entity.into()), Ok(entity.to_bits()));
    let json = serde_json::to_string(&Plain::new(&entity.into())).expect("natural data");
    assert_eq!(json, entity.to_bits().to_string());
}

#[test]
fn bytes_that_are_not_text_stay_bytes() {
    struct Raw(Vec<u8>);
    impl Serialize for Raw {
        fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
            to.serialize_bytes(&self.0)
        }
    }
    assert_eq!(to_value(&Raw(vec![0xff])), Ok(ScriptValue::Bytes(vec![0xff])));
    assert_eq!(to_value(&Raw(b"ab".to_vec())), Ok("ab".into()));
    assert!(from_value::<String>(ScriptValue::Bytes(vec![0xff])).is_err());
    let error = error(serde_json::to_string(&Plain::new(&ScriptValue::Bytes(vec![0xff]))));
    assert!(error.contains("not text in UTF-8"), "{error}");
}

#[test]
fn tables_that_are_neither_list_nor_map_are_refused_with_place_and_remedy() {
    let mut mixed = ScriptTable::from([("name", 1.0)]);
    mixed.push(2.0);
    let outer: ScriptValue = ScriptTable::from([("bag", mixed)]).into();
    let told = error(serde_json::to_string(&Plain::new(&outer)));
    assert!(told.contains("`bag` has both list elements and the field `name`"), "{told}");
    let gaps = list([ScriptTable::from([(7.0, 1.0)]).into()]);
    let told = error(serde_json::to_string(&Plain::new(&gaps)));
    assert!(told.contains("`value[1]` has the key [7]") && told.contains("tostring"), "{told}");
    let told = error(from_value::<Vec<u8>>(ScriptTable::from([("a", 1.0)]).into()));
    assert!(told.contains("`value` takes list"), "{told}");
}

#[test]
fn a_number_that_a_format_cannot_hold_is_refused() {
    for wrong in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let value = ScriptTable::from([("speed", wrong)]).into();
        let told = error(serde_json::to_string(&Plain::new(&value)));
        assert!(told.contains("`speed` is") && told.contains("finite"), "{told}");
        assert!(to_value(&Plain::new(&value).allow_non_finite()).is_ok());
    }
}

#[test]
fn a_list_has_no_gaps() {
    let told = error(to_value(&BTreeMap::from([("list", [Some(1), None])])));
    assert!(told.contains("`list[2]` is nil"), "{told}");
    let told = error(serde_json::from_str::<PlainValue>("[1, null]"));
    assert!(told.contains("element 2 of the list is nil"), "{told}");
    let mut json = serde_json::Deserializer::from_str(r#"{"list": [1, null], "gone": null}"#);
    let read = serde::de::DeserializeSeed::deserialize(PlainSeed::new().null(false), &mut json);
    assert_eq!(read.expect("filled").to_string(), "{gone = false, list = {1, false}}");
}

#[test]
fn a_key_that_comes_twice_is_refused_even_if_it_was_null() {
    for text in [r#"{"a": 1, "a": 1}"#, r#"{"a": null, "a": 1}"#, r#"{"a": 1, "a": null}"#] {
        let told = error(serde_json::from_str::<PlainValue>(text));
        assert!(told.contains("`a` comes twice"), "{told}");
    }
}

#[test]
fn nesting_ends_at_32_levels_both_ways() {
    let text = |levels| format!("{}1{}", "[".repeat(levels), "]".repeat(levels));
    assert!(serde_json::from_str::<PlainValue>(&text(32)).is_ok());
    assert!(error(serde_json::from_str::<PlainValue>(&text(33))).contains("32 levels"));
    assert!(serde_json::to_string(&Plain::new(&nested(32))).is_ok());
    assert!(error(serde_json::to_string(&Plain::new(&nested(33)))).contains("32 levels"));
    assert!(to_value(&Plain::new(&nested(32))).is_ok());
    let deep: serde_json::Value = serde_json::from_str(&text(33)).expect("it is JSON");
    assert!(error(to_value(&deep)).contains("32 levels"));
    assert!(from_value::<serde_json::Value>(nested(32)).is_ok());
    assert!(error(from_value::<serde_json::Value>(nested(33))).contains("32 levels"));
}

#[test]
fn what_is_read_can_be_bounded() {
    let read = |size| {
        let mut json = serde_json::Deserializer::from_str(r#"["aaaaaaaaaa", {"b": 1}]"#);
        serde::de::DeserializeSeed::deserialize(PlainSeed::new().max_size(size), &mut json)
    };
    let size = read(usize::MAX).expect("no limit").size();
    assert!(read(2 * size).is_ok());
    assert!(error(read(size / 2)).contains("stands for more than"));
}

#[test]
fn elements_of_a_map_go_to_the_list_as_in_lua() {
    let value = to_value(&BTreeMap::from([(2, "b"), (1, "a"), (4, "d")])).expect("plain data");
    assert_eq!(value.to_string(), r#"{"a", "b", [4] = "d"}"#);
    let back: BTreeMap<u8, String> = from_value(value).expect("keys are numbers");
    assert_eq!(back.keys().copied().collect::<Vec<_>>(), [1, 2, 4]);
    assert!(from_value::<Stack>(list([1.0.into()])).is_err(), "a struct has names");
}
