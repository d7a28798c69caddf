//! The functions that every script has: `world`, `send`, `emit`, `quat`, `time`. They use the same registration as an
//! app's own host functions.

use bevy::math::{EulerRot, Quat, Vec3};
use bevy::prelude::{Entity, Time};

use super::context::ScriptContext;
use super::effects::MAX_NEW_ENTITIES;
use super::functions::{HostFunction, IntoLuaFunction};
use super::registry::Bindings;
use super::script_name::script_name;
use crate::error::{ScriptError, Setting, suggest};
use crate::value::{FromScript, IntoScript, ScriptKey, ScriptTable, ScriptValue, describe};
use crate::vm::Host;

impl Default for Bindings {
    /// The built-in functions and the curated components.
    fn default() -> Self {
        let mut bindings = Self::curated();
        register(&mut bindings);
        bindings
    }
}

fn register(bindings: &mut Bindings) {
    add(bindings, "world.exists", |ctx: &mut ScriptContext<'_>, id: Entity| ctx.exists(id));
    add(bindings, "world.get", |ctx: &mut ScriptContext<'_>, id: Entity| {
        ctx.exists(id).then_some(id)
    });
    add(bindings, "world.spawn", spawn);
    add(bindings, "world.despawn", |ctx: &mut ScriptContext<'_>, id: Entity| ctx.despawn(id));
    add(
        bindings,
        "send",
        |ctx: &mut ScriptContext<'_>, (to, name, payload): (Entity, String, ScriptValue)| {
            ctx.send(to, name, payload)
        },
    );
    add(bindings, "emit", |ctx: &mut ScriptContext<'_>, (name, payload): (String, ScriptValue)| {
        ctx.emit(name, payload)
    });
    add(bindings, "quat.from_axis_angle", |(axis, angle): (Vec3, f32)| {
        match axis.try_normalize() {
            Some(axis) => Ok(Quat::from_axis_angle(axis, angle)),
            None => Err("quat.from_axis_angle: the axis must not be zero"),
        }
    });
    add(bindings, "quat.from_euler", |(x, y, z): (f32, f32, f32)| {
        Quat::from_euler(EulerRot::XYZ, x, y, z)
    });
    add(bindings, "quat.mul", |(a, b): (Quat, Quat)| a * b);
    add(bindings, "quat.inverse", |q: Quat| q.inverse());
    add(bindings, "quat.rotate", |(q, v): (Quat, Vec3)| q * v);
    bindings.add_namespace("time", Box::new(time)).expect("no built-in name is taken twice");
}

/// The most scripts of an entity that a script spawns.
const MAX_SCRIPTS: usize = 16;

fn add<M>(bindings: &mut Bindings, name: &str, function: impl IntoLuaFunction<M>) {
    let mut function = HostFunction::new(name, function);
    function.takes_new_entities = true;
    bindings.add_function(function).expect("no built-in name is taken twice");
}

/// `world.spawn{Transform = {…}, scripts = {"…"}, parent = id}`
fn spawn(ctx: &mut ScriptContext<'_>, with: Option<ScriptTable>) -> Result<Entity, ScriptError> {
    let wrong = |position: &str, expected: &str, got: &ScriptValue| ScriptError::WrongType {
        place: format!("world.spawn{{{position}}}"),
        expected: expected.to_owned(),
        got: describe(got),
    };
    let mut with = with.unwrap_or_default();
    if ctx.effects.spawned.len() >= MAX_NEW_ENTITIES {
        let (what, limit) = ("spawned entities", MAX_NEW_ENTITIES);
        return Err(ScriptError::TooMuch { what, limit, setting: Setting::MaxCommands });
    }
    if let Some(first) = with.array.first() {
        return Err(wrong("1", "components by name", first));
    }
    let mut take = |name: &str| with.fields.remove(&ScriptKey::from(name)).unwrap_or_default();
    let scripts = match take("scripts") {
        ScriptValue::Nil => Vec::new(),
        ScriptValue::String(path) => vec![path],
        other => Vec::from_script(other)
            .map_err(|got| wrong("scripts", "an asset path or a list of them", &got))?,
    };
    if scripts.len() > MAX_SCRIPTS {
        let got = ScriptValue::from(scripts.len() as f64);
        return Err(wrong("scripts", &format!("at most {MAX_SCRIPTS} scripts"), &got));
    }
    let mut names = Vec::with_capacity(scripts.len());
    for path in &scripts {
        names.push(script_name(path).map_err(|problem| {
            let got = ScriptValue::from(path.as_str());
            wrong("scripts", &format!("an asset path ({problem})"), &got)
        })?);
    }
    let parent: Option<Entity> =
        Option::from_script(take("parent")).map_err(|got| wrong("parent", "an entity", &got))?;
    if let Some(parent) = parent {
        ctx.must_exist(parent)?;
    }
    let (spawned_before, writes_before) = (ctx.effects.spawned.len(), ctx.effects.writes.len());
    let spawned = ctx.spawn(parent, names).and_then(|entity| {
        for (key, value) in with.fields {
            let ScriptKey::String(name) = key else {
                return Err(wrong(&key.to_string(), "components by name", &value));
            };
            ctx.set_component(entity, &name, value)?;
        }
        Ok(entity)
    });
    if spawned.is_err() {
        // The script may catch the error, so remove what is incomplete. The new entity's writes are the last ones.
        ctx.effects.spawned.truncate(spawned_before);
        ctx.effects.writes.truncate(writes_before);
    }
    spawned
}

/// `time.delta` and `time.elapsed`, in seconds.
fn time(ctx: &ScriptContext<'_>, name: &str) -> Result<ScriptValue, ScriptError> {
    let Some(time) = ctx.world().get_resource::<Time>() else {
        return Err(ScriptError::Host { message: "the app has no clock: add `TimePlugin`".into() });
    };
    match name {
        "delta" => time.delta_secs_f64().into_script(),
        "elapsed" => time.elapsed_secs_f64().into_script(),
        other => Err(ScriptError::UnknownField {
            owner: "time".to_owned(),
            field: other.to_owned(),
            similar: suggest(other, ["delta", "elapsed"].into_iter()),
        }),
    }
}
