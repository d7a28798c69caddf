//! [`WriteConflicts`]: finds fields that more than one invocation writes.

use std::collections::HashMap;

use bevy::ecs::entity::EntityHashSet;
use bevy::prelude::Entity;

use crate::run::frame::Frame;
use crate::vm::FieldPath;

/// The fields of shared entities that invocations wrote in this stage: finds those that more than one of them wrote.
///
/// Most invocations write only their own entity, which no other invocation writes: that is not recorded.
pub(super) struct WriteConflicts {
    /// The entities that more than one invocation may write.
    pub(super) shared: EntityHashSet,
    /// By entity and component.
    written: HashMap<(Entity, u32), Vec<FieldPath>>,
}

impl WriteConflicts {
    pub(super) fn new(frame: &mut Frame) -> Self {
        let mut shared: EntityHashSet = frame.shared.iter().copied().collect();
        for number in frame.tallies.iter_mut().flat_map(|tally| tally.reaching.drain(..)) {
            let (invocation, outcome) = (&frame.invocations[number], &frame.outcomes[number]);
            let others = outcome.writes.iter().map(|write| write.entity);
            shared.extend(others.filter(|other| *other != invocation.entity));
        }
        Self { shared, written: HashMap::new() }
    }

    /// Records that an invocation writes these fields; gives how many of them an earlier one has written.
    pub(super) fn record(&mut self, entity: Entity, component: u32, paths: &[FieldPath]) -> u64 {
        if self.shared.is_empty() || !self.shared.contains(&entity) {
            return 0;
        }
        let written = self.written.entry((entity, component)).or_default();
        let before = written.len();
        let mut conflicts = 0;
        for path in paths {
            let overlaps = |other: &FieldPath| other.contains(path) || path.contains(other);
            conflicts += u64::from(written[..before].iter().any(overlaps));
            // Each field is recorded once, so the list has no more entries than the component has fields.
            if !written.iter().any(|other| other.contains(path)) {
                written.push(*path);
            }
        }
        conflicts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_many_write_is_recorded_once() {
        let entity = Entity::from_raw_u32(1).expect("a small index");
        let shared = [entity].into_iter().collect();
        let mut conflicts = WriteConflicts { shared, written: HashMap::new() };
        let whole = FieldPath::default();
        let [a, b] = [0, 1].map(|step| whole.then(step).expect("it is short"));
        let within_a = a.then(3).expect("it is short");
        let mut record = |paths: &[FieldPath]| conflicts.record(entity, 7, paths);
        assert_eq!(record(&[within_a, within_a]), 0, "nobody wrote it before");
        for _ in 0..1000 {
            assert_eq!(record(&[within_a]), 1);
        }
        assert_eq!((record(&[a, b]), record(&[within_a, b])), (1, 2));
        assert_eq!((record(&[whole]), record(&[whole.then(2).expect("it is short")])), (1, 1));
        assert_eq!(conflicts.written[&(entity, 7)], [within_a, a, b, whole]);
    }
}
