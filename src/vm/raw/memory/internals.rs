//! Fields in the state of a VM that Luau's API does not offer, found by what they hold.

use mlua::ffi::{self, lua_State};

/// The one place in the state of a VM where these words follow one another; `None` if there is
/// none, or more than one.
///
/// # Safety
///
/// The state of a VM that mlua made, on this thread. Whoever writes there must write what Luau
/// expects in that place.
pub(in crate::vm::raw) unsafe fn find(
    state: *mut lua_State,
    words: &[usize],
) -> Option<*mut usize> {
    // SAFETY: the main thread and the global state are one block of memory, in this order, and the
    // callbacks lie in the latter (`LG` in `lstate.cpp`). All of it was written when the VM was
    // made, except for gaps between fields. Those are read volatilely, and compared as bytes that
    // may be anything.
    unsafe {
        let begin = ffi::lua_mainthread(state).cast::<usize>();
        let end = ffi::lua_callbacks(state).cast::<usize>();
        let many = usize::try_from(end.offset_from(begin)).ok()?;
        let lies_at = |place: &usize| {
            words
                .iter()
                .enumerate()
                .all(|(at, word)| begin.add(place + at).read_volatile() == *word)
        };
        let mut places = (0..(many + 1).saturating_sub(words.len())).filter(lies_at);
        match (places.next(), places.next()) {
            (Some(place), None) => Some(begin.add(place)),
            _ => None,
        }
    }
}
