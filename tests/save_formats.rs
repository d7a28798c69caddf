//! What scripts remember comes back from every format as it was, bit for bit, or not at all.

use std::collections::BTreeMap;
use std::fmt::Debug;

use bevy::prelude::*;
use bevy::reflect::list::DynamicList;
use bevy::reflect::serde::{ReflectDeserializer, ReflectSerializer};
use bevy::reflect::structs::DynamicStruct;
use bevy::reflect::{PartialReflect, TypeRegistry};
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::{ScriptKey, ScriptState};
use proptest::prelude::*;
use serde::de::{DeserializeOwned, DeserializeSeed};
use serde::{Serialize, Serializer};

/// As deep as a VM takes tables.
const DEEPEST: usize = 32;

fn number() -> impl Strategy<Value = f64> {
    prop_oneof![
        any::<u64>().prop_map(f64::from_bits),
        any::<i32>().prop_map(f64::from),
        prop::sample::select(vec![
            0.0,
            -0.0,
            0.1,
            f64::NAN,
            -f64::NAN,
            f64::INFINITY,
            f64::NEG_INFINITY,
            f64::MAX,
            f64::MIN_POSITIVE,
            5e-324,
            9_007_199_254_740_993.0,
        ]),
    ]
}

fn entity() -> impl Strategy<Value = Entity> {
    any::<u64>().prop_filter_map("some bits are no entity", Entity::try_from_bits)
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[a-z]{1,30}",
        prop::sample::select(vec![
            "", "1", "-0", "1.5", "true", "nil", "NaN", "inf", "Nil", "array", "fields", "self",
            "\"", "\\", "\0", "\u{feff}", "\r\n", "#", "//", "r#\"", "😀",
        ])
        .prop_map(str::to_owned),
        (0..3000_usize).prop_map(|length| "ä".repeat(length)),
    ]
}

fn key() -> impl Strategy<Value = ScriptKey> {
    prop_oneof![
        any::<bool>().prop_map(ScriptKey::from),
        number().prop_map(ScriptKey::from),
        (0..9_u8).prop_map(|number| ScriptKey::from(f64::from(number))),
        text().prop_map(ScriptKey::from),
        entity().prop_map(ScriptKey::from),
    ]
}

fn leaf() -> impl Strategy<Value = ScriptValue> {
    let float = prop_oneof![any::<u32>().prop_map(f32::from_bits), Just(0.1), Just(-0.0)];
    prop_oneof![
        Just(ScriptValue::Nil),
        any::<bool>().prop_map(ScriptValue::from),
        number().prop_map(ScriptValue::from),
        text().prop_map(ScriptValue::from),
        prop::collection::vec(any::<u8>(), 0..40).prop_map(ScriptValue::Bytes),
        [float.clone(), float.clone(), float]
            .prop_map(|vector| ScriptValue::from(Vec3::from_array(vector))),
        entity().prop_map(ScriptValue::from),
    ]
}

fn table_of(
    value: impl Strategy<Value = ScriptValue> + Clone,
) -> impl Strategy<Value = ScriptTable> {
    let array = prop::collection::vec(value.clone(), 0..5);
    let fields = prop::collection::vec((key(), value), 0..5);
    (array, fields)
        .prop_map(|(array, fields)| ScriptTable { array, fields: fields.into_iter().collect() })
}

fn value() -> impl Strategy<Value = ScriptValue> {
    let nested = leaf().prop_recursive(6, 60, 6, |value| table_of(value).prop_map(Into::into));
    // Some lie very deep.
    (nested, prop_oneof![3 => Just(0), 1 => 0..DEEPEST - 7], key()).prop_map(
        |(mut value, levels, key)| {
            for level in 0..levels {
                value = within(value, &key, level);
            }
            value
        },
    )
}

/// A table that has a value as a field or as an element.
fn within(value: ScriptValue, key: &ScriptKey, level: usize) -> ScriptValue {
    let mut table = ScriptTable::default();
    if level.is_multiple_of(3) {
        table.push(value);
    } else {
        table.set(key.clone(), value);
    }
    table.into()
}

