//! A script can't tell whether its file level ran just now or is an image that many runs share.

use cpu_time::ThreadTime;
use proptest::prelude::*;

use super::rows::compare_frames;
use super::*;
use crate::vm::Mutable;

/// What four runs in a row come to, each with the state that the one before it left.
fn four_runs(vm: &mut Vm, program: &Program) -> Vec<Result<ScriptTable, String>> {
    let mut state = ScriptTable::default();
    let mut outcomes = Vec::new();
    for _ in 0..4 {
        outcomes.push(match update(vm, program, &state) {
            Outcome::Done(next) => {
                state = next.clone();
                Ok(next)
            }
            Outcome::Failed(failure) => Err(failure.to_string()),
            Outcome::Missing => Err("missing".to_owned()),
        });
    }
    outcomes
}

/// Runs a script as it comes, and with a file level of its own for each run. Gives why it can't share
/// one, if it can't.
#[track_caller]
fn compare(source: &str) -> Option<Mutable> {
    let (shared, own) = (program(source), program(source));
    own.has_own_file_levels();
    let mut vm = vm();
    assert_eq!(four_runs(&mut vm, &shared), four_runs(&mut vm, &own), "{source}");
    assert_eq!(shared.mutable(), compare_frames(source), "{source}");
    shared.mutable()
}

#[test]
fn constants_and_functions_are_shared() {
    for source in [
        "function on_update(self, dt) self.t = (self.t or 0) + dt end",
        "local STEP = 2 local names = {'a', 'b'} shared = {x = {y = 1}}
         local function add(a, b) return a + b end
         function helper(n) return add(n, STEP) end
         function on_update(self) self.n = helper(self.n or 0); self.s = names[1] .. shared.x.y end",
        "local Point = {} Point.__index = Point
         function Point.new(x) return setmetatable({x = x}, Point) end
         function Point:twice() return self.x * 2 end
         local origin = Point.new(3)
         function on_update(self) self.a = Point.new(4):twice() + origin:twice() end",
        "local function counter()
            local n = 0
            return function() n += 1 return n end
         end
         function on_update(self) local next = counter() next() self.n = next() end",
        "local r = math.random() function on_update(self) self.r = r; self.own = math.random() end",
        "local list = {3, 1, 2}
         function on_update(self) local own = table.clone(list) table.sort(own) own[4] = 9
            self.first = own[1]; self.len = #list; self.keys = 0
            for k, v in list do self.keys += k * v end end",
        "local e = entity function on_update(self) self.same = e == entity end",
        "function on_update(self) self.n = (self.n or 0) + 1; self.none = missing == nil
            self.fine = pcall(function() return 1 end) end",
        "local t = setmetatable({}, {__index = function(_, k) return k .. '!' end})
         function on_update(self) self.a = t.x end",
        "function on_update(self) error('always') end",
        "local f f = function(n) return n == 0 and 0 or f(n - 1) end
         function on_update(self) self.z = f(3) end",
    ] {
        assert_eq!(compare(source), None, "{source}");
    }
}

#[test]
fn assigned_variables_are_as_new_in_each_run() {
    for source in [
        "local n = 0 function on_update(self) n += 1; self.n = n end",
        "n = 0 function on_update(self) n += 1; self.n = n end",
        "function helper() return 1 end
         function on_update(self) self.a = helper(); helper = nil; self.gone = helper == nil end",
        "local n = 0 local function set(v) n = v end
         function on_update(self) self.before = n; pcall(set, 5); self.after = n end",
        "function on_update(self) stray = (stray or 0) + 1; self.n = stray end",
        "function on_update(self) function made() return 2 end; self.n = made() end",
        "local n = 0 local function outer() return function() return function() n += 1 end end end
         function on_update(self) outer()()() self.n = n end",
        "local function counter()
            local n = 0
            return function() n += 1 return n end
         end
         local next = counter()
         function on_update(self) self.n = next() end",
        "local holder = {f = (function() local n = 0 return function() n += 1 return n end end)()}
         function on_update(self) self.n = holder.f() end",
    ] {
        let why = compare(source);
        assert!(matches!(why, Some(Mutable::Variables { line: Some(_) })), "{why:?}: {source}");
    }
}

#[test]
fn what_cannot_be_frozen_is_as_new_in_each_run() {
    for (what, line, source) in [
        (
            "a buffer",
            Some(2),
            "local b = buffer.create(4)
            function on_update(self) buffer.writeu8(b, 0, buffer.readu8(b, 0) + 1)
                self.n = buffer.readu8(b, 0) end",
        ),
        (
            "a coroutine",
            Some(2),
            "local co = coroutine.create(function() for i = 1, 9 do coroutine.yield(i) end end)
            function on_update(self) local _, n = coroutine.resume(co) self.n = n end",
        ),
        (
            "an iterator",
            Some(2),
            "local next = coroutine.wrap(function() for i = 1, 9 do coroutine.yield(i) end end)
            function on_update(self) self.n = next() end",
        ),
        (
            "an iterator",
            Some(3),
            "local words = string.gmatch('a b c d e', '%a')

            function on_update(self) self.word = words() end",
        ),
        (
            "a buffer",
            Some(2),
            "local b = {deep = {buffer = buffer.create(1)}}
            function on_update(self) self.n = buffer.len(b.deep.buffer) end",
        ),
        (
            "a buffer",
            None,
            "shared = {deep = {buffer = buffer.create(1)}}
            function on_update(self) self.n = buffer.len(shared.deep.buffer) end",
        ),
    ] {
        assert_eq!(compare(source), Some(Mutable::Values { what, line }), "{source}");
    }
}

