//! Memory that was refused, noted where it is refused.
//!
//! A script may catch the error that Luau raises when it gets no memory, hide it behind another
//! one, or get another one in its place; what it learns depends on what others left in the VM. So a
//! run is judged by a flag that the allocator sets, which nothing in Lua can reach. A refusal
//! counts if an error follows, whichever: see `errors::caught`.
//!
//! mlua installs the allocator, which knows the limit, and offers no way to wrap it; Luau's API
//! only tells which one it is. So the field where Luau keeps it is found by its content, and an
//! allocator that notes refusals is written there.

use std::cell::Cell;
use std::ffi::c_void;
use std::sync::OnceLock;

use mlua::Lua;
use mlua::ffi::{self, lua_Alloc, lua_State};

use super::{blocks, ceiling, internals};

thread_local! {
    /// What runs on this thread was refused memory.
    static REFUSED: Cell<bool> = const { Cell::new(false) };
}

/// mlua's allocator, the same in each VM.
static ORIGINAL: OnceLock<lua_Alloc> = OnceLock::new();

/// Whether what runs on this thread was refused memory since the last [`replace`].
#[inline]
pub(in crate::vm::raw) fn memory_was_refused() -> bool {
    REFUSED.get()
}

/// Sets whether memory was refused, and gives what was set before.
#[inline]
pub(in crate::vm::raw) fn replace(refused: bool) -> bool {
    REFUSED.replace(refused)
}

/// Notes refusals of memory in a VM from now on.
///
/// # Errors
///
/// If this version of Luau keeps its allocator elsewhere: then limits would not hold.
pub(in crate::vm) fn watch(lua: &Lua) -> mlua::Result<()> {
    let mut found = false;
    lua.exec_raw_lua(|raw| {
        // SAFETY: mlua made the VM, which is alive.
        found = unsafe { put_before_allocator(raw.state()) };
    });
    if found {
        return Ok(());
    }
    let message = "this version of Luau keeps its allocator where bevy_lua_pool does not find it";
    Err(mlua::Error::RuntimeError(message.to_owned()))
}

/// Replaces the allocator. Gives whether that was possible.
///
/// # Safety
///
/// The state of a VM that mlua made.
unsafe fn put_before_allocator(state: *mut lua_State) -> bool {
    // SAFETY: mlua made the VM. The place that holds the addresses of the allocator and of its data
    // is where Luau keeps them, and it expects an allocator there.
    unsafe {
        let mut data = std::ptr::null_mut();
        let allocator = ffi::lua_getallocf(state, &raw mut data);
        let place = internals::find(state, &[allocator as usize, data as usize]);
        let (Some(place), false) = (place, data.is_null()) else { return false };
        let original = *ORIGINAL.get_or_init(|| allocator);
        if original as usize != allocator as usize {
            return false;
        }
        place.cast::<lua_Alloc>().write(noting);
        ffi::lua_getallocf(state, std::ptr::null_mut()) as usize == noting as lua_Alloc as usize
    }
}

/// mlua's allocator; it notes refused memory, blocks that may be long strings, and how much it
/// gave.
///
/// # Safety
///
/// As for any allocator of Lua; [`watch`] wrote it in place of mlua's.
unsafe extern "C" fn noting(
    data: *mut c_void,
    block: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let original = ORIGINAL.get().expect("`watch` found it");
    // SAFETY: Luau calls it as it would call mlua's, with that one's data.
    let result = unsafe { original(data, block, old_size, new_size) };
    blocks::note_block(new_size);
    ceiling::note_pages(blocks::vm(), old_size, new_size);
    if result.is_null() && new_size > 0 {
        REFUSED.set(true);
    }
    result
}