fn table() -> impl Strategy<Value = ScriptTable> {
    let fields = prop::collection::vec((key(), value()), 0..4);
    let array = prop::collection::vec(value(), 0..4);
    (array, fields)
        .prop_map(|(array, fields)| ScriptTable { array, fields: fields.into_iter().collect() })
}

fn state() -> impl Strategy<Value = ScriptState> {
    let drawn = (any::<u16>(), any::<u32>());
    (text(), any::<bool>(), drawn, table()).prop_map(|(script, started, drawn, fields)| {
        let mut state = ScriptState::default();
        (state.script, state.started, state.fields) = (script, started, fields);
        (state.series, state.draws) = drawn;
        state
    })
}

fn states() -> impl Strategy<Value = ScriptStates> {
    prop::collection::vec(state(), 0..3).prop_map(|states| {
        let mut list = DynamicList::default();
        states.into_iter().for_each(|state| list.push(state));
        let mut component = DynamicStruct::default();
        component.insert("states", list);
        ScriptStates::from_reflect(&component).expect("it is one")
    })
}

/// Whether both are the same, bit for bit.
trait Same {
    fn is_same(&self, other: &Self) -> bool;
}

impl Same for ScriptValue {
    fn is_same(&self, other: &Self) -> bool {
        self.is_identical(other)
    }
}

impl Same for ScriptTable {
    fn is_same(&self, other: &Self) -> bool {
        self.is_identical(other)
    }
}

impl Same for ScriptStates {
    fn is_same(&self, other: &Self) -> bool {
        self.iter().count() == other.iter().count()
            && self.iter().zip(other.iter()).all(|(a, b)| {
                (&a.script, a.started) == (&b.script, b.started)
                    && (a.series, a.draws) == (b.series, b.draws)
                    && a.fields.is_identical(&b.fields)
            })
    }
}

const BINCODE: bincode::config::Configuration = bincode::config::standard();

/// Reads what one of the formats wrote.
type Read<T> = fn(&[u8]) -> Result<T, String>;

/// A format, what it made of a value, and what reads that.
type Written<T> = (&'static str, Result<Vec<u8>, String>, Read<T>);

fn text_of(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or("not UTF-8")
}

fn from_ron<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    ron::from_str(text_of(bytes)).map_err(|error| error.to_string())
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    serde_json::from_slice(bytes).map_err(|error| error.to_string())
}

fn from_postcard<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}

fn from_bincode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let read = bincode::serde::decode_from_slice(bytes, BINCODE);
    read.map(|(value, _)| value).map_err(|error| error.to_string())
}

fn from_fixed_bincode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    let read = bincode::serde::decode_from_slice(bytes, bincode::config::legacy());
    read.map(|(value, _)| value).map_err(|error| error.to_string())
}

/// A value in every format, with what reads it.
fn written<T: Serialize + DeserializeOwned>(value: &T) -> Vec<Written<T>> {
    fn done<E: ToString>(written: Result<impl Into<Vec<u8>>, E>) -> Result<Vec<u8>, String> {
        written.map(Into::into).map_err(|error| error.to_string())
    }
    let pretty = ron::ser::PrettyConfig::new().struct_names(true);
    let fixed = bincode::config::legacy();
    let entry = |format, bytes, read: Read<T>| (format, bytes, read);
    vec![
        entry("RON", done(ron::to_string(value)), from_ron),
        entry("pretty RON", done(ron::ser::to_string_pretty(value, pretty)), from_ron),
        entry("JSON", done(serde_json::to_string(value)), from_json),
        entry("pretty JSON", done(serde_json::to_string_pretty(value)), from_json),
        entry("postcard", done(postcard::to_allocvec(value)), from_postcard),
        entry("bincode", done(bincode::serde::encode_to_vec(value, BINCODE)), from_bincode),
        entry(
            "fixed bincode",
            done(bincode::serde::encode_to_vec(value, fixed)),
            from_fixed_bincode,
        ),
    ]
}

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned + Same + Debug>(value: &T) {
    for (format, bytes, read) in written(value) {
        let bytes = bytes.unwrap_or_else(|error| panic!("{format}: {error}\n{value:?}"));
        let shown = || String::from_utf8_lossy(&bytes).into_owned();
        let found = read(&bytes).unwrap_or_else(|error| panic!("{format}: {error}\n{}", shown()));
        assert!(found.is_same(value), "{format}: {found:?}\nis not\n{value:?}\n{}", shown());
    }
}

