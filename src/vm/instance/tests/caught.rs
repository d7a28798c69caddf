//! What counts even if a script catches the error: that it ran out of memory, and that it met its image.

use proptest::prelude::*;

use super::rows::{compare_frames, frames, in_a_row};
use super::*;
use crate::vm::Mutable;

/// A VM in which a run soon has no memory left.
const NARROW: RunLimits = RunLimits { memory: 1024 * 1024, ..LIMITS };

/// Ways to call `f` and to hide what it raised.
const CATCHERS: [&str; 20] = [
    "pcall(f)",
    "pcall(pcall, f)",
    "xpcall(f, function() return 'handled' end)",
    "xpcall(f, function() error('of the handler') end)",
    "xpcall(f, function() local function deep() return deep() + 1 end return deep() end)",
    "xpcall(f, error)",
    "xpcall(f, print)",
    "xpcall(f, function(e) error({e}) end)",
    "xpcall(f, function(e) return setmetatable({}, {__tostring = function() return 'x' .. e end}) end)",
    "xpcall(f, function(e) return xpcall(error, error, e) end)",
    "coroutine.resume(coroutine.create(f))",
    "pcall(coroutine.wrap(f))",
    "local co = coroutine.create(f) coroutine.resume(co) coroutine.close(co)",
    "local g = f for _ = 1, 150 do local h = g g = coroutine.wrap(function() h() end) end pcall(g)",
    "pcall(table.sort, {2, 1, 3}, function() f() return true end)",
    "pcall(string.gsub, 'abc', '%a', function() f() end)",
    "pcall(function() return setmetatable({}, {__index = function() f() end}).x end)",
    "pcall(function() for _ in f do end end)",
    "local g = coroutine.wrap(function() pcall(function() coroutine.yield() f() end) end) g() g()",
    "local co = coroutine.create(function() return xpcall(function() coroutine.yield() f() end,
        function() error() end) end) coroutine.resume(co) coroutine.resume(co)",
];

/// `f` calls `inner` by one catcher after another, the first one innermost.
fn nest(inner: &str, catchers: &[&str]) -> String {
    let mut text = format!("local function f() {inner} end\n");
    for catcher in catchers {
        text += &format!("local inner = f local function f() local f = inner {catcher} end\n");
    }
    text + "pcall(f)\n"
}

/// Ways to want too much memory.
const HUNGER: [&str; 5] = [
    "string.rep('x', 1e8)",
    "local t = {} while true do t[#t + 1] = {} end",
    "buffer.create(3e7)",
    "local s = 'x' while true do s ..= s end",
    "local t = {} while true do t[#t + 1] = coroutine.create(print) end",
];

fn out_of_memory_in(source: &str) -> Vec<String> {
    let mut found = Vec::new();
    for own in [false, true] {
        let program = program(source);
        if own {
            program.has_own_file_levels();
        }
        // The second VM has to make the image too, unless there is none.
        for _ in 0..2 {
            let mut vm = vm();
            let is_measured_at_once = program.is_hungry();
            let states = [ScriptTable::default()];
            for told in in_a_row(&mut vm, &program, &states, &[1], &NARROW) {
                found.push(told.map_or_else(|error| error, |state| format!("done: {state}")));
            }
            // What runs where it is measured doesn't run here.
            assert_eq!(vm.is_spent(), !is_measured_at_once, "{source}");
        }
    }
    found
}

#[test]
fn running_out_of_memory_counts_whatever_hides_it() {
    for catcher in CATCHERS {
        for hunger in &HUNGER[..2] {
            let source = format!(
                "function on_update(self) {} self.done = true end",
                nest(hunger, &[catcher])
            );
            assert_eq!(out_of_memory_in(&source), ["out of memory"; 4], "{source}");
        }
    }
}

/// A handler may be what is refused memory: all that is told of that is that it failed.
#[test]
fn a_handler_that_runs_out_of_memory_counts() {
    for size in (20..800).step_by(13) {
        let source = format!(
            "local function deep(n) if n <= 0 then error('x', 0) end return deep(n - 1) + 1 end
            function on_update(self)
                local kept
                for k = 1, 20000 do
                    kept = {{kept, string.rep('x', {size}) .. k}}
                    local caught = coroutine.wrap(function()
                        return select(2, xpcall(deep, function(e) return e end, k % 61))
                    end)()
                    if caught ~= 'x' then self.caught = caught return end
                end
            end"
        );
        assert_eq!(out_of_memory_in(&source), ["out of memory"; 4], "{size}");
    }
}

#[test]
fn a_script_that_says_so_has_not_run_out_of_memory() {
    for said in ["not enough memory", "scripts/test.luau:3: not enough memory"] {
        let source = format!("function on_update(self) error('{said}', 0) end");
        let error = failure(&source).error;
        assert!(matches!(error, ScriptError::Raised { .. }), "{error}");
        let state = state_after(&format!(
            "function on_update(self) self.caught = select(2, pcall(error, '{said}', 0)) end"
        ));
        assert_eq!(state.get("caught"), &said.into());
    }
}

/// What a file level learns by running out of memory depends on what others left.
#[test]
fn a_file_level_that_caught_that_it_ran_out_of_memory_is_no_image() {
    let source = format!(
        "local ok = true {} function on_update(self) self.ok = ok end",
        nest(HUNGER[1], &[CATCHERS[1]])
    );
    assert_eq!(out_of_memory_in(&source), ["out of memory"; 4]);
}

