//! Memory that was refused, noticed where it is refused.
//!
//! A script may catch the error that Luau raises for want of memory, hide it behind another one, or get
//! another one in its place: what it learns by that depends on what others left in the VM. So the run is judged
//! by a flag that is set where the allocator says no, and that nothing in Lua can reach. A refusal counts if
//! there is an error after it, whichever: see `note_error`.
//!
//! mlua installs the allocator, which knows the limit, and offers no way to stand before it; Luau's API only
//! tells which one it is. So the place where Luau keeps it is looked up in the VM's state, by what it holds,
//! and an allocator that notes refusals takes that place.

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

/// The allocator of mlua: the same one in each VM.
static ORIGINAL: OnceLock<lua_Alloc> = OnceLock::new();

/// Whether what runs on this thread was refused memory since the last [`replace`].
#[inline]
pub(in crate::vm::raw) fn memory_was_refused() -> bool {
    REFUSED.get()
}

/// Says that memory was refused or was not, and gives what was said before.
#[inline]
pub(in crate::vm::raw) fn replace(refused: bool) -> bool {
    REFUSED.replace(refused)
}

/// Has refusals of memory in a VM noted from now on.
///
/// # Errors
/// If this Luau keeps its allocator elsewhere: then limits would not hold.
pub(in crate::vm) fn watch(lua: &Lua) -> mlua::Result<()> {
    let mut found = false;
    lua.exec_raw_lua(|raw| {
        // SAFETY: the state is that of a VM which lives.
        found = unsafe { put_before_allocator(raw.state()) };
    });
    if found {
        return Ok(());
    }
    let message = "this version of Luau keeps its allocator where bevy_lua_pool does not find it";
    Err(mlua::Error::RuntimeError(message.to_owned()))
}

/// # Safety
///
/// The state of a VM that mlua made.
unsafe fn put_before_allocator(state: *mut lua_State) -> bool {
    // SAFETY: what holds the address of the allocator next to that of its data is the place for them.
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

/// The allocator of mlua, which notes that it refused memory, what may be a long text, and how much it gave.
///
/// # Safety
///
/// As for any allocator of Lua; `watch` put it in place of mlua's.
unsafe extern "C" fn noting(
    data: *mut c_void,
    block: *mut c_void,
    old_size: usize,
    new_size: usize,
) -> *mut c_void {
    let original = ORIGINAL.get().expect("`watch` found it");
    // SAFETY: the caller keeps what mlua's allocator asks for.
    let result = unsafe { original(data, block, old_size, new_size) };
    blocks::note_block(new_size);
    ceiling::note_pages(blocks::vm(), old_size, new_size);
    if result.is_null() && new_size > 0 {
        REFUSED.set(true);
    }
    result
}