fn registry() -> TypeRegistry {
    let mut registry = TypeRegistry::new();
    registry.register::<ScriptStates>();
    registry.register::<Carrier>();
    registry
}

/// A component of a game that holds values of scripts.
#[derive(Component, Reflect, Debug, Default)]
#[reflect(Component, Default)]
struct Carrier {
    value: ScriptValue,
    table: ScriptTable,
    list: Vec<ScriptValue>,
}

impl Same for Carrier {
    fn is_same(&self, other: &Self) -> bool {
        self.value.is_same(&other.value)
            && self.table.is_same(&other.table)
            && self.list.len() == other.list.len()
            && self.list.iter().zip(&other.list).all(|(a, b)| a.is_same(b))
    }
}

/// A component as a scene has it: among the components of one of its entities.
struct InScene<'s> {
    component: &'s dyn PartialReflect,
    registry: &'s TypeRegistry,
}

impl Serialize for InScene<'_> {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        ReflectSerializer::new(self.component, self.registry).serialize(to)
    }
}

#[derive(serde::Serialize, serde::Deserialize)]
struct Scene<T> {
    entities: BTreeMap<u64, SceneEntity<T>>,
}

#[derive(serde::Serialize, serde::Deserialize)]
struct SceneEntity<T> {
    components: T,
}

thread_local! {
    static REGISTRY: TypeRegistry = registry();
}

/// A component that was read by reflection.
struct Reflected(Box<dyn PartialReflect>);

impl<'de> serde::Deserialize<'de> for Reflected {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        REGISTRY.with(|registry| ReflectDeserializer::new(registry).deserialize(from)).map(Self)
    }
}

/// Through the formats as scenes use them: by the types' registrations.
#[track_caller]
fn comes_back_by_reflection<T: Reflect + FromReflect + Same + Debug>(component: &T) {
    let registry = registry();
    let scene = || {
        let components = InScene { component, registry: &registry };
        Scene { entities: [(4_294_967_295, SceneEntity { components })].into() }
    };
    let found = |format: &str, read: Result<Scene<Reflected>, String>| {
        let mut scene = read.unwrap_or_else(|error| panic!("{format}: {error}\n{component:?}"));
        let (_, SceneEntity { components }) = scene.entities.pop_first().expect("there is one");
        let found = T::from_reflect(components.0.as_ref()).expect("it is what it was");
        assert!(found.is_same(component), "{format}: {found:?}\nis not\n{component:?}");
    };
    let ron = ron::ser::to_string_pretty(&scene(), ron::ser::PrettyConfig::new());
    found("RON", from_ron(ron.expect("RON writes it").as_bytes()));
    let json = serde_json::to_vec(&scene()).expect("JSON writes it");
    found("JSON", from_json(&json));
    let postcard = postcard::to_allocvec(&scene()).expect("postcard writes it");
    found("postcard", from_postcard(&postcard));
    let bincode = bincode::serde::encode_to_vec(scene(), BINCODE).expect("bincode writes it");
    found("bincode", from_bincode(&bincode));
}

/// A table in a table in a table, to this depth.
fn nested(levels: usize, as_fields: bool) -> ScriptTable {
    let mut table = ScriptTable::default();
    for level in 1..levels {
        let mut around = ScriptTable::default();
        if as_fields {
            around.set("n", level as f64);
            around.set("deeper", table);
        } else {
            around.push(level as f64);
            around.push(table);
        }
        table = around;
    }
    table
}

