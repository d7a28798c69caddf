//! Garbage and stacks of a VM on which nothing runs.

use std::ffi::c_int;

use mlua::{Lua, ffi};

/// Collects all garbage. A VM that holds `resting` bytes now will begin the next cycle of its
/// collector at `bytes`.
pub(in crate::vm) fn collect(lua: &Lua, resting: usize, bytes: usize) -> mlua::Result<()> {
    // After a full collection Luau computes where the next cycle begins: at the goal in percent,
    // less half of what is there; see `luaC_fullgc`.
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

/// Gives the main thread of a VM the short stack that it had when it was new. The collector only
/// halves one that a run left long, once per cycle. The allocator has to give what the new stack
/// takes.
pub(in crate::vm) fn shorten_stack(lua: &Lua) {
    lua.exec_raw_lua(|raw| {
        let state = raw.state();
        // SAFETY: no function is active and nothing is on the stack, so nothing is lost, and nobody
        // holds an address within it. It raises only if the process has no memory.
        unsafe {
            if ffi::lua_stackdepth(state) == 0 && ffi::lua_gettop(state) == 0 {
                ffi::lua_resetthread(state);
            }
        }
    });
}
