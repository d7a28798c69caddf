//! Luau's built-ins, and what a call of each can cost.
//!
//! Luau's own functions reach no safepoint while they work. So each that can work for more than some microseconds
//! is behind a function of ours that is one, and that doesn't let a call begin for which the run has no time
//! left. [`BUILT_INS`] has a row for every function that scripts find in the libraries: which of them that
//! concerns, and what bounds the others.
//!
//! Turning texts into numbers counts as well: where a function takes a number, Luau takes a text, and reads all
//! of it. A direct call with numbers bypasses the functions here (Luau has a short cut for it, which takes no
//! texts), so it costs what it did.

use std::ffi::{CStr, c_int};
use std::time::Duration;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Table};

use super::{Run, TOO_DEEP, push_function, push_text, raise, safepoint, text_bytes, with_run};
use crate::error::ScriptError;
use crate::vm::cost;

/// A function that scripts find, by the library where it is (or none), and what bounds a call of it.
struct BuiltIn {
    library: &'static CStr,
    name: &'static CStr,
    bound: Bound,
}

/// What bounds a call of a built-in.
#[derive(Clone, Copy)]
enum Bound {
    /// It looks at each of its arguments for some nanoseconds at most, as he did who pushed them, or at some
    /// fixed number of things.
    Small,
    /// As [`Bound::Small`], or what it goes through is in memory: each call is a safepoint.
    Safepoint,
    /// It costs so many nanoseconds, by the arguments on the stack, and doesn't begin if the run has no time
    /// left for that. Finding it out may raise an error, and takes some microseconds at most.
    Counted(unsafe fn(*mut lua_State) -> usize),
    /// A function of ours is in its place, with safepoints, and has Luau's own as first upvalue.
    Replaced(ffi::lua_CFunction),
    /// A function of ours is in its place, or in front of it, which was put there before.
    Ours,
}

use Bound::{Counted, Ours, Replaced, Safepoint, Small};

const fn of(library: &'static CStr, name: &'static CStr, bound: Bound) -> BuiltIn {
    BuiltIn { library, name, bound }
}

/// Functions of one library with one bound.
macro_rules! built_ins {
    ($($library:literal: $($($name:literal)+ => $bound:expr),+;)+) => {
        &[$($($(of($library, $name, $bound),)+)+)+]
    };
}

