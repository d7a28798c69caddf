//! [`ApiRegistry`]: the functions, live values and modules that scripts can reach by name.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use crate::error::ScriptError;
use crate::modules::Module;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{
    Api, ApiMark, Caller, Live, NameError, NamedServer, NativeFunction, RunRandom, ValueServer,
};

/// Functions, live values and modules, by number. Numbers only grow.
///
/// `F` is what functions are; an app's can be given more than an engine's. `L` are live values that are no
/// [`ValueServer`]s.
///
/// What is added is added in place, in a time that doesn't depend on how much there is, and all of it or nothing.
#[derive(Clone, Debug)]
pub(crate) struct ApiRegistry<F = NativeFunction, L = Infallible> {
    api: Arc<Api>,
    functions: Vec<FunctionSlot<F>>,
    namespaces: Vec<LiveNamespace<L>>,
    modules: Vec<String>,
    /// What can be taken away, and modules, by name.
    names: HashMap<RegisteredName, usize>,
}

/// What an [`ApiRegistry`] holds as functions.
pub(crate) trait RegisteredFunction: From<NativeFunction> {
    fn name(&self) -> &str;
}

impl RegisteredFunction for NativeFunction {
    fn name(&self) -> &str {
        self.name()
    }
}

/// A namespace of live values.
#[derive(Clone, Debug)]
pub(crate) enum LiveNamespace<L> {
    Server(NamedServer),
    Other(L),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum RegisteredName {
    Function(String),
    Server(String),
    Module(String),
}

#[derive(Clone, Debug)]
struct FunctionSlot<F> {
    name: String,
    /// `None` if it was removed.
    function: Option<F>,
}

/// How much an [`ApiRegistry`] held at some moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RegistryMark {
    pub(crate) api: ApiMark,
    counts: [usize; 3],
}

impl RegistryMark {
    /// Whether nothing has come to be by `later` that VMs don't know.
    pub(crate) fn is_same(&self, later: &Self) -> bool {
        self.counts == later.counts
    }
}

impl<F, L> Default for ApiRegistry<F, L> {
    fn default() -> Self {
        Self {
            api: Arc::default(),
            functions: Vec::new(),
            namespaces: Vec::new(),
            modules: Vec::new(),
            names: HashMap::new(),
        }
    }
}

impl<F: RegisteredFunction, L> ApiRegistry<F, L> {
    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// How much it holds now.
    pub(crate) fn mark(&self) -> RegistryMark {
        RegistryMark {
            api: self.api.mark(),
            counts: [self.functions.len(), self.namespaces.len(), self.modules.len()],
        }
    }

    /// Takes back what came after `mark`. What came back after it was removed stays.
    pub(crate) fn roll_back(&mut self, mark: RegistryMark) {
        let [functions, namespaces, modules] = mark.counts;
        for slot in self.functions.drain(functions..) {
            self.names.remove(&RegisteredName::Function(slot.name));
        }
        for namespace in self.namespaces.drain(namespaces..) {
            if let LiveNamespace::Server(server) = namespace {
                self.names.remove(&RegisteredName::Server(server.name().to_owned()));
            }
        }
        for module in self.modules.drain(modules..) {
            self.names.remove(&RegisteredName::Module(module));
        }
        Arc::make_mut(&mut self.api).roll_back(mark.api);
    }

