//! What a pool offers to scripts: functions, value servers, modules.

use std::sync::{Arc, PoisonError};

use super::LuauPool;
use crate::api_registry::ApiRegistry;
use crate::modules::Module;
use crate::vm::{IntoNativeFunction, NameError, NativeFunction, ValueServer};

impl LuauPool {
    /// Registers a host function for every run that begins from now on. All VMs are replaced. A run that is
    /// [retried](LuauPool::execute) doesn't repeat its calls.
    ///
    /// # Errors
    /// If the name is not a Lua name, or is taken.
    pub fn register_function<M>(
        &self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), NameError> {
        let function = NativeFunction::new(name, function);
        self.offering(|offer| offer.add_function(function))
    }

    /// Registers a host function for every run that begins from now on, or replaces the one of this name; then no VM is
    /// replaced. Runs in progress keep the old one.
    ///
    /// # Errors
    /// If the name is not a Lua name, or is that of something else.
    pub fn replace_function<M>(
        &self,
        name: &str,
        function: impl IntoNativeFunction<M>,
    ) -> Result<(), NameError> {
        let function = NativeFunction::new(name, function);
        {
            let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
            if Arc::make_mut(&mut current).replace_function(&function) {
                return Ok(());
            }
        }
        self.offering(|offer| offer.add_function(function))
    }

    /// Registers a server of live values for every run that begins from now on. All VMs are replaced.
    ///
    /// # Errors
    /// If the name is not a Lua name, or is taken.
    pub fn register_server(
        &self,
        namespace: &str,
        server: impl ValueServer,
    ) -> Result<(), NameError> {
        self.offering(|offer| offer.add_server(namespace, Arc::new(server)))
    }

    /// Installs a module for every run that begins from now on. All VMs are replaced.
    ///
    /// # Errors
    /// If one of its names is taken. Nothing of the module is installed then.
    pub fn install(&self, module: &Module) -> Result<(), NameError> {
        self.offering(|offer| offer.install(module))
    }

    /// Unregisters a function or a value server for every run that begins from now on. Returns whether there was one.
    pub fn unregister(&self, name: &str) -> bool {
        let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
        Arc::make_mut(&mut current).remove(name)
    }

    fn offering(
        &self,
        add: impl FnOnce(&mut ApiRegistry) -> Result<(), NameError>,
    ) -> Result<(), NameError> {
        {
            let mut current = self.offer.write().unwrap_or_else(PoisonError::into_inner);
            // Copied only if a run in progress holds it: that run keeps what it began with.
            let offer = Arc::make_mut(&mut current);
            self.vms.factory().replace_api(|| {
                let added = add(offer);
                (Arc::clone(offer.api()), added)
            })?;
        }
        self.vms().evict_all();
        Ok(())
    }
}
