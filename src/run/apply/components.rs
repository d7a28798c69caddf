//! Writes the components that scripts changed, inserted and removed.

use bevy::prelude::{ChildOf, Entity, World};

use crate::bindings::{ComponentWrite, fits, map_entities};
use crate::run::apply::new_entities::resolve;
use crate::run::apply::spawn::{Spawner, refuse_child};
use crate::run::apply::stage::ApplyingStage;
use crate::vm::{FieldId, FieldPath};

impl ApplyingStage<'_> {
    /// Writes a field of a component that was there. `new` are the entities that the invocation spawned.
    pub(super) fn write_field(
        &mut self,
        world: &mut World,
        write: &mut ComponentWrite,
        new: &[Entity],
    ) {
        let ComponentWrite { entity, field, ref mut value } = *write;
        if !new.is_empty()
            && let Some(whole) = value.whole_mut()
        {
            map_entities(whole.value.as_mut(), &mut |entity| resolve(entity, new));
        }
        let (component, path, conflicts) = self.record_write(entity, field);
        match self.bindings.exposure.get(component).write(world, entity, &path, value) {
            Some(written) => self.report.frame.writes += u64::from(written),
            // The entity or the component was removed in the same stage: that wins.
            None => self.report.frame.conflicts += u64::from(conflicts == 0),
        }
    }

    /// Inserts or removes a component. `new` are the entities that the invocation spawned.
    pub(super) fn write_component(
        &mut self,
        world: &mut World,
        spawner: Spawner<'_>,
        write: ComponentWrite,
        new: &[Entity],
    ) {
        let ComponentWrite { entity, field, mut value } = write;
        let entity = resolve(entity, new);
        let (component, ..) = self.record_write(entity, field);
        let exposed = self.bindings.exposure.get(component);
        let Some(whole) = value.whole_mut() else {
            self.report.frame.writes += u64::from(exposed.is_on(world, entity));
            exposed.remove(world, entity);
            return;
        };
        let value = whole.value.as_mut();
        if !new.is_empty() {
            map_entities(value, &mut |entity| resolve(entity, new));
        }
        if world.get_entity(entity).is_err() {
            self.report.frame.conflicts += 1;
            return;
        }
        if let Some(ChildOf(parent)) = value.try_downcast_ref()
            && let Err(misfit) = fits(world, entity, *parent, &mut self.visits_left)
        {
            refuse_child(self.report, spawner, (entity, *parent), misfit);
            return;
        }
        exposed.insert(world, entity, value, self.registry);
        self.report.frame.writes += 1;
    }

    /// Records that a field is written; gives its component and path, and how many conflicts that is.
    fn record_write(&mut self, entity: Entity, field: FieldId) -> (u32, FieldPath, u64) {
        let (component, path) = self.bindings.exposure.fields.place_of(field);
        let conflicts = self.conflicts.record(entity, component, &[path]);
        self.report.frame.conflicts += conflicts;
        (component, path, conflicts)
    }
}
