//! What an engine offers to scripts: functions, value servers, modules.

use std::sync::Arc;

use super::LuaEngine;
use crate::engine::builder::EngineError;
use crate::modules::{self, Module};
use crate::vm::{IntoNativeFunction, NativeFunction, ValueServer};

impl LuaEngine {
    /// Registers a host function. A dotted name makes tables: `game.damage`.
    ///
    /// # Errors
    /// [`EngineError::Name`] if the name is not a Lua name, or is taken.
    pub fn register_function<M>(
        &mut self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), EngineError> {
        let function = NativeFunction::new(name, function);
        self.core.offer(|offer| Ok(offer.add_function(function)?))
    }

    /// Registers a host function, or replaces the one of this name: references that scripts keep call the new one.
    ///
    /// # Errors
    /// [`EngineError::Name`] if the name is not a Lua name, or is that of something else.
    pub fn replace_function<M>(
        &mut self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), EngineError> {
        let function = NativeFunction::new(name, function);
        if self.core.offer.replace_function(&function) {
            return Ok(());
        }
        self.core.offer(|offer| Ok(offer.add_function(function)?))
    }

    /// Registers a server of live values: scripts read its value at `path.to.value` as `namespace.path.to.value`. Every
    /// read asks the server.
    ///
    /// # Errors
    /// As [`LuaEngine::register_function`].
    pub fn register_server(
        &mut self,
        namespace: &str,
        server: impl ValueServer,
    ) -> Result<(), EngineError> {
        self.core.offer(|offer| Ok(offer.add_server(namespace, Arc::new(server))?))
    }

    /// Unregisters a function or a value server. Scripts that use it, through references that they keep too, get an
    /// error that says so until the name is registered again. Returns whether there was one.
    pub fn unregister(&mut self, name: &str) -> bool {
        self.core.offer.remove(name)
    }

    /// Installs a module, unless it is installed already.
    ///
    /// # Errors
    /// [`EngineError::Name`] if one of its names is taken. Nothing of the module is installed then.
    pub fn install(&mut self, module: &Module) -> Result<(), EngineError> {
        self.core.offer(|offer| Ok(offer.install(module)?))
    }

    /// Installs all built-in modules.
    ///
    /// # Errors
    /// As [`LuaEngine::install`].
    pub fn install_all(&mut self) -> Result<(), EngineError> {
        modules::all().iter().try_for_each(|module| self.install(module))
    }

    /// The names of the installed modules, in the order of installation.
    pub fn modules(&self) -> impl Iterator<Item = &str> {
        self.core.offer.modules()
    }
}
