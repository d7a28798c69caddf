//! Luau's built-ins, and what a call of each can cost.
//!
//! Luau's own functions reach no safepoint while they work. So each that can work for more than some microseconds
//! is behind a function of ours that is one. What it takes is counted as steps, by what its arguments can make it
//! cost. A call of more than [`cost::FREE`], a millisecond, doesn't begin if a run has less time than that, and ends
//! the run if it has less left. What costs less begins without a look at the clock: a run may be late by so much.
//! What repeats a thing again and again (searches for patterns) may be late by a share of the limit besides.
//! `string.split` and `table.sort` with a comparator are no single call: they have safepoints of their own. What
//! passes over empty slots of a table (`next`) is bounded by the memory that the table takes. [`BUILT_INS`] has a row for every function that scripts find in the libraries: which of them that
//! concerns, and what bounds the others.
//!
//! Turning texts into numbers counts as well: where a function takes a number, Luau takes a text, and reads all
//! of it. A direct call with numbers bypasses the functions here (Luau has a short cut for it, which takes no
//! texts), so it costs what it did.
//!
//! Functions of the host, those of modules among them, have no row. What they are called with is read with looks at
//! the deadline, and is no larger than `max_value_size` (all arguments together twice that): what they work for is
//! bounded by it, and the run is judged when they return.

mod own;
#[cfg(test)]
mod tests;

use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mlua::ffi::{self, lua_State};
use mlua::{Function, Lua, Table};

use self::own::{close, codes, concat, format, sort, split};
use super::{TOO_DEEP, numerals, raise, safepoint, text_bytes, weigh, with_run};
use crate::error::ScriptError;
use crate::vm::{STEP_NANOS, cost};

/// A function that scripts find, by the library where it is (or none), and what bounds a call of it.
struct BuiltIn {
    library: &'static CStr,
    name: &'static CStr,
    bound: Bound,
    /// What is in front of it, or in its place: a function for this one alone, which has nothing to look up.
    bounded: ffi::lua_CFunction,
    original: &'static Original,
}

/// Luau's own function. It is the same one in each VM.
struct Original(AtomicUsize);

