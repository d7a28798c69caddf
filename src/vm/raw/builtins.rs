//! Luau's built-ins, and what a call of each may cost.
//!
//! Luau's own functions reach no safepoint while they work. So each that may work for more than
//! some microseconds is called through a function of ours, which is a safepoint. Its work is
//! counted as steps, by what its arguments can make it cost. A call of more than [`cost::FREE`] (a
//! millisecond) does not begin if no run has so much time, and ends the run if less is left. A
//! cheaper call begins without a look at the clock, so a run may be late by as much. Repeated
//! searches for patterns may be late by a share of the limit besides. `string.split`, and
//! `table.sort` with a comparator, are no single call: they have safepoints of their own. What
//! passes over empty slots of a table (`next`) is bounded by the memory that the table takes.
//!
//! [`BUILT_INS`] has a row for every function that scripts find in the libraries: which of them
//! this concerns, and what bounds the others.
//!
//! Reading strings as numbers costs time as well: where a function takes a number, Luau takes a
//! string and reads all of it. Luau has fast calls for direct calls with numbers, which bypass the
//! functions here and take no strings, so those cost what they did.
//!
//! Functions of the host and of modules have no row. Their arguments are read with looks at the
//! deadline, and are no larger than `max_value_size` (all together twice that). That bounds their
//! work, and the run is judged when they return.
//!
//! # Safety
//!
//! An `unsafe fn` of this folder that takes a state and says nothing else asks for being in a C
//! function that Luau called, with the arguments of the call from 1 to the top. All indices up to
//! 20 are valid then; those beyond the top hold no value.

pub(super) mod begin;
pub(super) mod close;
pub(super) mod concat;
pub(super) mod costs;
pub(super) mod format;
pub(super) mod original;
pub(super) mod random;
pub(super) mod sort;
pub(super) mod split;
#[cfg(test)]
mod tests;
pub(super) mod tostring;
pub(super) mod utf8;
pub(super) mod values;

use std::ffi::{CStr, c_int};

use mlua::ffi::lua_State;
use mlua::{Function, Lua, Table, ffi};

use super::builtins::begin::{begin, numbers, reading, texts};
use super::builtins::close::close;
use super::builtins::concat::concat;
use super::builtins::costs::{
    SliceEnd, arguments, depth, filling, held, moving, results, search, shifting, slice, stepping,
    unpacking,
};
use super::builtins::format::format;
use super::builtins::original::OriginalFunction;
use super::builtins::sort::sort;
use super::builtins::split::split;
use super::builtins::utf8::codes;
use super::builtins::values::{length, number, sum, text, text_length};
use super::numerals;
use super::safepoint::safepoint;
use super::stack::TOO_DEEP;
use crate::vm::cost;

/// A built-in, the library where scripts find it (or none), and what bounds a call of it.
struct BuiltIn {
    library: &'static CStr,
    name: &'static CStr,
    bound: CallBound,
    /// What scripts call instead: a function for this built-in alone, so that it has nothing to
    /// look up.
    bounded: ffi::lua_CFunction,
    original: &'static OriginalFunction,
}

/// What bounds a call of a built-in.
#[derive(Clone, Copy)]
enum CallBound {
    /// It looks at each argument for some nanoseconds, as pushing it took, or at some fixed number
    /// of things.
    Small,
    /// As [`CallBound::Small`], or what it visits takes memory. Each call is a safepoint.
    Safepoint,
    /// It costs so many nanoseconds, by the arguments on the stack, and does not begin if the run
    /// has less time left. Computing the cost takes some microseconds at most, and may raise an
    /// error.
    Counted(unsafe fn(*mut lua_State) -> usize),
    /// As [`CallBound::Counted`], and its first result is a string that it made: see [`numerals`].
    Made(unsafe fn(*mut lua_State) -> usize),
    /// A function of ours replaces it, with safepoints. It gets Luau's own, which is its upvalue
    /// too.
    Replaced(unsafe fn(*mut lua_State, &OriginalFunction) -> c_int),
    /// A function of ours replaced it, or is in front of it, before this list is used.
    Ours,
}

