//! [`ChunkScan`]: what scanning one chunk of entities came to.

use bevy::prelude::Entity;

use crate::run::invocation::Invocation;
use crate::run::order::order;

/// What scanning one chunk of entities came to. Its buffers are kept from frame to frame.
#[derive(Default)]
pub(super) struct ChunkScan {
    /// Entities that have to be examined one by one, in the order in which they lie in memory.
    pub(super) to_examine: Vec<Entity>,
    /// Entities with more than one invocation.
    pub(super) shared: Vec<Entity>,
    /// How many unchanged entities there are.
    pub(super) unchanged: usize,
    /// How many scripts run each program, by the program's number.
    pub(super) program_counts: Vec<usize>,
    /// The program that was counted last, and how often since it was another one: not in `program_counts` yet.
    recent: (u32, usize),
    /// How many invocations there was room for.
    pub(super) room: usize,
    /// How many were put there.
    pub(super) filled: usize,
    /// How many there are. The next scan of this chunk makes room for as many.
    pub(super) wanted: usize,
    /// Those for which there was no room.
    pub(super) overflow: Vec<Invocation>,
    /// The places of the first and the last entity with invocations in the stable order.
    pub(super) keys: Option<(u64, u64)>,
    /// All of them are in that order.
    pub(super) in_order: bool,
    /// Some invocations wait since an earlier stage.
    pub(super) any_waits: bool,
}

impl ChunkScan {
    /// Empties it for a stage with so many programs, and room for so many invocations.
    pub(super) fn begin(&mut self, programs: usize, room: usize) {
        self.to_examine.clear();
        self.shared.clear();
        self.program_counts.clear();
        self.program_counts.resize(programs, 0);
        (self.room, self.filled, self.wanted, self.unchanged) = (room, 0, 0, 0);
        (self.keys, self.in_order, self.any_waits) = (None, true, false);
        self.recent = (0, 0);
    }

    /// Counts a script that runs a program. Call [`ChunkScan::flush_counts`] in the end.
    #[inline]
    pub(super) fn count_program(&mut self, number: u32) {
        if self.recent.0 != number {
            self.flush_counts();
            self.recent.0 = number;
        }
        self.recent.1 += 1;
    }

    /// Adds what was counted of the most recent program to `program_counts`.
    pub(super) fn flush_counts(&mut self) {
        let (number, count) = &mut self.recent;
        if *count > 0 {
            self.program_counts[*number as usize] += std::mem::take(count);
        }
    }

    /// The next invocation, to be filled in.
    #[inline]
    pub(super) fn next_invocation<'r>(
        &'r mut self,
        room: &'r mut [Invocation],
    ) -> &'r mut Invocation {
        self.wanted += 1;
        match room.get_mut(self.filled) {
            Some(invocation) => {
                self.filled += 1;
                invocation
            }
            None => {
                self.overflow.push(Invocation::default());
                self.overflow.last_mut().expect("it was just pushed")
            }
        }
    }

    /// Notes where an entity with invocations is in the stable order.
    #[inline]
    pub(super) fn note_order(&mut self, entity: Entity) {
        let key = order(entity);
        let (_, last) = self.keys.get_or_insert((key, key));
        self.in_order &= *last <= key;
        *last = key;
    }
}
