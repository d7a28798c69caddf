//! Closures that remember, however deep they are nested: nothing reachable from an image can be assigned.

use proptest::prelude::*;
use proptest::strategy::ValueTree;

use super::rows::compare_frames;

/// Scripts that keep something from run to run if their file level is shared.
#[test]
fn what_a_closure_hands_on_to_one_that_assigns_it_is_as_new_in_each_run() {
    for (line, source) in [
        (
            3,
            "local function make() local kept = 'nothing'
                return function(what) local old = kept
                    local function assign() kept = what end
                    assign() return old end end
            local relay = make()
            function on_update(self) self.found = relay('left by ' .. self.id) end",
        ),
        (
            2,
            "local function make() local n = 0
                return function() return function() n += 1 return n end end end
            local f = make()
            function on_update(self) self.n = f()() end",
        ),
        (
            4,
            "local Counter = {} Counter.__index = Counter
            function Counter.new()
                local count = 0
                local function bump() count += 1 end
                return setmetatable({
                    each = function(self, times) for _ = 1, times do bump() end return count end,
                }, Counter)
            end
            local shared = Counter.new()
            function on_update(self) self.n = shared:each(2) end",
        ),
        (
            3,
            "local keeper = (function(first, ...)
                return function(list) for _, v in list do
                    pcall(function() (function() first = v end)() end) end return first end
            end)('none')
            function on_update(self) self.was = keeper({}); keeper({self.id}) end",
        ),
        (
            4,
            "local steps = {}
            for i = 1, 3 do
                local at = i
                steps[i] = function() return function() at += i return at end end
            end
            function on_update(self) self.n = steps[2]()() + steps[3]()() end",
        ),
        (
            3,
            "local function make() local handle
                return function(f) local old = handle
                    local function keep() handle = handle or coroutine.create(f) end keep()
                    return old == nil, select(2, coroutine.resume(handle)) end end
            local resume = make()
            function on_update(self)
                self.new, self.n = resume(function() for n = 1, 9 do coroutine.yield(n) end end)
            end",
        ),
        (
            2,
            "local memo = (function() local last
                return setmetatable({}, {__index = function(_, k) local function set() last = k end
                    local old = last set() return old or 'none' end}) end)()
            function on_update(self) self.was = memo['k' .. self.id] end",
        ),
    ] {
        let why = compare_frames(source);
        assert_eq!(why.and_then(|why| why.line()), Some(line), "{why:?}: {source}");
    }
}

#[test]
fn closures_that_remember_nothing_are_shared_though_their_makers_assign() {
    for source in [
        // Each call makes its own.
        "local function make() local n = 0
            return function() return function() n += 1 return n end end end
        function on_update(self) local f = make()() f() self.n = f() end",
        // Assigned while the file level ran, by what is gone.
        "local ready
        do local function init() ready = {3} end init() end
        function on_update(self) self.n = ready[1] end",
        // Captured by value.
        "local step = 2
        local function make(k) return function() return function(v) v += step * k return v end end end
        local f = make(3)
        function on_update(self) self.n = f()(1) end",
        // On one line with one that assigns.
        "local function plain() return 1 end local function c() local n = 0 return function() n += 1 end end
        function on_update(self) c()() self.n = plain() end",
    ] {
        assert_eq!(compare_frames(source), None, "{source}");
    }
}

/// How many elements a list has depends, where it has gaps, on where Luau looks first; and it remembers where
/// it found the end last.
#[test]
fn the_length_of_a_copy_does_not_tell_that_the_original_was_measured_before() {
    for (list, change) in [
        ("{1, nil, nil, nil, 1, nil, nil, nil}", "c[7] = 1"),
        ("table.create(8, 1)", "c[7] = nil"),
        ("table.move({1, 2, 3, 4, 5}, 1, 5, 1, table.create(16))", "c[7] = 1"),
    ] {
        let source = format!(
            "local t = {list}
            function on_update(self) local c = table.clone(t) {change}
                self.len = #c self.own = #t end"
        );
        assert_eq!(compare_frames(&source), None);
    }
}

/// Reads choices from bytes, and takes the first when they are spent: so scripts shrink.
///
/// Each function gets the run's own table first: `c.fuel` bounds how much is called, `c.told` is what a run
/// finds.
struct Writer<'b> {
    bytes: &'b [u8],
    text: String,
    names: usize,
    /// What is in scope.
    numbers: Vec<String>,
    tables: Vec<String>,
    functions: Vec<String>,
    depth: usize,
}

/// Functions are nested no deeper.
const DEEPEST: usize = 7;