#[test]
fn changed_tables_are_as_new_in_each_run_even_if_the_script_catches_what_gives_it_away() {
    for change in [
        "t.n += 1",
        "t.new = 1",
        "t[1] = 2",
        "t.n = nil",
        "rawset(t, 'n', 9)",
        "table.insert(t, 1)",
        "table.remove(t)",
        "table.sort(t, function(a, b) return a > b end)",
        "table.clear(t)",
        "table.move({7, 8}, 1, 2, 1, t)",
        "setmetatable(t, {__index = {x = 1}})",
        "getmetatable(m).__index = function() return 5 end",
        "table.freeze(t)",
        "_G.other = 1; self.other = other",
        "rawset(_G, 'other', 1); self.other = other",
        "_G['on_' .. 'stop'] = 1; self.stop = on_stop",
        "pcall(function() t.n += 1 end)",
        "pcall(rawset, t, 'n', 9)",
        "xpcall(function() t.n += 1 end, function() return 'handled' end)",
        "xpcall(function() t.n += 1 end, error)",
        "coroutine.resume(coroutine.create(function() t.n += 1 end))",
        "pcall(coroutine.wrap(function() t.n += 1 end))",
        "pcall(pcall, rawset, t, 'n', 9)",
        "coroutine.wrap(function() pcall(function() t.n += 1 coroutine.yield() end) end)()",
        "local ok = pcall(function() local _ = t.n; t.n = 4; error('other') end); self.ok = ok",
        "for k in t do pcall(function() t[k] = 0 end) end",
        "pcall(table.sort, {2, 1}, function() t.n = 3 return true end)",
        "pcall(string.gsub, 'abc', '%a', function() t.n += 1 end)",
        "local mt = {__index = function() t.n += 1 end}; pcall(function() return setmetatable({}, mt).x end)",
        "self.frozen = table.isfrozen(t)",
        "local is = table['is' .. 'frozen']; self.frozen = is(t)",
        "self.frozen = table.isfrozen(_G)",
        "self.frozen = select(2, pcall(table.isfrozen, t))",
    ] {
        let source = format!(
            "local t = {{5, 3, n = 1}} local m = setmetatable({{}}, {{__index = t}})
             function on_update(self)
                self.first, self.n, self.len = t[1], t.n, #t
                {change}
                self.now, self.size, self.x = t.n, #t, t.x
                self.m = m.n
             end"
        );
        // The first lines of the callback read.
        let why = compare(&source);
        assert_eq!(why, Some(Mutable::Tables { line: Some(4) }), "{change}");
    }
}

#[test]
fn a_run_that_is_begun_again_leaves_nothing_of_its_first_attempt() {
    let script = program("local t = {} function on_update() print('once') t.x = 1 end");
    let mut host = NoWorld::default();
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Update, state: &state, args: &[], seed: 1 };
    for _ in 0..2 {
        let outcome = vm().run(&script, call, &mut host, &LIMITS);
        assert_eq!(outcome, Outcome::Done(ScriptTable::default()));
    }
    assert_eq!(host.lines.len(), 2, "{:?}", host.lines);
}

#[test]
fn out_of_memory_cannot_be_caught() {
    for body in [
        "pcall(string.rep, 'x', 1e8)",
        "xpcall(string.rep, function() return 'fine' end, 'x', 1e8)",
        "coroutine.resume(coroutine.create(function() return ('x'):rep(1e8) end))",
        "pcall(function() local t = {} while true do t[#t + 1] = {} end end) self.t = 1",
    ] {
        let failure = failure(&format!("function on_update(self) {body} end"));
        assert!(matches!(failure.error, ScriptError::OutOfMemory { .. }), "{body}: {failure}");
    }
}

#[test]
fn images_that_were_dropped_are_made_anew() {
    let mut vm = vm();
    let script = program("local t = {1} function on_update(self) self.n = #t end");
    for _ in 0..3 {
        let expected = Outcome::Done(ScriptTable::from([("n", 1.0)]));
        assert_eq!(update(&mut vm, &script, &ScriptTable::default()), expected);
        vm.unload();
    }
    let mut after = |rounds| {
        for _ in 0..rounds {
            update(&mut vm, &script, &ScriptTable::default());
            vm.unload();
        }
        vm.lua.gc_collect().expect("nothing can fail");
        vm.used_memory()
    };
    let early = after(200);
    let late = after(5_000);
    assert!(late < early + 4096, "{late} after {early}");
}