/// Every function that scripts find in Luau's libraries.
///
/// Where the call that a script makes directly is short, it may be one of those that bypass this list: see
/// `bytecode::unbroken`.
// SAFETY: what is called here reads the arguments of a call, and gets valid indices.
static BUILT_INS: &[BuiltIn] = unsafe {
    built_ins! {
        c"":
            c"assert" => Counted(|state| texts(state, 2, 2)),
            c"error" => Counted(|state| sum([texts(state, 1, 1), reading(state, 2, 2)])),
            c"getmetatable" c"ipairs" c"rawequal" c"rawget" c"rawlen" c"type" c"typeof" => Small,
            // Its second argument is found at once; it passes over empty slots.
            c"next" => Safepoint,
            // Gives `next`.
            c"pairs" => Ours,
            // A table may grow.
            c"rawset" => Small,
            c"select" => Counted(|state| reading(state, 1, 1)),
            c"tonumber" => Counted(|state| reading(state, 1, 2)),
            c"unpack" => Counted(unpacking),
            c"pcall" c"print" c"setmetatable" c"tostring" c"xpcall" => Ours;
        c"log":
            c"error" c"info" c"warn" => Ours;
        c"math":
            c"abs" c"acos" c"asin" c"atan" c"atan2" c"ceil" c"clamp" c"cos" c"cosh" c"deg" c"exp" c"floor" c"fmod"
            c"frexp" c"isfinite" c"isinf" c"isnan" c"ldexp" c"lerp" c"log" c"log10" c"map" c"max" c"min" c"modf"
            c"noise" c"pow" c"rad" c"round" c"sign" c"sin" c"sinh" c"sqrt" c"tan" c"tanh" => Counted(numbers),
            c"random" => Ours;
        c"bit32":
            c"arshift" c"band" c"bnot" c"bor" c"btest" c"bxor" c"byteswap" c"countlz" c"countrz" c"extract"
            c"lrotate" c"lshift" c"replace" c"rrotate" c"rshift" => Counted(numbers);
        c"string":
            c"byte" => Counted(|state| {
                sum([reading(state, 2, 3), results(slice(state, length(state, 1)), 4)])
            }),
            c"char" => Counted(|state| sum([numbers(state), arguments(state, 5)])),
            c"find" => Counted(|state| {
                let plain = ffi::lua_toboolean(state, 4) != 0;
                sum([reading(state, 3, 3), search(state, c"find", plain)])
            }),
            c"format" => Replaced(format),
            c"gmatch" => Counted(|state| search(state, c"gmatch", false)),
            c"gsub" => Counted(|state| {
                let replacement = cost::replacement(text_length(state, 1), text(state, 3));
                sum([reading(state, 4, 4), search(state, c"gsub", false), replacement])
            }),
            c"len" => Small,
            c"lower" c"upper" c"reverse" => Counted(|state| 2 * text_length(state, 1)),
            c"match" => Counted(|state| sum([reading(state, 3, 3), search(state, c"match", false)])),
            c"pack" => Counted(|state| {
                // As numbers, or as they are.
                let values = texts(state, 2, ffi::lua_gettop(state)).saturating_mul(2);
                let count = arguments(state, 1);
                sum([values, cost::packing(text(state, 1)), cost::interned(text(state, 1), count)])
            }),
            c"packsize" => Counted(|state| 10 * text_length(state, 1)),
            c"rep" => Counted(|state| {
                let times = number(state, 2).max(0.0) as usize;
                sum([reading(state, 2, 2), text_length(state, 1).saturating_mul(times) / 3])
            }),
            c"split" => Replaced(split),
            c"sub" => Counted(|state| sum([reading(state, 2, 3), text_length(state, 1)])),
            c"unpack" => Counted(|state| {
                let format = text(state, 1);
                let interned = cost::interned(format, usize::MAX);
                sum([30 * format.len(), text_length(state, 2), reading(state, 3, 3), interned])
            });
        c"utf8":
            c"char" => Counted(|state| sum([numbers(state), arguments(state, 20)])),
            c"codepoint" => Counted(|state| {
                sum([reading(state, 2, 3), results(slice(state, length(state, 1)), 8)])
            }),
            c"codes" => Replaced(codes),
            c"len" c"offset" => Counted(|state| sum([2 * text_length(state, 1), reading(state, 2, 3)]));
        c"table":
            c"clear" c"clone" => Counted(held),
            c"concat" => Replaced(concat),
            c"create" => Counted(|state| {
                sum([reading(state, 1, 1), (number(state, 1).max(0.0) as usize).saturating_mul(2)])
            }),
            c"find" => Counted(|state| sum([held(state), reading(state, 3, 3)])),
            c"freeze" c"isfrozen" => Ours,
            c"insert" => Counted(|state| match ffi::lua_gettop(state) {
                3 => sum([reading(state, 2, 2), shifting(state, number(state, 2))]),
                _ => 0,
            }),
            c"move" => Counted(moving),
            c"pack" => Safepoint,
            c"remove" => Counted(|state| match ffi::lua_type(state, 2) {
                ffi::LUA_TNUMBER | ffi::LUA_TSTRING => {
                    sum([reading(state, 2, 2), shifting(state, number(state, 2))])
                }
                _ => 0,
            }),
            c"sort" => Replaced(sort),
            c"unpack" => Counted(unpacking);
        c"coroutine":
            // What a coroutine does reaches safepoints of its own.
            c"close" c"create" c"isyieldable" c"running" c"status" c"wrap" => Small,
            c"resume" => Ours,
            c"yield" => Small;
        c"debug":
            c"traceback" => Counted(|state| {
                let thread = ffi::lua_tothread(state, 1);
                let (thread, first) = if thread.is_null() { (state, 1) } else { (thread, 2) };
                let frames = depth(thread).saturating_mul(500);
                sum([frames, texts(state, first, first), reading(state, first + 1, first + 1)])
            });
        c"buffer":
            c"copy" c"fill" => Counted(|state| {
                let bytes = length(state, 1);
                sum([reading(state, 2, 5), bytes / 4])
            }),
            c"create" => Counted(|state| {
                sum([reading(state, 1, 1), number(state, 1).max(0.0) as usize / 4])
            }),
            c"fromstring" => Counted(|state| text_length(state, 1) / 4),
            c"len" => Small,
            c"readbits" c"readf32" c"readf64" c"readi16" c"readi32" c"readi8" c"readu16" c"readu32" c"readu8"
            c"writebits" c"writef32" c"writef64" c"writei16" c"writei32" c"writei8" c"writeu16" c"writeu32"
            c"writeu8" => Counted(numbers),
            c"readstring" => Counted(|state| {
                let bytes = (number(state, 3).max(0.0) as usize).min(length(state, 1));
                sum([reading(state, 2, 3), bytes])
            }),
            c"tostring" => Counted(|state| length(state, 1)),
            c"writestring" => Counted(|state| {
                sum([reading(state, 2, 2), reading(state, 4, 4), text_length(state, 3) / 4])
            });
        c"vector":
            c"abs" c"angle" c"ceil" c"clamp" c"cross" c"dot" c"floor" c"magnitude" c"max" c"min" c"normalize"
            c"sign" => Small,
            c"create" c"lerp" => Counted(numbers);
    }
};

