//! What scripts reach: components by reflection, other entities, commands.

mod common;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bevy::ecs::observer::Observer;
use bevy::math::{Vec3A, Vec4};
use bevy::prelude::*;
use bevy_lua_pool::prelude::*;
use common::{Lab, keep_log, log, patient};

/// One field of each kind that Lua holds as one value.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
struct Kinds {
    flag: bool,
    i8: i8,
    i16: i16,
    i32: i32,
    i64: i64,
    isize: isize,
    u8: u8,
    u16: u16,
    u32: u32,
    u64: u64,
    usize: usize,
    f32: f32,
    f64: f64,
    text: String,
    letter: char,
    v2: Vec2,
    v3: Vec3,
    v3a: Vec3A,
    v4: Vec4,
    turn: Quat,
    tint: Color,
    wait: Duration,
}

#[derive(Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
struct Item {
    name: String,
    count: u32,
}

/// Collections and whatever else holds several values.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
struct Bag {
    numbers: Vec<f32>,
    items: Vec<Item>,
    prices: HashMap<String, f32>,
    by_rank: BTreeMap<u8, String>,
    tags: HashSet<String>,
    corners: [f32; 3],
    pair: (f32, String),
    inner: Item,
    count: u32,
    maybe: Option<f32>,
    maybe_item: Option<Item>,
    maybe_list: Option<Vec<f32>>,
}

#[derive(Component, Reflect, Clone, Debug, PartialEq)]
struct Health(f32, u8);

#[derive(Component, Reflect, Clone, Debug, PartialEq)]
struct Target {
    who: Option<Entity>,
    always: Entity,
}

#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
enum Mood {
    #[default]
    Calm,
    Angry(f32),
    Torn(f32, String),
    Chasing {
        speed: f32,
        path: Vec<f32>,
    },
}

#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
struct Marker;

#[derive(Component, Reflect, Clone, Debug, PartialEq)]
#[component(immutable)]
struct Team {
    name: String,
    rank: u8,
}

#[derive(Component, Reflect, Clone, Debug, Default)]
#[reflect(Component, Default)]
struct Secret {
    code: f32,
}

/// Reflection sees a part of it only.
#[derive(Component, Reflect, Clone, Default, Debug, PartialEq)]
#[reflect(Default)]
struct Partly {
    seen: f32,
    #[reflect(ignore)]
    hidden: f32,
}

/// Reflection has no way to copy it.
#[derive(Component, Reflect, Default)]
#[reflect(Default, from_reflect = false)]
struct Uncopied {
    seen: f32,
    #[reflect(ignore)]
    _handle: Option<std::sync::Arc<()>>,
}

fn lab() -> Lab {
    let mut lab = Lab::new();
    lab.app
        .expose_component::<Kinds>()
        .expose_component::<Bag>()
        .expose_component::<Health>()
        .expose_component::<Target>()
        .expose_component::<Mood>()
        .expose_component::<Marker>()
        .expose_component::<Team>()
        .expose_component::<Partly>()
        .expose_component::<Uncopied>();
    lab
}

#[track_caller]
fn assert_says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{text:?} lacks {part:?}");
    }
}

// ---- leaves --------------------------------------------------------------------------------------

#[test]
fn every_kind_of_leaf_is_read_as_lua_would_expect() {
    let mut lab = lab();
    let kinds = Kinds {
        flag: true,
        i8: -128,
        i16: -300,
        i32: -70_000,
        i64: -(1 << 53),
        isize: -1,
        u8: 255,
        u16: 65_535,
        u32: u32::MAX,
        u64: 1 << 53,
        usize: 7,
        f32: 0.5,
        f64: 0.1,
        text: "hé".into(),
        letter: 'ß',
        v2: Vec2::new(1.0, 2.0),
        v3: Vec3::new(1.0, 2.0, 3.0),
        v3a: Vec3A::new(4.0, 5.0, 6.0),
        v4: Vec4::new(1.0, 2.0, 3.0, 4.0),
        turn: Quat::from_xyzw(0.0, 0.0, 1.0, 0.0),
        tint: Color::srgba(1.0, 0.5, 0.0, 0.25),
        wait: Duration::from_millis(1500),
    };
    lab.does(
        kinds,
        "local k = entity.Kinds
        assert(k.flag == true)
        assert(k.i8 == -128 and k.i16 == -300 and k.i32 == -70000)
        assert(k.i64 == -2^53 and k.isize == -1)
        assert(k.u8 == 255 and k.u16 == 65535 and k.u32 == 4294967295)
        assert(k.u64 == 2^53 and k.usize == 7)
        assert(k.f32 == 0.5 and k.f64 == 0.1)
        assert(k.text == 'hé' and k.letter == 'ß')
        assert(k.v2 == vector.create(1, 2, 0))
        assert(k.v3 == vector.create(1, 2, 3))
        assert(k.v3a == vector.create(4, 5, 6))
        assert(k.v4.x == 1 and k.v4.y == 2 and k.v4.z == 3 and k.v4.w == 4)
        assert(k.turn.z == 1 and k.turn.w == 0)
        assert(k.tint.red == 1 and k.tint.green == 0.5 and k.tint.blue == 0)
        assert(k.tint.alpha == 0.25)
        assert(k.wait == 1.5)",
    );
}

#[test]
fn every_kind_of_leaf_is_written() {
    let mut lab = lab();
    let entity = lab.does(
        Kinds::default(),
        "local k = entity.Kinds
        k.flag = true
        k.i8, k.i16, k.i32, k.i64, k.isize = -128, -300, -70000, -2^53, -1
        k.u8, k.u16, k.u32, k.u64, k.usize = 255, 65535, 4294967295, 2^53, 7
        k.f32, k.f64 = 0.5, 0.1
        k.text, k.letter = 'hé', 'ß'
        k.v2 = vector.create(1, 2, 0)
        k.v3 = vector.create(1, 2, 3)
        k.v3a = vector.create(4, 5, 6)
        k.v4.x, k.v4.w = 1, 4
        k.turn = {x = 0, y = 0, z = 1, w = 0}
        k.tint = {red = 1, green = 0.5, blue = 0, alpha = 0.25}
        k.wait = 1.5
        assert(k.i64 == -2^53 and k.v4.w == 4 and k.wait == 1.5, 'it reads its own writes')",
    );
    let expected = Kinds {
        flag: true,
        i8: -128,
        i16: -300,
        i32: -70_000,
        i64: -(1 << 53),
        isize: -1,
        u8: 255,
        u16: 65_535,
        u32: u32::MAX,
        u64: 1 << 53,
        usize: 7,
        f32: 0.5,
        f64: 0.1,
        text: "hé".into(),
        letter: 'ß',
        v2: Vec2::new(1.0, 2.0),
        v3: Vec3::new(1.0, 2.0, 3.0),
        v3a: Vec3A::new(4.0, 5.0, 6.0),
        v4: Vec4::new(1.0, 0.0, 0.0, 4.0),
        turn: Quat::from_xyzw(0.0, 0.0, 1.0, 0.0),
        tint: Color::srgba(1.0, 0.5, 0.0, 0.25),
        wait: Duration::from_millis(1500),
    };
    assert_eq!(lab.get::<Kinds>(entity), expected);
}

#[test]
fn a_number_out_of_range_or_with_a_fraction_is_refused_for_every_whole_number_type() {
    let mut lab = lab();
    for (field, value, allowed) in [
        ("i8", "128", "-128 to 127"),
        ("i8", "-129", "-128 to 127"),
        ("i16", "32768", "-32768 to 32767"),
        ("i32", "2^31", "-2147483648 to 2147483647"),
        ("i64", "2^63", "-9223372036854775808 to 9223372036854775807"),
        ("isize", "0.5", "-9223372036854775808 to 9223372036854775807"),
        ("u8", "256", "0 to 255"),
        ("u8", "-1", "0 to 255"),
        ("u8", "1.5", "0 to 255"),
        ("u16", "65536", "0 to 65535"),
        ("u32", "2^32", "0 to 4294967295"),
        ("u64", "-1", "0 to 18446744073709551615"),
        ("u64", "2^64", "0 to 18446744073709551615"),
        ("usize", "0/0", "0 to 18446744073709551615"),
        ("usize", "math.huge", "0 to 18446744073709551615"),
    ] {
        let lua = format!("entity.Kinds.{field} = {value}");
        let (entity, failure) = lab.run_on(Kinds::default(), &lua);
        let expected = format!("`Kinds.{field}` takes whole number from {allowed}, got number");
        assert_says(&failure.unwrap_or_default(), &[&expected]);
        assert_eq!(lab.get::<Kinds>(entity), Kinds::default(), "{lua}");
    }
}