impl Original {
    fn set(&self, function: ffi::lua_CFunction) {
        self.0.store(function as usize, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// As for the function, which was set.
    #[inline]
    unsafe fn call(&self, state: *mut lua_State) -> c_int {
        // SAFETY: the caller keeps what this function asks for; it is what `set` got.
        unsafe {
            let function = self.0.load(Ordering::Relaxed);
            std::mem::transmute::<usize, ffi::lua_CFunction>(function)(state)
        }
    }
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
    /// As [`Bound::Counted`], and its first result is a text that it put together: see [`numerals`].
    Made(unsafe fn(*mut lua_State) -> usize),
    /// A function of ours is in its place, with safepoints; it gets Luau's own, which is its upvalue too.
    Replaced(unsafe fn(*mut lua_State, &Original) -> c_int),
    /// A function of ours is in its place, or in front of it, which was put there before.
    Ours,
}

use Bound::{Counted, Made, Ours, Replaced, Safepoint, Small};

/// Functions of one library with one bound.
macro_rules! built_ins {
    ($($library:literal: $($($name:literal)+ => $bound:expr),+;)+) => {
        &[$($($(built_ins!(one $library, $name, $bound),)+)+)+]
    };
    (one $library:literal, $name:literal, $bound:expr) => {{
        // SAFETY: what is called here reads the arguments of a call, and gets valid indices.
        #[allow(unused_unsafe, reason = "some bounds are values")]
        const BOUND: Bound = unsafe { $bound };
        static ORIGINAL: Original = Original(AtomicUsize::new(0));
        unsafe extern "C-unwind" fn bounded(state: *mut lua_State) -> c_int {
            // SAFETY: arguments lie from 1 to the top; `bound_built_ins` set the original before it made the
            // closure.
            unsafe {
                match BOUND {
                    Counted(cost) => begin(state, $name, cost(state)),
                    Made(cost) => {
                        begin(state, $name, cost(state));
                        let count = ORIGINAL.call(state);
                        numerals::look(state, -count);
                        return count;
                    }
                    Replaced(function) => return function(state, &ORIGINAL),
                    _ => safepoint(state),
                }
                ORIGINAL.call(state)
            }
        }
        BuiltIn { library: $library, name: $name, bound: BOUND, bounded, original: &ORIGINAL }
    }};
}

/// Every function that scripts find in Luau's libraries.
///
/// Where the call that a script makes directly is short, it may be one of those that bypass this list: see
/// `bytecode::with_safepoints`.
static BUILT_INS: &[BuiltIn] = built_ins! {
    c"":
        c"assert" => Counted(|state| match ffi::lua_toboolean(state, 1) {
            0 => texts(state, 2, 2) / 4,
            _ => 0,
        }),
        c"error" => Counted(|state| sum([texts(state, 1, 1) / 4, reading(state, 2, 2)])),
        c"getmetatable" c"ipairs" c"rawequal" c"rawget" c"rawlen" c"setmetatable" c"type" c"typeof" => Small,
        // Its second argument is found at once; it passes over empty slots.
        c"next" => Safepoint,
        // Gives `next`.
        c"pairs" => Ours,
        // A table may grow.
        c"rawset" => Small,
        c"select" => Counted(|state| reading(state, 1, 1)),
        c"tonumber" => Counted(|state| reading(state, 1, 2)),
        c"unpack" => Counted(unpacking),
        c"pcall" c"print" c"tostring" c"xpcall" => Ours;
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
            sum([reading(state, 2, 3), results(slice(state, End::First), 4)])
        }),
        c"char" => Made(|state| sum([numbers(state), arguments(state, 5)])),
        c"find" => Counted(|state| {
            let plain = ffi::lua_toboolean(state, 4) != 0;
            sum([reading(state, 3, 3), search(state, c"find", plain)])
        }),
        c"format" => Replaced(format),
        c"gmatch" => Counted(|state| search(state, c"gmatch", false)),
        c"gsub" => Made(|state| {
            let replacement = cost::replacement(text_length(state, 1), text(state, 3));
            sum([reading(state, 4, 4), search(state, c"gsub", false), replacement])
        }),
        c"len" => Small,
        c"lower" c"upper" c"reverse" => Made(|state| text_length(state, 1)),
        c"match" => Counted(|state| sum([reading(state, 3, 3), search(state, c"match", false)])),
        c"pack" => Made(|state| {
            // As numbers, or as they are.
            let values = texts(state, 2, ffi::lua_gettop(state)).saturating_mul(2);
            let count = arguments(state, 1);
            sum([values, cost::packing(text(state, 1)), cost::interned(text(state, 1), count)])
        }),
        c"packsize" => Counted(|state| 10 * text_length(state, 1)),
        c"rep" => Made(|state| {
            let times = number(state, 2).max(0.0) as usize;
            sum([reading(state, 2, 2), text_length(state, 1).saturating_mul(times) / 3])
        }),
        c"split" => Replaced(split),
        c"sub" => Counted(|state| sum([reading(state, 2, 3), slice(state, End::Last) / 2])),
        c"unpack" => Counted(|state| {
            let format = text(state, 1);
            let interned = cost::interned(format, usize::MAX);
            let texts = if cost::has_texts(format) { text_length(state, 2) } else { 0 };
            sum([30 * format.len(), texts, reading(state, 3, 3), interned])
        });
    c"utf8":
        c"char" => Made(|state| sum([numbers(state), arguments(state, 20)])),
        c"codepoint" => Counted(|state| {
            sum([reading(state, 2, 3), results(slice(state, End::First), 8)])
        }),
        c"codes" => Replaced(codes),
        c"len" => Counted(|state| sum([2 * slice(state, End::Last), reading(state, 2, 3)])),
        c"offset" => Counted(|state| sum([stepping(state), reading(state, 2, 3)]));
    c"table":
        c"clear" => Counted(held),
        c"clone" => Counted(|state| {
            // Luau remembers where it found the end of a list, and a copy remembers it too: whether somebody
            // has asked a frozen one before must not matter. See `freeze`.
            length(state, 1);
            held(state)
        }),
        c"concat" => Replaced(concat),
        c"create" => Counted(|state| {
            sum([reading(state, 1, 1), (number(state, 1).max(0.0) as usize).saturating_mul(2)])
        }),
        c"find" => Counted(|state| match ffi::lua_type(state, 3) {
            ffi::LUA_TNONE | ffi::LUA_TNIL => length(state, 1),
            // There may be elements beyond what Luau takes for the end.
            _ => sum([held(state), reading(state, 3, 3)]),
        }),
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
        c"close" => Replaced(close),
        c"create" c"isyieldable" c"running" c"status" c"wrap" => Small,
        c"resume" => Ours,
        c"yield" => Small;
    c"debug":
        c"traceback" => Counted(|state| {
            let thread = ffi::lua_tothread(state, 1);
            let (thread, first) = if thread.is_null() { (state, 1) } else { (thread, 2) };
            let frames = depth(thread).saturating_mul(150);
            sum([frames, texts(state, first, first), reading(state, first + 1, first + 1)])
        });
    c"buffer":
        c"copy" => Counted(|state| sum([reading(state, 2, 5), filling(state, 5)])),
        c"create" => Counted(|state| {
            sum([reading(state, 1, 1), number(state, 1).max(0.0) as usize / 4])
        }),
        c"fill" => Counted(|state| sum([reading(state, 2, 4), filling(state, 4)])),
        c"fromstring" => Counted(|state| text_length(state, 1) / 4),
        c"len" => Small,
        c"readbits" c"readf32" c"readf64" c"readi16" c"readi32" c"readi8" c"readu16" c"readu32" c"readu8"
        c"writebits" c"writef32" c"writef64" c"writei16" c"writei32" c"writei8" c"writeu16" c"writeu32"
        c"writeu8" => Counted(numbers),
        c"readstring" => Made(|state| {
            let bytes = (number(state, 3).max(0.0) as usize).min(length(state, 1));
            sum([reading(state, 2, 3), bytes])
        }),
        c"tostring" => Made(|state| length(state, 1)),
        c"writestring" => Counted(|state| {
            sum([reading(state, 2, 2), reading(state, 4, 4), text_length(state, 3) / 4])
        });
    c"vector":
        c"abs" c"angle" c"ceil" c"clamp" c"cross" c"dot" c"floor" c"magnitude" c"max" c"min" c"normalize"
        c"sign" => Small,
        c"create" c"lerp" => Counted(numbers);
};

