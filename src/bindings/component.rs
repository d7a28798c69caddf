//! [`ExposedComponent`]: one component type within the scripts' reach.

use std::any::TypeId;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::component::ComponentId;
use bevy::ecs::reflect::ReflectComponent;
use bevy::prelude::{
    Component, Entity, EntityRef, ReflectDefault, ReflectFromReflect, Transform, World,
};
use bevy::reflect::{
    FromType, GetTypeRegistration, PartialReflect, Reflect, TypeInfo, TypeRegistry, Typed,
};

use super::reflect::{self, TypedScalar};
use super::transform::TransformVector;
use super::written_value::WrittenValue;
use crate::error::ScriptError;
use crate::vm::FieldPath;

/// A component type that can be exposed to scripts: every one that derives `Component` and `Reflect`.
pub trait Exposable: Component + Reflect + Typed + GetTypeRegistration {}

impl<T: Component + Reflect + Typed + GetTypeRegistration> Exposable for T {}

/// Finds the component of an entity.
type Find = for<'w> fn(EntityRef<'w>) -> Option<&'w dyn PartialReflect>;

/// Makes what scripts see in a component's stead.
type View = fn(&dyn Reflect) -> Option<Box<dyn Reflect>>;

/// One component within the scripts' reach.
#[derive(Clone)]
pub(crate) struct ExposedComponent {
    /// The short type name.
    pub(crate) name: &'static str,
    pub(crate) info: &'static TypeInfo,
    type_id: TypeId,
    access: ReflectComponent,
    /// The short way to look at one, for types that are known here.
    find: Option<Find>,
    /// Fields can't be written.
    pub(crate) read_only: bool,
    /// It can't be replaced, inserted or removed either.
    pub(crate) fixed: bool,
    /// What scripts see in its stead.
    view: Option<View>,
}

impl ExposedComponent {
    pub(crate) fn of<T: Component + Reflect + Typed>() -> Self {
        Self {
            name: T::type_info().type_path_table().short_path(),
            info: T::type_info(),
            type_id: TypeId::of::<T>(),
            access: <ReflectComponent as FromType<T>>::from_type(),
            find: Some(|entity| entity.get::<T>().map(PartialReflect::as_partial_reflect)),
            read_only: false,
            fixed: false,
            view: None,
        }
    }

    pub(crate) fn of_registered(info: &'static TypeInfo, access: &ReflectComponent) -> Self {
        Self {
            name: info.type_path_table().short_path(),
            info,
            type_id: info.type_id(),
            access: access.clone(),
            find: None,
            read_only: false,
            fixed: false,
            view: None,
        }
    }

    /// It can only be read, and scripts see what `view` makes of it.
    pub(crate) fn viewed_as(self, view: View) -> Self {
        Self { view: Some(view), read_only: true, fixed: true, ..self }
    }

    pub(crate) fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// Registers the component in a world.
    pub(crate) fn register(&self, world: &mut World) -> ComponentId {
        self.access.register_component(world)
    }

    /// Shows the component of an entity to `look`; `None` if the entity has none.
    pub(crate) fn look<R>(
        &self,
        world: &World,
        entity: Entity,
        look: impl FnOnce(&dyn PartialReflect) -> R,
    ) -> Option<R> {
        let found = self.access.reflect(world.get_entity(entity).ok()?)?;
        Some(match self.view {
            None => look(found.as_partial_reflect()),
            Some(view) => look(view(found)?.as_partial_reflect()),
        })
    }

