//! What the app of a trial offers to scripts.

use bevy::prelude::*;
use bevy_lua_pool::Callback;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::{Api, Call, NoWorld, Outcome, Program, RunLimits, Vm};

use super::common::patient;

/// A list and a map that scripts change in place.
#[derive(Component, Reflect, Clone, Default)]
#[reflect(Default)]
pub(crate) struct Bag {
    pub(crate) items: Vec<f64>,
    pub(crate) prices: std::collections::BTreeMap<String, f64>,
}

/// Entities that scripts must not reach, although they hold them.
#[derive(Component, Reflect, Clone)]
pub(crate) struct Hidden {
    pub(crate) observer: Entity,
    pub(crate) resource: Entity,
    pub(crate) gone: Entity,
}

/// Registered for reflection, but not exposed.
#[derive(Component, Reflect, Clone, Default)]
#[reflect(Component, Default)]
pub(crate) struct Secret {
    pub(crate) text: String,
}

/// What the app offers to the attacks.
pub(crate) fn add_host(app: &mut App) {
    app.expose_component::<Bag>()
        .expose_component::<Hidden>()
        .register_type::<Secret>()
        .add_lua_function("host.panics", |(): ()| -> f64 { panic!("on purpose") })
        .add_lua_function("host.fails", |message: String| -> Result<f64, String> { Err(message) })
        .add_lua_function("host.echo", |value: ScriptValue| value)
        .add_lua_function("host.repeats", |(text, times): (String, f64)| {
            text.repeat(times as usize)
        })
        .add_lua_function("host.nests", |depth: f64| {
            (0..depth as usize).fold(ScriptValue::Nil, |inner, _| {
                let mut table = ScriptTable::default();
                table.push(inner);
                table.into()
            })
        })
        .add_lua_function("host.list", |count: f64| {
            let mut table = ScriptTable::default();
            (0..count as usize).for_each(|n| table.push(n as f64));
            table
        })
        .add_lua_function("host.scripts", |source: String| script_within(&source))
        .add_lua_function("host.sends", |ctx: &mut ScriptContext<'_>, times: f64| {
            let to = ctx.entity();
            (0..times as usize).try_for_each(|n| ctx.send(to, "host", n as f64))
        });
}

/// Runs a script on a VM of its own, from within a host function: gives its `self.result`.
fn script_within(source: &str) -> Result<ScriptValue, String> {
    let program = Program::compile("within.luau", source).map_err(|error| error.to_string())?;
    let config = LuaPoolConfig::default();
    let mut vm =
        Vm::new(&Api::default(), config.pool.memory_limit).map_err(|error| error.to_string())?;
    let state = ScriptTable::default();
    let call = Call { callback: Callback::Start, state: &state, args: &[], seed: 0 };
    let limits = RunLimits::from(&patient());
    match vm.run(&program, call, &mut NoWorld::default(), &limits) {
        Outcome::Done(state) => Ok(state.get("result").clone()),
        Outcome::Missing => Err("it has no on_start".to_owned()),
        Outcome::Failed(failure) => Err(failure.to_string()),
    }
}
