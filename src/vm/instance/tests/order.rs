//! In which order a table is visited: that depends on its keys and on how it was filled, not on the VM.

use bevy::prelude::Entity;
use proptest::prelude::*;

use super::*;

/// Keys whose order is the same everywhere.
fn key() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,12}".prop_map(|text| format!("'{text}'")),
        "[a-z]{30,60}".prop_map(|text| format!("'{text}'")),
        (-40..60_i32).prop_map(|number| number.to_string()),
        any::<f32>().prop_filter("a key", |it| it.is_finite()).prop_map(|it| format!("({it:?})")),
        any::<bool>().prop_map(|it| it.to_string()),
        (0..9_i32, 0..9_i32).prop_map(|(x, y)| format!("vector.create({x}, {y}, 1)")),
        (0..9_usize).prop_map(|which| format!("self.friends[{}]", which + 1)),
    ]
}

/// Fills a table, and takes something away again.
fn filling() -> impl Strategy<Value = String> {
    let change = (key(), prop_oneof![4 => Just("i"), 1 => Just("nil")]);
    prop::collection::vec(change, 1..60).prop_map(|changes| {
        changes.iter().map(|(key, value)| format!("i += 1 t[{key}] = {value}\n")).collect()
    })
}

/// What a script sees that visits the table in every way there is.
fn visits(vm: &mut Vm, source: &str) -> ScriptTable {
    let friend = |n: u64| Entity::try_from_bits((n << 33) + 7 * n + 1).expect("an entity");
    let array = (0..9).map(|n| friend(n).into()).collect();
    let friends = ScriptTable { array, ..ScriptTable::default() };
    let state = ScriptTable::from([("friends", ScriptValue::from(friends))]);
    match update(vm, &program(source), &state) {
        Outcome::Done(state) => state,
        other => panic!("{source}: {other:?}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn tables_are_visited_in_the_same_order_on_every_vm(filling in filling(), litter in 1..4000_u32) {
        let source = format!(
            "function on_update(self)
                local t, i, seen = {{}}, 0, {{}}
                {filling}
                for k, v in t do table.insert(seen, v) end
                for k, v in pairs(t) do table.insert(seen, v) end
                for k, v in next, t do table.insert(seen, v) end
                for k, v in table.clone(t) do table.insert(seen, v) end
                self.seen = table.concat(seen, ' ')
            end"
        );
        let alone = visits(&mut vm(), &source);
        // What others left lies where the objects of a new VM would lie.
        let mut used = vm();
        let others = format!(
            "local kept = {{}} for i = 1, {litter} do kept[i] = 'kept ' .. i end
             function on_update(self) self.kept = {{}}
                for i = 1, {litter} do self.kept[i % 50 + 1] = 'text ' .. i .. tostring({{}}) end end"
        );
        update(&mut used, &program(&others), &ScriptTable::default());
        prop_assert_eq!(&visits(&mut used, &source), &alone);
        prop_assert_eq!(&visits(&mut used, &source), &alone);
    }
}