impl Writer<'_> {
    fn choose(&mut self, count: usize) -> usize {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        usize::from(*first) % count
    }

    fn name(&mut self, letter: char) -> String {
        self.names += 1;
        format!("{letter}{}", self.names)
    }

    fn any(&mut self, of: fn(&Self) -> &Vec<String>) -> Option<String> {
        let count = of(self).len();
        (count > 0).then(|| {
            let chosen = self.choose(count);
            of(self)[chosen].clone()
        })
    }

    fn line(&mut self, text: &str) {
        self.text += &"  ".repeat(self.depth);
        self.text += text;
        self.text += "\n";
    }

    /// A block with names of its own.
    fn scope(&mut self, body: impl FnOnce(&mut Self)) {
        let counts = (self.numbers.len(), self.tables.len(), self.functions.len());
        self.depth += 1;
        body(self);
        self.depth -= 1;
        self.numbers.truncate(counts.0);
        self.tables.truncate(counts.1);
        self.functions.truncate(counts.2);
    }

    /// The inside of a function that takes `c`, a number and more.
    fn function(&mut self, parameter: &str) {
        self.scope(|writer| {
            writer.line(&format!("if c.fuel <= 0 then return {parameter} end c.fuel -= 1"));
            writer.numbers.push(parameter.to_owned());
            writer.block();
            match writer.choose(4) {
                0 => {
                    if let Some(function) = writer.any(|it| &it.functions) {
                        writer.line(&format!("return {function}"));
                    }
                }
                1 if writer.depth < DEEPEST => {
                    let inner = writer.name('p');
                    writer.line(&format!("return function(c, {inner}, ...)"));
                    writer.function(&inner);
                    writer.line("end");
                }
                2 => writer.line("return ..."),
                _ => {
                    if let Some(number) = writer.any(|it| &it.numbers) {
                        writer.line(&format!("return {number}"));
                    }
                }
            }
        });
    }

    fn block(&mut self) {
        for _ in 0..=self.choose(4) {
            self.statement();
        }
    }

    fn statement(&mut self) {
        match self.choose(14) {
            0 | 1 => {
                let name = self.name('n');
                let start = self.choose(5);
                self.line(&format!("local {name} = {start}"));
                self.numbers.push(name);
            }
            2 | 3 => {
                if let Some(number) = self.any(|it| &it.numbers) {
                    self.line(&format!("{number} = number({number}) + 1"));
                }
            }
            4..=6 if self.depth < DEEPEST => {
                let (name, parameter) = (self.name('f'), self.name('p'));
                let is_global = self.depth == 0 && self.choose(4) == 0;
                let keyword = if is_global { "function" } else { "local function" };
                self.line(&format!("{keyword} {name}(c, {parameter}, ...)"));
                self.function(&parameter);
                self.line("end");
                self.functions.push(name);
            }
            7 | 8 => {
                if let Some(function) = self.any(|it| &it.functions) {
                    let argument = self.any(|it| &it.numbers).unwrap_or_else(|| "3".to_owned());
                    let result = self.name('r');
                    self.line(&format!("local {result} = call(c, {function}, {argument})"));
                    self.line(&format!("call(c, {result}, 1)"));
                    self.numbers.push(result);
                }
            }
            9 => {
                let name = self.name('t');
                let inner = self.any(|it| &it.functions).unwrap_or_else(|| "nil".to_owned());
                self.line(&format!("local {name} = {{n = 1, f = {inner}}}"));
                self.tables.push(name);
            }
            10 => {
                if let Some(table) = self.any(|it| &it.tables) {
                    match self.choose(5) {
                        0 => self.line(&format!("{table}.n += 1")),
                        1 => self.line(&format!("pcall(function() {table}.n += 1 end)")),
                        2 => self.line(&format!("call(c, {table}.f, 2)")),
                        _ => self.line(&format!("note(c, {table}.n, {table}.f)")),
                    }
                }
            }
            11 if self.depth < DEEPEST => {
                let name = self.name('i');
                self.line(&format!("for {name} = 1, 2 do"));
                self.scope(|writer| {
                    writer.numbers.push(name);
                    writer.block();
                });
                self.line("end");
            }
            12 if self.depth < DEEPEST => {
                let (name, parameter) = (self.name('w'), self.name('p'));
                self.line(&format!("local {name} = coroutine.wrap(function(c, {parameter}, ...)"));
                self.scope(|writer| {
                    writer.line(&format!("c = coroutine.yield({parameter})"));
                    writer.numbers.push(parameter);
                    writer.block();
                    writer.line("coroutine.yield(...)");
                });
                self.line("end)");
                self.functions.push(name);
            }
            _ => {
                if let Some(number) = self.any(|it| &it.numbers) {
                    self.line(&format!("note(c, {number})"));
                }
            }
        }
    }
}

const PROLOGUE: &str = "local function number(v) return type(v) == 'number' and v or 0 end
local function note(c, ...)
  for i = 1, select('#', ...) do
    local v = select(i, ...)
    table.insert(c.told, type(v) == 'number' and v or type(v))
  end
end
local function call(c, f, ...)
  if type(f) ~= 'function' then return f end
  local ok, result = pcall(f, c, ...)
  note(c, ok, result)
  return if ok then result else nil
end
local c = {fuel = 40, told = {}}
";

/// A script of makers that return makers.
fn script(bytes: &[u8]) -> String {
    let (numbers, tables, functions) = (Vec::new(), Vec::new(), Vec::new());
    let text = PROLOGUE.to_owned();
    let mut writer = Writer { bytes, text, names: 0, numbers, tables, functions, depth: 0 };
    writer.block();
    writer.block();
    writer.line("function on_update(self)");
    writer.line("  local c = {fuel = 60, told = {}}");
    writer.scope(|writer| {
        writer.block();
        for function in writer.functions.clone() {
            writer.line(&format!("call(c, call(c, call(c, {function}, 1), 2), self.id)"));
            writer.line(&format!("call(c, {function}, self.id)"));
        }
    });
    writer.line("  self.told = table.concat(c.told, ' ')");
    writer.line("end");
    writer.text
}

/// Some such scripts have an image and some have none, or nothing is tried.
#[test]
fn nests_of_closures_are_of_both_kinds() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let mut counts = [0, 0];
    for _ in 0..100 {
        let bytes = prop::collection::vec(any::<u8>(), 0..160).new_tree(&mut runner);
        let bytes = bytes.expect("bytes can be drawn").current();
        let why = compare_frames(&script(&bytes));
        counts[usize::from(why.is_some())] += 1;
    }
    assert!(counts[0] > 15 && counts[1] > 15, "{counts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn no_nest_of_closures_tells_an_image_from_a_fresh_file_level(
        bytes in prop::collection::vec(any::<u8>(), 0..160),
    ) {
        compare_frames(&script(&bytes));
    }
}
