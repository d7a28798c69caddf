//! [`UnchangedScan`]: the quick way to collect, for entities to which nothing happened since the last stage.
//!
//! Such an entity has the same scripts, they have the same programs, and none of them is new, put aside, reloaded
//! or sent a message. In nearly all frames that is true of nearly all entities. A sweep finds them in parallel and
//! leaves the others to be examined one by one. The result is the same either way.

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Query, Ref};

use crate::run::collect::chunk_scan::ChunkScan;
use crate::run::invocation::Invocation;
use crate::run::mailbox::QueuedMail;
use crate::run::program_table::ProgramTable;
use crate::run::stage::Stage;
use crate::run::sweep::{SortedCursor, TableChunk, chunks, sweep};
use crate::script::{LuaScripts, ScriptState, ScriptStates, StateLocation};
use crate::vm::CallbackSet;

/// Entities that may have something to run.
pub(super) type Scripted<'w, 's> =
    Query<'w, 's, (Entity, Ref<'static, LuaScripts>, &'static mut ScriptStates)>;

/// Their scripts with when these were last changed, and their states.
type ScriptColumns<'c> = ((&'c [LuaScripts], &'c [Tick]), &'c [ScriptStates]);

/// A stage whose unchanged entities are collected.
#[derive(Clone, Copy)]
pub(super) struct UnchangedScan<'s> {
    pub(super) stage: Stage,
    /// The seconds that passed.
    pub(super) delta: f64,
    /// Sorted by receiver.
    pub(super) mail: &'s [QueuedMail],
}

/// What is known of all invocations of unchanged entities.
pub(super) struct ScanSummary {
    /// They are in the stable order.
    pub(super) in_order: bool,
    /// Some wait since an earlier stage.
    pub(super) any_waits: bool,
}

impl UnchangedScan<'_> {
    /// Scans all entities, on at most so many threads. Counts the programs of the unchanged ones, and replaces
    /// `invocations` by theirs. `scans` holds what each chunk of entities came to.
    pub(super) fn collect(
        self,
        threads: usize,
        entities: &Scripted<'_, '_>,
        programs: &mut ProgramTable,
        invocations: &mut Vec<Invocation>,
        scans: &mut Vec<ChunkScan>,
    ) -> ScanSummary {
        let tables = entities.contiguous_iter();
        let tables = tables.expect("both components are stored in tables");
        let chunks = chunks(tables.map(|(entities, scripts, states)| {
            let changed = scripts.changed_ticks_slice();
            (entities, ((scripts.into_inner(), changed), states))
        }));
        scans.resize_with(chunks.len(), ChunkScan::default);
        // Each chunk mostly has as many invocations as it had before: so all of them can be written to one list.
        invocations.resize_with(scans.iter().map(|scan| scan.wanted).sum(), Invocation::default);
        let mut free = &mut invocations[..];
        let chunks = chunks.into_iter().zip(&mut *scans).map(|(chunk, scan)| {
            let room = free.split_off_mut(..scan.wanted).expect("there is room for all");
            (chunk, (scan, room))
        });
        sweep(threads, chunks, self.mail, |chunk, (scan, room), mail| {
            self.scan(chunk, scan, room, mail, programs);
        });
        merge(programs, invocations, scans)
    }

    fn scan(
        self,
        chunk: TableChunk<'_, ScriptColumns<'_>>,
        kept: &mut ChunkScan,
        room: &mut [Invocation],
        mut mail: SortedCursor<'_, QueuedMail>,
        programs: &ProgramTable,
    ) {
        let TableChunk { entities, columns: ((scripts, changed), states) } = chunk;
        // Work on a copy on the stack: adjacent results would cause false sharing.
        let mut scan = std::mem::take(kept);
        scan.begin(programs.list.len(), room.len());
        let rows = entities.iter().zip(scripts).zip(changed).zip(states);
        for (((entity, scripts), changed), states) in rows {
            let may_be_unchanged = states.states.len() == scripts.scripts.len()
                && states.origin.is_none()
                && mail.find(*entity).is_none();
            let scripts =
                ScriptList { entity: *entity, changed: *changed, enabled: scripts.enabled };
            if !may_be_unchanged
                || !self.collect_entity(scripts, &states.states, programs, &mut scan, room)
            {
                scan.to_examine.push(*entity);
            }
        }
        scan.unchanged = entities.len() - scan.to_examine.len();
        scan.flush_counts();
        *kept = scan;
    }

    /// Counts the programs of an entity and adds its invocations, if it is unchanged. Gives whether it is.
    #[inline]
    fn collect_entity(
        self,
        scripts: ScriptList,
        states: &[ScriptState],
        programs: &ProgramTable,
        scan: &mut ChunkScan,
        room: &mut [Invocation],
    ) -> bool {
        // Nearly all have one.
        if let [state] = states {
            let unchanged = scripts.is_unchanged(0, state, programs);
            if unchanged && self.add(scripts, 0, state, programs, scan, room) {
                scan.note_order(scripts.entity);
            }
            return unchanged;
        }
        let mut all = states.iter().enumerate();
        if !all.all(|(slot, state)| scripts.is_unchanged(slot, state, programs)) {
            return false;
        }
        let mut invocations = 0;
        for (slot, state) in states.iter().enumerate() {
            invocations += u32::from(self.add(scripts, slot, state, programs, scan, room));
        }
        if invocations > 0 {
            scan.note_order(scripts.entity);
        }
        if invocations > 1 {
            scan.shared.push(scripts.entity);
        }
        true
    }

    /// Counts the program of a script, and adds an invocation if it has the callback of the stage. Gives whether it
    /// has.
    #[inline]
    fn add(
        self,
        scripts: ScriptList,
        slot: usize,
        state: &ScriptState,
        programs: &ProgramTable,
        scan: &mut ChunkScan,
        room: &mut [Invocation],
    ) -> bool {
        let attached = &state.attached;
        let number = attached.number;
        scan.count_program(number);
        if !scripts.enabled || !programs.list[number as usize].ticks {
            return false;
        }
        let waiting = attached.waiting[self.stage as usize];
        scan.any_waits |= waiting > 0;
        let invocation = scan.next_invocation(room);
        debug_assert!(invocation.more.is_none(), "an applied invocation has no extras");
        invocation.entity = scripts.entity;
        invocation.slot = slot as u32;
        invocation.program = number;
        invocation.delta = attached.pending_delta[self.stage as usize] + self.delta;
        invocation.waiting = waiting.into();
        invocation.due = CallbackSet::only(self.stage.callback());
        true
    }
}

