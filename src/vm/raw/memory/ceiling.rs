//! [`Ceiling`]: the bytes that all objects of a VM may take.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::vm::raw::memory::measured;

thread_local! {
    static PAGES: Cell<Pages> = const { Cell::new(Pages::UNWATCHED) };
    static CEILING: Cell<Ceiling> = const { Cell::new(Ceiling { bytes: usize::MAX, passed: false }) };
}

/// The pages of a VM on this thread, before its objects are counted.
#[derive(Clone, Copy, Debug)]
struct Pages {
    /// The callbacks of the VM; null if nothing is watched.
    pub(in crate::vm::raw) vm: *mut ffi::lua_Callbacks,
    /// Bytes that it may get before objects are counted.
    pub(in crate::vm::raw) left: isize,
}

impl Pages {
    const UNWATCHED: Self = Self { vm: std::ptr::null_mut(), left: 0 };
}

/// What the objects of the VM on this thread that is counted may take.
#[derive(Clone, Copy, Debug)]
pub(in crate::vm::raw) struct Ceiling {
    pub(in crate::vm::raw) bytes: usize,
    passed: bool,
}

impl Ceiling {
    pub(in crate::vm::raw) fn get() -> Self {
        CEILING.get()
    }

    pub(in crate::vm::raw) fn set(self) {
        CEILING.set(self);
    }

    pub(in crate::vm::raw) fn begin(bytes: usize) {
        Self { bytes, passed: false }.set();
    }
}

/// Has Luau tell from now on, as long as this VM lives, what it allocates.
pub(in crate::vm::raw) fn count_for_ever(lua: &Lua) {
    set_on_allocate(lua, Some(on_allocate));
}

/// Sees, as long as it lasts, whether the objects of a VM ever take more than so many bytes.
///
/// Objects never take more than the pages that they lie in. So as long as those take no more, nobody is asked when an
/// object is made; after that each costs some nanoseconds, since pages may have room for many objects before the
/// allocator hears of it.
#[must_use]
pub(in crate::vm) struct Counting<'l> {
    lua: &'l Lua,
    before: (Ceiling, Pages),
}

impl<'l> Counting<'l> {
    pub(in crate::vm) fn begin(lua: &'l Lua, bytes: usize) -> Self {
        let ceiling = CEILING.replace(Ceiling { bytes, passed: false });
        let mut vm = std::ptr::null_mut();
        // SAFETY: gives an address.
        lua.exec_raw_lua(|raw| vm = unsafe { ffi::lua_callbacks(raw.state()) });
        let left = bytes.checked_sub(lua.used_memory()).and_then(|left| isize::try_from(left).ok());
        if left.is_none() {
            set_on_allocate(lua, Some(on_allocate));
        }
        let pages = left.map_or(Pages::UNWATCHED, |left| Pages { vm, left });
        Self { lua, before: (ceiling, PAGES.replace(pages)) }
    }

    /// Whether they took more.
    pub(in crate::vm) fn passed(&self) -> bool {
        is_ceiling_passed()
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        set_on_allocate(self.lua, None);
        CEILING.set(self.before.0);
        PAGES.set(self.before.1);
    }
}

/// The allocator gave so many bytes in place of so many to the VM that runs on this thread.
#[inline]
pub(in crate::vm::raw) fn note_pages(
    vm: *mut ffi::lua_Callbacks,
    old_size: usize,
    new_size: usize,
) {
    let pages = PAGES.get();
    // Another VM may run meanwhile, called by a function of the host.
    if pages.vm.is_null() || pages.vm != vm {
        return;
    }
    let left = pages.left.saturating_add_unsigned(old_size).saturating_sub_unsigned(new_size);
    PAGES.set(if left < 0 { Pages::UNWATCHED } else { Pages { left, ..pages } });
    if left < 0 {
        // SAFETY: the VM runs on this thread, so it is alive, and no other thread touches this place.
        unsafe { (*vm).onallocate = Some(on_allocate) };
    }
}

/// Whether the VM on this thread that is counted was found to hold more than it may.
#[inline]
pub(in crate::vm::raw) fn is_ceiling_passed() -> bool {
    CEILING.get().passed
}

type OnAllocate =
    unsafe extern "C-unwind" fn(*mut lua_State, *mut c_void, usize, usize, u8, c_int, c_int);

fn set_on_allocate(lua: &Lua, function: Option<OnAllocate>) {
    // SAFETY: the place belongs to the VM, which is on this thread alone; no other thread touches this one.
    lua.exec_raw_lua(|raw| unsafe { (*ffi::lua_callbacks(raw.state())).onallocate = function });
}

/// # Safety
///
/// Luau calls it when it has allocated something; nothing may be raised.
unsafe extern "C-unwind" fn on_allocate(
    state: *mut lua_State,
    _: *mut c_void,
    _: usize,
    _: usize,
    _: u8,
    _: c_int,
    _: c_int,
) {
    let ceiling = CEILING.get();
    // SAFETY: reads a number.
    if !ceiling.passed && unsafe { ffi::lua_totalbytes(state, -1) } > ceiling.bytes {
        CEILING.set(Ceiling { passed: true, ..ceiling });
        // SAFETY: it was this VM that allocated, and it is on this thread.
        unsafe { measured::ceiling_passed(state) };
    }
}
