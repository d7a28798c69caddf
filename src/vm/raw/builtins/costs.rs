//! What calls cost, by their arguments, in nanoseconds.
//!
//! # Safety
//!
//! What asks for nothing else asks for what this folder does: see `builtins`.

use std::ffi::{CStr, c_int};
use std::time::Duration;

use mlua::ffi;
use mlua::ffi::lua_State;

use crate::vm::cost;
use crate::vm::raw::builtins::begin::{raise_too_long, reading};
use crate::vm::raw::builtins::values::{length, number, sum, text, text_length};
use crate::vm::raw::memory::weigh;
use crate::vm::raw::run::current::with_run;

/// So much for each argument.
pub(in crate::vm::raw) unsafe fn arguments(state: *mut lua_State, each: usize) -> usize {
    // SAFETY: the number of arguments can always be asked for.
    unsafe { ffi::lua_gettop(state) as usize * each }
}

/// So much for each result. There is room for a million.
pub(in crate::vm::raw) fn results(count: usize, each: usize) -> usize {
    count.min(1_000_000) * each
}

/// Up to so many bytes, working on a string costs less than computing how much of it is meant.
const SHORT: usize = 100;

/// Where a part of a string ends if the call doesn't say it.
#[derive(Clone, Copy)]
pub(in crate::vm::raw) enum SliceEnd {
    /// Where it begins.
    First,
    /// Where the string ends.
    Last,
}

/// How many bytes of the string at 1 lie between the positions in the second and third argument.
/// All of them if it is short.
pub(in crate::vm::raw) unsafe fn slice(state: *mut lua_State, end: SliceEnd) -> usize {
    // SAFETY: in a C function, so positions up to 3 are valid.
    unsafe {
        let length = text_length(state, 1);
        if length <= SHORT {
            return length;
        }
        let length = length as f64;
        let last = match (ffi::lua_type(state, 3), end) {
            (ffi::LUA_TNONE | ffi::LUA_TNIL, SliceEnd::First) => number(state, 2),
            (ffi::LUA_TNONE | ffi::LUA_TNIL, SliceEnd::Last) => -1.0,
            _ => number(state, 3),
        };
        let from_start = |place: f64| if place < 0.0 { place + length + 1.0 } else { place };
        let first = from_start(number(state, 2)).max(1.0);
        (from_start(last).min(length) - first + 1.0).max(0.0) as usize
    }
}

/// Of `utf8.offset(text, count, from)`.
pub(in crate::vm::raw) unsafe fn stepping(state: *mut lua_State) -> usize {
    // SAFETY: in a C function, so positions up to 3 are valid. The string at 1 stays there while
    // its bytes are used.
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
            // The character that it is in comes first.
            let before = bytes[..(at + 1).min(bytes.len())].iter().rev();
            cost::characters(before, (count.abs() as usize).saturating_add(1))
        }
    }
}

/// Of filling a buffer with as many bytes as an argument says, or all of it.
pub(in crate::vm::raw) unsafe fn filling(state: *mut lua_State, count: c_int) -> usize {
    // SAFETY: in a C function, so these positions are valid.
    unsafe {
        let all = length(state, 1);
        let count = match ffi::lua_type(state, count) {
            ffi::LUA_TNONE | ffi::LUA_TNIL => all,
            _ => (number(state, count).max(0.0) as usize).min(all),
        };
        count / 4
    }
}

/// Of a search. Raises an error if one step of it is too long for the run.
pub(in crate::vm::raw) unsafe fn search(state: *mut lua_State, name: &CStr, plain: bool) -> usize {
    // SAFETY: in a C function, so positions 1 and 2 are valid and an error may be raised; strings
    // stay there while their bytes are used.
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
pub(in crate::vm::raw) unsafe fn unpacking(state: *mut lua_State) -> usize {
    /// So many values fit on the stack of a C function. For more, Luau raises an error before it
    /// pushes any.
    const MOST: usize = (-ffi::LUA_REGISTRYINDEX - 2000) as usize;
    // SAFETY: in a C function, so positions up to 3 are valid.
    unsafe {
        let all = length(state, 1);
        let last =
            if ffi::lua_type(state, 3) <= ffi::LUA_TNIL { all as f64 } else { number(state, 3) };
        let count = (last - number(state, 2)).max(0.0) as usize;
        let pushed = if count > MOST { 0 } else { count };
        sum([reading(state, 2, 3), results(pushed, 6)])
    }
}

/// Of going through a table once, empty slots included.
pub(in crate::vm::raw) unsafe fn held(state: *mut lua_State) -> usize {
    // SAFETY: in a C function, so position 1 is valid; a table was seen there.
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
pub(in crate::vm::raw) unsafe fn moving(state: *mut lua_State) -> usize {
    /// So many are moved whether they exist or not.
    const FEW: usize = 100_000;
    // SAFETY: in a C function, so positions up to 5 are valid.
    unsafe {
        let are_numbers = (2..=4).all(|index| ffi::lua_type(state, index) == ffi::LUA_TNUMBER);
        let (first, last, reading) = if are_numbers {
            (ffi::lua_tonumber(state, 2), ffi::lua_tonumber(state, 3), 0)
        } else {
            (number(state, 2), number(state, 3), reading(state, 2, 4))
        };
        let mut count = (last - first).max(0.0) as usize;
        if count > FEW {
            // If the range is far larger than both tables, Luau looks at existing elements only.
            count = count.min(2 * (length(state, 1) + length(state, 5)) + FEW);
        }
        sum([reading, count.saturating_mul(10)])
    }
}

/// Of moving all elements from this position on.
pub(in crate::vm::raw) unsafe fn shifting(state: *mut lua_State, position: f64) -> usize {
    // SAFETY: in a C function, so position 1 is valid.
    unsafe { length(state, 1).saturating_sub(position.max(0.0) as usize).saturating_mul(20) }
}

/// How deep the call stack of a coroutine is.
///
/// # Safety
///
/// The state is alive.
pub(in crate::vm::raw) unsafe fn depth(state: *mut lua_State) -> usize {
    /// Luau allows no more.
    const MOST: c_int = 1 << 20;
    let (mut least, mut most) = (0, MOST);
    while least < most {
        let middle = least + (most - least) / 2;
        // SAFETY: the state is alive; without letters, `lua_getinfo` fills nothing and raises
        // nothing.
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
