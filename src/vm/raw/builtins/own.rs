//! Built-ins that are written anew, or have more than a look at their arguments in front.

use std::ffi::c_int;
use std::time::Duration;

use mlua::ffi::{self, lua_State};

use super::super::{
    OUT_OF_MEMORY, Run, TOO_DEEP, may_have_address, numerals, push_function, push_text, raise,
    safepoint, with_run,
};
use super::{Original, begin, length, number, reading, sum, text, text_length};
use crate::error::ScriptError;
use crate::vm::cost;

/// `string.format(format, …)`. Shows no address.
///
/// Interpolated texts are made by it as well.
pub(super) unsafe fn format(state: *mut lua_State, original: &Original) -> c_int {
    // SAFETY: arguments lie from 1 to the top, and `push_text` gets the positions of those alone;
    // the format's bytes are at 1 while they are read.
    unsafe {
        let count = ffi::lua_gettop(state);
        let format = text(state, 1);
        if format.len() > LONG_FORMAT {
            begin(state, c"format", 3 * format.len());
        }
        // As numbers, or quoted.
        let (mut values, mut numbers) = (0_usize, 0);
        let mut conversions = conversions(format);
        for position in 2..=count {
            let mut kind = ffi::lua_type(state, position);
            // The only one that shows a value as `tostring` does.
            if conversions.next() == Some(b'*') && may_have_address(kind) {
                // A text is looked for among all that there are.
                safepoint(state);
                ffi::luaL_checkstack(state, 4, TOO_DEEP.as_ptr());
                push_text(state, position);
                ffi::lua_replace(state, position);
                kind = ffi::LUA_TSTRING;
            }
            match kind {
                ffi::LUA_TSTRING => {
                    values = values.saturating_add(ffi::lua_objlen(state, position));
                }
                ffi::LUA_TNUMBER => numbers += 1,
                _ => {}
            }
        }
        let interned = cost::interned(format, numbers);
        let cost = cost::format(format, count as usize);
        begin(state, c"format", sum([cost, values.saturating_mul(4), interned]));
        let count = original.call(state);
        numerals::look(state, -count);
        count
    }
}

/// Bytes of a format which are read in no time.
const LONG_FORMAT: usize = 1000;

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

/// `table.concat(list, separator, first, last)`; Luau's own is the first upvalue as well.
///
/// Each number becomes a text, which Luau looks up among all texts that there are, and numbers can be chosen so
/// that this takes long. So long lists with numbers are put together in pieces, with safepoints between.
pub(super) unsafe fn concat(state: *mut lua_State, original: &Original) -> c_int {
    /// Elements of a piece. So many are done at once.
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
        if count <= PIECE || !is_list || !has_numbers(state, first..=last) {
            let count = original.call(state);
            numerals::look(state, -count);
            return count;
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
        numerals::look(state, -1);
        1
    }
}

/// Whether any of these elements of the list at 1 is a number.
unsafe fn has_numbers(state: *mut lua_State, elements: std::ops::RangeInclusive<usize>) -> bool {
    /// So many are pushed before they are popped, all at once.
    const PUSHED: usize = 64;
    // SAFETY: the caller keeps what this function asks for, there is room for those that are pushed, and none is beyond
    // the length of the list.
    unsafe {
        let top = ffi::lua_gettop(state);
        ffi::luaL_checkstack(state, PUSHED as c_int, TOO_DEEP.as_ptr());
        let mut found = false;
        for (count, position) in elements.enumerate() {
            if count % PUSHED == 0 {
                ffi::lua_settop(state, top);
            }
            if ffi::lua_rawgeti(state, 1, position as ffi::lua_Integer) == ffi::LUA_TNUMBER {
                found = true;
                break;
            }
        }
        ffi::lua_settop(state, top);
        found
    }
}

/// Elements up to which a sort is native if they are no long texts.
const SHORT_SORT: usize = 100;
/// Elements up to which it is worth to see what they are before they are sorted.
const LONG_SORT: usize = 50_000;

