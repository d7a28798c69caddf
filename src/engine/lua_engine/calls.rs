//! Running sources, evaluating expressions, calling functions.

use std::sync::Arc;

use serde::de::DeserializeOwned;

use super::LuaEngine;
use crate::error::Failure;
use crate::value::{IntoScriptArgs, ScriptValue, ScriptValues, from_value};
use crate::vm::{Results, Task};

impl LuaEngine {
    /// Runs a source. What it defines persists.
    ///
    /// # Errors
    /// The error that the script raises, or the limit that it reaches, with script, line and call stack. What it
    /// changed before that stays changed.
    pub fn run(&mut self, source: &str) -> Result<(), Failure> {
        let name = Arc::clone(&self.chunk_name);
        self.run_chunk(&name, source)
    }

    /// As [`LuaEngine::run`]; `name` is the name of the source in errors: `levels/one.luau`.
    ///
    /// # Errors
    /// As [`LuaEngine::run`].
    pub fn run_named(&mut self, name: &str, source: &str) -> Result<(), Failure> {
        self.run_chunk(&name.into(), source)
    }

    fn run_chunk(&mut self, name: &Arc<str>, source: &str) -> Result<(), Failure> {
        self.core.begin();
        let loaded;
        let chunk = match self.chunks.get(source) {
            Some(chunk) if chunk.name() == name => chunk,
            _ => {
                loaded = self.core.counted(|core| core.load(name, source))?;
                self.chunks.put(source, loaded.clone(), 0);
                &loaded
            }
        };
        let result = self.core.call(Task::Run(chunk, Results::Ignored));
        self.make_room(result).map(|_| ())
    }

    /// Evaluates an expression such as `1 + 1`, or a source with `return`, and returns the first value.
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; also if the value is not plain data.
    pub fn evaluate(&mut self, source: &str) -> Result<ScriptValue, Failure> {
        self.evaluate_for(source, Results::First).map(ScriptValues::into_first)
    }

    /// As [`LuaEngine::evaluate`], but returns all values: `string.find(text, 'key')` has two.
    ///
    /// # Errors
    /// As [`LuaEngine::evaluate`]. The `value_limit` applies to all values together.
    pub fn evaluate_all(&mut self, source: &str) -> Result<ScriptValues, Failure> {
        self.evaluate_for(source, Results::All)
    }

    fn evaluate_for(&mut self, source: &str, results: Results) -> Result<ScriptValues, Failure> {
        self.core.begin();
        let loaded;
        let chunk = match self.expressions.get(source) {
            Some(chunk) => chunk,
            None => {
                let name = &self.chunk_name;
                loaded = self.core.counted(|core| core.load_expression(name, source))?;
                self.expressions.put(source, loaded.clone(), 0);
                &loaded
            }
        };
        let result = self.core.call(Task::Run(chunk, results));
        self.make_room(result).map(|done| done.values)
    }

    /// As [`LuaEngine::evaluate`], into any type that serde can deserialize.
    ///
    /// # Errors
    /// As [`LuaEngine::evaluate`]; also if the value doesn't fit the type.
    pub fn evaluate_as<T: DeserializeOwned>(&mut self, source: &str) -> Result<T, Failure> {
        let value = self.evaluate(source)?;
        from_value(value).map_err(|error| Failure::new(&self.chunk_name, error))
    }

    /// Calls a function that scripts defined, or a built-in one: `tick`, `game.rules.score`. Returns its first result.
    ///
    /// # Errors
    /// As [`LuaEngine::run`]; also if there is no such function, or an argument or the result is not plain data.
    pub fn call(&mut self, name: &str, args: impl IntoScriptArgs) -> Result<ScriptValue, Failure> {
        self.call_for(name, args, Results::First).map(ScriptValues::into_first)
    }

    /// As [`LuaEngine::call`], but returns all results.
    ///
    /// # Errors
    /// As [`LuaEngine::call`]. The `value_limit` applies to all results together.
    pub fn call_all(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<ScriptValues, Failure> {
        self.call_for(name, args, Results::All)
    }

    fn call_for(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
        results: Results,
    ) -> Result<ScriptValues, Failure> {
        self.core.begin();
        let args = self.core.arguments(name, args)?;
        let result = self.core.call(Task::Call(name, &args, results));
        self.make_room(result).map(|done| done.values)
    }

    /// As [`LuaEngine::call`], into any type that serde can deserialize.
    ///
    /// # Errors
    /// As [`LuaEngine::call`]; also if the value doesn't fit the type.
    pub fn call_as<T: DeserializeOwned>(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<T, Failure> {
        let value = self.call(name, args)?;
        from_value(value).map_err(|error| Failure::new(&name.into(), error))
    }
}