use CallBound::{Counted, Made, Ours, Replaced, Safepoint, Small};

/// Functions of one library with one bound.
macro_rules! built_ins {
    ($($library:literal: $($($name:literal)+ => $bound:expr),+;)+) => {
        &[$($($(built_ins!(one $library, $name, $bound),)+)+)+]
    };
    (one $library:literal, $name:literal, $bound:expr) => {{
        // SAFETY: a cost is computed in a C function, from the arguments of the call.
        #[allow(unused_unsafe, reason = "some bounds are values")]
        const BOUND: CallBound = unsafe { $bound };
        static ORIGINAL: OriginalFunction = OriginalFunction::unset();
        unsafe extern "C-unwind" fn bounded(state: *mut lua_State) -> c_int {
            // SAFETY: Luau calls it, with the arguments from 1 to the top. `bound_built_ins` set
            // the original before it made this closure.
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
/// A direct call may be one of the fast calls that bypass this list: see
/// `bytecode::with_safepoints`.
static BUILT_INS: &[BuiltIn] = built_ins! {
    c"":
        c"assert" => Counted(|state| match ffi::lua_toboolean(state, 1) {
            0 => texts(state, 2, 2) / 4,
            _ => 0,
        }),
        c"error" => Counted(|state| sum([texts(state, 1, 1) / 4, reading(state, 2, 2)])),
        c"getmetatable" c"ipairs" c"rawequal" c"rawget" c"rawlen" c"setmetatable" c"type" c"typeof" => Small,
        // The key is found at once; empty slots are passed over.
        c"next" => Safepoint,
        // Returns `next`.
        c"pairs" => Ours,
        // The table may grow.
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
            sum([reading(state, 2, 3), results(slice(state, SliceEnd::First), 4)])
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
        c"sub" => Counted(|state| sum([reading(state, 2, 3), slice(state, SliceEnd::Last) / 2])),
        c"unpack" => Counted(|state| {
            let format = text(state, 1);
            let interned = cost::interned(format, usize::MAX);
            let texts = if cost::has_texts(format) { text_length(state, 2) } else { 0 };
            sum([30 * format.len(), texts, reading(state, 3, 3), interned])
        });
    c"utf8":
        c"char" => Made(|state| sum([numbers(state), arguments(state, 20)])),
        c"codepoint" => Counted(|state| {
            sum([reading(state, 2, 3), results(slice(state, SliceEnd::First), 8)])
        }),
        c"codes" => Replaced(codes),
        c"len" => Counted(|state| sum([2 * slice(state, SliceEnd::Last), reading(state, 2, 3)])),
        c"offset" => Counted(|state| sum([stepping(state), reading(state, 2, 3)]));
    c"table":
        c"clear" => Counted(held),
        c"clone" => Counted(|state| {
            // Luau remembers in a table where its list ended, and a copy remembers it too. Nobody
            // may learn so whether a frozen table was asked before. See `image::freeze`.
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
        // The coroutine reaches safepoints of its own.
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

/// Puts a function of ours in front of each built-in that may work for long.
pub(in crate::vm) fn bound_built_ins(lua: &Lua, globals: &Table) -> mlua::Result<()> {
    // SAFETY: rule 1; the stack holds the globals at 1, with room for eight values more. A closure
    // has the one upvalue that was pushed, or none.
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
    // `pairs` returns a built-in too. Loops don't call it.
    let (pairs, next): (Function, Function) = (globals.raw_get("pairs")?, globals.raw_get("next")?);
    // SAFETY: rule 1; `pairs` is a C function with the iterator as its one upvalue, which is
    // pushed.
    let pairs: Function = unsafe {
        lua.exec_raw((pairs, next), |state| {
            let function = ffi::lua_tocfunction(state, 1).expect("`pairs` is a C function");
            ffi::lua_pushcclosurek(state, function, c"pairs".as_ptr(), 1, None);
            ffi::lua_remove(state, 1);
        })?
    };
    globals.raw_set("pairs", pairs)
}
