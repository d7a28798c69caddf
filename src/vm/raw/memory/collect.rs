//! Collecting garbage between runs.

use std::ffi::c_int;

use mlua::{Lua, ffi};

/// Collects all garbage, and has the next cycle of the collector begin when a VM that holds `resting` bytes
/// now holds so many.
pub(in crate::vm) fn collect(lua: &Lua, resting: usize, bytes: usize) -> mlua::Result<()> {
    // When all is collected, Luau computes the beginning of the next cycle from a goal in percents, less
    // half of what is there; see `luaC_fullgc`.
    let goal = 100 * bytes.max(resting) / resting.max(1) + 50;
    let set_goal = |goal: c_int| {
        let mut before = 0;
        lua.exec_raw_lua(|raw| {
            // SAFETY: sets a number, and gives the one before.
            before = unsafe { ffi::lua_gc(raw.state(), ffi::LUA_GCSETGOAL, goal) };
        });
        before
    };
    let usual = set_goal(goal as c_int);
    let collected = lua.gc_collect();
    set_goal(usual);
    collected
}

/// Gives a VM in which nothing runs the short stack that it had when it was new. The collector only halves one each
/// time that a run left long. The allocator has to give what that takes.
pub(in crate::vm) fn shorten_stack(lua: &Lua) {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: no function is active and nothing is on the stack, so nothing is lost with it, nor has anybody
        // an address within it. It raises if it gets no memory, which is only so if the process has none.
        unsafe {
            if ffi::lua_stackdepth(state) == 0 && ffi::lua_gettop(state) == 0 {
                ffi::lua_resetthread(state);
            }
        }
    });
}