// Functions that are given a state are called inside a C function that Luau called, whose arguments lie from 1 to
// the top; an index beyond the top is valid, and has no value.

/// All of it, however much.
fn sum(costs: impl IntoIterator<Item = usize>) -> usize {
    costs.into_iter().fold(0, usize::saturating_add)
}

/// What it costs to read the texts among these arguments as numbers.
unsafe fn reading(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    cost::READ.saturating_mul(unsafe { texts(state, first, last) })
}

/// The bytes of the texts among these arguments.
unsafe fn texts(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    let last = last.min(unsafe { ffi::lua_gettop(state) });
    // SAFETY: the caller keeps what this function asks for.
    sum((first..=last).map(|index| unsafe { text_length(state, index) }))
}

/// Of a function that takes nothing but numbers.
unsafe fn numbers(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { reading(state, 1, c_int::MAX) }
}

/// So much for each argument.
unsafe fn arguments(state: *mut lua_State, each: usize) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { ffi::lua_gettop(state) as usize * each }
}

/// So much for each result; there is room for a million.
fn results(count: usize, each: usize) -> usize {
    count.min(1_000_000) * each
}

/// How many of so many elements the second and third argument ask for: one if there is no third.
unsafe fn slice(state: *mut lua_State, of: usize) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { if ffi::lua_type(state, 3) <= ffi::LUA_TNIL { 1 } else { of } }
}

/// The number that a function takes from an argument. What is too long for a number is larger than any.
unsafe fn number(state: *mut lua_State, index: c_int) -> f64 {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TNUMBER => ffi::lua_tonumber(state, index),
            ffi::LUA_TSTRING if ffi::lua_objlen(state, index) <= cost::LONGEST_NUMBER => {
                ffi::lua_tonumber(state, index)
            }
            ffi::LUA_TSTRING => f64::INFINITY,
            _ => 0.0,
        }
    }
}

/// Of a search; also raises an error if one step of it is too long for the run.
unsafe fn search(state: *mut lua_State, name: &CStr, plain: bool) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let (subject, pattern) = (text(state, 1), text(state, 2));
        let cost = cost::search(subject, pattern, plain);
        if cost > cost::FREE && !plain && !cost::is_plain(pattern) {
            let step = Duration::from_nanos(cost as u64);
            let affordable = with_run("a search", |run| Ok(run.deadline.affords_often(step)));
            if affordable == Ok(false) {
                raise_too_long(state, name, step)
            }
        }
        cost
    }
}

/// Of pushing the elements of a list.
unsafe fn unpacking(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let all = length(state, 1);
        let last =
            if ffi::lua_type(state, 3) <= ffi::LUA_TNIL { all as f64 } else { number(state, 3) };
        let count = (last - number(state, 2)).max(0.0) as usize;
        sum([reading(state, 2, 3), results(count, 6)])
    }
}

/// Of going through a table once, which is not larger than all that is in memory.
unsafe fn held(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, 1) {
            ffi::LUA_TTABLE => ffi::lua_totalbytes(state, -1) / 16,
            _ => 0,
        }
    }
}

/// Of `table.move(from, first, last, to, into)`.
unsafe fn moving(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let count = (number(state, 3) - number(state, 2)).max(0.0) as usize;
        // Far more than there are elements: then only the elements are looked at, and they are in memory.
        let lists = 2 * (length(state, 1) + length(state, 5));
        let elements = (lists + 100_000).max(ffi::lua_totalbytes(state, -1) / 16);
        sum([reading(state, 2, 4), count.min(elements).saturating_mul(10)])
    }
}

/// Of moving all elements from this position on.
unsafe fn shifting(state: *mut lua_State, position: f64) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { length(state, 1).saturating_sub(position.max(0.0) as usize).saturating_mul(20) }
}

/// How many calls are under way in a coroutine.
unsafe fn depth(state: *mut lua_State) -> usize {
    /// More Luau doesn't allow.
    const MOST: c_int = 1 << 20;
    let (mut least, mut most) = (0, MOST);
    while least < most {
        let middle = least + (most - least) / 2;
        // SAFETY: fills the record, of which nothing is asked for, and raises nothing.
        let is_there = unsafe {
            let mut record: ffi::lua_Debug = std::mem::zeroed();
            ffi::lua_getinfo(state, middle, c"".as_ptr(), &raw mut record) != 0
        };
        if is_there {
            least = middle + 1;
        } else {
            most = middle;
        }
    }
    least as usize
}

