//! [`Bindings`]: everything that scripts can reach in one app.

use std::sync::Arc;

use bevy::log::warn;
use bevy::prelude::{Resource, World};
use bevy::reflect::TypeRegistry;

use super::component::ExposedComponent;
use super::component_type::Exposable;
use super::context::{HostApi, ScriptContext};
use super::exposure::Exposure;
use super::functions::HostFunction;
use super::stage_columns::StageColumns;
use crate::api_registry::{ApiRegistry, LiveNamespace};
use crate::config::LuaPoolConfig;
use crate::error::ScriptError;
use crate::modules::Module;
use crate::pool::VmPool;
use crate::sandbox::SandboxConfig;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{Api, Live, LuauFactory, NameError, RunRandom, ValueServer, Vm};

/// Live values that are read from the world.
pub(super) type LiveValue =
    Box<dyn Fn(&ScriptContext<'_>, &str) -> Result<ScriptValue, ScriptError> + Send + Sync>;

type HostRegistry = ApiRegistry<HostFunction, LiveValue>;

/// Everything that scripts can reach in one app, by number.
#[derive(Resource)]
pub(crate) struct Bindings {
    registry: HostRegistry,
    /// Where VMs come from, once the app runs.
    vms: Option<(LuauFactory, VmPool<Vm>)>,
    pub(crate) exposure: Exposure,
    /// Every registered component is exposed.
    pub(super) expose_all: bool,
}

impl Bindings {
    /// The curated components, and no functions.
    pub(super) fn curated() -> Self {
        Self {
            registry: HostRegistry::default(),
            vms: None,
            exposure: Exposure::curated(),
            expose_all: false,
        }
    }

    pub(crate) fn add_function(&mut self, function: HostFunction) -> Result<(), NameError> {
        self.register(|registry| registry.add_function(function))
    }

    pub(super) fn add_namespace(&mut self, name: &str, read: LiveValue) -> Result<(), NameError> {
        self.register(|registry| registry.add_namespace(name, read))
    }

    pub(super) fn add_server(
        &mut self,
        namespace: &str,
        server: Arc<dyn ValueServer>,
    ) -> Result<(), NameError> {
        self.register(|registry| registry.add_server(namespace, server))
    }

    pub(super) fn remove_server(&mut self, namespace: &str) {
        self.registry.remove_server(namespace);
    }

    /// Adds all of a module, or nothing.
    pub(super) fn add_module(&mut self, module: &Module) -> Result<(), NameError> {
        self.register(|registry| registry.install(module))
    }

    /// Warns of modules that the sandbox allows and nobody has added: their names may be misspelt.
    pub(crate) fn tell_of_missing_modules(&self, sandbox: &SandboxConfig) {
        let allowed = sandbox.modules.iter().flatten();
        for name in allowed.filter(|name| !self.registry.has_module(name)) {
            warn!("the sandbox allows the module `{name}`, which nobody has added");
        }
    }

    /// Sets the pool whose VMs are replaced when something is added later, and the factory that makes them.
    pub(crate) fn serve(&mut self, factory: LuauFactory, pool: VmPool<Vm>) {
        self.vms = Some((factory, pool));
    }

    pub(super) fn is_serving(&self) -> bool {
        self.vms.is_some()
    }

    /// Adds to the API. In a running app, the VMs are replaced by VMs that offer what was added.
    fn register(
        &mut self,
        add: impl FnOnce(&mut HostRegistry) -> Result<(), NameError>,
    ) -> Result<(), NameError> {
        let Self { registry, vms, .. } = self;
        let Some((factory, pool)) = vms else { return add(registry) };
        let before = registry.mark();
        factory.replace_api(|| {
            let added = add(registry);
            (Arc::clone(registry.api()), added)
        })?;
        if !registry.mark().is_same(&before) {
            pool.evict_all();
        }
        Ok(())
    }

    pub(super) fn expose<T: Exposable>(&mut self) {
        self.exposure.add(ExposedComponent::of::<T>());
    }

    /// Fixes what is exposed, once all plugins are built.
    pub(crate) fn freeze(&mut self, world: &mut World, registry: &TypeRegistry) {
        self.exposure.add_registered(registry, self.expose_all);
        self.exposure.freeze(world);
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        self.registry.api()
    }

    /// A context for the runs of one worker.
    pub(crate) fn context<'w>(
        &'w self,
        world: &'w World,
        registry: &'w TypeRegistry,
        limits: &'w LuaPoolConfig,
        columns: &'w StageColumns<'w>,
    ) -> ScriptContext<'w> {
        ScriptContext::new(world, (&self.exposure, self), registry, limits, columns)
    }
}

impl HostApi for Bindings {
    fn call(
        &self,
        function: u32,
        context: &mut ScriptContext<'_>,
        args: Vec<ScriptValue>,
        random: &mut RunRandom,
    ) -> Result<ScriptValues, ScriptError> {
        self.registry.function(function)?.call(context, args, random)
    }

    fn live(
        &self,
        namespace: u32,
        context: &ScriptContext<'_>,
        path: &[&str],
    ) -> Result<Live, ScriptError> {
        match self.registry.namespace(namespace)? {
            LiveNamespace::Server(server) => server.live(path),
            LiveNamespace::Other(read) => read(context, path[0]).map(Live::Value),
        }
    }

    fn live_names(&self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        self.registry.names(namespace, path)
    }
}
