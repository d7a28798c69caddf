//! Registration on [`App`] and [`World`].

use std::sync::Arc;

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::log::error;
use bevy::prelude::{App, Mut, Resource, World};

use super::component_type::Exposable;
use super::functions::{HostFunction, IntoLuaFunction};
use super::registry::Bindings;
use crate::modules::Module;
use crate::vm::ValueServer;

/// Tells scripts what they can reach.
///
/// Usually called while the app is built, before or after adding the plugin. It also works on the [`World`] of a
/// running app, such as from a command: every run that begins afterwards sees what was added. Adding functions, servers
/// or modules to a running app replaces its VMs.
pub trait LuaAppExt {
    /// Adds a host function. A dotted name makes tables: `game.damage`.
    ///
    /// ```
    /// use bevy::prelude::*;
    /// use bevy_lua_pool::prelude::*;
    ///
    /// let mut app = App::new();
    /// app.add_lua_function("game.clamp", |(x, max): (f64, f64)| x.min(max))
    ///     .add_lua_function("game.despawn_all", |ctx: &mut ScriptContext, name: String| {
    ///         ctx.queue(move |world: &mut World| {
    ///             let mut names = world.query::<(Entity, &Name)>();
    ///             let gone: Vec<_> =
    ///                 names.iter(world).filter(|(_, n)| n.as_str() == name).map(|(e, _)| e).collect();
    ///             gone.into_iter().for_each(|entity| _ = world.despawn(entity));
    ///         })
    ///     });
    /// ```
    ///
    /// A run may be restarted: one that comes near its memory limit, and the first one that could tell that its file
    /// level is shared (see [what is not the same everywhere](crate#what-is-not-the-same-everywhere)). What the first
    /// attempt did through `ctx` is rolled back. Other side effects of a function are not, and happen twice: put them
    /// in a command for [`ScriptContext::queue`](crate::ScriptContext::queue), which runs once, if the run succeeds.
    ///
    /// A name that is no Lua name, or is taken, is logged as an error and left out.
    fn add_lua_function<M>(&mut self, name: &str, function: impl IntoLuaFunction<M>) -> &mut Self;

    /// Adds live values: what `server` has at `path.to.value` is what scripts find at
    /// `namespace.path.to.value`; every read asks the server. A namespace that was removed can be added again.
    ///
    /// What it answers should not change while a stage runs, or the result depends on which run came
    /// first.
    ///
    /// ```
    /// use bevy::prelude::*;
    /// use bevy_lua_pool::prelude::*;
    /// use bevy_lua_pool::vm::SharedValues;
    ///
    /// let weather = SharedValues::new();
    /// weather.set("wind.speed", 12.0);
    /// App::new().add_value_server("Weather", weather.clone());
    /// // In a script: Weather.wind.speed
    /// ```
    ///
    /// A name that is no Lua name, or is taken, is logged as an error and left out.
    fn add_value_server(&mut self, namespace: &str, server: impl ValueServer) -> &mut Self;

    /// Takes a value server away: reading from its namespace is an error in scripts from now on.
    fn remove_value_server(&mut self, namespace: &str) -> &mut Self;

    /// Adds a [module](crate::modules), such as `modules::json()`; nothing happens if it is there
    /// already.
    ///
    /// If one of its names is taken, that is logged as an error, and the module is left out.
    fn add_lua_module(&mut self, module: Module) -> &mut Self;

    /// Lets scripts read and write a component, under its short type name.
    ///
    /// If two components have the same short name, the second one goes by its full type path:
    /// `entity["my_game::combat::Health"]`.
    fn expose_component<T: Exposable>(&mut self) -> &mut Self;

    /// Lets scripts read and write every component that the app registered for reflection, except those that Bevy and
    /// this crate depend on. For prototypes: untrusted scripts should reach only what they need.
    fn expose_all_components(&mut self) -> &mut Self;
}

