//! The quick way to collect: entities to which nothing happened since they were collected last.
//!
//! Such an entity has the scripts that it had, they have the programs that they had, and none is new, put
//! aside, reloaded or written to. Nearly all are such ones in nearly all frames. They are looked through
//! in parallel, where they lie in memory; each of the others is left for the careful way. Which way one
//! goes can't be seen.

use bevy::ecs::change_detection::Tick;
use bevy::prelude::{Entity, Query, Ref};

use crate::run::invocation::Invocation;
use crate::run::mailbox::Delivery;
use crate::run::order::order;
use crate::run::program_table::ProgramTable;
use crate::run::stage::Stage;
use crate::run::threads::{CHUNK, on_threads};
use crate::script::{LuaScripts, ScriptState, ScriptStates, StateLocation};
use crate::vm::CallbackSet;

/// Entities that may have something to run.
pub(super) type Scripted<'w, 's> =
    Query<'w, 's, (Entity, Ref<'static, LuaScripts>, &'static mut ScriptStates)>;

/// What a chunk of entities came to. Its buffers are kept from frame to frame.
#[derive(Default)]
pub(crate) struct Found {
    /// Those that were not quiet, in the order in which they lie in memory.
    pub(super) rest: Vec<Entity>,
    /// Entities with more than one invocation.
    pub(super) shared: Vec<Entity>,
    /// Who carries each program, by number.
    carried: Vec<usize>,
    /// The program that was met last, and how many were met since another one that are not counted yet.
    recent: (u32, usize),
    /// For so many invocations there was room.
    room: usize,
    /// How many lie there.
    invocations: usize,
    /// How many there are.
    wanted: usize,
    /// Those for which there was no room.
    more: Vec<Invocation>,
    /// Where the first and the last entity with invocations stand in the stable order.
    keys: Option<(u64, u64)>,
    /// All of them lie in it.
    in_order: bool,
    any_waits: bool,
}

/// What is known of all invocations of the quiet ones.
pub(super) struct Quiet {
    /// They lie in the stable order.
    pub(super) in_order: bool,
    /// Some wait since an earlier frame.
    pub(super) any_waits: bool,
}

/// What there is to know of a stage.
#[derive(Clone, Copy)]
pub(super) struct QuietStage<'s> {
    pub(super) stage: Stage,
    /// The seconds that passed.
    pub(super) delta: f64,
    /// Sorted by receiver.
    pub(super) deliveries: &'s [Delivery],
}