#[test]
fn a_wrong_type_is_an_error_that_names_component_field_expected_and_got() {
    let mut lab = lab();
    for (lua, says) in [
        ("entity.Kinds.flag = 1", "`Kinds.flag` takes boolean, got number 1"),
        ("entity.Kinds.f32 = 'x'", "`Kinds.f32` takes number, got string \"x\""),
        ("entity.Kinds.text = 3", "`Kinds.text` takes string, got number 3"),
        ("entity.Kinds.text = nil", "`Kinds.text` takes string, got nil"),
        ("entity.Kinds.letter = 'ab'", "`Kinds.letter` takes string of one character, got"),
        ("entity.Kinds.v3 = 3", "`Kinds.v3` takes vector, got number 3"),
        (
            "entity.Kinds.v2 = vector.create(1, 2, 3)",
            "`Kinds.v2` takes vector without z, got vector (1, 2, 3)",
        ),
        ("entity.Kinds.v4.y = true", "`Kinds.v4.y` takes number, got boolean true"),
        ("entity.Kinds.turn.w = 'x'", "`Kinds.turn.w` takes number, got string \"x\""),
        ("entity.Kinds.wait = -1", "`Kinds.wait` takes number of seconds, not negative, got"),
        ("entity.Kinds.tint = '#12'", "`Kinds.tint` takes a table {red, green, blue, alpha}"),
        ("entity.Kinds.tint = {red = 'x'}", "`Kinds.tint` takes a table {red, green, blue"),
        ("entity.Kinds = {f32 = 'x'}", "`Kinds.f32` takes number, got string \"x\""),
        ("entity.Kinds = 5", "`Kinds` takes a table with the fields flag, i8, "),
        ("entity.Bag.numbers = {1, 'x'}", "`Bag.numbers[2]` takes number, got string \"x\""),
        ("entity.Bag.numbers = {a = 1}", "`Bag.numbers` takes a list without gaps, got a table"),
        ("entity.Bag.numbers = 5", "`Bag.numbers` takes a list, got number 5"),
        ("entity.Bag.items = {{count = -1}}", "`Bag.items[1].count` takes whole number from 0"),
        ("entity.Bag.prices = {a = 'x'}", "`Bag.prices[\"a\"]` takes number, got string \"x\""),
        ("entity.Bag.by_rank = {[300] = 'x'}", "`Bag.by_rank[300]` takes whole number from 0"),
        ("entity.Bag.corners = {1, 2}", "`Bag.corners` takes exactly 3 elements, got 2 elements"),
        ("entity.Bag.pair = {1, 2}", "`Bag.pair[2]` takes string, got number 2"),
        ("entity.Bag.inner = {name = 3}", "`Bag.inner.name` takes string, got number 3"),
        ("entity.Bag.maybe = 'x'", "takes number, got string \"x\""),
        ("entity.Bag.tags = {1}", "takes string, got number 1"),
        ("entity.Mood = 'Clam'", "`Mood` takes \"Calm\" or \"Angry\" or \"Torn\" or \"Chasing\""),
        ("entity.Mood = {Angry = 'x'}", "`Mood.Angry` takes number, got string \"x\""),
        ("entity.Mood = {Chasing = {speed = 1}}", "`Mood.Chasing.path` takes a list, got nil"),
        ("entity.Name = 5", "`Name` takes string, got number 5"),
    ] {
        let bundle = (Kinds::default(), Bag::default(), Mood::default(), Name::new("n"));
        let (entity, failure) = lab.run_on(bundle, lua);
        let failure = failure.unwrap_or_default();
        assert!(failure.contains(says), "{lua}: {failure:?} lacks {says:?}");
        assert_eq!(lab.get::<Kinds>(entity), Kinds::default(), "{lua}");
        assert_eq!(lab.get::<Bag>(entity), Bag::default(), "{lua}");
    }
}

#[test]
fn a_whole_number_that_lua_cannot_hold_exactly_is_an_error_not_a_rounding() {
    let mut lab = lab();
    let kinds = Kinds { u64: u64::MAX, ..Kinds::default() };
    assert_says(
        &lab.refuses(kinds, "self.x = entity.Kinds.u64"),
        &["18446744073709551615 can't be held exactly by a Lua number"],
    );
}

#[test]
fn a_color_is_written_by_parts_or_as_hex() {
    let mut lab = lab();
    let before = Kinds { tint: Color::srgba(0.1, 0.2, 0.3, 0.4), ..Kinds::default() };
    let entity = lab.does(before.clone(), "entity.Kinds.tint = '#ff000080'");
    assert_eq!(lab.get::<Kinds>(entity).tint, Srgba::hex("ff000080").expect("a color").into());
    let entity = lab.does(before.clone(), "entity.Kinds.tint = {green = 1}");
    assert_eq!(lab.get::<Kinds>(entity).tint, Color::srgba(0.1, 1.0, 0.3, 0.4));
    let entity = lab.does(before.clone(), "local c = entity.Kinds.tint; c.blue = 1; c.alpha = 0");
    assert_eq!(lab.get::<Kinds>(entity).tint, Color::srgba(0.1, 0.2, 1.0, 0.0));
    let failure = lab.refuses(before, "entity.Kinds.tint = {gren = 1}");
    assert_says(&failure, &["`Kinds.tint` has no field `gren`", "did you mean `green`?"]);
}

#[test]
fn a_name_is_text() {
    let mut lab = lab();
    let entity = lab.does(Name::new("old"), "self.was = entity.Name; entity.Name = 'new'");
    assert_eq!(lab.field(entity, "was"), "old".into());
    assert_eq!(lab.get::<Name>(entity), Name::new("new"));
}

#[test]
fn entities_in_fields_are_read_and_written() {
    let mut lab = lab();
    let other = lab.app.world_mut().spawn_empty().id();
    let entity = lab.does(
        Target { who: None, always: other },
        "local t = entity.Target
        assert(t.who == nil)
        assert(world.exists(t.always))
        t.who = t.always
        t.always = entity.id",
    );
    assert_eq!(lab.get::<Target>(entity), Target { who: Some(other), always: entity });
    let failure = lab.refuses(Target { who: None, always: other }, "entity.Target.always = 'me'");
    assert_says(&failure, &["`Target.always` takes Entity, got string \"me\""]);
}

// ---- what holds several values -------------------------------------------------------------------

