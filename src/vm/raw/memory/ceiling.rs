//! [`Counting`] and [`Ceiling`]: whether the objects of a VM ever take more bytes than they may.

use std::cell::Cell;
use std::ffi::{c_int, c_void};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

use crate::vm::raw::memory::measured;

thread_local! {
    static PAGES: Cell<Pages> = const { Cell::new(Pages::UNWATCHED) };
    static CEILING: Cell<Ceiling> = const { Cell::new(Ceiling { bytes: usize::MAX, passed: false }) };
}

/// How many bytes the pages of a VM may take before its objects are counted.
#[derive(Clone, Copy, Debug)]
struct Pages {
    /// The callbacks of the VM; null if no pages are watched.
    vm: *mut ffi::lua_Callbacks,
    /// Bytes that it may still get.
    left: isize,
}

impl Pages {
    const UNWATCHED: Self = Self { vm: std::ptr::null_mut(), left: 0 };
}

/// What the objects of the counted VM on this thread may take.
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

/// Makes Luau report what it allocates, as long as this VM lives.
pub(in crate::vm::raw) fn count_for_ever(lua: &Lua) {
    set_on_allocate(lua, Some(on_allocate));
}

/// Notices, while it lives, whether the objects of a VM ever take more than so many bytes.
///
/// Objects never take more than the pages that they lie in. So nothing is counted until those take
/// as much. After that each new object costs some nanoseconds, since pages may have room for many
/// objects before the allocator is asked again.
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

/// Notes that the allocator replaced a block of `old_size` bytes by one of `new_size`, for the VM
/// that runs on this thread.
#[inline]
pub(in crate::vm::raw) fn note_pages(
    vm: *mut ffi::lua_Callbacks,
    old_size: usize,
    new_size: usize,
) {
    let pages = PAGES.get();
    // A host function may have called another VM.
    if pages.vm.is_null() || pages.vm != vm {
        return;
    }
    let left = pages.left.saturating_add_unsigned(old_size).saturating_sub_unsigned(new_size);
    PAGES.set(if left < 0 { Pages::UNWATCHED } else { Pages { left, ..pages } });
    if left < 0 {
        // SAFETY: that VM runs on this thread, so it is alive, and no other thread touches this
        // field.
        unsafe { (*vm).onallocate = Some(on_allocate) };
    }
}

/// Whether the counted VM on this thread was found to hold more than it may.
#[inline]
pub(in crate::vm::raw) fn is_ceiling_passed() -> bool {
    CEILING.get().passed
}

type OnAllocate =
    unsafe extern "C-unwind" fn(*mut lua_State, *mut c_void, usize, usize, u8, c_int, c_int);

fn set_on_allocate(lua: &Lua, function: Option<OnAllocate>) {
    // SAFETY: the field belongs to the VM, which only this thread uses; no other thread touches
    // this field.
    lua.exec_raw_lua(|raw| unsafe { (*ffi::lua_callbacks(raw.state())).onallocate = function });
}

/// Looks at what the objects take.
///
/// # Safety
///
/// Luau calls it when it has allocated something. Nothing may be raised.
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
        // SAFETY: this VM allocated something, so it is alive and on this thread.
        unsafe { measured::ceiling_passed(state) };
    }
}
