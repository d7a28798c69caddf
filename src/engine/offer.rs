//! [`Offer`]: what an engine, or a pool outside Bevy, offers its scripts.

use std::collections::HashMap;
use std::sync::Arc;

use crate::error::ScriptError;
use crate::modules::Module;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{
    Api, ApiMark, Caller, Live, NameError, NamedServer, NativeFunction, RunRandom, ValueServer,
};

/// Functions, value servers and modules, by number. Numbers only grow.
///
/// What is added is added in place, in a time that doesn't depend on how much there is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offer {
    api: Arc<Api>,
    functions: Vec<FunctionSlot>,
    namespaces: Vec<NamedServer>,
    modules: Vec<String>,
    /// What can be taken away, and modules, by name.
    names: HashMap<Name, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Name {
    Function(String),
    Server(String),
    Module(String),
}

#[derive(Clone, Debug)]
struct FunctionSlot {
    name: String,
    function: Option<NativeFunction>,
}

/// How much an [`Offer`] held at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OfferMark {
    pub(crate) api: ApiMark,
    functions: usize,
    namespaces: usize,
    modules: usize,
}

impl Offer {
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// How much it holds now.
    pub(crate) fn mark(&self) -> OfferMark {
        OfferMark {
            api: self.api.mark(),
            functions: self.functions.len(),
            namespaces: self.namespaces.len(),
            modules: self.modules.len(),
        }
    }

    /// Takes back what came after `mark`. What came back after it was removed stays.
    pub(crate) fn roll_back(&mut self, mark: OfferMark) {
        for slot in self.functions.drain(mark.functions..) {
            self.names.remove(&Name::Function(slot.name));
        }
        for server in self.namespaces.drain(mark.namespaces..) {
            self.names.remove(&Name::Server(server.name().to_owned()));
        }
        for module in self.modules.drain(mark.modules..) {
            self.names.remove(&Name::Module(module));
        }
        Arc::make_mut(&mut self.api).roll_back(mark.api);
    }

    /// Adds a function; one that was removed may come back under its name.
    pub(crate) fn add_function(&mut self, function: NativeFunction) -> Result<(), NameError> {
        let name = Name::Function(function.name().to_owned());
        if let Some(place) = self.names.get(&name)
            && let slot = &mut self.functions[*place]
            && slot.function.is_none()
        {
            slot.function = Some(function);
            return Ok(());
        }
        Arc::make_mut(&mut self.api).add_function(function.name())?;
        self.push(name, function);
        Ok(())
    }

    /// Puts a function in place of the one of its name, if there is one, or was.
    pub(crate) fn replace_function(&mut self, function: &NativeFunction) -> bool {
        match self.names.get(&Name::Function(function.name().to_owned())) {
            Some(place) => {
                self.functions[*place].function = Some(function.clone());
                true
            }
            None => false,
        }
    }

    fn push(&mut self, name: Name, function: NativeFunction) {
        self.names.insert(name, self.functions.len());
        let name = function.name().to_owned();
        self.functions.push(FunctionSlot { name, function: Some(function) });
    }

    /// Adds a value server; one that was removed may come back, or another one under its name.
    pub(crate) fn add_server(
        &mut self,
        namespace: &str,
        server: Arc<dyn ValueServer>,
    ) -> Result<(), NameError> {
        let name = Name::Server(namespace.to_owned());
        if let Some(place) = self.names.get(&name)
            && let known = &mut self.namespaces[*place]
            && !known.is_there()
        {
            known.put(server);
            return Ok(());
        }
        Arc::make_mut(&mut self.api).add_server(namespace)?;
        self.names.insert(name, self.namespaces.len());
        self.namespaces.push(NamedServer::new(namespace, server));
        Ok(())
    }

    /// Takes away the function or the value server of this name. Gives whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        let function = self.names.get(&Name::Function(name.to_owned()));
        let function =
            function.is_some_and(|place| self.functions[*place].function.take().is_some());
        let server = self.names.get(&Name::Server(name.to_owned()));
        function || server.is_some_and(|place| self.namespaces[*place].remove())
    }

    /// Adds all of a module, or nothing. One that is there already is not added again.
    pub(crate) fn install(&mut self, module: &Module) -> Result<(), NameError> {
        let name = Name::Module(module.name().to_owned());
        if self.names.contains_key(&name) {
            return Ok(());
        }
        let functions = module.functions().map(NativeFunction::name);
        let api = Arc::make_mut(&mut self.api);
        api.add_module(module.name(), functions, module.constants())?;
        for function in module.functions() {
            self.push(Name::Function(function.name().to_owned()), function.clone());
        }
        self.names.insert(name, self.modules.len());
        self.modules.push(module.name().to_owned());
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
    ) -> Result<ScriptValues, ScriptError> {
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