/// `table.sort(list, before)`
///
/// What would take long without a safepoint, gets a comparator that is one.
pub(super) unsafe fn sort(state: *mut lua_State, original: &Original) -> c_int {
    // SAFETY: arguments lie from 1 to the top; those of the closures are pushed.
    unsafe {
        safepoint(state);
        let count = length(state, 1);
        if ffi::lua_type(state, 1) == ffi::LUA_TTABLE {
            ffi::luaL_checkstack(state, 3, TOO_DEEP.as_ptr());
            match ffi::lua_type(state, 2) {
                ffi::LUA_TNIL | ffi::LUA_TNONE => {
                    if let Some(nanos) = native_sort(state, count) {
                        begin(state, c"sort", nanos);
                    } else {
                        // Each comparison is a step.
                        ffi::lua_settop(state, 1);
                        push_function(state, less_than);
                    }
                }
                ffi::LUA_TFUNCTION if count > SHORT_SORT && ffi::lua_iscfunction(state, 2) != 0 => {
                    ffi::lua_settop(state, 2);
                    ffi::lua_pushcclosurek(state, interruptible, c"sort".as_ptr(), 1, None);
                }
                _ => {}
            }
        }
        original.call(state)
    }
}

/// What a native sort of the list at 1 costs, if it is soon over; this depends on the list and the limit alone.
///
/// # Safety
///
/// Inside a C function that Luau called; a table at 1, one free slot.
unsafe fn native_sort(state: *mut lua_State, count: usize) -> Option<usize> {
    if count > LONG_SORT {
        return None;
    }
    let mut longest = 0;
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        begin(state, c"sort", 10 * count);
        for position in 1..=count as ffi::lua_Integer {
            ffi::lua_rawgeti(state, 1, position);
            let kind = ffi::lua_type(state, -1);
            longest = longest.max(text_length(state, -1));
            ffi::lua_pop(state, 1);
            if count > SHORT_SORT && kind != ffi::LUA_TNUMBER && kind != ffi::LUA_TSTRING {
                return None;
            }
        }
    }
    let nanos = cost::sort(count, longest);
    let work = Duration::from_nanos(nanos as u64);
    let affords = |run: &mut Run<'_>| Ok(run.deadline.affords_often(work));
    (nanos < cost::FREE || with_run("table.sort", affords) == Ok(true)).then_some(nanos)
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
pub(super) unsafe fn split(state: *mut lua_State, _: &Original) -> c_int {
    /// Bytes that are looked at in one go.
    const WINDOW: usize = 100_000;
    /// What is compared between two safepoints, in nanoseconds.
    const COMPARED: usize = 50_000;
    /// What it costs to make a piece, besides finding it.
    const PIECE: usize = 60;
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
        safepoint(state);
        let mut pieces = 0;
        let mut push = |piece: &[u8]| {
            if pieces > 0 && pieces % PIECES == 0 {
                begin(state, c"split", PIECES * PIECE);
            }
            pieces += 1;
            ffi::lua_pushlstring(state, piece.as_ptr().cast(), piece.len());
            ffi::lua_rawseti(state, -2, pieces as ffi::lua_Integer);
        };
        let Some((first, others)) = separator.split_first() else {
            // Into bytes.
            whole.chunks(1).for_each(push);
            begin(state, c"split", whole.len() % PIECES * PIECE);
            return 1;
        };
        let mut rest = whole;
        let mut from = 0;
        let mut compared = 0;
        loop {
            let window = &rest[from..rest.len().min(from + WINDOW)];
            let found = window.iter().position(|byte| byte == first);
            compared += found.map_or(window.len(), |found| found + 10 + others.len() / 16);
            if compared > COMPARED {
                // Less than is asked about.
                begin(state, c"split", std::mem::take(&mut compared).min(cost::FREE));
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
        begin(state, c"split", pieces % PIECES * PIECE + compared);
        1
    }
}

/// `utf8.codes(text)`
pub(super) unsafe fn codes(state: *mut lua_State, _: &Original) -> c_int {
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

/// `coroutine.close(thread)`
///
/// Luau gives the coroutine a small stack in place of the one that it has. An error for want of memory would be
/// raised in the coroutine, where nothing catches it but what called this: Luau takes that for a mistake of the
/// host, and with its assertions on it ends the process. So it is looked first whether there is memory.
pub(super) unsafe fn close(state: *mut lua_State, original: &Original) -> c_int {
    /// The small stack with its calls takes less than two of the pages in which Luau keeps small blocks.
    const ROOM: usize = 64 * 1024;
    // SAFETY: the allocator is that of the VM, and gets back what it gave.
    unsafe {
        let mut data = std::ptr::null_mut();
        let allocate = ffi::lua_getallocf(state, &raw mut data);
        let block = allocate(data, std::ptr::null_mut(), 0, ROOM);
        if block.is_null() {
            raise(state, ScriptError::Raised { message: OUT_OF_MEMORY.to_owned() });
        }
        allocate(data, block, ROOM, 0);
        original.call(state)
    }
}