/// An entity's list of scripts.
#[derive(Clone, Copy)]
struct ScriptList {
    entity: Entity,
    /// When the list was last changed.
    changed: Tick,
    enabled: bool,
}

impl ScriptList {
    /// Whether nothing has happened to a script.
    #[inline]
    fn is_unchanged(self, slot: usize, state: &ScriptState, programs: &ProgramTable) -> bool {
        let attached = &state.attached;
        let place = StateLocation::new(self.entity, programs.numbering(), self.changed, slot);
        // While scripts are disabled, what became of the asset makes no difference.
        attached.location == place
            && !attached.backoff.is_put_aside()
            && (!self.enabled
                || state.started
                    && !attached.reload
                    && programs.list[attached.number as usize].is_current)
    }
}

/// Closes the gaps between the invocations of the chunks, and counts the programs of all of them.
fn merge(
    programs: &mut ProgramTable,
    invocations: &mut Vec<Invocation>,
    scans: &mut [ChunkScan],
) -> ScanSummary {
    let (mut filled, mut start) = (0, 0);
    let (mut in_order, mut any_waits, mut last) = (true, false, None);
    for scan in &mut *scans {
        if filled != start {
            (0..scan.filled).for_each(|index| invocations.swap(filled + index, start + index));
        }
        filled += scan.filled;
        start += scan.room;
        in_order &= scan.in_order && scan.overflow.is_empty();
        if let Some((first_key, last_key)) = scan.keys {
            in_order &= last.is_none_or(|last| last < first_key);
            last = Some(last_key);
        }
        any_waits |= scan.any_waits;
        for (program, count) in programs.list.iter_mut().zip(&scan.program_counts) {
            if *count > 0 {
                program.count(*count);
            }
        }
    }
    invocations.truncate(filled);
    for scan in scans {
        invocations.append(&mut scan.overflow);
    }
    ScanSummary { in_order, any_waits }
}

#[cfg(test)]
mod tests;