#[test]
fn nested_structs_tuples_and_tuple_structs_are_reached_field_by_field() {
    let mut lab = lab();
    let entity = lab.does(
        (Bag::default(), Health(3.0, 4)),
        "entity.Bag.inner.count = 5
        entity.Bag.inner.name = 'sword'
        entity.Bag.pair[1] = 2
        entity.Bag.pair[2] = 'two'
        assert(entity.Health[1] == 3 and entity.Health[2] == 4)
        entity.Health[1] += 10
        assert(entity.Health[1] == 13)
        assert(entity.Bag.inner.name == 'sword')",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!(bag.inner, Item { name: "sword".into(), count: 5 });
    assert_eq!(bag.pair, (2.0, "two".into()));
    assert_eq!(lab.get::<Health>(entity), Health(13.0, 4));
}

#[test]
fn a_position_that_a_tuple_has_not_is_an_error_that_shows_which_it_has() {
    let mut lab = lab();
    for lua in ["entity.Health[3] = 1", "self.x = entity.Health[0]", "entity.Health = {[3] = 1}"] {
        let failure = lab.refuses(Health(1.0, 1), lua);
        assert_says(&failure, &["`Health` has no field", "[1] to [2]"]);
    }
}

#[test]
fn a_table_that_leaves_fields_out_keeps_their_values() {
    let mut lab = lab();
    let bag = Bag { inner: Item { name: "a".into(), count: 1 }, count: 9, ..Bag::default() };
    let entity =
        lab.does((bag, Health(1.0, 2)), "entity.Bag = {inner = {count = 7}}\nentity.Health = {5}");
    let bag = lab.get::<Bag>(entity);
    assert_eq!((bag.inner.name.as_str(), bag.inner.count, bag.count), ("a", 7, 9));
    assert_eq!(lab.get::<Health>(entity), Health(5.0, 2));
}

fn full_bag() -> Bag {
    Bag {
        numbers: vec![1.0, 2.0, 3.0],
        items: vec![Item { name: "a".into(), count: 1 }],
        prices: HashMap::from([("bread".to_owned(), 2.0)]),
        by_rank: BTreeMap::from([(1, "one".to_owned()), (2, "two".to_owned())]),
        tags: HashSet::from(["x".to_owned(), "a".to_owned()]),
        corners: [1.0, 2.0, 3.0],
        ..Bag::default()
    }
}

#[test]
fn collections_are_read_as_tables() {
    let mut lab = lab();
    lab.does(
        full_bag(),
        "local b = entity.Bag
        assert(#b.numbers == 3 and b.numbers[3] == 3)
        assert(b.items[1].name == 'a' and b.items[1].count == 1)
        assert(b.prices.bread == 2)
        assert(b.by_rank[1] == 'one' and b.by_rank[2] == 'two')
        assert(#b.tags == 2 and b.tags[1] == 'a' and b.tags[2] == 'x', 'sets are sorted')
        assert(#b.corners == 3 and b.corners[2] == 2)
        assert(b.maybe == nil and b.maybe_item == nil)",
    );
}

#[test]
fn collections_are_replaced_by_tables() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "local b = entity.Bag
        b.numbers = {9}
        b.items = {{name = 'b', count = 2}, {count = 3}}
        b.prices = {milk = 3}
        b.by_rank = {[7] = 'seven'}
        b.tags = {'t', 't', 'u'}
        b.corners = {4, 5, 6}
        assert(b.numbers[1] == 9 and #b.numbers == 1)
        assert(b.prices.bread == nil)",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!(bag.numbers, [9.0]);
    let item = |name: &str, count| Item { name: name.into(), count };
    assert_eq!(bag.items, [item("b", 2), item("", 3)]);
    assert_eq!(bag.prices, HashMap::from([("milk".to_owned(), 3.0)]));
    assert_eq!(bag.by_rank, BTreeMap::from([(7, "seven".to_owned())]));
    assert_eq!(bag.tags, HashSet::from(["t".to_owned(), "u".to_owned()]));
    assert_eq!(bag.corners, [4.0, 5.0, 6.0]);
}

#[test]
fn a_list_or_map_that_a_script_changes_in_place_comes_back_at_the_end_of_the_run() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "table.insert(entity.Bag.numbers, 4)
        entity.Bag.numbers[1] = 5
        assert(#entity.Bag.numbers == 4 and entity.Bag.numbers[1] == 5, 'a later read shows it')
        entity.Bag.items[1].count = 8
        entity.Bag.prices.milk = 3
        entity.Bag.prices.bread = nil
        entity.Bag.by_rank[3] = 'three'
        table.remove(entity.Bag.tags, 1)
        entity.Bag.corners[2] = 20",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!(bag.numbers, [5.0, 2.0, 3.0, 4.0]);
    assert_eq!(bag.items, [Item { name: "a".into(), count: 8 }]);
    assert_eq!(bag.prices, HashMap::from([("milk".to_owned(), 3.0)]));
    assert_eq!(bag.by_rank.len(), 3);
    assert_eq!(bag.tags, HashSet::from(["x".to_owned()]));
    assert_eq!(bag.corners, [1.0, 20.0, 3.0]);
}

#[test]
fn a_changed_list_and_a_direct_assignment_take_effect_in_the_order_of_the_script() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "table.insert(entity.Bag.numbers, 4)
        entity.Bag.numbers = {7}
        assert(#entity.Bag.numbers == 1)
        table.insert(entity.Bag.numbers, 8)
        table.insert(entity.Bag.items, {name = 'c', count = 3})
        entity.Bag.count = 2",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!(bag.numbers, [7.0, 8.0]);
    assert_eq!((bag.items.len(), bag.count), (2, 2));
}

#[test]
fn a_changed_list_is_seen_by_host_functions_and_by_a_copy_of_the_component() {
    let mut lab = lab();
    lab.app.add_lua_function("game.sum", |ctx: &mut ScriptContext, id: Entity| {
        ctx.get::<Bag>(id).map(|bag| bag.numbers.iter().sum::<f32>())
    });
    let entity = lab.does(
        full_bag(),
        "table.insert(entity.Bag.numbers, 4)
        self.sum = game.sum(entity.id)
        entity.Bag.numbers[1] = 11
        self.again = game.sum(entity.id)",
    );
    assert_eq!(lab.field(entity, "sum"), 10.0.into());
    assert_eq!(lab.field(entity, "again"), 20.0.into());
}

#[test]
fn a_list_that_was_read_before_another_field_was_written_still_comes_back() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "local numbers = entity.Bag.numbers
        entity.Bag.count = 3
        table.insert(numbers, 4)",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!((bag.count, bag.numbers), (3, vec![1.0, 2.0, 3.0, 4.0]));
}

#[test]
fn a_list_that_was_read_before_another_component_was_written_still_comes_back() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "local numbers = entity.Bag.numbers
        entity.Name = 'bag'
        table.insert(numbers, 4)",
    );
    assert_eq!(lab.get::<Bag>(entity).numbers, [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_list_that_was_read_before_a_host_function_was_called_still_comes_back() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "local numbers = entity.Bag.numbers
        self.there = world.exists(entity.id)
        table.insert(numbers, 4)",
    );
    assert_eq!(lab.get::<Bag>(entity).numbers, [1.0, 2.0, 3.0, 4.0]);
}

#[test]
fn a_list_that_does_not_fit_at_the_end_of_the_run_fails_it() {
    let mut lab = lab();
    let (entity, failure) =
        lab.run_on(full_bag(), "entity.Bag.count = 5\ntable.insert(entity.Bag.numbers, 'x')");
    assert_says(&failure.unwrap_or_default(), &["`Bag.numbers[4]` takes number, got string"]);
    assert_eq!(lab.get::<Bag>(entity), full_bag());
}

#[test]
fn a_table_that_is_wrong_in_one_place_writes_nothing_even_if_the_script_goes_on() {
    let mut lab = lab();
    let entity = lab.does(
        full_bag(),
        "local ok = pcall(function()
            entity.Bag = {count = 9, corners = {7, 8, 9}, numbers = {5}, tags = 'wrong'}
        end)
        assert(not ok and entity.Bag.count == 0)
        entity.Bag.inner.count = 1",
    );
    let inner = Item { count: 1, ..Item::default() };
    assert_eq!(lab.get::<Bag>(entity), Bag { inner, ..full_bag() });
}

#[test]
fn options_are_nil_or_the_value() {
    let mut lab = lab();
    let entity = lab.does(
        Bag { maybe: Some(2.0), ..Bag::default() },
        "local b = entity.Bag
        assert(b.maybe == 2)
        b.maybe = nil
        assert(b.maybe == nil)
        b.maybe_item = {name = 'x'}
        assert(b.maybe_item.name == 'x' and b.maybe_item.count == 0)
        b.maybe_item.count = 4",
    );
    let bag = lab.get::<Bag>(entity);
    assert_eq!(bag.maybe, None);
    assert_eq!(bag.maybe_item, Some(Item { name: "x".into(), count: 4 }));
    let entity = lab.does(bag, "entity.Bag.maybe = 3; entity.Bag.maybe_item = nil");
    let bag = lab.get::<Bag>(entity);
    assert_eq!((bag.maybe, bag.maybe_item), (Some(3.0), None));
}

#[test]
fn a_field_written_as_a_whole_is_what_the_last_run_that_went_well_left() {
    let mut lab = lab();
    let script = lab.script(
        "whole.luau",
        "function on_start(self)
            local b, k = entity.Bag, entity.Kinds
            k.text = 'first' k.text = k.text .. ' second'
            b.maybe = 1
            table.insert(b.numbers, 5)
            b.tags = {'a'}
            b.corners = {1, 2, 3}
        end
        function on_update(self)
            local b, k = entity.Bag, entity.Kinds
            assert(k.text == 'first second' and b.maybe == 1 and b.corners[3] == 3)
            assert(#b.numbers == 1 and b.tags[1] == 'a')
            k.text = 'third' b.maybe = nil b.corners[3] = 9 b.numbers = {} k.wait = 2
            error('taken back')
        end",
    );
    let components = (Bag::default(), Kinds::default(), LuaScripts::new(script));
    let entity = lab.app.world_mut().spawn(components).id();
    lab.frame();
    let bag = lab.get::<Bag>(entity);
    assert_eq!((bag.numbers, bag.maybe), (vec![5.0], Some(1.0)));
    assert_eq!((bag.tags, bag.corners), (["a".to_owned()].into(), [1.0, 2.0, 3.0]));
    let kinds = Kinds { text: "first second".into(), ..Kinds::default() };
    assert_eq!(lab.get::<Kinds>(entity), kinds);
}

#[test]
fn a_run_writes_no_more_text_to_fields_than_it_may_hand_over() {
    let mut lab = lab();
    let world = lab.app.world_mut();
    let parent = world.spawn_empty().id();
    let others: Vec<Entity> =
        (0..40).map(|_| world.spawn((Kinds::default(), ChildOf(parent))).id()).collect();
    let error = lab.refuses(
        (Kinds::default(), ChildOf(parent)),
        "local text = ('x'):rep(40000)
        for _, other in entity.parent.children do other.Kinds.text = text end",
    );
    assert_says(&error, &["bytes in components"]);
    for other in others {
        assert_eq!(lab.get::<Kinds>(other), Kinds::default(), "nothing of it stays");
    }
    // One field holds no more than its last text.
    let again = "for n = 1, 100 do entity.Kinds.text = ('x'):rep(40000) .. n end";
    lab.does(Kinds::default(), again);
}

#[test]
fn a_run_writes_no_more_to_lists_that_it_changes_in_place_than_it_may_hand_over() {
    let mut lab = lab();
    for body in [
        "for n = 1, 17 do entity.Bag.tags[n] = n .. text end",
        "for n = 1, 17 do entity.Bag.by_rank[n] = text end",
        // A call writes back what was changed before it.
        "for n = 1, 17 do entity.Bag.tags[n] = n .. text world.exists(entity.id) end",
    ] {
        let error = lab.refuses(full_bag(), &format!("local text = ('x'):rep(64000) {body}"));
        assert_says(&error, &["bytes in components"]);
    }
    let long = |count| Bag {
        by_rank: (0..count).map(|n| (n, "x".repeat(64_000))).collect(),
        ..Bag::default()
    };
    // Together they are too large, though none of them is.
    let error = lab.refuses(
        long(110),
        "local text, _ = ('x'):rep(64000), entity.Bag.by_rank
        for n = 1, 30 do entity.Bag.tags[n] = n .. text end",
    );
    assert_says(&error, &["bytes in lists and maps"]);
    // What was there before can be changed, however long it is.
    let entity = lab.does(
        long(40),
        "local text = ('y'):rep(64000)
        for n = 0, 39 do entity.Bag.by_rank[n] = text world.exists(entity.id) end
        for n = 1, 15 do entity.Bag.tags[n] = n .. text end",
    );
    let bag = lab.get::<Bag>(entity);
    assert!(bag.by_rank.values().all(|text| text.starts_with('y')));
    assert_eq!((bag.by_rank.len(), bag.tags.len()), (40, 15));
}

#[test]
fn lists_that_are_changed_in_place_fill_only_so_much_memory_in_one_stage() {
    let mut lab = lab();
    let world = lab.app.world_mut();
    let texts = (0..60).map(|n| (n, "x".repeat(64_000)));
    let parent = world.spawn(Bag { by_rank: texts.collect(), ..Bag::default() }).id();
    let script = lab.script(
        "changes.luau",
        "function on_update(self) entity.parent.Bag.by_rank[1] = tostring(entity.id) end",
    );
    for _ in 0..100 {
        lab.app.world_mut().spawn((ChildOf(parent), LuaScripts::new(script.clone())));
    }
    lab.frame();
    // Each has a copy of nearly 4 MB, and all together may have 256 MiB.
    assert_eq!(lab.failures(), [""; 0]);
    assert!((60..80).contains(&lab.stats().runs), "{:?}", lab.stats());
    lab.frame();
    assert!(lab.stats().deferred > 0, "those that waited come first: {:?}", lab.stats());
}

#[test]
fn a_shorter_list_in_an_option_or_a_variant_leaves_nothing_of_the_longer_one() {
    let mut lab = lab();
    let mood = Mood::Chasing { speed: 1.0, path: vec![1.0, 2.0, 3.0] };
    let bag = Bag { maybe_list: Some(vec![1.0, 2.0, 3.0]), ..Bag::default() };
    let entity = lab.does(
        (bag, mood),
        "entity.Bag.maybe_list = {9}
        entity.Mood = {Chasing = {speed = 2, path = {4}}}",
    );
    assert_eq!(lab.get::<Bag>(entity).maybe_list, Some(vec![9.0]));
    assert_eq!(lab.get::<Mood>(entity), Mood::Chasing { speed: 2.0, path: vec![4.0] });
}

#[test]
fn enums_are_variant_names_and_variants_with_fields_are_tables() {
    let mut lab = lab();
    for (lua, mood) in [
        ("entity.Mood = 'Calm'", Mood::Calm),
        ("entity.Mood = {Angry = 2}", Mood::Angry(2.0)),
        ("entity.Mood = {Torn = {1, 'x'}}", Mood::Torn(1.0, "x".into())),
        (
            "entity.Mood = {Chasing = {speed = 3, path = {1, 2}}}",
            Mood::Chasing { speed: 3.0, path: vec![1.0, 2.0] },
        ),
    ] {
        let entity = lab.does(Mood::Angry(9.0), lua);
        assert_eq!(lab.get::<Mood>(entity), mood, "{lua}");
    }
    lab.does(Mood::Calm, "assert(entity.Mood == 'Calm')");
    lab.does(Mood::Angry(2.0), "assert(entity.Mood.Angry == 2)");
    lab.does(
        Mood::Torn(1.0, "x".into()),
        "local m = entity.Mood; assert(m.Torn[1] == 1 and m.Torn[2] == 'x')",
    );
    let chasing = Mood::Chasing { speed: 3.0, path: vec![1.0] };
    let entity = lab.does(
        chasing,
        "assert(entity.Mood.Chasing.speed == 3 and entity.Mood.Chasing.path[1] == 1)
        entity.Mood.Chasing.speed = 4",
    );
    assert_eq!(lab.get::<Mood>(entity), Mood::Chasing { speed: 4.0, path: vec![1.0] });
}

// ---- names ---------------------------------------------------------------------------------------

#[test]
fn an_unknown_component_or_field_suggests_the_nearest_name() {
    let mut lab = lab();
    let bundle = || (Transform::default(), Bag::default());
    let failure = lab.refuses(bundle(), "self.x = entity.Transfrom");
    assert_says(&failure, &["no component `Transfrom`", "did you mean `Transform`?"]);
    let failure = lab.refuses(bundle(), "entity.Heatlh = {1, 2}");
    assert_says(&failure, &["no component `Heatlh`", "did you mean `Health`?"]);
    let failure = lab.refuses(bundle(), "entity.Transform.tranlation = vector.zero");
    assert_says(&failure, &["`Transform` has no field `tranlation`", "`translation`?"]);
    let failure = lab.refuses(bundle(), "self.x = entity.Bag.inner.nmae");
    assert_says(&failure, &["`Bag.inner` has no field `nmae`", "did you mean `name`?"]);
    let failure = lab.refuses(bundle(), "entity.Bag = {cuont = 1}");
    assert_says(&failure, &["`Bag` has no field `cuont`", "did you mean `count`?"]);
}

#[test]
fn a_component_that_is_not_exposed_is_an_error_that_says_how_to_expose_it() {
    let mut lab = lab();
    lab.app.register_type::<Secret>();
    let failure = lab.refuses(Secret { code: 4.0 }, "self.x = entity.Secret");
    assert_says(&failure, &["no component `Secret`", "app.expose_component::<Secret>()"]);
    let (entity, _) = lab.run_on(Secret { code: 4.0 }, "entity.Secret = {code = 5}");
    assert_eq!(lab.get::<Secret>(entity).code, 4.0);
}

#[test]
fn the_switch_for_all_exposes_what_is_registered_but_not_what_holds_up_the_app() {
    let mut lab = lab();
    lab.app.register_type::<Secret>().expose_all_components();
    let entity = lab.does(Secret { code: 4.0 }, "entity.Secret.code += 1");
    assert_eq!(lab.get::<Secret>(entity).code, 5.0);
    for name in ["LuaScripts", "ScriptStates"] {
        let failure = lab.refuses((), &format!("self.x = entity.{name}"));
        assert_says(&failure, &[&format!("no component `{name}`")]);
    }
}

mod elsewhere {
    use bevy::prelude::*;

    /// It has the short name of another component.
    #[derive(Component, Reflect, Clone, Debug, PartialEq)]
    pub(crate) struct Health {
        pub(crate) full: f32,
    }
}

#[test]
fn of_two_components_with_one_short_name_the_second_goes_by_its_path() {
    let mut lab = lab();
    lab.app.expose_component::<elsewhere::Health>().add_lua_function(
        "game.both",
        |ctx: &mut ScriptContext, id: Entity| {
            let other = ctx.get::<elsewhere::Health>(id).map_or(0.0, |health| health.full);
            vec![ctx.get::<Health>(id).map_or(0.0, |health| health.0), other]
        },
    );
    let entity = lab.does(
        (Health(1.0, 1), elsewhere::Health { full: 2.0 }),
        "entity.Health[1] = 10
        local other = entity['reach::elsewhere::Health']
        other.full += 10
        local both = game.both(entity.id)
        assert(both[1] == 10 and both[2] == 12, both[1] .. ' ' .. both[2])",
    );
    assert_eq!(lab.get::<Health>(entity).0, 10.0);
    assert_eq!(lab.get::<elsewhere::Health>(entity).full, 12.0);
}

// ---- entities and commands -----------------------------------------------------------------------

#[test]
fn an_entity_knows_its_id_its_parent_and_its_children() {
    let mut lab = lab();
    let parent = lab.app.world_mut().spawn_empty().id();
    let children = (
        Transform::default(),
        bevy::ecs::children![Name::new("a"), Name::new("b")],
        ChildOf(parent),
    );
    let entity = lab.does(
        children,
        "assert(entity.id == entity)
        assert(world.get(entity.id) == entity)
        self.parent = entity.parent
        assert(entity.parent.parent == nil)
        assert(entity.parent.children[1] == entity.id)
        assert(#entity.children == 2)
        assert(entity.children[1].Name == 'a' and entity.children[2].Name == 'b')",
    );
    assert_eq!(lab.field(entity, "parent"), parent.into());
    for property in ["id", "parent", "children"] {
        let failure = lab.refuses((), &format!("entity.{property} = nil"));
        assert_says(&failure, &[&format!("`{property}` can be read but not written")]);
    }
}

#[test]
fn another_entity_is_read_and_written_like_ones_own() {
    let mut lab = lab();
    let other = lab.app.world_mut().spawn(Health(1.0, 1)).id();
    lab.does(
        Target { who: Some(other), always: other },
        "local other = world.get(entity.Target.always)
        other.Health[1] += 4
        assert(world.get(entity.Target.always).Health[1] == 5)
        other.Name = 'other'",
    );
    assert_eq!(lab.get::<Health>(other), Health(5.0, 1));
    assert_eq!(lab.get::<Name>(other), Name::new("other"));
}

#[test]
fn an_entity_that_is_gone_is_nil_to_world_get_and_an_error_to_everything_else() {
    let mut lab = lab();
    let gone = lab.app.world_mut().spawn(Health(1.0, 1)).id();
    lab.app.world_mut().despawn(gone);
    let target = Target { who: None, always: gone };
    lab.does(
        target.clone(),
        "local gone = entity.Target.always
        assert(not world.exists(gone) and world.get(gone) == nil)",
    );
    for lua in [
        "self.x = entity.Target.always.Health",
        "self.x = entity.Target.always.parent",
        "entity.Target.always.Health = {1, 2}",
        "world.despawn(entity.Target.always)",
        "world.spawn{parent = entity.Target.always}",
    ] {
        assert_says(&lab.refuses(target.clone(), lua), &["does not exist (any more)"]);
    }
}

#[test]
fn a_despawned_entity_is_gone_for_the_run_at_once_and_for_all_others_after_the_stage() {
    let mut lab = lab();
    let other = lab.app.world_mut().spawn(Health(1.0, 1)).id();
    let entity = lab.does(
        Target { who: None, always: other },
        "local other = entity.Target.always
        local health = other.Health
        world.despawn(other)
        assert(not world.exists(other))
        local ok, problem = pcall(function() return health[1] end)
        assert(not ok)
        self.problem = problem",
    );
    assert!(lab.app.world().get_entity(other).is_err());
    assert_says(&lab.field(entity, "problem").to_string(), &["does not exist (any more)"]);
}

#[test]
fn a_spawned_entity_has_its_components_at_once_for_the_run_and_then_for_all() {
    let mut lab = lab();
    let entity = lab.does(
        (),
        "local new = world.spawn{
            Transform = {translation = vector.create(1, 2, 3)},
            Health = {5, 6}, Name = 'new', Marker = {}, parent = entity.id,
        }
        assert(world.exists(new) and world.get(new) == new)
        assert(new.Transform.translation == vector.create(1, 2, 3))
        assert(new.Health[2] == 6 and new.Marker and new.Mood == nil)
        new.Health[2] += 1
        assert(new.Health[2] == 7)
        new.Mood = {Angry = 1}
        assert(new.parent == entity.id, 'parent')
        assert(#entity.children == 1 and entity.children[1] == new, 'children')
        self.new = new",
    );
    let ScriptValue::Entity(new) = lab.field(entity, "new") else { panic!("no entity") };
    assert_eq!(lab.transform(new).translation, Vec3::new(1.0, 2.0, 3.0));
    assert_eq!(lab.get::<Health>(new), Health(5.0, 7));
    assert_eq!(lab.get::<Name>(new), Name::new("new"));
    assert_eq!(lab.get::<Mood>(new), Mood::Angry(1.0));
    assert!(lab.app.world().get::<Marker>(new).is_some());
    assert_eq!(lab.app.world().get::<ChildOf>(new).map(ChildOf::parent), Some(entity));
    assert_eq!(lab.stats().spawned, 1);
}

#[test]
fn a_run_that_moves_an_entity_sees_its_new_parent() {
    let mut lab = lab();
    lab.app.expose_component::<ChildOf>();
    let world = lab.app.world_mut();
    let old = world.spawn(Name::new("old")).id();
    let [first, second] = [(); 2].map(|()| world.spawn(ChildOf(old)).id());
    let entity = lab.does(
        (ChildOf(old), Name::new("new")),
        "local old = entity.parent
        local me, child = entity.id, world.get(old.children[1])
        child.ChildOf = {me}
        assert(child.parent == me and child.ChildOf[1] == me, 'parent')
        assert(#entity.children == 1 and entity.children[1] == child.id, 'children of the new one')
        assert(#old.children == 2 and not table.find(old.children, child.id), 'of the old one')
        local new = world.spawn{parent = old}
        world.get(new).ChildOf = {child.id}
        assert(world.get(new).parent == child.id and child.children[1] == new, 'one that is new')
        assert(#old.children == 2)
        entity.ChildOf = nil
        assert(entity.parent == nil and #old.children == 1, 'none')
        entity.ChildOf = {old.id}
        assert(entity.parent == old and #old.children == 2, 'and back')",
    );
    let parent = |lab: &Lab, entity| lab.app.world().get::<ChildOf>(entity).map(ChildOf::parent);
    assert_eq!(parent(&lab, first), Some(entity));
    assert_eq!(parent(&lab, second), Some(old));
    assert_eq!(parent(&lab, entity), Some(old));
}

#[test]
fn a_parent_that_is_gone_is_an_error_that_names_the_place() {
    let mut lab = lab();
    lab.app.expose_component::<ChildOf>();
    let world = lab.app.world_mut();
    let gone = world.spawn_empty().id();
    world.despawn(gone);
    let name = Name::new("x");
    for (text, says) in [
        (
            "local gone = world.spawn() world.despawn(gone)\nentity.ChildOf = {gone}",
            "does not exist",
        ),
        ("\nentity.ChildOf = {nil}", "`ChildOf"),
        ("\nentity.ChildOf = {}", "`ChildOf"),
        ("\nentity.ChildOf = {entity.id}", "itself"),
        (
            "local gone = world.spawn() world.despawn(gone)\nworld.spawn{ChildOf = {gone}}",
            "does not",
        ),
    ] {
        let failure = lab.refuses(name.clone(), text);
        assert_says(&failure, &["ChildOf", ".luau:2", says]);
    }
    let text =
        "function on_message(self, name, gone)\n\n world.get(entity.id).ChildOf = {gone} end";
    let entity = lab.entity("moves.luau", text);
    lab.app.world_mut().write_message(ToScript::new(entity, "go", gone));
    lab.frame();
    let failure = lab.failures().remove(0);
    assert_says(&failure, &["ChildOf", "moves.luau:3", "does not exist"]);

    // Gone in the same stage, by what another run did.
    let taker =
        lab.entity("takes.luau", "function on_message(self, name, id) world.despawn(id) end");
    let world = lab.app.world_mut();
    let [parent, child] = [(); 2].map(|()| world.spawn(LuaScripts::default()).id());
    let mover = world.get::<LuaScripts>(entity).expect("it carries one").clone();
    world.entity_mut(child).insert(mover);
    world.write_message(ToScript::new(taker, "go", parent));
    world.write_message(ToScript::new(child, "go", parent));
    lab.frame();
    assert_eq!(lab.app.world().get::<ChildOf>(child), None);
    let told = lab.snapshot().errors.iter().find(|row| row.message.contains("ChildOf`: entity"));
    let told = told.expect("it is told").message.clone();
    assert_says(&told, &[&child.to_string(), &parent.to_string(), "does not exist"]);
}

#[test]
fn a_field_that_is_set_to_an_entity_spawned_in_the_run_holds_the_real_one() {
    let mut lab = lab();
    let me = lab.app.world_mut().spawn_empty().id();
    let entity = lab.does(
        Target { who: None, always: me },
        "entity.Target.who = entity.id
        entity.Target.who = world.spawn{Name = 'new'}",
    );
    let who = lab.get::<Target>(entity).who.expect("it was set");
    assert_eq!(lab.get::<Name>(who).as_str(), "new");
}

#[test]
fn a_component_that_holds_an_entity_spawned_in_the_run_holds_the_real_one() {
    let mut lab = lab();
    let entity = lab.does(
        Target { who: None, always: Entity::PLACEHOLDER },
        "local new = world.spawn{Name = 'new'}
        entity.Target.who = new
        entity.Target.always = new
        local second = world.spawn{Target = {who = new, always = entity.id}}
        self.second = second",
    );
    let target = lab.get::<Target>(entity);
    assert_eq!(target.who, Some(target.always));
    assert_eq!(lab.get::<Name>(target.always), Name::new("new"));
    let ScriptValue::Entity(second) = lab.field(entity, "second") else { panic!("no entity") };
    assert_eq!(lab.get::<Target>(second), Target { who: target.who, always: entity });
}

#[test]
fn an_entity_that_is_spawned_and_despawned_in_one_run_never_was() {
    let mut lab = lab();
    let before = lab.app.world_mut().query::<&Name>().iter(lab.app.world()).count();
    lab.does(
        (),
        "local new = world.spawn{Name = 'new'}
        world.despawn(new)
        assert(not world.exists(new))
        local child = world.spawn{parent = entity.id}
        world.despawn(child)
        assert(#entity.children == 0)",
    );
    let after = lab.app.world_mut().query::<&Name>().iter(lab.app.world()).count();
    assert_eq!(after, before);
}

#[test]
fn a_spawn_with_a_wrong_component_spawns_nothing_even_if_the_script_goes_on() {
    let mut lab = lab();
    let entity = lab.does(
        (),
        "local ok, problem = pcall(world.spawn, {Name = 'new', Health = 'x'})
        assert(not ok)
        self.problem = problem",
    );
    assert_eq!(lab.stats().spawned, 0);
    assert_says(&lab.field(entity, "problem").to_string(), &["`Health` takes a table of 2"]);
    let failure = lab.refuses((), "world.spawn{5}");
    assert_says(&failure, &["world.spawn{1}", "components by name"]);
    let failure = lab.refuses((), "world.spawn{parent = 5}");
    assert_says(&failure, &["world.spawn{parent}", "an entity", "number 5"]);
    let failure = lab.refuses((), "world.spawn{scripts = 5}");
    assert_says(&failure, &["world.spawn{scripts}", "number 5"]);
}

/// Counts how often it is cloned.
#[derive(Component, Reflect, Debug, Default)]
#[reflect(Component, Default, Clone)]
struct Cloned {
    n: f32,
}

static CLONES: AtomicUsize = AtomicUsize::new(0);

impl Clone for Cloned {
    fn clone(&self) -> Self {
        CLONES.fetch_add(1, Ordering::Relaxed);
        Self { n: self.n }
    }
}

#[test]
fn what_a_spawn_costs_does_not_grow_with_what_was_spawned_before() {
    let mut lab = lab();
    lab.app.expose_component::<Cloned>();
    lab.does(
        (),
        "for n = 1, 100 do
            world.spawn{Cloned = {n = n}}
            assert(not pcall(world.spawn, {Cloned = {n = n}, Health = 'much'}))
        end",
    );
    let mut all = lab.app.world_mut().query::<&Cloned>();
    let sum: f32 = all.iter(lab.app.world()).map(|cloned| cloned.n).sum();
    assert_eq!(sum, 5050.0, "what came of the failed ones is gone, and nothing else");
    let clones = CLONES.load(Ordering::Relaxed);
    assert!(clones < 1000, "{clones} clones");
}

#[test]
fn a_spawned_entity_can_carry_scripts() {
    let mut lab = lab();
    let script = lab.script("child.luau", "function on_start(self) entity.Name = 'started' end");
    let entity = lab.does(
        (),
        "self.one = world.spawn{scripts = 'child.luau'}
        self.list = world.spawn{scripts = {'child.luau'}}",
    );
    lab.frame();
    for field in ["one", "list"] {
        let ScriptValue::Entity(child) = lab.field(entity, field) else { panic!("no entity") };
        assert_eq!(lab.get::<LuaScripts>(child), LuaScripts::new(script.clone()));
        assert_eq!(lab.get::<Name>(child), Name::new("started"));
    }
}

#[test]
fn a_component_is_inserted_by_assignment_and_removed_by_nil() {
    let mut lab = lab();
    let entity = lab.does(
        Health(1.0, 1),
        "assert(entity.Mood == nil)
        entity.Mood = 'Calm'
        assert(entity.Mood == 'Calm')
        entity.Bag = {count = 3}
        entity.Bag.count += 1
        entity.Marker = {}
        entity.Health = nil
        assert(entity.Health == nil)
        entity.Health = nil",
    );
    assert_eq!(lab.get::<Mood>(entity), Mood::Calm);
    assert_eq!(lab.get::<Bag>(entity), Bag { count: 4, ..Bag::default() });
    assert!(lab.app.world().get::<Marker>(entity).is_some());
    assert!(lab.app.world().get::<Health>(entity).is_none());
}

#[test]
fn a_removed_component_can_be_inserted_anew_in_the_same_run() {
    let mut lab = lab();
    let entity = lab.does(
        Bag { count: 3, ..Bag::default() },
        "local bag = entity.Bag
        entity.Bag = nil
        local ok = pcall(function() bag.count = 1 end)
        assert(not ok, 'a handle to what is gone')
        entity.Bag = {numbers = {1}}
        assert(entity.Bag.count == 0)",
    );
    assert_eq!(lab.get::<Bag>(entity), Bag { numbers: vec![1.0], ..Bag::default() });
}

#[test]
fn a_component_without_default_needs_all_its_fields() {
    let mut lab = lab();
    let failure = lab.refuses((), "entity.Health = {5}");
    assert_says(&failure, &["`Health` takes a table of 2 elements, got 1 elements"]);
    let failure = lab.refuses((), "entity.Target = {who = entity.id}");
    assert_says(&failure, &["`Target.always` takes Entity, got nil"]);
    let entity = lab.does((), "entity.Health = {5, 6}");
    assert_eq!(lab.get::<Health>(entity), Health(5.0, 6));
}

#[test]
fn writing_a_field_of_a_component_that_the_entity_has_not_is_a_lua_error() {
    let mut lab = lab();
    let failure = lab.refuses((), "entity.Bag.count = 1");
    assert_says(&failure, &["attempt to index nil"]);
}

#[test]
fn a_global_transform_shows_its_parts_and_is_read_only() {
    let mut lab = lab();
    let entity = lab.entity(
        "a.luau",
        "function on_update(self) self.at = entity.GlobalTransform.translation end",
    );
    lab.app.world_mut().get_mut::<Transform>(entity).expect("it has one").translation = Vec3::ONE;
    lab.frames(2);
    assert_eq!(lab.field(entity, "at"), Vec3::ONE.into());
    for lua in [
        "entity.GlobalTransform.translation = vector.zero",
        "entity.GlobalTransform = {translation = vector.zero}",
        "entity.GlobalTransform = nil",
        "world.spawn{GlobalTransform = {translation = vector.zero}}",
    ] {
        let failure = lab.refuses(Transform::default(), lua);
        assert_says(&failure, &["`GlobalTransform` can be read but not written by scripts"]);
    }
}

#[test]
fn an_immutable_component_is_replaced_as_a_whole_but_not_changed_in_place() {
    let mut lab = lab();
    let team = Team { name: "red".into(), rank: 1 };
    let failure = lab.refuses(team.clone(), "entity.Team.rank = 2");
    assert_says(&failure, &["`Team` can be read but not written"]);
    let entity = lab.does(team, "entity.Team = {name = 'blue', rank = entity.Team.rank + 1}");
    assert_eq!(lab.get::<Team>(entity), Team { name: "blue".into(), rank: 2 });
    let entity = lab.does(lab.get::<Team>(entity), "entity.Team = nil");
    assert!(lab.app.world().get::<Team>(entity).is_none());
}

#[test]
fn what_reflection_ignores_stays_as_it_is() {
    let mut lab = lab();
    let partly = Partly { seen: 1.0, hidden: 7.0 };
    let entity = lab.does(partly.clone(), "entity.Partly.seen = 2");
    assert_eq!(lab.get::<Partly>(entity), Partly { seen: 2.0, hidden: 7.0 });
    let entity = lab.does(partly, "entity.Partly = {seen = 3}");
    assert_eq!(lab.get::<Partly>(entity), Partly { seen: 3.0, hidden: 7.0 });
}

#[test]
fn a_component_that_reflection_cannot_copy_is_written_field_by_field_but_not_taken_as_a_whole() {
    let mut lab = lab();
    let entity =
        lab.does(Uncopied { seen: 2.0, _handle: None }, "self.seen = entity.Uncopied.seen");
    assert_eq!(lab.field(entity, "seen"), 2.0.into());
    let add = "entity.Uncopied.seen += 1; entity.Uncopied.seen += 1";
    let entity = lab.does(Uncopied::default(), add);
    assert_eq!(lab.app.world().get::<Uncopied>(entity).expect("it has one").seen, 2.0);
    let take = "entity.Uncopied.seen = 1; self.all = tostring(entity.Uncopied)";
    let failure = lab.refuses(Uncopied::default(), take);
    assert_says(&failure, &["`Uncopied` can't be copied by reflection"]);
}

#[test]
fn a_component_that_reflection_cannot_copy_is_not_inserted_either() {
    let mut lab = lab();
    let script = lab.script(
        "a.luau",
        "function on_start(self)
            self.ok, self.problem = pcall(function() entity.Uncopied = {seen = 1} end)
        end
        function on_update(self) self.updated = true end",
    );
    let entity = lab.app.world_mut().spawn(LuaScripts::new(script)).id();
    lab.frame();
    assert_eq!(lab.failures(), Vec::<String>::new());
    assert_eq!(lab.field(entity, "updated"), true.into());
    assert_says(&lab.field(entity, "problem").to_string(), &["can't be copied by reflection"]);
}

#[test]
fn resources_and_observers_do_not_exist_for_scripts() {
    #[derive(Resource)]
    struct Score;
    let mut lab = lab();
    lab.app.insert_resource(Score);
    let observer = lab.app.world_mut().spawn(Observer::new(|_: On<Add, Marker>| {})).id();
    let world = lab.app.world_mut();
    let mut resources = world.query_filtered::<Entity, With<bevy::ecs::resource::IsResource>>();
    let resource = resources.iter(world).next().expect("resources are entities");
    for hidden in [observer, resource] {
        let target = Target { who: None, always: hidden };
        lab.does(
            target.clone(),
            "local hidden = entity.Target.always
            assert(not world.exists(hidden) and world.get(hidden) == nil)",
        );
        for lua in ["world.despawn(entity.Target.always)", "entity.Target.always.Name = 'x'"] {
            assert_says(&lab.refuses(target.clone(), lua), &["does not exist"]);
        }
        assert!(lab.app.world().get_entity(hidden).is_ok());
    }
}

// ---- change detection ----------------------------------------------------------------------------

#[derive(Resource, Default)]
struct Seen(Vec<Entity>);

#[test]
fn a_component_counts_as_changed_only_if_its_value_is_another() {
    let mut lab = lab();
    lab.app.init_resource::<Seen>().add_systems(
        Last,
        |changed: Query<Entity, Changed<Bag>>, mut seen: ResMut<Seen>| {
            seen.0.extend(&changed);
        },
    );
    let script = lab.script(
        "a.luau",
        "function on_message(self, name)
            local bag = entity.Bag
            if name == 'read' then self.sum = bag.numbers[1] + bag.prices.bread + #bag.tags end
            if name == 'same' then
                bag.count = bag.count
                bag.numbers = {1, 2, 3}
                bag.inner = {name = '', count = 0}
                bag.prices.bread = 2
                bag.tags[1] = 'a'
                bag.maybe = nil
            end
            if name == 'failed' then bag.count = 99; error('no') end
            if name == 'other' then bag.count += 1 end
            if name == 'list' then table.insert(bag.numbers, 4) end
        end",
    );
    let entity = lab.app.world_mut().spawn((full_bag(), LuaScripts::new(script))).id();
    lab.frame();
    for (message, changes) in
        [("read", false), ("same", false), ("failed", false), ("other", true), ("list", true)]
    {
        lab.app.world_mut().resource_mut::<Seen>().0.clear();
        lab.app.world_mut().write_message(ToScript::new(entity, message, ScriptValue::Nil));
        lab.frame();
        let seen = lab.app.world().resource::<Seen>().0.contains(&entity);
        assert_eq!(seen, changes, "{message}: {:?}", lab.failures());
        lab.frame();
    }
    assert_eq!(lab.get::<Bag>(entity).count, 1);
}

#[test]
fn only_the_fields_that_a_script_wrote_are_written() {
    // Both write the same component, each another field: neither takes the other's back.
    let mut lab = lab();
    let other = lab.app.world_mut().spawn(Bag::default()).id();
    let one =
        lab.script("one.luau", "function on_start(self) entity.Target.always.Bag.count = 1 end");
    let two = lab
        .script("two.luau", "function on_start(self) entity.Target.always.Bag.inner.count = 2 end");
    for script in [one, two] {
        let target = Target { who: None, always: other };
        lab.app.world_mut().spawn((target, LuaScripts::new(script)));
    }
    lab.frame();
    let bag = lab.get::<Bag>(other);
    assert_eq!((bag.count, bag.inner.count), (1, 2));
    assert_eq!(lab.stats().conflicts, 0);
}

// ---- handles, file level, built-in functions -----------------------------------------------------

#[test]
fn a_component_kept_in_self_is_an_error_that_names_the_field() {
    let mut lab = lab();
    let failure = lab.refuses(Transform::default(), "self.home = {at = entity.Transform}");
    assert_says(&failure, &["`self.home.at` is a component", "keep its fields instead"]);
    let entity = lab.does(Transform::default(), "self.at = entity.Transform.translation");
    assert_eq!(lab.field(entity, "at"), Vec3::ZERO.into());
}

#[test]
fn the_file_level_has_no_entity_and_says_where_there_is_one() {
    let mut lab = lab();
    for (path, text) in [
        ("a.luau", "local x = entity.Transform\nfunction on_update() end"),
        ("b.luau", "local here = entity.id\nfunction on_update() end"),
        ("c.luau", "entity.Name = 'x'\nfunction on_update() end"),
        ("d.luau", "world.spawn{}\nfunction on_update() end"),
        ("e.luau", "local t = time.delta\nfunction on_update() end"),
        ("f.luau", "emit('x')\nfunction on_update() end"),
    ] {
        let entity = lab.entity(path, text);
        lab.frame();
        let failure = lab.failures().remove(0);
        let at = format!("{path}:1");
        assert_says(
            &failure,
            &[&at, "is not available while the file itself is loaded", "on_start"],
        );
        lab.app.world_mut().despawn(entity);
    }
}

#[test]
fn the_file_level_prints_once_for_each_load_whoever_carries_the_script() {
    keep_log();
    let logged = |text: &str| log().lines().filter(|line| line.contains(text)).count();
    let config = LuaPoolConfig {
        pool: PoolConfig { min_size: 3, max_size: 3, ..patient().pool },
        ..patient()
    };
    let mut lab = Lab::with_config(config);
    // One that serves every run, one that runs anew for each run, one that fails.
    for (path, rest) in [
        ("shared.luau", "function on_update(self) self.n = (self.n or 0) + 1 end"),
        ("anew.luau", "local n = 0 function on_update(self) n += 1 self.n = (self.n or 0) + n end"),
        ("fails.luau", "function on_update(self) end error('after that')"),
    ] {
        let text =
            format!("print('loads {path}', vector.one)\nlog.warn('beware of {path}') {rest}");
        let script = lab.script(path, &text);
        let world = lab.app.world_mut();
        let entities = [(); 200].map(|()| world.spawn(LuaScripts::new(script.clone())).id());
        lab.frame();
        assert_eq!(lab.stats().log_lines, 2, "{path}");
        lab.frames(4);
        let state = lab.field(entities[199], "n");
        let counted = if path == "fails.luau" { ScriptValue::Nil } else { 5.0.into() };
        assert_eq!(state, counted, "{path}");
        assert_eq!(logged(&format!("loads {path}\t1, 1, 1")), 1, "{path}");
        assert_eq!(logged(&format!("beware of {path}")), 1, "{path}");
        entities.into_iter().for_each(|entity| _ = lab.app.world_mut().despawn(entity));
    }
    lab.entity("edited.luau", "print('loads one') function on_update() end");
    lab.frames(2);
    lab.edit("edited.luau", "print('loads another') function on_update() end");
    lab.until(|_| logged("loads another") > 0);
    lab.frames(2);
    assert_eq!((logged("loads one"), logged("loads another")), (1, 1));
    lab.entity("much.luau", "for n = 1, 1000 do print('much', n) end function on_update() end");
    lab.frames(2);
    assert_eq!(logged("much\t"), 32);
    assert_eq!(logged("writes 968 more lines"), 1);
}

#[test]
fn quaternions_turn_vectors() {
    let mut lab = lab();
    let entity = lab.does(
        Transform::default(),
        "local function near(a, b) return vector.magnitude(a - b) < 1e-5 end
        local up, x, y = vector.create(0, 0, 1), vector.create(1, 0, 0), vector.create(0, 1, 0)
        local quarter = quat.from_axis_angle(up * 5, math.pi / 2)
        assert(near(quat.rotate(quarter, x), y), 'rotate')
        assert(near(quat.rotate(quat.mul(quarter, quarter), x), -x), 'mul')
        assert(near(quat.rotate(quat.inverse(quarter), y), x), 'inverse')
        assert(near(quat.rotate(quat.from_euler(0, 0, math.pi / 2), x), y), 'from_euler')
        entity.Transform.rotation = quarter
        assert(near(quat.rotate(entity.Transform.rotation, x), y), 'from a component')",
    );
    let turned = lab.transform(entity).rotation * Vec3::X;
    assert!(turned.distance(Vec3::Y) < 1e-5, "{turned}");
    let failure = lab.refuses((), "quat.from_axis_angle(vector.zero, 1)");
    assert_says(&failure, &["quat.from_axis_angle: the axis must not be zero"]);
    let failure = lab.refuses((), "quat.rotate(vector.zero, vector.zero)");
    assert_says(&failure, &["quat.rotate: argument 1 must be quaternion"]);
}

#[test]
fn time_tells_the_frame_and_the_time_since_the_start() {
    let mut lab = lab();
    let entity = lab.entity(
        "a.luau",
        "function on_update(self, dt) self.same = dt == time.delta; self.elapsed = time.elapsed end",
    );
    lab.frame();
    assert_eq!(lab.field(entity, "same"), true.into());
    let elapsed = lab.app.world().resource::<Time>().elapsed_secs_f64();
    assert_eq!(lab.field(entity, "elapsed"), elapsed.into());
    let failure = lab.refuses((), "self.x = time.delat");
    assert_says(&failure, &["`time` has no field `delat`", "did you mean `delta`?"]);
}

/// Lists of texts.
#[derive(Component, Reflect, Clone, Debug, Default, PartialEq)]
#[reflect(Default)]
struct Library {
    new: Vec<String>,
    old: Vec<String>,
    lent: Vec<String>,
}

#[test]
fn who_reads_or_makes_larger_lists_than_a_run_may_is_told_what_helps() {
    let mut lab = Lab::with_config(LuaPoolConfig {
        pool: PoolConfig { memory_limit: 128 * 1024 * 1024, ..patient().pool },
        max_value_size: 8 * 1024 * 1024,
        ..patient()
    });
    lab.app.expose_component::<Library>();
    let three = vec!["x".repeat(1_000_000); 3];
    let library = Library { new: three.clone(), old: three.clone(), lent: three };
    let read = "local library = entity.Library local new, old = library.new, library.old";
    lab.does(library.clone(), read);
    let read_more = format!("{read} local lent = library.lent");
    let make_larger = format!("{read} for n = 1, 9 do new[n] = old[1] end");
    for lua in [read_more, make_larger] {
        let error = lab.refuses(library.clone(), &lua);
        assert!(error.contains("8388608 bytes in lists and maps"), "{error}");
        assert!(error.contains("fewer or smaller ones"), "{error}");
        assert!(!error.contains("raise"), "no setting changes it: {error}");
    }
}
