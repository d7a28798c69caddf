//! [`Hook`]: whether Luau calls us at safepoints.

pub(super) mod interrupt;

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

/// A function that Luau calls at safepoints.
pub(super) type Interrupt = unsafe extern "C-unwind" fn(*mut lua_State, c_int);

/// The address of what an installed [`Hook`] has Luau call. It is the same function in each VM, and each VM is given it
/// before anything runs there.
static INTERRUPT: AtomicUsize = AtomicUsize::new(0);

/// Says what Luau is to call at safepoints while a [`Hook`] is installed.
pub(super) fn set_interrupt(function: Interrupt) {
    INTERRUPT.store(function as usize, Ordering::Relaxed);
}

fn interrupt() -> usize {
    let function = INTERRUPT.load(Ordering::Relaxed);
    debug_assert_ne!(function, 0, "a VM is set up before its hook is installed");
    function
}

/// Where Luau finds out what to call at safepoints: nothing, or what [`set_interrupt`] got.
#[derive(Debug)]
pub(in crate::vm) struct Hook {
    /// Keeps the place alive.
    pub(super) lua: Lua,
    pub(super) callbacks: *mut ffi::lua_Callbacks,
}

// SAFETY: the place belongs to the VM, which lives as long as `lua`; it is only written by
// `Hook::write`, and Luau allows that from any thread at any time.
unsafe impl Send for Hook {}

impl Hook {
    pub(in crate::vm) fn of(lua: &Lua) -> Self {
        let mut callbacks = std::ptr::null_mut();
        // SAFETY: gives a pointer into the VM's state, and can't fail.
        lua.exec_raw_lua(|raw| callbacks = unsafe { ffi::lua_callbacks(raw.state()) });
        Self { lua: lua.clone(), callbacks }
    }

    pub(in crate::vm) fn is_of(&self, lua: &Lua) -> bool {
        self.callbacks == Self::of(lua).callbacks
    }

    /// Has Luau call what [`set_interrupt`] got at every safepoint.
    pub(in crate::vm) fn install(&self) {
        self.write(interrupt());
    }

    /// Has Luau call nothing.
    pub(in crate::vm) fn remove(&self) {
        self.write(0);
    }

    pub(super) fn write(&self, function: usize) {
        let _alive = &self.lua;
        // SAFETY: `lua` keeps the place alive.
        unsafe { Self::write_at(self.callbacks, function) }
    }

    /// # Safety
    ///
    /// The callbacks are those of a VM that is alive.
    pub(super) unsafe fn install_at(callbacks: *mut ffi::lua_Callbacks) {
        // SAFETY: the caller keeps what this function asks for.
        unsafe { Self::write_at(callbacks, interrupt()) }
    }

    /// # Safety
    ///
    /// As `install_at`.
    unsafe fn write_at(callbacks: *mut ffi::lua_Callbacks, function: usize) {
        // SAFETY: the place is there; it holds a nullable function pointer, which is as wide as an address and
        // aligned to it. Luau reads it at any time and expects that another thread writes it.
        unsafe {
            let place = (&raw mut (*callbacks).interrupt).cast::<usize>();
            AtomicUsize::from_ptr(place).store(function, Ordering::Relaxed);
        }
    }
}

/// Raises if the run must be over.
///
/// # Safety
///
/// Inside a C function that Luau called.
#[inline]
pub(super) unsafe fn safepoint(state: *mut lua_State) {
    // SAFETY: the caller keeps what this function asks for. The watchdog writes the place at any time, so it is
    // read as it is written: see `Hook::write`.
    unsafe {
        let place = (&raw mut (*ffi::lua_callbacks(state)).interrupt).cast::<usize>();
        let function = AtomicUsize::from_ptr(place).load(Ordering::Relaxed);
        if function != 0 {
            std::mem::transmute::<usize, Interrupt>(function)(state, -1);
        }
    }
}