/// The length of the table, text or buffer at a stack index; 0 for anything else.
unsafe fn length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TTABLE | ffi::LUA_TSTRING | ffi::LUA_TBUFFER => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The bytes of the text at a stack index; 0 for anything else.
unsafe fn text_length(state: *mut lua_State, index: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, index) {
            ffi::LUA_TSTRING => ffi::lua_objlen(state, index),
            _ => 0,
        }
    }
}

/// The text at a stack index, or none; it lives as long as it is there.
unsafe fn text<'s>(state: *mut lua_State, index: c_int) -> &'s [u8] {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { text_bytes(state, index).unwrap_or_default() }
}

/// Puts a function of ours in front of each built-in that may work for long.
pub(in crate::vm) fn bound_built_ins(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    // SAFETY: rule 1; the stack holds the globals at 1. Each closure has the two upvalues that were pushed.
    unsafe {
        lua.exec_raw::<()>(globals, |state| {
            const GLOBALS: c_int = 1;
            const LIBRARY: c_int = 2;
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            for (number, built_in) in BUILT_INS.iter().enumerate() {
                let function = match built_in.bound {
                    Small | Ours => continue,
                    Safepoint | Counted(_) => bounded,
                    Replaced(function) => function,
                };
                ffi::lua_settop(state, GLOBALS);
                if built_in.library.is_empty() {
                    ffi::lua_pushvalue(state, GLOBALS);
                } else {
                    ffi::lua_rawgetfield(state, GLOBALS, built_in.library.as_ptr());
                }
                if ffi::lua_type(state, LIBRARY) != ffi::LUA_TTABLE {
                    continue;
                }
                ffi::lua_rawgetfield(state, LIBRARY, built_in.name.as_ptr());
                if ffi::lua_iscfunction(state, -1) == 0 {
                    continue;
                }
                ffi::lua_pushnumber(state, number as f64);
                ffi::lua_pushcclosurek(state, function, built_in.name.as_ptr(), 2, None);
                ffi::lua_rawsetfield(state, LIBRARY, built_in.name.as_ptr());
            }
            ffi::lua_settop(state, 0);
        })?;
    }
    // What `pairs` gives is a built-in too; loops don't call it.
    let (pairs, next): (Function, Function) = (globals.raw_get("pairs")?, globals.raw_get("next")?);
    // SAFETY: rule 1; `pairs` is a C function whose one upvalue is the iterator.
    let pairs: Function = unsafe {
        lua.exec_raw((pairs, next), |state| {
            let function = ffi::lua_tocfunction(state, 1).expect("`pairs` is a C function");
            ffi::lua_pushcclosurek(state, function, c"pairs".as_ptr(), 1, None);
            ffi::lua_remove(state, 1);
        })?
    };
    globals.raw_set("pairs", pairs)
}

/// Makes `setmetatable` refuse weak tables.
pub(in crate::vm) fn refuse_weak_tables(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    let original: Function = globals.raw_get("setmetatable")?;
    // SAFETY: rule 1; one closure with the one upvalue that was pushed.
    let replacement: Function = unsafe {
        lua.exec_raw(original, |state| {
            ffi::lua_pushcclosurek(state, set_metatable, c"setmetatable".as_ptr(), 1, None);
        })?
    };
    globals.raw_set("setmetatable", replacement)
}

/// A safepoint before work that takes so many nanoseconds, and that does not begin if the run has no
/// time left for it.
///
/// # Safety
///
/// Inside a C function that Luau called.
pub(super) unsafe fn begin(state: *mut lua_State, name: &CStr, nanos: usize) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        safepoint(state);
        if nanos > cost::FREE {
            begin_long(state, name, Duration::from_nanos(nanos as u64));
        }
    }
}

#[cold]
unsafe fn begin_long(state: *mut lua_State, name: &CStr, work: Duration) {
    let affordable = with_run("a built-in", |run| Ok(run.deadline.affords(work)));
    if affordable == Ok(false) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { raise_too_long(state, name, work) }
    }
}

unsafe fn raise_too_long(state: *mut lua_State, name: &CStr, work: Duration) -> ! {
    let name = name.to_string_lossy();
    let millis = work.as_millis();
    let time = if millis > 1_000_000 { "ages".to_owned() } else { format!("some {millis} ms") };
    let message = format!(
        "`{name}` with so much takes too long: {time}, which the run does not have left; do it in \
         parts, or raise `run_time_limit` in the pool's configuration"
    );
    // SAFETY: the caller keeps what this function asks for.
    unsafe { raise(state, ScriptError::Raised { message }) }
}

/// A safepoint before a function reads its arguments up to this one as numbers.
pub(super) unsafe fn begin_reading(state: *mut lua_State, name: &CStr, last: c_int) {
    // SAFETY: the caller keeps what this function asks for.
    unsafe { begin(state, name, reading(state, 1, last)) }
}