impl LuaAppExt for World {
    fn add_lua_function<M>(&mut self, name: &str, function: impl IntoLuaFunction<M>) -> &mut Self {
        let function = HostFunction::new(name, function);
        change(self, |world| {
            if let Err(problem) = bindings(world).add_function(function) {
                error!("the Lua function was not added: {problem}");
            }
        })
    }

    fn add_value_server(&mut self, namespace: &str, server: impl ValueServer) -> &mut Self {
        let namespace = namespace.to_owned();
        change(self, move |world| {
            if let Err(problem) = bindings(world).add_server(&namespace, Arc::new(server)) {
                error!("the value server was not added: {problem}");
            }
        })
    }

    fn remove_value_server(&mut self, namespace: &str) -> &mut Self {
        let namespace = namespace.to_owned();
        change(self, move |world| bindings(world).remove_server(&namespace))
    }

    fn add_lua_module(&mut self, module: Module) -> &mut Self {
        change(self, move |world| {
            if let Err(problem) = bindings(world).add_module(&module) {
                error!("the Lua module `{}` was not added: {problem}", module.name());
            }
        })
    }

    fn expose_component<T: Exposable>(&mut self) -> &mut Self {
        change(self, |world| {
            world.get_resource_or_init::<AppTypeRegistry>().write().register::<T>();
            bindings(world).expose::<T>();
            refreeze(world);
        })
    }

    fn expose_all_components(&mut self) -> &mut Self {
        change(self, |world| {
            bindings(world).expose_all = true;
            refreeze(world);
        })
    }
}

/// Registrations made while effects are applied, such as by a command of a host function. The bindings are in use then,
/// so these wait until that is done.
#[derive(Resource, Default)]
pub(crate) struct LateBindings(Vec<LateChange>);

type LateChange = Box<dyn FnOnce(&mut World) + Send + Sync>;

impl LateBindings {
    /// Makes the registrations that have been waiting.
    pub(crate) fn apply(world: &mut World) {
        let late = world.get_resource_mut::<Self>().map(|mut late| std::mem::take(&mut late.0));
        late.into_iter().flatten().for_each(|change| change(world));
    }
}

/// Changes the bindings, now or as soon as they are no longer in use.
fn change(
    world: &mut World,
    change: impl FnOnce(&mut World) + Send + Sync + 'static,
) -> &mut World {
    if !world.contains_resource::<Bindings>()
        && let Some(mut late) = world.get_resource_mut::<LateBindings>()
    {
        late.0.push(Box::new(change));
    } else {
        change(world);
    }
    world
}

impl LuaAppExt for App {
    fn add_lua_function<M>(&mut self, name: &str, function: impl IntoLuaFunction<M>) -> &mut Self {
        self.world_mut().add_lua_function(name, function);
        self
    }

    fn add_value_server(&mut self, namespace: &str, server: impl ValueServer) -> &mut Self {
        self.world_mut().add_value_server(namespace, server);
        self
    }

    fn remove_value_server(&mut self, namespace: &str) -> &mut Self {
        self.world_mut().remove_value_server(namespace);
        self
    }

    fn add_lua_module(&mut self, module: Module) -> &mut Self {
        self.world_mut().add_lua_module(module);
        self
    }

    fn expose_component<T: Exposable>(&mut self) -> &mut Self {
        self.world_mut().expose_component::<T>();
        self
    }

    fn expose_all_components(&mut self) -> &mut Self {
        self.world_mut().expose_all_components();
        self
    }
}

fn bindings(world: &mut World) -> Mut<'_, Bindings> {
    world.get_resource_or_init::<Bindings>()
}

/// Freezes what is exposed again, in a running app. Before it runs, the plugin does so when all plugins are built.
fn refreeze(world: &mut World) {
    if !bindings(world).is_serving() {
        return;
    }
    let registry = world.resource::<AppTypeRegistry>().clone();
    world.resource_scope::<Bindings, _>(|world, mut bindings| {
        bindings.freeze(world, &registry.read());
    });
}