impl QuietStage<'_> {
    /// Looks through all entities, on at most so many threads. Counts their programs, and puts the invocations of
    /// those that are quiet into `invocations`, where nothing of value is left; what else it found is in `found`.
    pub(super) fn collect(
        self,
        threads: usize,
        entities: &Scripted<'_, '_>,
        programs: &mut ProgramTable,
        invocations: &mut Vec<Invocation>,
        found: &mut Vec<Found>,
    ) -> Quiet {
        let tables = entities.contiguous_iter();
        let tables = tables.expect("both components are stored in tables");
        let mut chunks = Vec::new();
        for (entities, scripts, states) in tables {
            let scripts_changed = scripts.changed_ticks_slice();
            let parts = entities.chunks(CHUNK).zip(scripts.into_inner().chunks(CHUNK));
            let parts = parts.zip(scripts_changed.chunks(CHUNK)).zip(states.chunks(CHUNK));
            chunks.extend(parts);
        }
        found.resize_with(chunks.len(), Found::default);
        // Each chunk has as many invocations as it had, mostly: so they come to lie side by side.
        invocations.resize_with(found.iter().map(|found| found.wanted).sum(), Invocation::default);
        let mut rooms = &mut invocations[..];
        let chunks = chunks.into_iter().zip(&mut *found);
        let chunks: Vec<_> = chunks
            .map(|((((entities, scripts), changed), states), found)| {
                let room = rooms.split_off_mut(..found.wanted);
                let room = room.expect("there is room for all");
                Chunk { entities, scripts, changed, states, found, room }
            })
            .collect();
        on_threads(threads, chunks.into_iter(), |chunk| self.look_through(chunk, programs));
        gather(programs, invocations, found)
    }

    fn look_through(self, chunk: Chunk<'_>, programs: &ProgramTable) {
        let Chunk { entities, scripts, changed, states, found: kept, room } = chunk;
        // On this thread's own stack: what chunks came to lies side by side, and threads that write there by
        // turns would have to wait for each other.
        let mut found = std::mem::take(kept);
        found.begin(programs.list.len(), room.len());
        let mut mail = NextMail { deliveries: self.deliveries, next: 0 };
        let all = entities.iter().zip(scripts).zip(changed).zip(states);
        for (((entity, scripts), changed), states) in all {
            let known = states.states.len() == scripts.scripts.len()
                && states.origin.is_none()
                && !mail.is_for(*entity);
            let at = At { entity: *entity, changed: *changed, enabled: scripts.enabled };
            if !known || !self.take(at, &states.states, programs, &mut found, room) {
                found.rest.push(*entity);
            }
        }
        found.settle_up();
        *kept = found;
    }

    /// Counts the programs of an entity and adds its invocations. Gives whether it is quiet; if not, nothing was
    /// done.
    #[inline]
    fn take(
        self,
        at: At,
        states: &[ScriptState],
        programs: &ProgramTable,
        found: &mut Found,
        room: &mut [Invocation],
    ) -> bool {
        // Nearly all have one.
        if let [state] = states {
            let quiet = at.is_quiet(0, state, programs);
            if quiet && self.add(at, 0, state, programs, found, room) {
                found.note_order(at.entity);
            }
            return quiet;
        }
        if !states.iter().enumerate().all(|(slot, state)| at.is_quiet(slot, state, programs)) {
            return false;
        }
        let mut invocations = 0;
        for (slot, state) in states.iter().enumerate() {
            invocations += u32::from(self.add(at, slot, state, programs, found, room));
        }
        if invocations > 0 {
            found.note_order(at.entity);
        }
        if invocations > 1 {
            found.shared.push(at.entity);
        }
        true
    }

    /// Counts a program, and adds an invocation if that is due; gives whether it is.
    #[inline]
    fn add(
        self,
        at: At,
        slot: usize,
        state: &ScriptState,
        programs: &ProgramTable,
        found: &mut Found,
        room: &mut [Invocation],
    ) -> bool {
        let attached = &state.attached;
        let number = attached.number;
        found.carry(number);
        if !at.enabled || !programs.list[number as usize].ticks {
            return false;
        }
        let waiting = attached.waiting[self.stage as usize];
        found.any_waits |= waiting > 0;
        let invocation = found.place(room);
        debug_assert!(invocation.more.is_none(), "what is left of a stage is empty");
        invocation.entity = at.entity;
        invocation.slot = slot as u32;
        invocation.program = number;
        invocation.delta = attached.pending_delta[self.stage as usize] + self.delta;
        invocation.waiting = waiting.into();
        invocation.due = CallbackSet::only(self.stage.callback());
        true
    }
}

/// An entity as its list of scripts has it.
#[derive(Clone, Copy)]
struct At {
    entity: Entity,
    /// When the list was last changed.
    changed: Tick,
    enabled: bool,
}

impl At {
    /// Whether nothing has happened to a script.
    #[inline]
    fn is_quiet(self, slot: usize, state: &ScriptState, programs: &ProgramTable) -> bool {
        let attached = &state.attached;
        let place = StateLocation::new(self.entity, programs.numbering(), self.changed, slot);
        // While they don't run, it makes no difference what became of the asset.
        attached.place == place
            && !attached.aside.is_put_aside()
            && (!self.enabled
                || state.started
                    && !attached.reload
                    && programs.list[attached.number as usize].is_current)
    }
}