/// Calls the C function that is the first upvalue, with the arguments as they are.
///
/// # Safety
///
/// Inside a closure whose first upvalue is a C function without upvalues.
unsafe fn call_original(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let original = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1));
        original.expect("Luau's own function")(state)
    }
}

/// One of [`BUILT_INS`]; Luau's own and its number are the upvalues.
unsafe extern "C-unwind" fn bounded(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `bound_built_ins` made the closure.
    unsafe {
        let number = ffi::lua_tonumber(state, ffi::lua_upvalueindex(2)) as usize;
        let built_in = &BUILT_INS[number];
        match built_in.bound {
            Counted(cost) => begin(state, built_in.name, cost(state)),
            _ => safepoint(state),
        }
        call_original(state)
    }
}

/// `string.format(format, …)`; Luau's own is the first upvalue. Shows no address.
unsafe extern "C-unwind" fn format(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top, and `push_text` gets the positions of those alone;
    // the format's bytes are at 1 while they are read.
    unsafe {
        let count = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
        let format = text(state, 1);
        begin(state, c"format", 3 * format.len());
        for (position, conversion) in (2..=count).zip(conversions(format)) {
            // The only one that shows a value as `tostring` does.
            if conversion == b'*' {
                push_text(state, position);
                ffi::lua_replace(state, position);
            }
        }
        // As numbers, or quoted.
        let values = texts(state, 2, count).saturating_mul(4);
        let numbers =
            (2..=count).filter(|at| ffi::lua_type(state, *at) == ffi::LUA_TNUMBER).count();
        let interned = cost::interned(format, numbers);
        begin(state, c"format", sum([cost::format(format, count as usize), values, interned]));
        call_original(state)
    }
}

/// The letters of a format that stand for an argument.
fn conversions(format: &[u8]) -> impl Iterator<Item = u8> {
    let mut rest = format.iter().copied();
    std::iter::from_fn(move || {
        loop {
            rest.find(|byte| *byte == b'%')?;
            match rest.find(|byte| !b"-+ #.0123456789".contains(byte))? {
                b'%' => {}
                conversion => return Some(conversion),
            }
        }
    })
}

/// `table.concat(list, separator, first, last)`; Luau's own is the first upvalue.
///
/// Each number becomes a text, which Luau looks up among all texts that there are, and numbers can be chosen so
/// that this takes long. So long lists with numbers are put together in pieces, with safepoints between.
unsafe extern "C-unwind" fn concat(state: *mut lua_State) -> c_int {
    /// Elements up to which it is done at once.
    const SHORT: usize = 500;
    /// Elements of a piece.
    const PIECE: usize = 64;
    // SAFETY: arguments lie from 1 to the top; the first upvalue is Luau's own function.
    unsafe {
        let separator = text_length(state, 2);
        let last = match ffi::lua_type(state, 4) {
            ffi::LUA_TNUMBER | ffi::LUA_TSTRING => number(state, 4).max(0.0) as usize,
            _ => length(state, 1),
        };
        let first = match ffi::lua_type(state, 3) {
            ffi::LUA_TNUMBER | ffi::LUA_TSTRING => number(state, 3).max(0.0) as usize,
            _ => 1,
        };
        let count = last.saturating_sub(first).saturating_add(1);
        let cost = count.saturating_mul(60 + separator / 2);
        begin(state, c"concat", sum([cost, reading(state, 3, 4)]));
        let is_list =
            ffi::lua_type(state, 1) == ffi::LUA_TTABLE && first >= 1 && last <= length(state, 1);
        if count <= SHORT || !is_list || !has_numbers(state, first..=last) {
            return call_original(state);
        }
        ffi::lua_settop(state, 2);
        ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
        ffi::lua_createtable(state, 0, 0);
        for (piece, from) in (first..=last).step_by(PIECE).enumerate() {
            safepoint(state);
            ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
            ffi::lua_pushvalue(state, 1);
            ffi::lua_pushvalue(state, 2);
            ffi::lua_pushnumber(state, from as f64);
            ffi::lua_pushnumber(state, (from + PIECE - 1).min(last) as f64);
            ffi::lua_call(state, 4, 1);
            ffi::lua_rawseti(state, 3, piece as ffi::lua_Integer + 1);
        }
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 3);
        ffi::lua_pushvalue(state, 2);
        ffi::lua_call(state, 2, 1);
        1
    }
}

/// Whether any of these elements of the list at 1 is a number.
unsafe fn has_numbers(state: *mut lua_State, elements: std::ops::RangeInclusive<usize>) -> bool {
    elements.into_iter().any(|position| {
        // SAFETY: the caller keeps what this function asks for, and none is beyond the length of the list.
        unsafe {
            let kind = ffi::lua_rawgeti(state, 1, position as ffi::lua_Integer);
            ffi::lua_pop(state, 1);
            kind == ffi::LUA_TNUMBER
        }
    })
}

