//! [`ExposedComponent`]: a component type that scripts can reach.

use std::any::TypeId;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::component::ComponentId;
use bevy::ecs::reflect::ReflectComponent;
use bevy::prelude::{Entity, EntityRef, ReflectDefault, ReflectFromReflect, Transform, World};
use bevy::reflect::{FromType, PartialReflect, Reflect, TypeInfo, TypeRegistry};

use super::component_column::ExposedColumnQuery;
use super::component_type::{ComponentType, Exposable, component_type};
use super::reflect::{self, ScalarType};
use super::scalar_fields::ScalarFields;
use super::written_value::WrittenValue;
use crate::error::ScriptError;
use crate::vm::{FieldPath, Scalar};

/// Converts a component to what scripts see instead of it.
type View = fn(&dyn Reflect) -> Option<Box<dyn Reflect>>;

/// A component of an entity, as it is in the world.
#[derive(Clone, Copy)]
pub(crate) enum FoundComponent<'w> {
    /// The Rust type is known.
    Typed(&'w dyn ScalarFields),
    Reflected(&'w dyn PartialReflect),
}

impl FoundComponent<'_> {
    /// Reads a scalar of this type.
    #[inline]
    pub(crate) fn scalar(self, path: &FieldPath, kind: ScalarType) -> Option<Scalar> {
        match self {
            Self::Typed(component) => component.scalar(path, kind),
            Self::Reflected(component) => kind.read(reflect::at(component, path.steps())?),
        }
    }
}

/// A component type that scripts can reach.
#[derive(Clone)]
pub(crate) struct ExposedComponent {
    /// The short type name.
    pub(crate) name: &'static str,
    pub(crate) info: &'static TypeInfo,
    type_id: TypeId,
    access: ReflectComponent,
    /// The Rust type, if it was exposed by type.
    known_type: Option<&'static dyn ComponentType>,
    /// Its fields can't be written.
    pub(crate) read_only: bool,
    /// It can't be replaced, inserted or removed either.
    pub(crate) fixed: bool,
    /// What scripts see instead.
    view: Option<View>,
}

impl ExposedComponent {
    pub(crate) fn of<T: Exposable>() -> Self {
        Self {
            name: T::type_info().type_path_table().short_path(),
            info: T::type_info(),
            type_id: TypeId::of::<T>(),
            access: <ReflectComponent as FromType<T>>::from_type(),
            known_type: Some(component_type::<T>()),
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
            known_type: None,
            read_only: false,
            fixed: false,
            view: None,
        }
    }

    /// Makes it read-only, and scripts see the result of `view` instead.
    pub(crate) fn viewed_as(self, view: View) -> Self {
        Self { view: Some(view), read_only: true, fixed: true, ..self }
    }

    pub(crate) fn type_id(&self) -> TypeId {
        self.type_id
    }

    /// Registers the component in `world`.
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

    /// The component of an entity.
    pub(crate) fn find<'w>(&self, entity: EntityRef<'w>) -> Option<FoundComponent<'w>> {
        Some(match self.known_type {
            Some(known) => FoundComponent::Typed(known.find(entity)?),
            None => FoundComponent::Reflected(self.access.reflect(entity)?.as_partial_reflect()),
        })
    }

    /// A query for the component in all tables; `None` if its type isn't known or it is stored in a sparse set.
    pub(crate) fn column_query(&self, world: &World) -> Option<Box<dyn ExposedColumnQuery>> {
        self.known_type?.column_query(world)
    }

    pub(crate) fn is_transform(&self) -> bool {
        self.type_id == TypeId::of::<Transform>()
    }

    /// Whether scripts see something else instead.
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

    /// Whether [`ExposedComponent::insert`] can construct one.
    pub(crate) fn can_be_inserted(&self, registry: &TypeRegistry) -> bool {
        registry.get_type_data::<ReflectFromReflect>(self.type_id).is_some()
            || registry.get_type_data::<ReflectDefault>(self.type_id).is_some()
    }

    pub(crate) fn is_on(&self, world: &World, entity: Entity) -> bool {
        world.get_entity(entity).is_ok_and(|entity| self.access.contains(entity))
    }

    /// Writes a field if its value differs and returns whether it did; `None` if the entity or the component is gone.
    pub(crate) fn write(
        &self,
        world: &mut World,
        entity: Entity,
        path: &FieldPath,
        value: &WrittenValue,
    ) -> Option<bool> {
        if let (Some(known), WrittenValue::Scalar(value)) = (self.known_type, value) {
            return known.write_scalar(world, entity, path, *value);
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