    /// Adds a function; one that was removed may come back under its name.
    pub(crate) fn add_function(&mut self, function: F) -> Result<(), NameError> {
        let name = RegisteredName::Function(function.name().to_owned());
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

    fn push(&mut self, key: RegisteredName, function: F) {
        self.names.insert(key, self.functions.len());
        let name = function.name().to_owned();
        self.functions.push(FunctionSlot { name, function: Some(function) });
    }

    /// Adds live values that are no server.
    pub(crate) fn add_namespace(&mut self, name: &str, values: L) -> Result<(), NameError> {
        Arc::make_mut(&mut self.api).add_namespace(name)?;
        self.namespaces.push(LiveNamespace::Other(values));
        Ok(())
    }

    /// Adds a value server; one that was removed may come back, or another one under its name.
    pub(crate) fn add_server(
        &mut self,
        namespace: &str,
        server: Arc<dyn ValueServer>,
    ) -> Result<(), NameError> {
        if let Some(known) = self.server(namespace)
            && !known.is_there()
        {
            known.put(server);
            return Ok(());
        }
        Arc::make_mut(&mut self.api).add_server(namespace)?;
        let name = RegisteredName::Server(namespace.to_owned());
        self.names.insert(name, self.namespaces.len());
        self.namespaces.push(LiveNamespace::Server(NamedServer::new(namespace, server)));
        Ok(())
    }

    fn server(&mut self, name: &str) -> Option<&mut NamedServer> {
        let place = self.names.get(&RegisteredName::Server(name.to_owned()))?;
        match &mut self.namespaces[*place] {
            LiveNamespace::Server(server) => Some(server),
            LiveNamespace::Other(_) => None,
        }
    }

    /// Takes away the function of this name. Gives whether there was one.
    pub(crate) fn remove_function(&mut self, name: &str) -> bool {
        let place = self.names.get(&RegisteredName::Function(name.to_owned()));
        place.is_some_and(|place| self.functions[*place].function.take().is_some())
    }

    /// Takes away the value server of this name. Gives whether there was one.
    pub(crate) fn remove_server(&mut self, name: &str) -> bool {
        self.server(name).is_some_and(NamedServer::remove)
    }

    /// Takes away the function or the value server of this name. Gives whether there was one.
    pub(crate) fn remove(&mut self, name: &str) -> bool {
        self.remove_function(name) || self.remove_server(name)
    }

    /// Adds all of a module, or nothing. One that is there already is not added again.
    pub(crate) fn install(&mut self, module: &Module) -> Result<(), NameError> {
        let name = RegisteredName::Module(module.name().to_owned());
        if self.names.contains_key(&name) {
            return Ok(());
        }
        let functions = module.functions().map(NativeFunction::name);
        let api = Arc::make_mut(&mut self.api);
        api.add_module(module.name(), functions, module.constants())?;
        for function in module.functions() {
            let name = RegisteredName::Function(function.name().to_owned());
            self.push(name, function.clone().into());
        }
        self.names.insert(name, self.modules.len());
        self.modules.push(module.name().to_owned());
        Ok(())
    }

    /// The functions that can be called, those of modules included.
    pub(crate) fn function_count(&self) -> usize {
        self.functions.iter().filter(|slot| slot.function.is_some()).count()
    }

    pub(crate) fn server_count(&self) -> usize {
        let is_server = |namespace: &&LiveNamespace<L>| match namespace {
            LiveNamespace::Server(server) => server.is_there(),
            LiveNamespace::Other(_) => false,
        };
        self.namespaces.iter().filter(is_server).count()
    }

    /// The names of the modules, in the order in which they came.
    pub(crate) fn modules(&self) -> impl Iterator<Item = &str> {
        self.modules.iter().map(String::as_str)
    }

    pub(crate) fn has_module(&self, name: &str) -> bool {
        self.names.contains_key(&RegisteredName::Module(name.to_owned()))
    }

    /// A function by its number.
    ///
    /// # Errors
    /// If it was removed.
    #[inline]
    pub(crate) fn function(&self, number: u32) -> Result<&F, ScriptError> {
        let slot = self.functions.get(number as usize).ok_or_else(unknown)?;
        match &slot.function {
            Some(function) => Ok(function),
            None => Err(ScriptError::Unregistered { name: slot.name.clone() }),
        }
    }

    /// A namespace by its number.
    ///
    /// # Errors
    /// If there is none.
    pub(crate) fn namespace(&self, number: u32) -> Result<&LiveNamespace<L>, ScriptError> {
        self.namespaces.get(number as usize).ok_or_else(unknown)
    }

    /// The names below a path of a namespace. Only servers tell them.
    pub(crate) fn names(&self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        match self.namespace(namespace)? {
            LiveNamespace::Server(server) => server.names(path),
            LiveNamespace::Other(_) => Ok(Vec::new()),
        }
    }
}

impl ApiRegistry {
    /// Puts a function in place of the one of its name, if there is one, or was.
    pub(crate) fn replace_function(&mut self, function: &NativeFunction) -> bool {
        match self.names.get(&RegisteredName::Function(function.name().to_owned())) {
            Some(place) => {
                self.functions[*place].function = Some(function.clone());
                true
            }
            None => false,
        }
    }

    pub(crate) fn call(
        &self,
        function: u32,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        self.function(function)?.call(&mut Caller::new(random), args)
    }

    pub(crate) fn live(&self, namespace: u32, path: &[&str]) -> Result<Live, ScriptError> {
        match self.namespace(namespace)? {
            LiveNamespace::Server(server) => server.live(path),
            LiveNamespace::Other(never) => match *never {},
        }
    }
}

/// A number without a name: it was being added when that failed.
fn unknown() -> ScriptError {
    ScriptError::Unregistered { name: "a function of the host".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(name: &str) -> NativeFunction {
        NativeFunction::new(name, || 1.0)
    }

    #[test]
    fn what_was_removed_may_come_back_and_what_is_taken_back_is_gone() {
        let mut registry = ApiRegistry::<NativeFunction>::default();
        assert_eq!(registry.add_function(one("a")), Ok(()));
        let mark = registry.mark();
        assert!(registry.add_function(one("a")).is_err(), "the name is taken");
        assert!(registry.mark().is_same(&mark));
        assert!(registry.remove("a") && !registry.remove("a"));
        assert!(registry.function(0).is_err());
        assert_eq!(registry.add_function(one("a")), Ok(()));
        assert!(registry.mark().is_same(&mark), "it has its number again");
        assert_eq!(registry.add_function(one("b")), Ok(()));
        assert!(!registry.mark().is_same(&mark));
        registry.roll_back(mark);
        assert_eq!((registry.function_count(), registry.api().functions().count()), (1, 1));
        assert_eq!(registry.add_function(one("b")), Ok(()), "the name is free again");
        assert!(!registry.replace_function(&one("c")) && registry.replace_function(&one("b")));
    }
}