fn states_of(table: ScriptTable) -> ScriptStates {
    let mut state = ScriptState::default();
    (state.script, state.fields) = ("scripts/a.luau".to_owned(), table);
    let mut list = DynamicList::default();
    list.push(state);
    let mut component = DynamicStruct::default();
    component.insert("states", list);
    ScriptStates::from_reflect(&component).expect("it is one")
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn values_come_back_from_every_format_as_they_were(value in value()) {
        comes_back(&value);
    }

    #[test]
    fn states_come_back_from_every_format_as_they_were(states in states()) {
        comes_back(&states);
        comes_back_by_reflection(&states);
    }

    #[test]
    fn components_of_the_game_that_hold_values_come_back_from_scenes(
        value in value(),
        table in table(),
        list in prop::collection::vec(value(), 0..3),
    ) {
        comes_back_by_reflection(&Carrier { value, table, list });
    }

    #[test]
    fn what_is_applied_is_what_comes_of_it(before in states(), after in states()) {
        for dynamic in [false, true] {
            let mut states = before.clone();
            let dynamic = dynamic.then(|| after.to_dynamic());
            states.apply(dynamic.as_deref().unwrap_or(&after));
            prop_assert!(states.is_same(&after), "{states:?}\nis not\n{after:?}");
        }
    }

    #[test]
    fn values_that_are_applied_are_what_comes_of_it(before in value(), after in value()) {
        for dynamic in [false, true] {
            let mut value = before.clone();
            let dynamic = dynamic.then(|| after.to_dynamic());
            value.apply(dynamic.as_deref().unwrap_or(&after));
            prop_assert!(value.is_same(&after), "{value:?}\nis not\n{after:?}");
        }
    }

    #[test]
    fn a_damaged_save_is_refused_or_read_as_a_whole(
        states in states(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..4), 1..4),
    ) {
        for (format, bytes, read) in written(&states) {
            let mut bytes = bytes.expect("it is written");
            for (index, byte, kind) in &damage {
                let at = index.index(bytes.len());
                match *kind {
                    0 => bytes[at] = *byte,
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.insert(at, *byte),
                    _ => bytes[at] = bytes[at].wrapping_add(1),
                }
            }
            // What was read is as good as any other.
            if let Ok(states) = read(&bytes) {
                let problem = written(&states).into_iter().find_map(|(format, bytes, read)| {
                    match read(&bytes.ok()?) {
                        Ok(again) if again.is_same(&states) => None,
                        other => Some(format!("{format}: {other:?}")),
                    }
                });
                prop_assert_eq!(problem, None, "{}", format);
            }
        }
    }
}

#[test]
fn a_state_that_is_as_deep_as_a_vm_takes_it_comes_back_from_every_format() {
    for as_fields in [true, false] {
        for levels in [1, 7, 8, 9, 16, DEEPEST - 1, DEEPEST] {
            let states = states_of(nested(levels, as_fields));
            comes_back(&states);
            comes_back_by_reflection(&states);
        }
    }
}

#[test]
fn what_is_deeper_is_an_error_when_it_is_written_and_when_it_is_read() {
    for as_fields in [true, false] {
        for (format, bytes, _) in written(&nested(DEEPEST + 1, as_fields)) {
            let error = bytes.expect_err(format);
            let told = error.contains("32 levels") || format == "postcard";
            assert!(told, "{format}: {error}");
        }
    }
    const LEVELS: usize = 20_000;
    let deep = |open: &str, close: &str| open.repeat(LEVELS) + &close.repeat(LEVELS);
    let ron = deep("(array:[Table(", ")])");
    let json = deep(r#"{"array":[{"Table":"#, "}]}");
    assert!(from_ron::<ScriptTable>(ron.as_bytes()).is_err());
    assert!(from_json::<ScriptTable>(json.as_bytes()).is_err());
    let unlimited = ron::Options::default().without_recursion_limit();
    let error = unlimited.from_str::<ScriptTable>(&ron).expect_err("it is too deep").to_string();
    assert!(error.contains("is nested deeper than 32 levels"), "{error}");
    // A token for a table with one element, again and again.
    let mut postcard = vec![0xff, 0xff, 0x03];
    postcard.extend([7, 1, 0].repeat(LEVELS));
    assert!(from_postcard::<ScriptTable>(&postcard).is_err());
}

#[test]
fn no_room_is_made_for_what_is_only_announced() {
    let huge = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f];
    for start in [
        // So many states; tokens; elements; bytes of the first element; bytes of a string.
        &[][..],
        &[1, 0, 1],
        &[1, 0, 1, 2, 7],
        &[1, 0, 1, 2, 7, 1, 0, 4],
        &[1, 0, 1, 2, 7, 1, 0, 3],
        &[1],
    ] {
        let bytes = [start, &huge].concat();
        assert!(from_postcard::<ScriptStates>(&bytes).is_err());
        let bytes = [start, &[253], &[0xff; 8][..]].concat();
        assert!(from_bincode::<ScriptStates>(&bytes).is_err());
    }
}

