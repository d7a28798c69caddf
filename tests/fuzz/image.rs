//! A script can't tell whether its file level ran just now or is an image that many runs share.

use std::time::Duration;

use bevy_lua_pool::prelude::*;
use bevy_lua_pool::vm::{Api, Call, Callback, NoWorld, Outcome, Program, RunLimits, Vm};
use bevy_lua_pool::{Failure, ScriptError};

use super::closures;
use super::generator::{self, Choices};

/// Two VMs, of which the second one runs every file level anew.
pub(crate) struct Twins {
    shared: Vm,
    own: Vm,
    /// Scripts that ran on an image to the end.
    pub(crate) on_images: u64,
}

/// What a run came to; `None` if a limit decided.
type Seen = Option<Result<ScriptTable, String>>;

impl Twins {
    pub(crate) fn new() -> Self {
        Self { shared: vm(), own: vm(), on_images: 0 }
    }

    /// Runs the script of these choices both ways.
    ///
    /// # Errors
    /// What differs.
    pub(crate) fn meet(&mut self, choices: &mut dyn Choices) -> Result<(), String> {
        let script = match choices.choose(3) {
            0 => generator::script(choices),
            _ => format!("{}{}", closures::PRELUDE, closures::script(choices)),
        };
        self.compare(&script)
    }

    fn compare(&mut self, script: &str) -> Result<(), String> {
        let program = || Program::compile("random.luau", script);
        let (Ok(shared), Ok(own)) = (program(), program()) else { return Ok(()) };
        own.has_own_file_levels();
        let (shared_runs, own_runs) = (runs(&mut self.shared, &shared), runs(&mut self.own, &own));
        self.on_images += u64::from(shared.mutable().is_none());
        for (number, (shared, own)) in (1..).zip(shared_runs.iter().zip(&own_runs)) {
            let (Some(shared), Some(own)) = (shared, own) else { return Ok(()) };
            if !is_same(shared, own) {
                return Err(format!(
                    "run {number} comes to {shared:?} with an image, to {own:?} without:\n{script}"
                ));
            }
        }
        Ok(())
    }
}

fn is_same(a: &Result<ScriptTable, String>, b: &Result<ScriptTable, String>) -> bool {
    match (a, b) {
        (Ok(a), Ok(b)) => a.is_identical(b),
        (a, b) => a == b,
    }
}

/// Four runs for one entity, and one for another.
fn runs(vm: &mut Vm, program: &Program) -> Vec<Seen> {
    // It is what ends a run, and no measure of anything.
    let time = Duration::from_millis(20);
    let limits = RunLimits { time, ..RunLimits::from(&LuaPoolConfig::default()) };
    let mut state = ScriptTable::default();
    let mut seen = Vec::new();
    for number in 0..5 {
        if number == 4 {
            state = ScriptTable::default();
        }
        if vm.is_spent() {
            *vm = self::vm();
        }
        let call = Call { callback: Callback::Update, state: &state, args: &[0.5.into()], seed: 1 };
        let run = match vm.run(program, call, &mut NoWorld::default(), &limits) {
            Outcome::Done(next) => {
                state = next.clone();
                Some(Ok(next))
            }
            Outcome::Failed(failure) => (!is_by_limit(&failure)).then(|| Err(failure.to_string())),
            Outcome::Missing => Some(Err("missing".to_owned())),
        };
        let by_limit = run.is_none();
        seen.push(run);
        if by_limit {
            break;
        }
    }
    seen
}

fn is_by_limit(failure: &Failure) -> bool {
    matches!(failure.error, ScriptError::TimedOut { .. } | ScriptError::OutOfMemory { .. })
}

fn vm() -> Vm {
    Vm::new(&Api::default(), LuaPoolConfig::default().pool.memory_limit).expect("it fits")
}
