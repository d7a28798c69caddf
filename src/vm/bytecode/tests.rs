//! What is read of bytecode, and what is put into it.

use mlua::chunk::Compiler;

use super::chunk::FunctionCode;
use super::collisions::hash;
use super::reader::BytecodeReader;
use super::*;

fn compile(source: &str) -> Vec<u8> {
    let compiler = Compiler::new().set_optimization_level(1).set_debug_level(1);
    compiler.compile(source).expect("it compiles")
}

/// Of the functions defined at these lines with so many upvalues: where they assign.
#[track_caller]
fn assigned<const N: usize>(source: &str, functions: [(u32, u8); N]) -> [Option<u32>; N] {
    let known = assigning_functions(&compile(source)).expect("it can be read");
    functions.map(|(line, upvalues)| known.line_of(line, upvalues))
}

#[test]
fn constants_and_functions_assign_nothing() {
    let source = r#"
        local STEP = vector.create(1, 0, 0)
        local names, lookup = {"a", "b"}, {x = 1, y = true, [3] = 2.5}
        local function helper(a, b) local c = a; c += b; return c, names, STEP end
        shared = 3
        shared = 4
        function on_update(self, dt)
            self.n = helper(self.n, dt) + #lookup
            for i = 1, 10 do self.n += i end
            for k, v in names do self[k] = v == "a" and string.format("%d", 3) or nil end
            local s = `{self.n} {dt}`
            if s == nil or s == true or s == 3 or s == "x" then return end
            self.f = function() return self end
        end
        local late
        late = function() return late end
    "#;
    let known = assigning_functions(&compile(source));
    assert_eq!(known, Some(AssigningFunctions::default()));
}

#[test]
fn a_function_assigns_what_those_assign_that_it_hands_variables_on_to() {
    let direct = "local n = 0
function on_update(self)
n += 1 end";
    assert_eq!(assigned(direct, [(2, 1)]), [Some(3)]);
    let deep = "local n = 0
function a()
return function()
return function()

n = 1 end end end";
    assert_eq!(assigned(deep, [(2, 1), (3, 1), (4, 1)]), [Some(6); 3]);
    let own = "local function counter()
local n = 0
return function()
return function(...)
n += ...
return n
end
end
end";
    assert_eq!(assigned(own, [(1, 0), (3, 1), (4, 1)]), [None, Some(5), Some(5)]);
    let another = "local n, m = {}, 0
function a()
local function b() return n end
local function c() m = n end
return b, c end
function d() return n, m end";
    assert_eq!(assigned(another, [(2, 2), (3, 1), (4, 2), (6, 2)]), [Some(4), None, Some(4), None]);
}

#[test]
fn a_function_assigns_the_globals_that_those_assign_which_it_makes() {
    let source = "n = 0
local function f() return n end
local function g()
return function()
n = 1 end end
local function h() function on_stop() end end";
    assert_eq!(
        assigned(source, [(2, 0), (3, 0), (4, 0), (6, 0)]),
        [None, Some(5), Some(5), Some(6)]
    );
}

#[test]
fn functions_that_cannot_be_told_apart_count_as_one() {
    let source = "local n = 0 local f = function() return n end local g = function() n = 1 end
local h = function() return n end";
    assert_eq!(assigned(source, [(1, 1), (2, 1), (1, 0)]), [Some(1), None, None]);
}

/// Each function hands all of its variables on to the next, of which there are thousands.
#[test]
fn what_hands_on_much_is_read_in_no_time() {
    let names: Vec<String> = (0..150).map(|n| format!("a{n}")).collect();
    let mut source = format!("local {}\n", names.join(", "));
    for _ in 0..100 {
        source += "local function f()\n";
    }
    source += &format!("{} = 1", names.join(", "));
    source += &" end".repeat(100);
    source = source.replacen("local function f()", "function f0()", 1);
    // In thousands of copies beside each other.
    let more: String = (0..2000)
        .map(|n| {
            format!(
                "function g{n}() return function() return function() a{} = 1 end end end\n",
                n % 150
            )
        })
        .collect();
    let bytecode = compile(&(source + "\n" + &more));
    let cpu = cpu_time::ThreadTime::now();
    let known = assigning_functions(&bytecode).expect("it can be read");
    assert!(cpu.elapsed() < std::time::Duration::from_millis(500), "{:?}", cpu.elapsed());
    assert_eq!(known.line_of(2, 150), Some(102));
}

/// What the costliest way from safepoint to safepoint costs at worst, in microseconds.
fn longest_stretch(bytecode: &[u8]) -> u32 {
    let chunk = BytecodeReader::new(bytecode).chunk().expect("it can be read");
    chunk.functions.iter().map(FunctionCode::longest_stretch).max().expect("there is a function")
}

