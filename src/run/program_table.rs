//! [`ProgramTable`]: the programs that entities carry, by number, and how many carry each.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bevy::asset::{AssetId, Assets};
use bevy::ecs::change_detection::Tick;
use bevy::prelude::Entity;

use crate::run::invocation::Invocation;
use crate::run::stage::Stage;
use crate::script::{LuaScript, ScriptState, StateLocation};
use crate::vm::Program;

/// The programs that entities carry, by number. A program keeps its number from frame to frame.
pub(crate) struct ProgramTable {
    pub(crate) list: Vec<CarriedProgram>,
    numbers: HashMap<(u64, Option<AssetId<LuaScript>>), u32>,
    /// Identifies this numbering: no other app has the same, and it changes when programs get new numbers.
    numbering: u64,
}

/// A program and who carries it.
pub(crate) struct CarriedProgram {
    pub(crate) program: Arc<Program>,
    /// The asset that it belongs to. `None`: its script was removed and stops.
    asset: Option<AssetId<LuaScript>>,
    /// The asset still exists and has this program.
    pub(super) is_current: bool,
    /// It may define the callback of this stage.
    pub(super) ticks: bool,
    /// An entity carries it, or an invocation needs it.
    pub(crate) in_use: bool,
    /// Entities that carry it.
    pub(crate) entities: usize,
    /// Entities on which it is put aside.
    pub(crate) put_aside: usize,
    /// The frame in which it is tried again on the first of these.
    pub(crate) next_retry: Option<u64>,
}

impl CarriedProgram {
    fn new(program: Arc<Program>, asset: Option<AssetId<LuaScript>>) -> Self {
        Self {
            program,
            asset,
            is_current: false,
            ticks: false,
            in_use: false,
            entities: 0,
            put_aside: 0,
            next_retry: None,
        }
    }

    /// Counts entities that carry it.
    pub(super) fn count(&mut self, entities: usize) {
        self.entities += entities;
        self.in_use = true;
    }

    /// Counts an entity on which it is put aside, and the frame in which it is tried again there, if it is.
    pub(crate) fn count_aside(&mut self, next_try: Option<u64>) {
        self.put_aside += 1;
        self.next_retry = self.next_retry.into_iter().chain(next_try).min();
    }
}

impl Default for ProgramTable {
    fn default() -> Self {
        Self { list: Vec::new(), numbers: HashMap::new(), numbering: next_numbering() }
    }
}

fn next_numbering() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

impl ProgramTable {
    /// Programs that nobody carries keep their numbers as long as there are no more of them than this, or than of
    /// the others.
    const MAX_UNUSED: usize = 8;

    /// A stage begins: nobody is counted yet.
    pub(super) fn begin(&mut self, stage: Stage, scripts: &Assets<LuaScript>) {
        let unused = self.list.iter().filter(|carried| !carried.in_use).count();
        if unused > Self::MAX_UNUSED.max(self.list.len() - unused) {
            *self = Self::default();
        }
        for carried in &mut self.list {
            let program = &carried.program;
            let script = carried.asset.and_then(|asset| scripts.get(asset));
            carried.is_current = script.is_some_and(|script| script.program().id() == program.id());
            carried.ticks =
                program.callbacks().is_none_or(|known| known.contains(stage.callback()));
            (carried.in_use, carried.entities) = (false, 0);
            (carried.put_aside, carried.next_retry) = (0, None);
        }
    }

    /// Whether a state belongs to the program that an invocation runs.
    pub(super) fn is_run_by(&self, invocation: &Invocation, state: &ScriptState) -> bool {
        let runs = &self.list[invocation.program as usize].program;
        state.attached.program.as_ref().is_some_and(|program| Arc::ptr_eq(program, runs))
    }

    pub(super) fn numbering(&self) -> u64 {
        self.numbering
    }

    /// The number of the program of an asset; without an asset, of a script that stops. `guess` is tried first.
    pub(super) fn number(
        &mut self,
        program: &Arc<Program>,
        asset: Option<AssetId<LuaScript>>,
        guess: u32,
    ) -> u32 {
        let is_it = |at: &CarriedProgram| Arc::ptr_eq(&at.program, program) && at.asset == asset;
        if self.list.get(guess as usize).is_some_and(is_it) {
            return guess;
        }
        *self.numbers.entry((program.id(), asset)).or_insert_with(|| {
            self.list.push(CarriedProgram::new(Arc::clone(program), asset));
            self.list.len() as u32 - 1
        })
    }

    /// Counts the program of an entity's script and notes in the state where that was. Gives the program's number, or
    /// `None` if the script has no program yet.
    pub(super) fn count_script(
        &mut self,
        state: &mut ScriptState,
        entity: Entity,
        list_changed: Tick,
        slot: usize,
    ) -> Option<u32> {
        let attached = &mut state.attached;
        let number = self.number(attached.program.as_ref()?, attached.asset, attached.number);
        attached.number = number;
        attached.location = StateLocation::new(entity, self.numbering(), list_changed, slot);
        let carried = &mut self.list[number as usize];
        carried.count(1);
        if attached.backoff.is_put_aside() {
            carried.count_aside(attached.backoff.next_try());
        }
        Some(number)
    }
}
