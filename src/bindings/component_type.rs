//! [`ComponentType`]: a component whose Rust type is known.

use std::marker::PhantomData;

use bevy::ecs::change_detection::DetectChangesMut;
use bevy::ecs::component::{Immutable, Mutable};
use bevy::prelude::{Component, Entity, EntityRef, Reflect, World};
use bevy::reflect::{GetTypeRegistration, Typed};

use super::component_column::{ExposedColumnQuery, column_query};
use super::reflect::TypedScalar;
use super::scalar_fields::ScalarFields;
use crate::vm::FieldPath;

/// A component type that can be exposed to scripts: every one that derives `Component` and `Reflect`.
pub trait Exposable:
    Component<Mutability: ExposedMutability<Self>> + Reflect + Typed + GetTypeRegistration
{
}

impl<T> Exposable for T where
    T: Component<Mutability: ExposedMutability<T>> + Reflect + Typed + GetTypeRegistration
{
}

/// What can be done with a component depends on whether it is [`Mutable`] or [`Immutable`].
#[doc(hidden)]
pub trait ExposedMutability<T: ?Sized> {
    /// Writes a scalar of a component of an entity; see [`ComponentType::write_scalar`].
    fn write_scalar(world: &mut World, entity: Entity, write: ScalarWrite<'_>) -> Option<bool>;
}

/// A scalar and where it is to be written.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct ScalarWrite<'v> {
    path: &'v FieldPath,
    value: TypedScalar,
}

impl<T: Component<Mutability = Mutable> + Reflect> ExposedMutability<T> for Mutable {
    fn write_scalar(world: &mut World, entity: Entity, write: ScalarWrite<'_>) -> Option<bool> {
        let mut component = world.get_mut::<T>(entity)?;
        let written = component.bypass_change_detection().set_scalar(write.path, write.value)?;
        if written {
            component.set_changed();
        }
        Some(written)
    }
}

impl<T: Component<Mutability = Immutable>> ExposedMutability<T> for Immutable {
    fn write_scalar(_: &mut World, _: Entity, _: ScalarWrite<'_>) -> Option<bool> {
        None
    }
}

/// What is done with a component whose type is known.
pub(crate) trait ComponentType: Send + Sync {
    /// The component of an entity.
    fn find<'w>(&self, entity: EntityRef<'w>) -> Option<&'w dyn ScalarFields>;

    /// Writes a scalar of the component of an entity if it differs; gives whether it did, or `None` if there is no
    /// such component or scalar.
    fn write_scalar(
        &self,
        world: &mut World,
        entity: Entity,
        path: &FieldPath,
        value: TypedScalar,
    ) -> Option<bool>;

    /// Finds it in all entities; `None` if it doesn't lie in tables.
    fn column_query(&self, world: &World) -> Option<Box<dyn ExposedColumnQuery>>;
}

/// The type `T`.
struct TypeOf<T>(PhantomData<fn() -> T>);

/// The type of a component.
pub(super) fn component_type<T: Exposable>() -> &'static dyn ComponentType {
    const { &TypeOf::<T>(PhantomData) }
}

impl<T: Exposable> ComponentType for TypeOf<T> {
    fn find<'w>(&self, entity: EntityRef<'w>) -> Option<&'w dyn ScalarFields> {
        entity.get::<T>().map(|component| component as &dyn ScalarFields)
    }

    fn write_scalar(
        &self,
        world: &mut World,
        entity: Entity,
        path: &FieldPath,
        value: TypedScalar,
    ) -> Option<bool> {
        T::Mutability::write_scalar(world, entity, ScalarWrite { path, value })
    }

    fn column_query(&self, world: &World) -> Option<Box<dyn ExposedColumnQuery>> {
        column_query::<T>(world)
    }
}
