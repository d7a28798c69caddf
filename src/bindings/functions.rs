//! Host functions: Rust closures that scripts call.

use super::context::ScriptContext;
use super::effects::new_entity_index;
use crate::api_registry::RegisteredFunction;
use crate::error::ScriptError;
use crate::value::{FromScriptArgs, IntoScriptResults, ScriptValue, ScriptValues};
use crate::vm::{Caller, NativeFunction, RunRandom};

type BoxedFunction = Box<
    dyn Fn(&mut ScriptContext<'_>, Vec<ScriptValue>) -> Result<ScriptValues, ScriptError>
        + Send
        + Sync,
>;

/// A host function that scripts can call.
pub(crate) struct HostFunction {
    name: String,
    /// Whether it accepts entities that the run has spawned and that are not in the world yet.
    pub(crate) takes_new_entities: bool,
    body: FunctionBody,
}

enum FunctionBody {
    /// It gets a [`ScriptContext`].
    InContext(BoxedFunction),
    /// It needs no world.
    Native(NativeFunction),
}

impl HostFunction {
    pub(crate) fn new<M>(name: &str, function: impl IntoLuaFunction<M>) -> Self {
        let body = FunctionBody::InContext(function.into_lua_function(name.to_owned()));
        Self { name: name.to_owned(), takes_new_entities: false, body }
    }

    pub(crate) fn call(
        &self,
        context: &mut ScriptContext<'_>,
        mut args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        if !self.takes_new_entities && context.has_spawned() {
            self.refuse_new_entities(&mut args)?;
        }
        match &self.body {
            FunctionBody::InContext(function) => function(context, args),
            FunctionBody::Native(function) => function.call(&mut Caller::new(random), args),
        }
    }

    fn refuse_new_entities(&self, args: &mut [ScriptValue]) -> Result<(), ScriptError> {
        for (arg, position) in args.iter_mut().zip(1..) {
            let mut new = false;
            arg.map_entities(&mut |entity| {
                new |= new_entity_index(entity).is_some();
                entity
            });
            if new {
                return Err(ScriptError::Argument {
                    function: self.name.clone(),
                    position,
                    expected: "an entity that is in the world".to_owned(),
                    got: "one that this run has just spawned; keep it in `self` and call from \
                          the next frame on"
                        .to_owned(),
                });
            }
        }
        Ok(())
    }
}

impl From<NativeFunction> for HostFunction {
    /// A function that needs no world, so it accepts new entities.
    fn from(function: NativeFunction) -> Self {
        let name = function.name().to_owned();
        Self { name, takes_new_entities: true, body: FunctionBody::Native(function) }
    }
}

impl RegisteredFunction for HostFunction {
    fn name(&self) -> &str {
        &self.name
    }
}

/// A closure that can become a host function: `Fn(Args) -> Result`, or with a context first,
/// `Fn(&mut ScriptContext, Args) -> Result`; `Fn() -> Result` and `Fn(&mut ScriptContext) -> Result` if it takes no
/// arguments.
///
/// `Args` is a tuple of [`FromScript`](crate::FromScript) types (or a single one, or `()`), the last one can be
/// [`Variadic`](crate::Variadic). The result is an [`IntoScript`](crate::IntoScript) type; a tuple of them is several
/// results, a `Result` raises its error in the script: see [`IntoScriptResults`].
///
/// `M` is a marker that tells the kinds of closures apart.
pub trait IntoLuaFunction<M>: Send + Sync + 'static {
    #[doc(hidden)]
    fn into_lua_function(self, name: String) -> BoxedFunction;
}

impl<F, A, R> IntoLuaFunction<fn(A) -> R> for F
where
    F: Fn(A) -> R + Send + Sync + 'static,
    A: FromScriptArgs,
    R: IntoScriptResults,
{
    fn into_lua_function(self, name: String) -> BoxedFunction {
        Box::new(move |_, args| self(A::from_script_args(&name, args)?).into_script_results())
    }
}

impl<F, A, R> IntoLuaFunction<fn(&mut ScriptContext<'_>, A) -> R> for F
where
    F: Fn(&mut ScriptContext<'_>, A) -> R + Send + Sync + 'static,
    A: FromScriptArgs,
    R: IntoScriptResults,
{
    fn into_lua_function(self, name: String) -> BoxedFunction {
        Box::new(move |context, args| {
            let args = A::from_script_args(&name, args)?;
            self(context, args).into_script_results()
        })
    }
}

impl<F, R> IntoLuaFunction<fn() -> R> for F
where
    F: Fn() -> R + Send + Sync + 'static,
    R: IntoScriptResults,
{
    fn into_lua_function(self, _: String) -> BoxedFunction {
        Box::new(move |_, _| self().into_script_results())
    }
}

impl<F, R> IntoLuaFunction<(ContextAlone, R)> for F
where
    F: Fn(&mut ScriptContext<'_>) -> R + Send + Sync + 'static,
    R: IntoScriptResults,
{
    fn into_lua_function(self, _: String) -> BoxedFunction {
        Box::new(move |context, _| self(context).into_script_results())
    }
}

/// The marker of closures that take a context and no arguments.
#[doc(hidden)]
#[derive(Debug)]
pub struct ContextAlone;