/// `setmetatable(table, metatable)`; Luau's own is the upvalue.
///
/// What a weak table holds depends on when the collector ran, and that on other scripts.
unsafe extern "C-unwind" fn set_metatable(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; what is missing is none.
    unsafe {
        if ffi::lua_type(state, 2) == ffi::LUA_TTABLE {
            ffi::luaL_checkstack(state, 2, TOO_DEEP.as_ptr());
            ffi::lua_rawgetfield(state, 2, c"__mode".as_ptr());
            if ffi::lua_type(state, -1) != ffi::LUA_TNIL {
                let message = crate::vm::NOT_WEAK.to_owned();
                raise(state, ScriptError::Raised { message });
            }
            ffi::lua_pop(state, 1);
        }
        call_original(state)
    }
}

/// Elements up to which a sort is native whatever they are.
const SHORT_SORT: usize = 100;
/// Elements up to which it is worth to see what they are before they are sorted.
const LONG_SORT: usize = 50_000;

/// `table.sort(list, before)`; Luau's own is the upvalue.
///
/// What would take long without a safepoint, gets a comparator that is one.
unsafe extern "C-unwind" fn sort(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; those of the closures are pushed.
    unsafe {
        safepoint(state);
        let count = length(state, 1);
        if count > SHORT_SORT && ffi::lua_type(state, 1) == ffi::LUA_TTABLE {
            ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
            match ffi::lua_type(state, 2) {
                ffi::LUA_TNIL | ffi::LUA_TNONE if !sorts_fast(state, count) => {
                    ffi::lua_settop(state, 1);
                    push_function(state, less_than);
                }
                ffi::LUA_TFUNCTION if ffi::lua_iscfunction(state, 2) != 0 => {
                    ffi::lua_settop(state, 2);
                    ffi::lua_pushcclosurek(state, interruptible, c"sort".as_ptr(), 1, None);
                }
                _ => {}
            }
        }
        call_original(state)
    }
}

/// Whether a native sort of the list at 1 is soon over.
///
/// # Safety
///
/// Inside a C function that Luau called; a table at 1, one free slot.
unsafe fn sorts_fast(state: *mut lua_State, count: usize) -> bool {
    if count > LONG_SORT {
        return false;
    }
    let mut longest = 0;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        for position in 1..=count as ffi::lua_Integer {
            ffi::lua_rawgeti(state, 1, position);
            let kind = ffi::lua_type(state, -1);
            longest = longest.max(text_length(state, -1));
            ffi::lua_pop(state, 1);
            if kind != ffi::LUA_TNUMBER && kind != ffi::LUA_TSTRING {
                return false;
            }
        }
    }
    let nanos = cost::sort(count, longest);
    let affords = |run: &mut Run<'_>| Ok(run.deadline.affords(Duration::from_nanos(nanos as u64)));
    nanos < cost::FREE || with_run("table.sort", affords) == Ok(true)
}

/// `a < b`
unsafe extern "C-unwind" fn less_than(state: *mut lua_State) -> c_int {
    // SAFETY: `sort` calls it with two arguments.
    unsafe {
        safepoint(state);
        let less = ffi::lua_lessthan(state, 1, 2);
        ffi::lua_pushboolean(state, less);
        1
    }
}

/// A safepoint, then the C function that is the upvalue.
unsafe extern "C-unwind" fn interruptible(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; the upvalue is a function.
    unsafe {
        safepoint(state);
        ffi::luaL_checkstack(state, 1, TOO_DEEP.as_ptr());
        ffi::lua_pushvalue(state, ffi::lua_upvalueindex(1));
        ffi::lua_insert(state, 1);
        ffi::lua_call(state, ffi::lua_gettop(state) - 1, ffi::LUA_MULTRET);
        ffi::lua_gettop(state)
    }
}