// Functions that are given a state are called inside a C function that Luau called, whose arguments lie from 1 to
// the top; an index beyond the top is valid, and has no value.

/// All of it, however much.
fn sum(costs: impl IntoIterator<Item = usize>) -> usize {
    costs.into_iter().fold(0, usize::saturating_add)
}

/// What it costs to read the texts among these arguments as numbers.
#[inline]
unsafe fn reading(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    cost::READ.saturating_mul(unsafe { texts(state, first, last) })
}

/// The bytes of the texts among these arguments.
#[inline]
unsafe fn texts(state: *mut lua_State, first: c_int, last: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for. Where there are no arguments, there are no texts.
    let last = if last - first < 4 { last } else { last.min(unsafe { ffi::lua_gettop(state) }) };
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

/// A text of so many bytes is short: what is done with it costs less than finding out how much of it that is.
const SHORT: usize = 100;

/// Where a part of a text ends if the call doesn't say it.
#[derive(Clone, Copy)]
enum End {
    /// Where it begins.
    First,
    /// Where the text ends.
    Last,
}

/// How many bytes of the text at 1 lie between the places that the second and third argument name; if the text is
/// short, all of it.
unsafe fn slice(state: *mut lua_State, end: End) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let length = text_length(state, 1);
        if length <= SHORT {
            return length;
        }
        let length = length as f64;
        let last = match (ffi::lua_type(state, 3), end) {
            (ffi::LUA_TNONE | ffi::LUA_TNIL, End::First) => number(state, 2),
            (ffi::LUA_TNONE | ffi::LUA_TNIL, End::Last) => -1.0,
            _ => number(state, 3),
        };
        let from_start = |place: f64| if place < 0.0 { place + length + 1.0 } else { place };
        let first = from_start(number(state, 2)).max(1.0);
        (from_start(last).min(length) - first + 1.0).max(0.0) as usize
    }
}

/// Of `utf8.offset(text, count, from)`.
unsafe fn stepping(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let (bytes, count) = (text(state, 1), number(state, 2));
        let from = match ffi::lua_type(state, 3) {
            ffi::LUA_TNONE | ffi::LUA_TNIL if count > 0.0 => 1.0,
            ffi::LUA_TNONE | ffi::LUA_TNIL => bytes.len() as f64 + 1.0,
            _ => number(state, 3),
        };
        let from = if from < 0.0 { from + bytes.len() as f64 + 1.0 } else { from };
        let at = (from.max(1.0) as usize - 1).min(bytes.len());
        if count > 0.0 {
            cost::characters(bytes[at..].iter(), count as usize)
        } else {
            // The one that it is in comes first.
            let before = bytes[..(at + 1).min(bytes.len())].iter().rev();
            cost::characters(before, (count.abs() as usize).saturating_add(1))
        }
    }
}