/// Bytes that a VM holds when its garbage is collected.
fn resting_bytes(vm: &mut Vm) -> usize {
    vm.collect();
    vm.floor.objects
}

#[test]
fn an_image_goes_when_its_script_is_found_to_change_it_on_whichever_vm() {
    let rows: String = (0..10_000).map(|n| format!("{{id = {n}}},")).collect();
    let source = format!(
        "local data = {{{rows}}} local text = ('x'):rep(500000)
         function on_update(self) self.n = #data + #text if self.touch then pcall(rawset, data, 1, 1) end end"
    );
    let (untouched, touched) = (ScriptTable::default(), ScriptTable::from([("touch", 1.0)]));
    let (script, own) = (program(&source), program(&source));
    own.has_own_file_levels();
    let [mut first, mut second, mut other] = [vm(), vm(), vm()];
    for _ in 0..2 {
        update(&mut other, &own, &untouched);
        for vm in [&mut first, &mut second] {
            update(vm, &script, &untouched);
            assert!(vm.is_ready_for(&script, Callback::Update), "it has an image");
            resting_bytes(vm);
        }
    }
    assert!(matches!(update(&mut first, &script, &touched), Outcome::Done(_)));
    assert!(script.mutable().is_some());
    assert!(matches!(update(&mut second, &script, &untouched), Outcome::Done(_)));
    let expected = resting_bytes(&mut other);
    for vm in [&mut first, &mut second] {
        let bytes = resting_bytes(vm);
        assert!(bytes.abs_diff(expected) < 4096, "{bytes} bytes, {expected} without an image");
        assert_eq!(vm.programs.strings(), other.programs.strings());
        let [largest, expected] = [vm.programs.largest(), other.programs.largest()];
        assert!(largest < expected + 4096, "{largest} bytes, {expected} without an image");
    }
}

/// However often a file level keeps a long text, its image is made in time. Else nothing would end it: making it
/// looks at every text.
#[test]
fn an_image_with_one_long_text_in_many_places_takes_no_longer_than_one_with_a_short_one() {
    for (kept, bytes) in [
        ("table.create(20000, text)", 2_000_000),
        ("{} for i = 1, 20000 do t[i] = function() return text, i end end", 500_000),
    ] {
        let source = format!(
            "local text = ('x'):rep({bytes}) local t = {kept} function on_update(self) self.n = #t end"
        );
        let (mut vm, script) = (vm(), program(&source));
        let start = ThreadTime::now();
        let outcome = update(&mut vm, &script, &ScriptTable::default());
        let took = start.elapsed();
        assert_eq!(outcome, Outcome::Done(ScriptTable::from([("n", 20_000.0)])));
        assert!(vm.is_ready_for(&script, Callback::Update), "it has an image: {kept}");
        assert!(took < Duration::from_millis(1500), "{took:?}: {kept}");
    }
}

/// Pieces of a file level.
const FILE_LEVEL: [&str; 10] = [
    "local a = 1",
    "local a = {1, 2, x = {3}}",
    "local a = setmetatable({}, {__index = {x = 2}})",
    "local function f(v) return v end",
    "local function f(v) a = v return a end",
    "local function f(v) if type(a) == 'table' then a.x = v end return v end",
    "g = {n = 1}",
    "g = 1",
    "local c = (function() local n = 0 return function() n += 1 return n end end)()",
    "function g() return math.random(1, 100) end",
];

/// Pieces of a callback.
const CALLBACK: [&str; 14] = [
    "self.a = type(a) == 'number' and a or type(a)",
    "self.x = pcall(function() return a.x end)",
    "pcall(function() a.x = 5 end)",
    "pcall(function() table.insert(a, 4) end)",
    "pcall(function() g.n += 1 end)",
    "self.g = type(g) == 'table' and g.n or type(g)",
    "self.f = pcall(function() return f(7) end)",
    "g = 3",
    "self.c = c and select(2, pcall(c))",
    "self.keys = 0 for k in pairs(_G) do self.keys += 1 end",
    "self.r = select(2, pcall(function() return g() end)) ~= nil",
    "self.count = (self.count or 0) + 1",
    "local ok, e = pcall(setmetatable, a, {}) self.ok = ok",
    "pcall(function() _G.h = 1 end) self.h = h",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn no_combination_of_file_level_and_callback_tells_the_difference(
        file in prop::collection::vec(prop::sample::select(&FILE_LEVEL[..]), 0..4),
        body in prop::collection::vec(prop::sample::select(&CALLBACK[..]), 1..6),
    ) {
        let (file, body) = (file.join("\n"), body.join("\n    "));
        compare(&format!("{file}\nfunction on_update(self)\n    {body}\nend"));
    }
}
