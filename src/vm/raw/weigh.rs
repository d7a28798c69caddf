//! What a VM and its objects weigh.

use std::cell::Cell;
use std::collections::HashSet;
use std::ffi::{c_int, c_void};

use mlua::Lua;
use mlua::ffi::{self, lua_State};

use super::{Shape, Shapes, exact, text_bytes};
use crate::vm::text::{STRING_HEADER, Text, weigh_text};

/// The bytes of all objects in a VM, garbage included: less than it holds, for it has them in pages.
pub(in crate::vm) fn object_bytes(lua: &Lua) -> usize {
    let mut bytes = 0;
    // SAFETY: reads a number.
    lua.exec_raw_lua(|raw| bytes = unsafe { ffi::lua_totalbytes(raw.state(), -1) });
    bytes
}

/// The strings that an image holds, each once.
#[derive(Default)]
pub(super) struct Texts {
    /// Where those are that were met: Luau has each text once.
    met: HashSet<usize>,
    pub(super) list: Vec<Text>,
}

impl Texts {
    /// Adds the string on top, in time that does not depend on its length if it was met before.
    ///
    /// # Safety
    ///
    /// Inside a protected call.
    pub(super) unsafe fn add(&mut self, state: *mut lua_State) {
        // SAFETY: the caller keeps what this function asks for; the bytes are not used any longer than that.
        let Some(text) = (unsafe { text_bytes(state, -1) }) else { return };
        if self.met.insert(text.as_ptr() as usize) {
            self.list.push(weigh_text(text));
        }
    }
}

/// How many entries a table has room for: in its list, and in the rest. Luau's API doesn't tell, and that a table is
/// large is no reason to go through it.
///
/// # Safety
///
/// A valid index of a table.
pub(super) unsafe fn room_of_table(state: *mut lua_State, index: c_int) -> (usize, usize) {
    // Where `lobject.h` has them, in bytes.
    const LOGARITHM: usize = 6;
    const MASK: usize = 7;
    const LIST: usize = 8;
    // SAFETY: the caller keeps what this function asks for. A table is an object of more bytes than that, all of which
    // were written when it was made.
    let (logarithm, mask, list) = unsafe {
        let table = ffi::lua_topointer(state, index).cast::<u8>();
        (*table.add(LOGARITHM), *table.add(MASK), table.add(LIST).cast::<u32>().read())
    };
    let rest = 1_usize.checked_shl(logarithm.into()).unwrap_or(0);
    // One byte is made of the other: if it isn't, this Luau has them elsewhere.
    let is_there = rest.wrapping_sub(1) as u8 == mask;
    if is_there { (list as usize, rest) } else { (0, 0) }
}

impl Shapes {
    /// What they take in the VM, in bytes, at most.
    pub(in crate::vm) fn bytes(&self) -> usize {
        /// What a name has in a table, which may be half full, and one that is empty.
        const ENTRY: usize = 2 * 32;
        const TABLE: usize = 64;
        let of = |shape: &Shape| {
            let names = shape.names.iter().map(|name| name.len() + STRING_HEADER + ENTRY);
            TABLE + names.sum::<usize>()
        };
        self.known.iter().map(of).sum()
    }
}

thread_local! {
    static PAGES: Cell<Pages> = const { Cell::new(Pages::UNWATCHED) };
    static CEILING: Cell<Ceiling> = const { Cell::new(Ceiling { bytes: usize::MAX, passed: false }) };
}

/// The pages of a VM on this thread, before its objects are counted.
#[derive(Clone, Copy, Debug)]
struct Pages {
    /// The callbacks of the VM; null if nothing is watched.
    vm: *mut ffi::lua_Callbacks,
    /// Bytes that it may get before objects are counted.
    left: isize,
}

impl Pages {
    const UNWATCHED: Self = Self { vm: std::ptr::null_mut(), left: 0 };
}

/// What the objects of the VM on this thread that is counted may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ceiling {
    bytes: usize,
    passed: bool,
}

impl Ceiling {
    pub(super) fn get() -> Self {
        CEILING.get()
    }

    pub(super) fn set(self) {
        CEILING.set(self);
    }

    pub(super) fn begin(bytes: usize) {
        Self { bytes, passed: false }.set();
    }
}

/// Has Luau tell from now on, as long as this VM lives, what it allocates.
pub(super) fn count_for_ever(lua: &Lua) {
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
pub(super) fn note_pages(vm: *mut ffi::lua_Callbacks, old_size: usize, new_size: usize) {
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
pub(super) fn is_ceiling_passed() -> bool {
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
        unsafe { exact::ceiling_passed(state) };
    }
}
