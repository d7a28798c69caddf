//! What scripts can keep in `self`.

use super::*;

#[test]
fn every_kind_of_data_survives_a_round_trip() {
    let state = state_after(
        r#"function on_update(self)
            self.list = {1, "two", true, {3}}
            self.where = vector.create(1, 2, 3)
            self.bytes = "\255"
            self[0] = "zero"
            self[true] = "yes"
            self[1] = "first"
            self.sparse = {}
            self.sparse[2] = 2
            self.sparse[1] = 1
        end"#,
    );
    let mut vm = vm();
    let echo = program("function on_update(self) end");
    assert_eq!(update(&mut vm, &echo, &state), Outcome::Done(state.clone()));
    assert_eq!(state.array, vec!["first".into()]);
    assert_eq!(state.get("sparse").to_string(), "{1, 2}");
    assert_eq!(state.get("bytes"), &ScriptValue::Bytes(vec![0xff]));
}

#[test]
fn a_table_comes_to_the_same_in_whatever_order_its_fields_were_set() {
    let of = |from: i32, to: i32, step: i32| {
        state_after(&format!(
            "function on_update(self)
                self.list, self.map = {{}}, {{}}
                for n = {from}, {to}, {step} do
                    self.list[n] = n
                    self.map['k' .. n] = n
                    self.map[n + 0.5] = true
                    self.map[-n] = false
                end
            end"
        ))
    };
    let (up, down) = (of(1, 500, 1), of(500, 1, -1));
    assert_eq!(up, down);
    let ScriptValue::Table(list) = up.get("list") else { panic!("{up}") };
    assert!(list.fields.is_empty(), "{list}");
    assert!(list.array.iter().cloned().eq((1..=500).map(ScriptValue::from)), "{list}");
    let ScriptValue::Table(map) = up.get("map") else { panic!("{up}") };
    assert_eq!((map.array.len(), map.fields.len()), (0, 1500));
    assert!(map.fields.keys().is_sorted());
    assert_eq!(map.get("k77"), &77.0.into());
}

#[test]
fn what_cannot_be_kept_is_an_error_that_names_the_field() {
    for (value, what) in [
        ("function() end", "a function"),
        ("coroutine.create(function() end)", "a coroutine"),
        ("setmetatable({}, {})", "metatable"),
        ("buffer.create(1)", "buffer"),
    ] {
        let source = format!("function on_update(self) self.items = {{1, {{deep = {value}}}}} end");
        let text = failure(&source).error.to_string();
        assert!(text.contains("self.items[2].deep") && text.contains(what), "{text}");
    }
    let text = failure("function on_update(self) self.me = self end").error.to_string();
    assert!(text.contains("holds itself"), "{text}");
    let text = failure("function on_update(self) self.s = ('x'):rep(70000) end").error.to_string();
    assert!(text.contains("max_value_size"), "{text}");
}
