//! [`OriginalFunction`]: Luau's own functions.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::ffi;
use mlua::ffi::lua_State;

/// Luau's own function. It is the same one in each VM.
pub(in crate::vm::raw) struct OriginalFunction(pub(in crate::vm::raw) AtomicUsize);

impl OriginalFunction {
    pub(in crate::vm::raw) fn set(&self, function: ffi::lua_CFunction) {
        self.0.store(function as usize, Ordering::Relaxed);
    }

    /// # Safety
    ///
    /// As for the function, which was set.
    #[inline]
    pub(in crate::vm::raw) unsafe fn call(&self, state: *mut lua_State) -> c_int {
        // SAFETY: the caller keeps what this function asks for; it is what `set` got.
        unsafe {
            let function = self.0.load(Ordering::Relaxed);
            std::mem::transmute::<usize, ffi::lua_CFunction>(function)(state)
        }
    }
}

/// Calls the C function that is the first upvalue, with the arguments as they are.
///
/// # Safety
///
/// Inside a closure whose first upvalue is a C function without upvalues.
#[inline]
pub(in crate::vm::raw) unsafe fn call_original(state: *mut lua_State) -> c_int {
    // SAFETY: the caller keeps what this function asks for.
    unsafe {
        let original = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1));
        original.expect("Luau's own function")(state)
    }
}