/// Of filling a buffer with as many bytes as an argument says, or all of it.
unsafe fn filling(state: *mut lua_State, count: c_int) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let all = length(state, 1);
        let count = match ffi::lua_type(state, count) {
            ffi::LUA_TNONE | ffi::LUA_TNIL => all,
            _ => (number(state, count).max(0.0) as usize).min(all),
        };
        count / 4
    }
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
    /// So many values a C function can have on the stack; Luau refuses more before it pushes any.
    const MOST: usize = (-ffi::LUA_REGISTRYINDEX - 2000) as usize;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let all = length(state, 1);
        let last =
            if ffi::lua_type(state, 3) <= ffi::LUA_TNIL { all as f64 } else { number(state, 3) };
        let count = (last - number(state, 2)).max(0.0) as usize;
        let pushed = if count > MOST { 0 } else { count };
        sum([reading(state, 2, 3), results(pushed, 6)])
    }
}

/// Of going through a table once, with all that is empty in it.
unsafe fn held(state: *mut lua_State) -> usize {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ffi::lua_type(state, 1) {
            ffi::LUA_TTABLE => {
                let (list, rest) = weigh::room_of_table(state, 1);
                sum([list.max(length(state, 1)).saturating_mul(2), rest.saturating_mul(5)])
            }
            _ => 0,
        }
    }
}

/// Of `table.move(from, first, last, to, into)`.
unsafe fn moving(state: *mut lua_State) -> usize {
    /// So many are moved whether they are there or not.
    const FEW: usize = 100_000;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let are_numbers = (2..=4).all(|index| ffi::lua_type(state, index) == ffi::LUA_TNUMBER);
        let (first, last, reading) = if are_numbers {
            (ffi::lua_tonumber(state, 2), ffi::lua_tonumber(state, 3), 0)
        } else {
            (number(state, 2), number(state, 3), reading(state, 2, 4))
        };
        let mut count = (last - first).max(0.0) as usize;
        if count > FEW {
            // Far more than there are elements: then only the elements are looked at.
            count = count.min(2 * (length(state, 1) + length(state, 5)) + FEW);
        }
        sum([reading, count.saturating_mul(10)])
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
    // SAFETY: rule 1; the stack holds the globals at 1. A closure has the one upvalue that was pushed, or none.
    unsafe {
        lua.exec_raw::<()>(globals, |state| {
            const GLOBALS: c_int = 1;
            const LIBRARY: c_int = 2;
            ffi::luaL_checkstack(state, 8, TOO_DEEP.as_ptr());
            for built_in in BUILT_INS {
                let upvalues = match built_in.bound {
                    Small | Ours => continue,
                    Safepoint | Counted(_) | Made(_) => 0,
                    Replaced(_) => 1,
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
                let Some(original) = ffi::lua_tocfunction(state, -1) else { continue };
                built_in.original.set(original);
                let name = built_in.name.as_ptr();
                ffi::lua_pushcclosurek(state, built_in.bounded, name, upvalues, None);
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
        if nanos > cost::UNCOUNTED {
            let _ = with_run("a built-in", |run| {
                run.own.steps = run.own.steps.saturating_add(nanos as u64 / STEP_NANOS);
                Ok(())
            });
        }
        if nanos > cost::FREE {
            begin_long(state, name, Duration::from_nanos(nanos as u64));
        }
    }
}

#[cold]
unsafe fn begin_long(state: *mut lua_State, name: &CStr, work: Duration) {
    let ended = with_run("a built-in", |run| {
        let deadline = &mut run.deadline;
        let allowed = deadline.allows(work);
        Ok((allowed, (allowed && !deadline.begin_work(work)).then(|| deadline.error())))
    });
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        match ended {
            Ok((_, Some(error))) => raise(state, error),
            Ok((false, None)) => raise_too_long(state, name, work),
            _ => {}
        }
    }
}

/// Raises for what the run never has time for, however little it did before.
unsafe fn raise_too_long(state: *mut lua_State, name: &CStr, work: Duration) -> ! {
    let name = name.to_string_lossy();
    let millis = work.as_millis();
    let time = if millis > 1_000_000 { "ages".to_owned() } else { format!("some {millis} ms") };
    let message = format!(
        "`{name}` with so much takes too long: {time}, for which a run does not have the time; do it in \
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
#[inline]
pub(super) unsafe fn call_original(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let original = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1));
        original.expect("Luau's own function")(state)
    }
}
