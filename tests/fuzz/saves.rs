//! Bytes as saves: they are refused, or read as a state that is as good as any other.

use std::time::Duration;

use bevy::prelude::PartialReflect;
use bevy_lua_pool::ScriptTable;
use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::{Api, Call, Callback, NoWorld, Program, RunLimits, Vm};

/// Reads what it finds, and writes to all of it.
const SCRIPT: &str = "
local function visit(value, depth)
    if type(value) ~= 'table' then return tostring(value) end
    for key, inner in value do visit(inner, depth + 1) end
    value.n = (tonumber(value.n) or 0) + 1
    return #value
end
function on_start(self) visit(self, 0) end
function on_update(self) visit(self, 0) self.last = visit(self, 0) end
";

pub(crate) struct Saves {
    vm: Vm,
    script: Program,
}

impl Saves {
    pub(crate) fn new() -> Self {
        Self { vm: vm(), script: Program::compile("visit.luau", SCRIPT).expect("it compiles") }
    }

    /// Reads bytes in the format that the first one says. Gives whether they are a save.
    ///
    /// # Errors
    /// What is wrong with how they were met.
    pub(crate) fn meet(&mut self, bytes: &[u8]) -> Result<bool, String> {
        let Some((format, bytes)) = bytes.split_first() else { return Ok(false) };
        let Some(states) = read(format % 3, bytes) else { return Ok(false) };
        for format in 0..3 {
            let again = write(format, &states).and_then(|bytes| read(format, &bytes));
            if !again.is_some_and(|again| is_same(&again, &states)) {
                return Err(format!("{states:?} does not come back from format {format}"));
            }
        }
        let mut applied: ScriptStates = read(0, b"[(script:\"x\",started:true)]").expect("a save");
        applied.apply(states.to_dynamic().as_ref());
        if !is_same(&applied, &states) {
            return Err(format!("{states:?} is applied as {applied:?}"));
        }
        for state in states.iter() {
            self.run(&state.fields);
        }
        Ok(true)
    }

    /// A script goes on from it, whatever it is.
    fn run(&mut self, state: &ScriptTable) {
        let time = Duration::from_millis(20);
        let limits = RunLimits { time, ..RunLimits::from(&LuaPoolConfig::default()) };
        for callback in [Callback::Start, Callback::Update] {
            if self.vm.is_spent() {
                self.vm = vm();
            }
            let call = Call { callback, state, args: &[0.5.into()], seed: 1 };
            let _ = self.vm.run(&self.script, call, &mut NoWorld::default(), &limits);
        }
    }
}

fn is_same(a: &ScriptStates, b: &ScriptStates) -> bool {
    a.iter().count() == b.iter().count()
        && a.iter().zip(b.iter()).all(|(a, b)| {
            (&a.script, a.started) == (&b.script, b.started) && a.fields.is_identical(&b.fields)
        })
}

fn read(format: u8, bytes: &[u8]) -> Option<ScriptStates> {
    match format {
        0 => ron::de::from_bytes(bytes).ok(),
        1 => serde_json::from_slice(bytes).ok(),
        _ => postcard::from_bytes(bytes).ok(),
    }
}

fn write(format: u8, states: &ScriptStates) -> Option<Vec<u8>> {
    match format {
        0 => ron::to_string(states).ok().map(String::into_bytes),
        1 => serde_json::to_vec(states).ok(),
        _ => postcard::to_allocvec(states).ok(),
    }
}

fn vm() -> Vm {
    Vm::new(&Api::default(), LuaPoolConfig::default().pool.memory_limit).expect("it fits")
}
