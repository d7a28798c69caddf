//! [`NativeFunction`]: a function of the host that needs no world.

use std::fmt;
use std::sync::Arc;

use super::random::RunRandom;
use crate::error::ScriptError;
use crate::value::{FromScriptArgs, IntoScriptResults, ScriptValue, ScriptValues};

/// The run that calls a function of the host.
#[derive(Debug)]
pub struct Caller<'r> {
    random: &'r mut RunRandom,
}

impl<'r> Caller<'r> {
    /// A caller with these random numbers.
    #[must_use]
    pub const fn new(random: &'r mut RunRandom) -> Self {
        Self { random }
    }

    /// The random numbers of the run that called, those of `math.random`.
    pub const fn random(&mut self) -> &mut RunRandom {
        self.random
    }
}

type NativeBody =
    dyn Fn(&mut Caller<'_>, Vec<ScriptValue>) -> Result<ScriptValues, ScriptError> + Send + Sync;

/// A function in Rust that scripts call and that needs no world: the same for entity scripts, engines and
/// pools. Cheap to clone.
///
/// A run of an entity script may be repeated, and then calls it again: see
/// [`add_lua_function`](crate::LuaAppExt::add_lua_function). Engines and pools call it once.
#[derive(Clone)]
pub struct NativeFunction {
    name: Arc<str>,
    body: Arc<NativeBody>,
}

impl NativeFunction {
    /// A function under a name; a dotted one such as `game.damage` makes tables.
    pub fn new<M>(name: &str, function: impl IntoNativeFunction<M>) -> Self {
        Self { name: name.into(), body: function.into_body(name.to_owned()) }
    }

    /// The name, with its dots.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Calls it.
    ///
    /// # Errors
    /// [`ScriptError::Argument`] for wrong arguments, and what the function reports.
    pub fn call(
        &self,
        caller: &mut Caller<'_>,
        args: Vec<ScriptValue>,
    ) -> Result<ScriptValues, ScriptError> {
        (self.body)(caller, args)
    }
}

impl fmt::Debug for NativeFunction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NativeFunction").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A closure that can become a [`NativeFunction`]: `Fn(Args) -> Result`, or with the caller first,
/// `Fn(&mut Caller, Args) -> Result`; `Fn() -> Result` and `Fn(&mut Caller) -> Result` if it takes no arguments.
///
/// `Args` is a tuple of [`FromScript`](crate::FromScript) types (or a single one, or `()`), the last one can be
/// [`Variadic`](crate::Variadic). The result is an [`IntoScript`](crate::IntoScript) type; a tuple of them is several
/// results, a `Result` raises its error in the script: see [`IntoScriptResults`].
///
/// `M` is a marker that keeps the implementations apart.
pub trait IntoNativeFunction<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_body(self, name: String) -> Arc<NativeBody>;
}

impl<F, A, R> IntoNativeFunction<fn(A) -> R> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: FromScriptArgs,
    R: IntoScriptResults,
{
    fn into_body(self, name: String) -> Arc<NativeBody> {
        Arc::new(move |_, args| self(A::from_script_args(&name, args)?).into_script_results())
    }
}

impl<F, A, R> IntoNativeFunction<fn(&mut Caller<'_>, A) -> R> for F
where
    F: Fn(&mut Caller<'_>, A) -> R + Send + Sync + 'static,
    A: FromScriptArgs,
    R: IntoScriptResults,
{
    fn into_body(self, name: String) -> Arc<NativeBody> {
        Arc::new(move |caller, args| {
            let args = A::from_script_args(&name, args)?;
            self(caller, args).into_script_results()
        })
    }
}

impl<F, R> IntoNativeFunction<fn() -> R> for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: IntoScriptResults,
{
    fn into_body(self, _: String) -> Arc<NativeBody> {
        Arc::new(move |_, _| self().into_script_results())
    }
}

impl<F, R> IntoNativeFunction<(CallerAlone, R)> for F
where
    F: Fn(&mut Caller<'_>) -> R + Send + Sync + 'static,
    R: IntoScriptResults,
{
    fn into_body(self, _: String) -> Arc<NativeBody> {
        Arc::new(move |caller, _| self(caller).into_script_results())
    }
}

/// Marks a closure that takes the caller and no arguments.
#[doc(hidden)]
#[derive(Debug)]
pub struct CallerAlone;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_converts_its_arguments_and_names_the_wrong_one() {
        let add = NativeFunction::new("add", |(a, b): (f64, f64)| a + b);
        let mut random = RunRandom::new(0);
        let mut call = |args: Vec<ScriptValue>| {
            add.call(&mut Caller::new(&mut random), args).map(ScriptValues::into_first)
        };
        assert_eq!(call(vec![1.0.into(), 2.0.into()]), Ok(3.0.into()));
        let error = call(vec![1.0.into(), "x".into()]).expect_err("a string is no number");
        assert!(matches!(error, ScriptError::Argument { position: 2, .. }), "{error}");
    }

    #[test]
    fn a_function_without_arguments_is_a_closure_without_arguments() {
        let mut random = RunRandom::new(0);
        let mut call = |function: NativeFunction| {
            function
                .call(&mut Caller::new(&mut random), vec!["surplus".into()])
                .map(ScriptValues::into_first)
        };
        assert_eq!(call(NativeFunction::new("one", || 1.0)), Ok(1.0.into()));
        assert_eq!(call(NativeFunction::new("one", |(): ()| 1.0)), Ok(1.0.into()));
        let draw = |caller: &mut Caller<'_>| rand::Rng::next_u32(caller.random());
        let drawn = call(NativeFunction::new("draw", draw)).expect("it draws");
        assert_eq!(drawn, rand::Rng::next_u32(&mut RunRandom::new(0)).into());
    }

    #[test]
    fn a_function_draws_from_the_random_numbers_of_its_caller() {
        let draw = NativeFunction::new("draw", |caller: &mut Caller<'_>, (): ()| {
            rand::Rng::next_u32(caller.random())
        });
        let first = |seed| draw.call(&mut Caller::new(&mut RunRandom::new(seed)), Vec::new());
        assert_eq!(first(7), first(7));
        assert_ne!(first(7), first(8));
    }
}