/// Entities that lie side by side, and what comes of them.
struct Chunk<'c> {
    entities: &'c [Entity],
    scripts: &'c [LuaScripts],
    /// When the scripts were last changed.
    changed: &'c [Tick],
    states: &'c [ScriptStates],
    found: &'c mut Found,
    /// Where its invocations go, as many as there is room for.
    room: &'c mut [Invocation],
}

impl Found {
    fn begin(&mut self, programs: usize, room: usize) {
        self.rest.clear();
        self.shared.clear();
        self.carried.clear();
        self.carried.resize(programs, 0);
        (self.room, self.invocations, self.wanted) = (room, 0, 0);
        (self.keys, self.in_order, self.any_waits) = (None, true, false);
        self.recent = (0, 0);
    }

    /// Notes an entity that carries a program.
    #[inline]
    fn carry(&mut self, number: u32) {
        if self.recent.0 != number {
            self.settle_up();
            self.recent.0 = number;
        }
        self.recent.1 += 1;
    }

    /// Counts those that were noted.
    fn settle_up(&mut self) {
        let (number, count) = &mut self.recent;
        if *count > 0 {
            self.carried[*number as usize] += std::mem::take(count);
        }
    }

    /// An invocation to be filled in.
    #[inline]
    fn place<'r>(&'r mut self, room: &'r mut [Invocation]) -> &'r mut Invocation {
        self.wanted += 1;
        match room.get_mut(self.invocations) {
            Some(place) => {
                self.invocations += 1;
                place
            }
            None => {
                self.more.push(Invocation::default());
                self.more.last_mut().expect("it was just put there")
            }
        }
    }

    /// Notes where an entity with invocations stands in the stable order.
    #[inline]
    fn note_order(&mut self, entity: Entity) {
        let key = order(entity);
        let (_, last) = self.keys.get_or_insert((key, key));
        self.in_order &= *last <= key;
        *last = key;
    }
}

/// Puts together what the chunks came to.
fn gather(
    programs: &mut ProgramTable,
    invocations: &mut Vec<Invocation>,
    found: &mut [Found],
) -> Quiet {
    let (mut filled, mut start) = (0, 0);
    let (mut in_order, mut any_waits, mut last) = (true, false, None);
    for found in &mut *found {
        if filled != start {
            (0..found.invocations)
                .for_each(|invocation| invocations.swap(filled + invocation, start + invocation));
        }
        filled += found.invocations;
        start += found.room;
        in_order &= found.in_order && found.more.is_empty();
        if let Some((first_key, last_key)) = found.keys {
            in_order &= last.is_none_or(|last| last < first_key);
            last = Some(last_key);
        }
        any_waits |= found.any_waits;
        for (program, carried) in programs.list.iter_mut().zip(&found.carried) {
            if *carried > 0 {
                program.count(*carried);
            }
        }
    }
    invocations.truncate(filled);
    for found in found {
        invocations.append(&mut found.more);
    }
    Quiet { in_order, any_waits }
}

/// The deliveries, looked at in the order of entities, mostly.
struct NextMail<'d> {
    deliveries: &'d [Delivery],
    /// The first that is for the entity that was asked for last, or for a later one.
    next: usize,
}

impl NextMail<'_> {
    fn is_for(&mut self, entity: Entity) -> bool {
        if self.deliveries.is_empty() {
            return false;
        }
        let key = order(entity);
        let to = |delivery: &Delivery| order(delivery.mail.to);
        let (before, from) = self.deliveries.split_at(self.next);
        if before.last().is_some_and(|last| to(last) >= key)
            || from.first().is_some_and(|first| to(first) < key)
        {
            self.next = self.deliveries.partition_point(|delivery| to(delivery) < key);
        }
        self.deliveries.get(self.next).is_some_and(|next| to(next) == key)
    }
}

#[cfg(test)]
mod tests;