/// `string.split(text, separator)`, with safepoints.
unsafe extern "C-unwind" fn split(state: *mut lua_State) -> c_int {
    /// Bytes that are compared between two safepoints.
    const COMPARED: usize = 100_000;
    /// Pieces that are made between two safepoints.
    const PIECES: usize = 32;
    // SAFETY: arguments lie from 1 to the top; `luaL_check…` raise as C functions may, and turn numbers
    // into texts where they are. The texts stay on the stack while their bytes are used.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        if ffi::lua_type(state, 2) <= ffi::LUA_TNIL {
            ffi::lua_settop(state, 1);
            ffi::lua_pushlstring(state, c",".as_ptr(), 1);
        }
        ffi::luaL_checklstring(state, 2, std::ptr::null_mut());
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        let (whole, separator) = (text(state, 1), text(state, 2));
        ffi::lua_createtable(state, 0, 0);
        let mut pieces = 0;
        let mut push = |piece: &[u8]| {
            if pieces % PIECES == 0 {
                safepoint(state);
            }
            pieces += 1;
            ffi::lua_pushlstring(state, piece.as_ptr().cast(), piece.len());
            ffi::lua_rawseti(state, -2, pieces as ffi::lua_Integer);
        };
        let Some((first, others)) = separator.split_first() else {
            // Into bytes.
            whole.chunks(1).for_each(push);
            return 1;
        };
        let mut rest = whole;
        let mut from = 0;
        let mut compared = 0;
        loop {
            let window = &rest[from..rest.len().min(from + COMPARED)];
            let found = window.iter().position(|byte| byte == first);
            compared += found.map_or(window.len(), |found| found + 1 + others.len());
            if compared > COMPARED {
                compared = 0;
                safepoint(state);
            }
            let start = match found {
                Some(found) => from + found,
                None if window.is_empty() => break,
                None => {
                    from += window.len();
                    continue;
                }
            };
            if rest[start + 1..].starts_with(others) {
                push(&rest[..start]);
                rest = &rest[start + separator.len()..];
                from = 0;
            } else {
                from = start + 1;
            }
        }
        push(rest);
        1
    }
}

/// `utf8.codes(text)`
unsafe extern "C-unwind" fn codes(state: *mut lua_State) -> c_int {
    // SAFETY: arguments lie from 1 to the top; `luaL_checklstring` raises as C functions may.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
        ffi::lua_pushcclosurek(state, next_code, std::ptr::null(), 0, None);
        ffi::lua_pushvalue(state, 1);
        ffi::lua_pushnumber(state, 0.0);
        3
    }
}