#[test]
fn the_error_for_a_damaged_save_names_the_place() {
    let mut items = ScriptTable::default();
    items.push(ScriptTable::from([("count", 1.0)]));
    items.push(ScriptTable::from([("count", 2.0)]));
    let states = states_of(ScriptTable::from([("items", items)]));
    let whole = ron::to_string(&states).expect("it is written");
    let two = format!("[{},{}", &whole[1..whole.len() - 1], &whole[1..]);
    let refused = |text: &str| from_ron::<ScriptStates>(text.as_bytes()).expect_err(text);
    let place = "state 2: `self.items[2].count`: ";
    for wrong in ["Number(x)", "Nummer(2.0)", "Entity(0)", "NotFinite(\"x\")", "Number(\"2\")"] {
        let at = two.rfind("Number(2.0)").expect("it is there");
        let text = format!("{}{wrong}{}", &two[..at], &two[at + "Number(2.0)".len()..]);
        let error = refused(&text);
        assert!(error.contains(place), "{wrong}: {error}");
    }
    let error = refused(&two.replace("items", "it\\u{1b}ems").replacen("Number(1.0)", "1", 1));
    assert!(error.contains("state 1: `self.it\\u{1b}ems[1].count`: "), "{error}");
    let twice = r#"[(script:"a",started:true,self:(fields:[(Bool(true),Nil),(Bool(true),Nil)]))]"#;
    let error = refused(twice);
    assert!(error.contains("`self`: the key `true` comes twice"), "{error}");

    let json = serde_json::to_string(&states).expect("it is written");
    let error = from_json::<ScriptStates>(json.replace("2.0", "null").as_bytes());
    let error = error.expect_err("null is no number");
    assert!(error.contains("state 1: `self.items[2].count`: "), "{error}");
    assert!(error.contains("line 1 column"), "{error}");
    let bytes = bincode::serde::encode_to_vec(&states, BINCODE).expect("it is written");
    let two = 2.0_f64.to_le_bytes();
    let at = bytes.windows(8).position(|window| window == two).expect("it is there");
    let mut damaged = bytes.clone();
    damaged[at - 1] = 200;
    for damaged in [&damaged[..], &bytes[..at]] {
        let error = from_bincode::<ScriptStates>(damaged).expect_err("200 is no kind of value");
        for part in ["state 1: ", "`self.items[2].count`: "] {
            assert!(error.contains(part), "{error}");
        }
    }
}

