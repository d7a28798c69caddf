//! [`Hook`]: whether Luau calls our interrupt at safepoints; and [`safepoint`], for C functions
//! that work for long.
//!
//! Luau keeps the function to call in the callbacks of the VM, and reads it at each safepoint
//! without a lock. Any thread may write it, so it is only ever read and written as an atomic here.

pub(super) mod interrupt;

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::ffi::lua_State;
use mlua::{Lua, ffi};

/// A function that Luau calls at safepoints.
pub(super) type Interrupt = unsafe extern "C-unwind" fn(*mut lua_State, c_int);

/// The address of the function that an installed [`Hook`] makes Luau call: the same in each VM.
/// `set_up` registers it, and a VM is set up before anything runs there.
static INTERRUPT: AtomicUsize = AtomicUsize::new(0);

/// Registers the function that Luau calls at safepoints while a [`Hook`] is installed.
pub(super) fn set_interrupt(function: Interrupt) {
    INTERRUPT.store(function as usize, Ordering::Relaxed);
}

fn interrupt() -> usize {
    let function = INTERRUPT.load(Ordering::Relaxed);
    debug_assert_ne!(function, 0, "a VM is set up before its hook is installed");
    function
}

/// Decides whether Luau calls the registered interrupt at safepoints, or nothing.
#[derive(Debug)]
pub(in crate::vm) struct Hook {
    /// Keeps the callbacks alive.
    lua: Lua,
    callbacks: *mut ffi::lua_Callbacks,
}

// SAFETY: the callbacks belong to the VM, which lives as long as `lua`; `Hook::write` alone writes
// there, atomically, and Luau allows that from any thread at any time.
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

    /// Makes Luau call the interrupt at every safepoint.
    pub(in crate::vm) fn install(&self) {
        self.write(interrupt());
    }

    /// Makes Luau call nothing.
    pub(in crate::vm) fn remove(&self) {
        self.write(0);
    }

    fn write(&self, function: usize) {
        let _alive = &self.lua;
        // SAFETY: `lua` keeps the callbacks alive.
        unsafe { Self::write_at(self.callbacks, function) }
    }

    /// As [`Hook::install`].
    ///
    /// # Safety
    ///
    /// The callbacks are those of a VM that is alive.
    pub(super) unsafe fn install_at(callbacks: *mut ffi::lua_Callbacks) {
        // SAFETY: the VM is alive, as this function asks.
        unsafe { Self::write_at(callbacks, interrupt()) }
    }

    /// Writes the address of a function, or 0.
    ///
    /// # Safety
    ///
    /// The callbacks are those of a VM that is alive.
    unsafe fn write_at(callbacks: *mut ffi::lua_Callbacks, function: usize) {
        // SAFETY: the VM is alive, so the field is there. It holds a nullable function pointer,
        // which has the size and alignment of an address. Luau expects that another thread writes
        // it at any time.
        unsafe {
            let place = (&raw mut (*callbacks).interrupt).cast::<usize>();
            AtomicUsize::from_ptr(place).store(function, Ordering::Relaxed);
        }
    }
}

/// A safepoint of a C function: raises an error if the run must end.
///
/// # Safety
///
/// In a C function that Luau called.
#[inline]
pub(super) unsafe fn safepoint(state: *mut lua_State) {
    // SAFETY: the state is that of a live VM; the field is read as `Hook::write_at` writes it. What
    // is there, if anything, is an `Interrupt`, which may raise here, in a C function.
    unsafe {
        let place = (&raw mut (*ffi::lua_callbacks(state)).interrupt).cast::<usize>();
        let function = AtomicUsize::from_ptr(place).load(Ordering::Relaxed);
        if function != 0 {
            std::mem::transmute::<usize, Interrupt>(function)(state, -1);
        }
    }
}
