//! [`Offer`]: what an engine, or a pool outside Bevy, offers its scripts.

use std::sync::Arc;

use crate::error::ScriptError;
use crate::modules::Module;
use crate::value::ScriptValue;
use crate::vm::{
    Api, Caller, Live, NameError, NamedServer, NativeFunction, RunRandom, ValueServer,
};

/// Functions, value servers and modules, by number. Numbers only grow.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    api: Api,
    functions: Vec<FunctionSlot>,
    namespaces: Vec<NamedServer>,
    modules: Vec<String>,
}

#[derive(Clone, Debug)]
struct FunctionSlot {
    name: String,
    function: Option<NativeFunction>,
}

impl Offer {
    pub(crate) fn api(&self) -> &Api {
        &self.api
    }

    /// Adds a function; one that was removed may come back under its name.
    pub(crate) fn add_function(&mut self, function: NativeFunction) -> Result<(), NameError> {
        let gone =
            |slot: &&mut FunctionSlot| slot.function.is_none() && slot.name == function.name();
        if let Some(slot) = self.functions.iter_mut().find(gone) {
            slot.function = Some(function);
            return Ok(());
        }
        self.api.add_function(function.name())?;
        self.push(function);
        Ok(())
    }

    fn push(&mut self, function: NativeFunction) {
        let name = function.name().to_owned();
        self.functions.push(FunctionSlot { name, function: Some(function) });
    }

    /// Adds a value server; one that was removed may come back, or another one under its name.
    pub(crate) fn add_server(
        &mut self,
        namespace: &str,
        server: Arc<dyn ValueServer>,
    ) -> Result<(), NameError> {
        let gone = |known: &&mut NamedServer| !known.is_there() && known.name() == namespace;
        if let Some(known) = self.namespaces.iter_mut().find(gone) {
            known.put(server);
            return Ok(());
        }
        self.api.add_server(namespace)?;
        self.namespaces.push(NamedServer::new(namespace, server));
        Ok(())
    }

    /// Takes away the function or the value server of this name. Gives whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let function = self
            .functions
            .iter_mut()
            .find(|slot| slot.name == name)
            .is_some_and(|slot| slot.function.take().is_some());
        let server = self
            .namespaces
            .iter_mut()
            .find(|known| known.name() == name)
            .is_some_and(NamedServer::remove);
        function || server
    }

    /// Adds all of a module, or nothing. One that is there already is not added again.
    pub(crate) fn install(&mut self, module: &Module) -> Result<(), NameError> {
        if self.modules.iter().any(|name| name == module.name()) {
            return Ok(());
        }
        let mut next = self.clone();
        for function in module.functions() {
            next.api.add_library_function(function.name())?;
            next.api.note_module(function.name(), module.name());
            next.push(function.clone());
        }
        for (name, value) in module.constants() {
            next.api.add_constant(name, value.clone())?;
            next.api.note_module(name, module.name());
        }
        next.modules.push(module.name().to_owned());
        *self = next;
        Ok(())
    }

    /// The functions of the host that can be called, those of modules included.
    pub(crate) fn function_count(&self) -> usize {
        self.functions.iter().filter(|slot| slot.function.is_some()).count()
    }

    pub(crate) fn server_count(&self) -> usize {
        self.namespaces.iter().filter(|server| server.is_there()).count()
    }

    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    pub(crate) fn call(
        &self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValue, ScriptError> {
        let slot = self.functions.get(function as usize).ok_or_else(unknown)?;
        match &slot.function {
            Some(function) => function.call(&mut Caller::new(random), args),
            None => Err(ScriptError::Unregistered { name: slot.name.clone() }),
        }
    }

    pub(crate) fn live(&self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError> {
        self.namespaces.get(namespace as usize).ok_or_else(unknown)?.live(path)
    }

    pub(crate) fn names(&self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        self.namespaces.get(namespace as usize).ok_or_else(unknown)?.names(path)
    }
}

/// A number without a name: it was being added when that failed.
fn unknown() -> ScriptError {
    ScriptError::Unregistered { name: "a function of the host".to_owned() }
}