#[test]
fn saves_of_before_are_still_read() {
    let text = r#"[(script:"a",started:true,self:(array:[Number(NaN),Number(inf),Number(3),Nil,
        Vector((1.0,2.0,-inf)),Bytes([255,0]),Entity(4294967288)],fields:[
        (String("t"),Table((array:[Table(())]))),(Number(-inf),Bool(true))])),
        ScriptState(script:"b",started:false)]"#;
    let states: ScriptStates = from_ron(text.as_bytes()).expect("it is a save");
    let a = states.get("a").expect("it is there");
    assert!(matches!(a.array[0], ScriptValue::Number(number) if number.is_nan()));
    assert_eq!(a.array[1], f64::INFINITY.into());
    assert_eq!(a.array[4], Vec3::new(1.0, 2.0, f32::NEG_INFINITY).into());
    assert_eq!(a.array[5], ScriptValue::Bytes(vec![255, 0]));
    assert_eq!(a.get(f64::NEG_INFINITY), &true.into());
    assert_eq!(a.get("t").to_string(), "{{}}");
    assert!(states.get("b").is_some_and(ScriptTable::is_empty));
    // As reflection wrote the components of games.
    let mut registry = TypeRegistry::new();
    registry.register::<Carrier>();
    let text = r#"{"save_formats::Carrier": (value: Table((array: [Number(1.0)], fields: {
        String("x"): Vector((1.0, 2.0, 3.0)), Bool(true): Nil})), table: (array: [], fields: {}),
        list: [Bytes([1])])}"#;
    let mut from = ron::Deserializer::from_str(text).expect("it is RON");
    let read = ReflectDeserializer::new(&registry).deserialize(&mut from);
    let read = Carrier::from_reflect(read.expect("it is a component").as_ref());
    let read = read.expect("it is one");
    assert_eq!(read.value.to_string(), "{1, [true] = nil, x = (1, 2, 3)}");
    assert_eq!(read.list, [ScriptValue::Bytes(vec![1])]);
}

#[test]
fn people_can_read_a_save() {
    let mut table = ScriptTable::from([("far", f64::INFINITY), ("lost", f64::NAN)]);
    table.set("at", Vec3::new(1.0, f32::NEG_INFINITY, -0.0));
    table.push(1.0);
    assert_eq!(
        ron::to_string(&table).expect("it is written"),
        r#"(array:[Number(1.0)],fields:[(String("at"),NotFiniteVector(("1","-inf","-0"))),"#
            .to_owned()
            + r#"(String("far"),NotFinite("inf")),(String("lost"),NotFinite("NaN(0x7ff8000000000000)"))])"#
    );
}

#[test]
fn what_can_not_be_applied_changes_nothing() {
    let before = states_of(ScriptTable::from([("n", 1.0)]));
    let mut list = DynamicList::default();
    list.push(ScriptState::default());
    list.push(3.0_f64);
    let mut damaged = DynamicStruct::default();
    damaged.insert("states", list);
    let mut states = before.clone();
    assert!(states.try_apply(&damaged).is_err());
    assert!(states.try_apply(&1.0_f64).is_err());
    assert!(states.is_same(&before));
    let mut damaged = DynamicStruct::default();
    damaged.insert("array", Vec::<ScriptValue>::new());
    damaged.insert("fields", 1.0_f64);
    let mut table = ScriptTable::default();
    table.push("element");
    assert!(table.try_apply(&damaged).is_err());
    assert_eq!(table.to_string(), r#"{"element"}"#);
    // What isn't there stays.
    let mut part = DynamicStruct::default();
    part.insert("fields", ScriptTable::from([("x", true)]).fields);
    table.apply(&part);
    assert_eq!(table.to_string(), r#"{"element", x = true}"#);
}

#[test]
fn a_list_of_scripts_that_is_applied_is_no_longer_than_it_was() {
    let [one, two] = [1, 2].map(|count| {
        let handles = (0..count).map(|_| Handle::<LuaScript>::default());
        handles.collect::<LuaScripts>()
    });
    for other in [one.to_dynamic(), Box::new(one.clone())] {
        let mut scripts = two.clone();
        scripts.apply(other.as_ref());
        assert_eq!(scripts, one);
    }
}

#[test]
fn entities_in_states_are_mapped_like_all_others() {
    let [old, new] = [1, 2].map(|index| Entity::from_raw_u32(index).expect("a small index"));
    let mut states = states_of(ScriptTable::from([(old, ScriptTable::from([("x", old)]))]));
    Component::map_entities(&mut states, &mut (old, new));
    let expected = ScriptTable::from([(new, ScriptTable::from([("x", new)]))]);
    assert_eq!(states.get("scripts/a.luau"), Some(&expected));
}
