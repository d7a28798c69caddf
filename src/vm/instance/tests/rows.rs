//! Runs that follow one another, as the frame makes them: in a row where a program has its image, and each
//! for itself where it has not.

use bevy::prelude::Entity;

use super::*;
use crate::vm::{BatchEnd, CallArgs, CallBatch, Host, Mutable, Turn};

/// Entities whose runs of `on_update` follow one another.
struct Entities<'s> {
    states: &'s [ScriptTable],
    seeds: &'s [u64],
    outcomes: Vec<Told>,
}

/// What a run came to, as far as a script or its user can tell.
pub(super) type Told = Result<ScriptTable, String>;

impl<'s> CallBatch<'s, NoWorld> for Entities<'s> {
    fn as_host<'h>(host: &'h mut NoWorld) -> &'h mut (dyn Host + 'h) {
        host
    }

    fn next(&mut self, _: &mut NoWorld) -> Option<Turn<'s>> {
        let number = self.outcomes.len();
        let state = self.states.get(number)?;
        let entity = entity(number);
        Some(Turn { entity, state, args: CallArgs::Number(0.5), seed: self.seeds[number] })
    }

    fn finish(&mut self, _: &mut NoWorld, change: StateChange, _: Used) {
        self.outcomes.push(Ok(change.applied_to(&self.states[self.outcomes.len()])));
    }
}

fn entity(number: usize) -> Entity {
    Entity::from_raw_u32(number as u32 + 1).expect("a small number is an index")
}

pub(super) fn told(result: CallResult, before: &ScriptTable) -> Told {
    match result {
        Ok(Some(change)) => Ok(change.applied_to(before)),
        Ok(None) => Err("missing".to_owned()),
        Err(failure) => Err(match failure.error {
            // How much was used, and where, is an accident.
            ScriptError::TimedOut { .. } => "timed out".to_owned(),
            ScriptError::OutOfMemory { .. } => "out of memory".to_owned(),
            _ => format!("{failure}\n{}", failure.traceback),
        }),
    }
}

/// One run of `on_update` for each state, one after another on one VM.
pub(super) fn in_a_row(
    vm: &mut Vm,
    program: &Program,
    states: &[ScriptTable],
    seeds: &[u64],
    limits: &RunLimits,
) -> Vec<Told> {
    let mut row = Entities { states, seeds, outcomes: Vec::new() };
    engage(|engaged| {
        while row.outcomes.len() < states.len() {
            let mut used = None;
            let mut host = NoWorld::default();
            if vm.is_ready_for(program, Callback::Update) {
                match vm.run_batch(
                    program,
                    Callback::Update,
                    limits,
                    (&mut host, &mut row),
                    engaged,
                ) {
                    BatchEnd::Done => continue,
                    BatchEnd::Again(already) => used = Some(already),
                    BatchEnd::With(ran) => {
                        let before = &states[row.outcomes.len()];
                        row.outcomes.push(told(ran, before));
                        continue;
                    }
                }
            }
            let number = row.outcomes.len();
            let before = &states[number];
            let (args, seed) = ([0.5.into()], row.seeds[number]);
            let call = Call { callback: Callback::Update, state: before, args: &args, seed };
            let ran = vm.run_change(program, call, &mut host, limits, used, engaged);
            row.outcomes.push(told(ran, before));
        }
    });
    row.outcomes
}

/// Several entities and frames: in each frame all of them in a row, with the states that they left.
pub(super) fn frames(vm: &mut Vm, program: &Program, limits: &RunLimits) -> Vec<Vec<Told>> {
    const ENTITIES: u64 = 3;
    const FRAMES: u64 = 3;
    let mut states: Vec<ScriptTable> =
        (0..ENTITIES).map(|number| ScriptTable::from([("id", number as f64)])).collect();
    let mut all = Vec::new();
    for frame in 0..FRAMES {
        let seeds: Vec<u64> = (0..ENTITIES).map(|number| frame * ENTITIES + number).collect();
        let outcomes = in_a_row(vm, program, &states, &seeds, limits);
        for (state, outcome) in states.iter_mut().zip(&outcomes) {
            if let Ok(after) = outcome {
                *state = after.clone();
            }
        }
        all.push(outcomes);
    }
    all
}

/// Asserts that a script finds the same on an image, if it has one, in a row and from frame to frame, as on a
/// file level of its own for each run. Gives why it has no image, if it has none.
#[track_caller]
pub(super) fn compare_frames(source: &str) -> Option<Mutable> {
    let (shared, own) = (program(source), program(source));
    own.has_own_file_levels();
    let mut vm = vm();
    let on_image = frames(&mut vm, &shared, &LIMITS);
    assert_eq!(on_image, frames(&mut vm, &own, &LIMITS), "{source}");
    shared.mutable()
}
