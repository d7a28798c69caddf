//! Random numbers.

use super::*;

#[test]
fn random_numbers_depend_on_the_seed_alone() {
    let source = "local early = math.random()
        function on_update(self)
            self.early = early
            self.a, self.b = math.random(), math.random(6)
        end";
    let run = |vm: &mut Vm, seed| {
        let state = ScriptTable::default();
        let call = Call { callback: Callback::Update, state: &state, args: &[], seed };
        match vm.run(&program(source), call, &mut NoWorld::default(), &LIMITS) {
            Outcome::Done(state) => state,
            other => panic!("{other:?}"),
        }
    };
    let mut used = vm();
    let first = run(&mut used, 1);
    let second = run(&mut used, 2);
    assert_eq!(run(&mut used, 1), first);
    assert_eq!(run(&mut vm(), 1), first);
    assert_ne!(second.get("a"), first.get("a"));
    assert_eq!(
        second.get("early"),
        first.get("early"),
        "the file level depends on the script alone"
    );
}

#[test]
fn random_bounds_are_met_exactly() {
    let state = state_after(
        "function on_update(self)
            local seen = {}
            for _ = 1, 1000 do
                seen[math.random(3)] = true
                seen[math.random(-1, 0)] = true
                local x = math.random()
                assert(x >= 0 and x < 1)
            end
            self.seen = seen
            self.huge = math.random(-2147483648, 2147483647) // 1
            self.empty = pcall(math.random, 0)
        end",
    );
    assert_eq!(state.get("seen").to_string(), "{true, true, true, [-1] = true, [0] = true}");
    assert_eq!(state.get("empty"), &ScriptValue::Bool(false));
}

#[test]
fn random_numbers_of_the_widest_interval_are_no_overflow() {
    let state = state_after(
        "function on_update(self)
            for _ = 1, 99 do
                local n = math.random(-9e18, 9e18)
                assert(n >= -9e18 and n <= 9e18)
            end
            self.ok = true
        end",
    );
    assert_eq!(state.get("ok"), &ScriptValue::Bool(true));
}