    /// The component of an entity as it is.
    pub(crate) fn find<'w>(&self, entity: EntityRef<'w>) -> Option<&'w dyn PartialReflect> {
        match self.find {
            Some(find) => find(entity),
            None => self.access.reflect(entity).map(<dyn Reflect>::as_partial_reflect),
        }
    }

    pub(crate) fn is_transform(&self) -> bool {
        self.type_id == TypeId::of::<Transform>()
    }

    /// Whether scripts see something else in its stead.
    pub(crate) fn has_view(&self) -> bool {
        self.view.is_some()
    }

    /// Copies a value of the component's type.
    pub(crate) fn duplicate(
        &self,
        value: &dyn PartialReflect,
        registry: &TypeRegistry,
    ) -> Result<Box<dyn Reflect>, ScriptError> {
        reflect::duplicate(value, registry).ok_or_else(|| self.cannot_be_copied())
    }

    pub(crate) fn cannot_be_copied(&self) -> ScriptError {
        ScriptError::Host {
            message: format!(
                "`{}` can't be copied by reflection; give it `#[reflect(Clone)]` or let it derive \
                 `FromReflect`",
                self.name
            ),
        }
    }

    /// Whether [`ExposedComponent::insert`] knows how to make one.
    pub(crate) fn can_be_inserted(&self, registry: &TypeRegistry) -> bool {
        registry.get_type_data::<ReflectFromReflect>(self.type_id).is_some()
            || registry.get_type_data::<ReflectDefault>(self.type_id).is_some()
    }

    pub(crate) fn is_on(&self, world: &World, entity: Entity) -> bool {
        world.get_entity(entity).is_ok_and(|entity| self.access.contains(entity))
    }

    /// Writes a field if its value differs. Gives whether it did, or `None` if the entity or the component is gone.
    pub(crate) fn write(
        &self,
        world: &mut World,
        entity: Entity,
        path: &FieldPath,
        value: &WrittenValue,
    ) -> Option<bool> {
        if self.is_transform()
            && let WrittenValue::Scalar(TypedScalar::Vec3(new)) = value
            && let Some(vector) = TransformVector::at(path)
        {
            let mut transform = world.get_mut::<Transform>(entity)?;
            let written = vector.write(transform.bypass_change_detection(), *new);
            if written {
                transform.set_changed();
            }
            return Some(written);
        }
        let entity = world.get_entity_mut(entity).ok()?;
        let mut component = self.access.reflect_mut(entity)?;
        let old = component.bypass_change_detection().as_partial_reflect_mut();
        let written = value.write_to(reflect::at_mut(old, path.steps())?)?;
        if written {
            component.set_changed();
        }
        Some(written)
    }

    pub(crate) fn insert(
        &self,
        world: &mut World,
        entity: Entity,
        value: &dyn PartialReflect,
        registry: &TypeRegistry,
    ) {
        if let Ok(mut entity) = world.get_entity_mut(entity) {
            self.access.insert(&mut entity, value, registry);
        }
    }

    pub(crate) fn remove(&self, world: &mut World, entity: Entity) {
        if let Ok(mut entity) = world.get_entity_mut(entity) {
            self.access.remove(&mut entity);
        }
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::Vec3;

    use super::*;

    #[test]
    fn the_short_way_to_a_transform_writes_what_reflection_writes() {
        let transform = ExposedComponent::of::<Transform>();
        let mut world = World::new();
        let entity = world.spawn(Transform::default()).id();
        let vectors =
            [("translation", TransformVector::Translation), ("scale", TransformVector::Scale)];
        for (name, vector) in vectors {
            let field = transform.info.as_struct().expect("a struct").index_of(name);
            let path = FieldPath::default().then(field.expect("a field")).expect("one step");
            assert_eq!(TransformVector::at(&path), Some(vector));
            let new = Vec3::new(1.0, 2.0, 3.0);
            let value = WrittenValue::Scalar(TypedScalar::Vec3(new));
            assert_eq!(transform.write(&mut world, entity, &path, &value), Some(true));
            assert_eq!(transform.write(&mut world, entity, &path, &value), Some(false));
            let now = world.get::<Transform>(entity).expect("it is there");
            let found = reflect::at(now.as_partial_reflect(), path.steps());
            assert_eq!(found.and_then(|found| found.try_downcast_ref()), Some(&new));
            assert_eq!(vector.of(now), new);
        }
        let rotation = FieldPath::default().then(1).expect("one step");
        let value = WrittenValue::Scalar(TypedScalar::Vec3(Vec3::ONE));
        assert_eq!(transform.write(&mut world, entity, &rotation, &value), None);
    }
}