/// The place of the character after the one at a place, and its code.
unsafe extern "C-unwind" fn next_code(state: *mut lua_State) -> c_int {
    /// More bytes no character has after its first.
    const MOST: usize = 3;
    // SAFETY: arguments lie from 1 to the top; `luaL_checklstring` raises as C functions may.
    unsafe {
        ffi::luaL_checklstring(state, 1, std::ptr::null_mut());
        let bytes = text(state, 1);
        let place = ffi::lua_tonumber(state, 2).max(0.0) as usize;
        let continues = |at: usize| bytes.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
        let mut at = place.min(bytes.len());
        let end = at + MOST;
        while place > 0 && at < end && continues(at) {
            at += 1;
        }
        if at >= bytes.len() {
            return 0;
        }
        let length = match bytes[at] {
            0..0x80 => 1,
            0xC0..0xE0 => 2,
            0xE0..0xF0 => 3,
            _ => 4,
        };
        let code = bytes
            .get(at..at + length)
            .and_then(|bytes| std::str::from_utf8(bytes).ok())
            .and_then(|text| text.chars().next())
            .filter(|_| !continues(at + length));
        let Some(code) = code else {
            raise(state, ScriptError::Raised { message: "invalid UTF-8 code".to_owned() });
        };
        ffi::lua_pushnumber(state, (at + 1) as f64);
        ffi::lua_pushnumber(state, f64::from(u32::from(code)));
        2
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use mlua::Value;

    use super::*;
    use crate::vm::{Api, Vm, sandbox};

    /// The functions that a fresh VM offers, as `library.name`; and those of no library.
    fn offered() -> BTreeSet<String> {
        let lua = Lua::new_with(sandbox::libraries(), mlua::LuaOptions::new()).expect("memory");
        let globals = sandbox::build(&lua, &Api::default()).expect("memory");
        let mut names = BTreeSet::new();
        let mut add = |library: &str, table: &Table| {
            table.for_each(|key: String, value: Value| {
                if value.is_function() {
                    names.insert(format!("{library}.{key}"));
                }
                Ok(())
            })
        };
        add("", &globals).expect("its keys are texts");
        globals
            .for_each(|library: String, value: Value| match value {
                Value::Table(table) if library != "_G" => add(&library, &table),
                _ => Ok(()),
            })
            .expect("its keys are texts");
        names
    }

    fn listed() -> Vec<String> {
        let name = |text: &CStr| text.to_str().expect("ASCII").to_owned();
        let full =
            |built_in: &BuiltIn| format!("{}.{}", name(built_in.library), name(built_in.name));
        BUILT_INS.iter().map(full).collect()
    }

    #[test]
    fn every_function_that_scripts_find_has_a_row_and_every_row_a_function() {
        let (offered, listed) = (offered(), listed());
        let set: BTreeSet<_> = listed.iter().cloned().collect();
        assert_eq!(set.len(), listed.len(), "each once");
        let missing: Vec<_> = offered.difference(&set).collect();
        assert!(missing.is_empty(), "say in `BUILT_INS` what bounds these: {missing:?}");
        let gone: Vec<_> = set.difference(&offered).collect();
        assert!(gone.is_empty(), "these are not offered: {gone:?}");
        // And so in a VM.
        assert!(Vm::new(&Api::default(), 16 << 20).is_ok());
    }

    /// Evaluates a source in a fresh VM.
    fn evaluate(source: &str) -> crate::ScriptValue {
        let mut vm = Vm::new(&Api::default(), 64 << 20).expect("memory");
        let program = crate::vm::Program::compile_expression("test", source).expect("it compiles");
        let limits = crate::vm::RunLimits {
            time: Duration::from_secs(60),
            memory: usize::MAX,
            value_size: 1 << 24,
        };
        let mut world = crate::vm::NoWorld::default();
        vm.evaluate(&program, &crate::ScriptTable::default(), 0, &mut world, &limits)
            .unwrap_or_else(|failure| panic!("{source}: {failure}"))
    }

    #[test]
    fn functions_do_what_they_did() {
        for (source, expected) in [
            ("math.max(table.unpack({'1', 2, '3'}))", "3"),
            ("math.max(1, 7, 3) + math.abs('-2')", "9"),
            ("bit32.bor(1, '2', 4)", "7"),
            ("select('2', 'a', 'b')", "b"),
            ("string.char(72, '105')", "Hi"),
            ("('abc'):byte(-1)", "99"),
            ("('x'):rep('3')", "xxx"),
            ("('a b c'):gsub('%w', '%0%0', 2)", "aa bb c"),
            ("('a,b,,c'):split(',')[4] .. #('a,b,,c'):split(',')", "c4"),
            ("#('x'):rep(300000):split('y') + #(('x'):rep(200000) .. 'y'):split('y')", "3"),
            ("table.concat(('aaaabaaaab'):split('ab'), '|')", "aaa|aaa|"),
            (
                "string.format('%5.1f|%d|%s|%*|%q', '2.25', 3, 4, vector.one, 'x')",
                "  2.2|3|4|1, 1, 1|\"x\"",
            ),
            ("string.pack('<I2z', '258', 7)", "\u{2}\u{1}7\0"),
            ("(string.unpack('z', 'abc\\0'))", "abc"),
            ("table.concat({1, 2, 3}, '-')", "1-2-3"),
            ("table.concat({1, 2, 3}, '-', 2)", "2-3"),
            ("utf8.char(228, '8364')", "ä€"),
            ("utf8.codepoint('ä')", "228"),
            ("buffer.readu8(buffer.fromstring('A'), '0')", "65"),
            ("tostring(vector.create(1, '2', 3))", "1, 2, 3"),
            ("debug.traceback('m'):sub(1, 6)", "m\ntest"),
            ("(table.unpack({1, 2, 3}, '2'))", "2"),
            ("#table.move({1, 2, 3}, 1, 3, 2)", "4"),
            ("tonumber('ff', '16')", "255"),
        ] {
            let shown = match evaluate(source) {
                crate::ScriptValue::String(text) => text,
                value => value.to_string(),
            };
            assert_eq!(shown, expected, "{source}");
        }
        for (source, error) in [
            ("pcall(math.max)", "missing argument #1 to 'max' (number expected)"),
            ("pcall(math.sin, {})", "invalid argument #1 to 'sin' (number expected, got table)"),
            ("pcall(string.rep)", "missing argument #1 to 'rep' (string expected)"),
            (
                "pcall(table.concat, {1, {}})",
                "invalid value (table) at index 2 in table for 'concat'",
            ),
        ] {
            let text = evaluate(&format!("select(2, {source})")).to_string();
            assert!(text.contains(error), "{source}: {text}");
        }
    }

    #[test]
    fn a_long_list_with_numbers_is_put_together_as_a_short_one() {
        let long = "local t = {} for n = 1, 3000 do t[n] = if n % 3 == 0 then n else 'x' .. n end ";
        let whole = "local s = '' for n = 1, 3000 do s ..= (if n > 1 then ', ' else '') .. t[n] end
            return table.concat(t, ', ') == s";
        assert_eq!(evaluate(&format!("{long}{whole}")), true.into());
        let part = "return table.concat(t, '', 700, 2100) == table.concat(table.move(t, 700, 2100, 1, {}))";
        assert_eq!(evaluate(&format!("{long}{part}")), true.into());
        let wrong = "t[2001] = {} return select(2, pcall(table.concat, t, ','))";
        let error = evaluate(&format!("{long}{wrong}")).to_string();
        assert!(error.contains("(table) at index 2001 in table for 'concat'"), "{error}");
        let far = "return select(2, pcall(table.concat, t, '', 1e15, 1e15 + 700))";
        assert!(evaluate(&format!("{long}{far}")).to_string().contains("invalid value"));
    }
}
