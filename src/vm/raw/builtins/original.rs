//! [`OriginalFunction`]: Luau's own functions, which ours call.

use std::ffi::c_int;
use std::sync::atomic::{AtomicUsize, Ordering};

use mlua::ffi;
use mlua::ffi::lua_State;

/// One of Luau's own functions. It has the same address in each VM.
pub(in crate::vm::raw) struct OriginalFunction(AtomicUsize);

impl OriginalFunction {
    /// None yet.
    pub(in crate::vm::raw) const fn unset() -> Self {
        Self(AtomicUsize::new(0))
    }

    /// Stores the address of the function.
    pub(in crate::vm::raw) fn set(&self, function: ffi::lua_CFunction) {
        self.0.store(function as usize, Ordering::Relaxed);
    }

    /// Calls the function.
    ///
    /// # Safety
    ///
    /// [`set`](Self::set) was called; the stack is as the function expects.
    #[inline]
    pub(in crate::vm::raw) unsafe fn call(&self, state: *mut lua_State) -> c_int {
        // SAFETY: `set` stored the address of a function of this type, and the stack is as it
        // expects.
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
/// In a closure whose first upvalue is a C function without upvalues.
#[inline]
pub(in crate::vm::raw) unsafe fn call_original(state: *mut lua_State) -> c_int {
    // SAFETY: the first upvalue is such a function, and gets the arguments of this call.
    unsafe {
        let original = ffi::lua_tocfunction(state, ffi::lua_upvalueindex(1));
        original.expect("Luau's own function")(state)
    }
}