/// The same with safepoints wherever there may be one.
fn broken_up(bytecode: &[u8]) -> Vec<u8> {
    safepoint_insertion::insert(bytecode, FunctionCode::possible_safepoints)
        .expect("it fits")
        .into_owned()
}

fn is_long(bytecode: &[u8]) -> bool {
    with_safepoints(bytecode).expect("it fits") != bytecode
}

/// How many safepoints it gets.
fn missing(bytecode: &[u8]) -> usize {
    let chunk = BytecodeReader::new(bytecode).chunk().expect("it can be read");
    chunk.functions.iter().map(|function| function.missing_safepoints(0).len()).sum()
}

#[test]
fn strings_that_collide_are_counted_as_luau_does() {
    let bytecode = compile("local a = { x = 'word', ['y z'] = 1 } return a");
    let mut found = strings(&bytecode).expect("it can be read");
    found.sort_unstable();
    assert_eq!(found, [&b"word"[..], b"x", b"y z"]);
    assert_eq!(collisions(&found), 0);

    // Of strings that long, Luau's hash begins with what was mixed from whole blocks: these undo it.
    let colliding: Vec<Vec<u8>> = (0..500_u32)
        .map(|n| {
            let (mut a, mut b, mut hash) = (n, 0_u32, 44_u32);
            a = (a ^ hash).wrapping_sub(hash.rotate_right(14));
            b = (b ^ a).wrapping_sub(a.rotate_right(11));
            hash = (hash ^ b).wrapping_sub(b.rotate_right(25));
            let undone = [a, b, hash].map(|word| 0_u32.wrapping_sub(word).to_le_bytes());
            [&n.to_le_bytes()[..], &[0; 8], undone.as_flattened(), &[b'x'; 20]].concat()
        })
        .collect();
    let colliding: Vec<&[u8]> = colliding.iter().map(Vec::as_slice).collect();
    assert!(colliding.iter().all(|string| hash(string) == hash(colliding[0])));
    assert_eq!(collisions(&colliding), 500 * 499 / 2);
    let others: Vec<String> = (0..10_000).map(|n| format!("name{n}")).collect();
    let others: Vec<&[u8]> = others.iter().map(String::as_bytes).collect();
    assert!(collisions(&others) < 10_000);
}

#[test]
fn ordinary_code_needs_few_safepoints() {
    let source = r#"
        local function length(v) return math.sqrt(v.x * v.x + v.y * v.y + v.z * v.z) end
        function on_update(self, dt)
            local a, b = self.a, self.b
            self.name = "n" .. a
            self.x = a.x * dt; self.y = a.y * dt; self.z = a.z + length(b)
            for i = 1, 10 do self[i] = `{i} of {a}`; b = string.sub(a, 1, i) end
            if a > 1 and a < 5 or a > 10 and a < 20 then self.inside = true end
            return { a = a, b = b, c = a + b }
        end
    "#;
    assert!(missing(&compile(source)) <= 4, "{}", missing(&compile(source)));
}

#[test]
fn a_straight_line_of_costly_operations_gets_safepoints() {
    for costly in [
        "_ = a < b",
        "_ = a .. b",
        "_ = string.sub(a, 2)",
        "_ = string.sub(a, 2, 3)",
        "_ = tonumber(a)",
        "_ = a + b",
        "_ = a * 3",
        "_ = math.max(...)",
        "_ = { ... }",
        "_ = t[a]",
        "_ = t.x",
        "_ = #t",
        "t[a] = b",
        "t.x = a",
        "t[1] = a",
        "g = a",
        "table.insert(t, a)",
        "rawset(t, a, b)",
        "if t then f() end _ = a .. b",
        "_ = if a then a .. b else b .. a",
    ] {
        let source = format!(
            "local t, f
local function g1(a, b, ...)
local _
{}end",
            format!(
                "{costly}
"
            )
            .repeat(2000)
        );
        let bytecode = compile(&source);
        assert!(longest_stretch(&bytecode) > safepoints::LIMIT, "{costly}");
        let safe = with_safepoints(&bytecode).expect("it fits");
        assert!(longest_stretch(&safe) <= safepoints::LIMIT, "{costly}");
        // No more than are needed.
        assert!(!is_long(&safe), "{costly}");
        assert!(safe.len() < 2 * bytecode.len(), "{costly}");
    }
}

#[test]
fn a_safepoint_on_one_way_alone_breaks_nothing_up() {
    let source = "local function g1(a, b, t)
local _
_ = string.sub(a, b)
if t then f() end
_ = string.sub(a, b)
end";
    assert!(is_long(&compile(source)));
    let source = source.replace("if t then f() end", "f()");
    assert!(!is_long(&compile(&source)));
}

