//! [`Bindings`]: everything that scripts can reach in one app.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use bevy::log::warn;
use bevy::prelude::{Resource, Transform, World};
use bevy::reflect::TypeRegistry;

use super::column::Column;
use super::component::{Exposable, ExposedComponent};
use super::context::{HostApi, ScriptContext};
use super::exposure::Exposure;
use super::functions::HostFunction;
use crate::config::LuaPoolConfig;
use crate::error::ScriptError;
use crate::modules::Module;
use crate::pool::VmPool;
use crate::sandbox::SandboxConfig;
use crate::value::{ScriptValue, ScriptValues};
use crate::vm::{
    Api, Live, LuauFactory, NameError, NamedServer, NativeFunction, RunRandom, ValueServer, Vm,
};

/// A namespace of live values.
enum LiveNamespace {
    /// It reads from the world.
    InContext(LiveValue),
    /// It needs no world.
    Server(NamedServer),
}

type LiveValue =
    Box<dyn Fn(&ScriptContext<'_>, &str) -> Result<ScriptValue, ScriptError> + Send + Sync>;

/// Everything that scripts can reach in one app, by number.
#[derive(Resource)]
pub(crate) struct Bindings {
    api: Arc<Api>,
    functions: Vec<HostFunction>,
    namespaces: Vec<LiveNamespace>,
    /// Where the value servers are, by name.
    servers: HashMap<String, usize>,
    modules: BTreeSet<String>,
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
            api: Arc::default(),
            functions: Vec::new(),
            namespaces: Vec::new(),
            servers: HashMap::new(),
            modules: BTreeSet::new(),
            vms: None,
            exposure: Exposure::curated(),
            expose_all: false,
        }
    }

    pub(crate) fn add_function(&mut self, function: HostFunction) -> Result<(), NameError> {
        self.change_api(|api| api.add_function(&function.name))?;
        self.functions.push(function);
        Ok(())
    }

    pub(super) fn add_namespace(&mut self, name: &str, read: LiveValue) -> Result<(), NameError> {
        self.change_api(|api| api.add_namespace(name))?;
        self.namespaces.push(LiveNamespace::InContext(read));
        Ok(())
    }

    pub(super) fn add_server(
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
        self.change_api(|api| api.add_server(namespace))?;
        self.servers.insert(namespace.to_owned(), self.namespaces.len());
        self.namespaces.push(LiveNamespace::Server(NamedServer::new(namespace, server)));
        Ok(())
    }

    pub(super) fn remove_server(&mut self, namespace: &str) {
        if let Some(known) = self.server(namespace) {
            known.remove();
        }
    }

    fn server(&mut self, namespace: &str) -> Option<&mut NamedServer> {
        match &mut self.namespaces[*self.servers.get(namespace)?] {
            LiveNamespace::Server(server) => Some(server),
            LiveNamespace::InContext(_) => None,
        }
    }

    /// Adds all of a module, or nothing.
    pub(super) fn add_module(&mut self, module: &Module) -> Result<(), NameError> {
        if self.modules.contains(module.name()) {
            return Ok(());
        }
        let functions = module.functions().map(NativeFunction::name);
        self.change_api(|api| api.add_module(module.name(), functions, module.constants()))?;
        self.functions.extend(module.functions().cloned().map(HostFunction::native));
        self.modules.insert(module.name().to_owned());
        Ok(())
    }

    /// Warns of modules that a sandbox allows and that are not there: their names may be misspelt.
    pub(crate) fn tell_of_missing_modules(&self, sandbox: &SandboxConfig) {
        let allowed = sandbox.modules.iter().flatten();
        for name in allowed.filter(|name| !self.modules.contains(*name)) {
            warn!("the sandbox allows the module `{name}`, which nobody has added");
        }
    }

    /// From now on, what is added is for VMs of this pool too, which this factory makes.
    pub(crate) fn serve(&mut self, factory: LuauFactory, pool: VmPool<Vm>) {
        self.vms = Some((factory, pool));
    }

    pub(super) fn is_serving(&self) -> bool {
        self.vms.is_some()
    }

    /// Adds to the API. The VMs of a running app are replaced by such that offer what was added.
    fn change_api<R>(
        &mut self,
        change: impl FnOnce(&mut Api) -> Result<R, NameError>,
    ) -> Result<R, NameError> {
        let Self { api, vms, .. } = self;
        let Some((factory, pool)) = vms else { return change(Arc::make_mut(api)) };
        let changed = factory.replace_api(|| {
            let changed = change(Arc::make_mut(api));
            (Arc::clone(api), changed)
        })?;
        pool.evict_all();
        Ok(changed)
    }

    pub(super) fn expose<T: Exposable>(&mut self) {
        self.exposure.add(ExposedComponent::of::<T>());
    }

    /// Settles what is exposed, once all plugins were built.
    pub(crate) fn freeze(&mut self, world: &mut World, registry: &TypeRegistry) {
        self.exposure.add_registered(registry, self.expose_all);
        self.exposure.freeze(world);
    }

    pub(crate) fn api(&self) -> &Arc<Api> {
        &self.api
    }

    /// What the runs of one worker see of the world.
    pub(crate) fn context<'w>(
        &'w self,
        world: &'w World,
        registry: &'w TypeRegistry,
        limits: &'w LuaPoolConfig,
        transforms: &'w Column<'w, Transform>,
    ) -> ScriptContext<'w> {
        ScriptContext::new(world, (&self.exposure, self), registry, limits, transforms)
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
        self.functions[function as usize].call(context, args, random)
    }

    fn live(
        &self,
        namespace: u32,
        context: &ScriptContext<'_>,
        path: &[&str],
    ) -> Result<Live, ScriptError> {
        match &self.namespaces[namespace as usize] {
            LiveNamespace::InContext(read) => read(context, path[0]).map(Live::Value),
            LiveNamespace::Server(server) => server.live(path),
        }
    }

    fn live_names(&self, namespace: u32, path: &[&str]) -> Result<Vec<String>, ScriptError> {
        match &self.namespaces[namespace as usize] {
            LiveNamespace::InContext(_) => Ok(Vec::new()),
            LiveNamespace::Server(server) => server.names(path),
        }
    }
}
