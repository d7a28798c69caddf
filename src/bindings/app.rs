//! Registration on [`App`].

use bevy::log::error;
use bevy::prelude::App;

use super::Bindings;
use super::exposure::Exposable;
use super::functions::{HostFunction, IntoLuaFunction};

/// Tells scripts what they can reach. To be called while the app is built, before or after the plugin
/// was added.
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
    /// A name that is no Lua name, or is taken, is logged as an error and left out.
    fn add_lua_function<M>(&mut self, name: &str, function: impl IntoLuaFunction<M>) -> &mut Self;

    /// Lets scripts read and write a component, under its short type name.
    ///
    /// If two components have the same short name, the second one goes by its full type path:
    /// `entity["my_game::combat::Health"]`.
    fn expose_component<T: Exposable>(&mut self) -> &mut Self;

    /// Lets scripts read and write every component that the app registered for reflection, except those
    /// that hold up the app. For prototypes: a stranger's script should reach only what it needs.
    fn expose_all_components(&mut self) -> &mut Self;
}

impl LuaAppExt for App {
    fn add_lua_function<M>(&mut self, name: &str, function: impl IntoLuaFunction<M>) -> &mut Self {
        self.init_resource::<Bindings>();
        let mut bindings = self.world_mut().resource_mut::<Bindings>();
        if let Err(problem) = bindings.add_function(HostFunction::new(name, function)) {
            error!("the Lua function was not added: {problem}");
        }
        self
    }

    fn expose_component<T: Exposable>(&mut self) -> &mut Self {
        self.register_type::<T>().init_resource::<Bindings>();
        self.world_mut().resource_mut::<Bindings>().expose::<T>();
        self
    }

    fn expose_all_components(&mut self) -> &mut Self {
        self.init_resource::<Bindings>();
        self.world_mut().resource_mut::<Bindings>().expose_all = true;
        self
    }
}