#[test]
fn a_fast_call_is_no_safepoint_and_a_call_is_one() {
    let source = "local function g1(a, b, t)
local _
_ = string.sub(a, b)
_ = math.abs(t)
_ = string.sub(a, b)
end";
    assert!(is_long(&compile(source)));
    let source = source.replace("math.abs", "t.abs");
    assert!(!is_long(&compile(&source)));
}

#[test]
fn what_texts_are_joined_to_is_looked_at_before_anything_is_done_with_it() {
    let missing = |body: &str| {
        let bytecode = compile(&format!("local function g1(a, f, t) {body} end"));
        let chunk = BytecodeReader::new(&bytecode).chunk().expect("it can be read");
        chunk.functions.iter().map(|function| function.missing_safepoints(0).len()).sum::<usize>()
    };
    assert_eq!(missing("t.x = a .. t"), 1);
    assert_eq!(missing("a ..= a a ..= a t = a .. f f = nil"), 3);
    assert_eq!(missing("f(a .. a)"), 0, "the call looks at its arguments");
    assert_eq!(missing("return a .. a"), 0, "and the return at its values");
}

#[test]
fn a_loop_has_its_safepoint_in_front_where_that_is_enough() {
    let before = |body: &str| {
        let bytecode = compile(&format!("local function g1(a, b, c, d, n) {body} end"));
        let chunk = BytecodeReader::new(&bytecode).chunk().expect("it can be read");
        let function = &chunk.functions[0];
        let missing = function.missing_safepoints(0);
        missing.iter().map(|at| function.code[*at].to_le_bytes()[0]).collect::<Vec<_>>()
    };
    const OP_FORNPREP: u8 = 56;
    let sum = "a = a + b + c + d + n + a + b + c + d + n";
    assert_eq!(before(&format!("{sum} for _ = 1, n do {sum} end")), [OP_FORNPREP]);
    let inner = format!("for _ = 1, n do {sum} end");
    let outer = format!("for _ = 1, n do {sum} {inner} {inner} end");
    assert_eq!(before(&outer), [OP_FORNPREP], "the second one comes after the first one's end");
    // Not if the loop needs one of its own all the same.
    let long = format!("{sum} {sum} {sum}");
    assert!(!before(&format!("{sum} for _ = 1, n do {long} end")).contains(&OP_FORNPREP));
    let body = format!("{sum} while n do {sum} n = b end");
    assert_eq!(before(&body).len(), 1);
}

#[test]
fn code_that_was_broken_up_does_what_it_did() {
    let source = r##"
        local log = {}
        local function note(...) log[#log + 1] = table.concat({ ... }, " ") return ... end
        local function many(a, b, ...)
            local s = a .. b .. a
            s = s .. string.sub(s, 2, -2) .. tostring(#s) .. select("#", ...)
            local t = { x = 1, y = { 2, 3, ... }, [s] = s }
            note(s, math.max(1, ...), (math.max(...)))
            t.x += #t.y
            t[t.x] = if a < b then a else b
            for k, v in t do note(type(k), type(v)) end
            for i = 3, 1, -1 do if i == 2 then continue end note(i) end
            repeat local n = t.x; t.x -= 1 until n < 2
            while t.x < 3 do t.x += 1 if t.x == 2 then break end end
            local ok, message = pcall(function() error({ code = t.x }) end)
            note(tostring(ok), message.code, bit32.band(7, ...))
            note(select(2, pcall(function()
                local far = "a" .. s ..
                    nil .. "b"
            end)))
            note(select(2, pcall(function() return -t
            end)))
            return note(table.unpack({ s, t.x, ... }))
        end
        many("ab", "cd", 5, 6, 7)
        many("x", "y", 8)
        return table.concat(log, "\n")
    "##;
    let lua = mlua::Lua::new();
    let run = |bytecode: Vec<u8>| -> String {
        lua.load(bytecode).set_mode(mlua::chunk::ChunkMode::Binary).eval().expect("it runs")
    };
    let bytecode = compile(source);
    let plain = run(bytecode.clone());
    assert_eq!(run(broken_up(&bytecode)), plain);
    assert!(plain.len() > 100, "{plain}");
}

#[test]
fn what_cannot_be_read_is_taken_to_be_mutable() {
    let bytecode = Compiler::new().compile("local a = 1").expect("it compiles");
    assert_eq!(assigning_functions(&bytecode), Some(AssigningFunctions::default()));
    for end in 0..bytecode.len() {
        assert_eq!(assigning_functions(&bytecode[..end]), None, "cut at {end}");
    }
    let mut unknown = bytecode.clone();
    unknown[0] = 200;
    assert_eq!(assigning_functions(&unknown), None);
}