/// What a run does because it was refused memory depends on what others left, too.
#[test]
fn a_run_that_ran_out_of_memory_says_nothing_of_its_image() {
    for (catcher, touch) in
        CATCHERS.iter().flat_map(|catcher| [(catcher, TOUCHES[0]), (catcher, "")])
    {
        let script = program(&format!(
            "local t = {{n = 1}}
            function on_update(self)
                if self.id == 1 then {} pcall(function() {touch} end) end
                self.n = t.n
            end",
            nest(HUNGER[0], &[catcher])
        ));
        let told: Vec<_> = frames(&mut vm(), &script, &NARROW);
        for of_frame in told {
            assert_eq!(of_frame[1], Err("out of memory".to_owned()), "{catcher} {touch}");
            assert!(of_frame[0].is_ok() && of_frame[2].is_ok(), "{of_frame:?}");
        }
        assert_eq!(script.mutable(), None, "{catcher} {touch}");
    }
}

/// Ways to meet an image.
const TOUCHES: [&str; 8] = [
    "t.n += 1",
    "t[#t + 1] = 1",
    "rawset(t, 'n', 9)",
    "table.insert(t, 1)",
    "setmetatable(t, {})",
    "self.frozen = table.isfrozen(t)",
    "table.freeze(t)",
    "_G.made = 1",
];

fn touching(touch: &str, catchers: &[&str]) -> String {
    format!(
        "local t = {{5, n = 1}}
        function on_update(self)
            self.first, self.made = t.n, made
            {}
            self.now, self.count = t.n, #t
        end",
        nest(touch, catchers)
    )
}

#[test]
fn meeting_the_image_counts_whatever_hides_it() {
    for catcher in CATCHERS {
        for touch in TOUCHES {
            let source = touching(touch, &[catcher]);
            let why = compare_frames(&source);
            assert!(matches!(why, Some(Mutable::Tables { .. })), "{why:?}: {source}");
        }
    }
}

/// The first one makes the image, and the second one meets it in a row.
#[test]
fn meeting_the_image_counts_in_a_row() {
    for catcher in CATCHERS {
        let source = format!(
            "local t = {{5, n = 1}}
            function on_update(self)
                if self.id ~= 1 then self.n = t.n return end
                {}
                self.n = t.n
            end",
            nest("t.n += 1", &[catcher])
        );
        let why = compare_frames(&source);
        assert!(matches!(why, Some(Mutable::Tables { .. })), "{why:?}: {source}");
    }
}

/// The text of an error object is made when the run is over, by the script.
#[test]
fn an_error_that_meets_the_image_while_it_is_told_counts() {
    for tell in [
        "t.n += 1 return 'n is ' .. t.n",
        "pcall(function() t.n += 1 end) return 'n is ' .. t.n",
        "local g = function() t.n += 1 end
        for _ = 1, 150 do local h = g g = coroutine.wrap(function() h() end) end g()",
    ] {
        let source = format!(
            "local t = {{n = 1}}
            function on_update(self)
                error(setmetatable({{}}, {{__tostring = function() {tell} end}}))
            end"
        );
        let why = compare_frames(&source);
        assert!(matches!(why, Some(Mutable::Tables { .. })), "{why:?}: {source}");
    }
    let wrapped = "local t = {n = 1} function on_update(self) local g = function() t.n += 1 end
        for _ = 1, 150 do local h = g g = coroutine.wrap(function() h() end) end g() self.n = t.n end";
    assert_eq!(compare_frames(wrapped), Some(Mutable::Tables { line: Some(1) }));
}

/// Some; but one that nests so deep that another like it is not reached, once only.
fn catchers() -> impl Strategy<Value = Vec<&'static str>> {
    let once = |catchers: &Vec<&str>| {
        catchers.iter().filter(|catcher| catcher.contains("150")).count() <= 1
    };
    prop::collection::vec(prop::sample::select(&CATCHERS[..]), 1..5).prop_filter("too deep", once)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_nest_of_catchers_hides_that_memory_ran_out(
        catchers in catchers(),
        hunger in prop::sample::select(&HUNGER[..]),
    ) {
        let source =
            format!("function on_update(self) {} self.done = true end", nest(hunger, &catchers));
        prop_assert_eq!(out_of_memory_in(&source), ["out of memory"; 4]);
    }

    #[test]
    fn no_nest_of_catchers_hides_that_it_met_the_image(
        catchers in catchers(),
        touch in prop::sample::select(&TOUCHES[..]),
    ) {
        let why = compare_frames(&touching(touch, &catchers));
        // A handler that calls itself without end may run out of memory as well: then it was measured, without
        // an image.
        let measured = catchers.iter().any(|catcher| catcher.contains("deep()"));
        let touched = matches!(why, Some(Mutable::Tables { .. }));
        prop_assert!(touched || (measured && why.is_none()), "{:?}", why);
    }
}

/// A run whose memory ran out does not end the row's other runs otherwise than if it had been alone.
#[test]
fn one_that_runs_out_of_memory_leaves_the_others_of_its_row_alone() {
    let script = program(
        "function on_update(self)
            if self.id == 1 then pcall(string.rep, 'x', 1e8) end
            self.n = (self.n or 0) + 1
        end",
    );
    let all = frames(&mut vm(), &script, &NARROW);
    for of_frame in all {
        let told: Vec<_> = of_frame.iter().map(Result::is_ok).collect();
        assert_eq!(told, [true, false, true]);
    }
}
