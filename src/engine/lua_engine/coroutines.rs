//! The coroutines of an engine.

use super::LuaEngine;
use crate::engine::stats::{CoroutineInfo, Resumed};
use crate::error::Failure;
use crate::value::IntoScriptArgs;
use crate::vm::{Performed, Task};

impl LuaEngine {
    /// The unfinished coroutines, the oldest first. Collects garbage first, so that only reachable ones are listed.
    #[must_use]
    pub fn coroutines(&self) -> Vec<CoroutineInfo> {
        self.core.session.collect_garbage();
        self.core.session.coroutines().into_iter().map(CoroutineInfo::from).collect()
    }

    /// Resumes a coroutine by its number from [`LuaEngine::coroutines`]. Its `coroutine.yield` returns `args`; if it has
    /// not started, its function is called with them.
    ///
    /// ```
    /// use bevy_lua_pool::engine::Resumed;
    /// use bevy_lua_pool::LuaEngine;
    ///
    /// let mut engine = LuaEngine::new()?;
    /// engine.run("talk = coroutine.create(function(name) return coroutine.yield('hello ' .. name) end)")?;
    /// let talk = engine.coroutines()[0].id;
    /// let waits = engine.resume_coroutine(talk, "you")?;
    /// assert_eq!(waits, Resumed::Yielded([ "hello you".into() ].into_iter().collect()));
    /// let over = engine.resume_coroutine(talk, (1, 2))?;
    /// assert_eq!(over.values()[..], [1.into(), 2.into()]);
    /// assert!(engine.coroutines().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; [`ScriptError::NoCoroutine`](crate::ScriptError::NoCoroutine) if it is finished. If the
    /// values that it yields aren't plain data, it has advanced all the same.
    pub fn resume_coroutine(
        &mut self,
        id: u64,
        args: impl IntoScriptArgs,
    ) -> Result<Resumed, Failure> {
        self.core.begin();
        let args = self.core.arguments("coroutine", args)?;
        let result = self.core.call(Task::Resume(id, &args));
        self.make_room(result).map(|Performed { values, yielded }| match yielded {
            true => Resumed::Yielded(values),
            false => Resumed::Finished(values),
        })
    }

    /// Ends a coroutine; scripts that resume it find it dead. Returns whether it existed and was unfinished.
    pub fn destroy_coroutine(&mut self, id: u64) -> bool {
        self.core.session.destroy_coroutine(id)
    }
}
