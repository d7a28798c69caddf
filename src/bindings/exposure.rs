//! [`Exposure`]: which components scripts can reach, and under which names.

use std::any::TypeId;

use bevy::ecs::component::ComponentInfo;
use bevy::ecs::reflect::ReflectComponent;
use bevy::ecs::relationship::RelationshipAccessor;
use bevy::platform::collections::HashMap;
use bevy::prelude::{ChildOf, Children, GlobalTransform, Name, Transform, World};
use bevy::reflect::{TypeInfo, TypeRegistry};
use bevy::transform::components::TransformTreeChanged;

use super::component::ExposedComponent;
use super::field_ids::FieldIds;
use crate::error::{ScriptError, suggest};

/// Names on `entity` that are properties, not components.
pub(crate) const PROPERTIES: [&str; 3] = ["id", "parent", "children"];

/// Full type paths of components that are exposed in every app that registers them.
const CURATED_BY_PATH: [&str; 2] =
    ["bevy_camera::visibility::Visibility", "bevy_camera::visibility::InheritedVisibility"];

/// The components that scripts can reach, by number and by name.
#[derive(Clone, Default)]
pub(crate) struct Exposure {
    components: Vec<ExposedComponent>,
    names: HashMap<&'static str, u32>,
    /// The number of [`ChildOf`], if it is exposed.
    child_of: Option<u32>,
    /// Their fields, set by [`Exposure::freeze`].
    pub(crate) fields: FieldIds,
}

impl Exposure {
    /// What every app exposes: [`Transform`], [`Name`], and [`GlobalTransform`] read-only.
    pub(crate) fn curated() -> Self {
        let mut exposure = Self::default();
        exposure.add(ExposedComponent::of::<Transform>());
        exposure.add(ExposedComponent::of::<Name>());
        // Scripts see its fields as those of a `Transform`, not as a matrix.
        exposure.add(ExposedComponent::of::<GlobalTransform>().viewed_as(|global| {
            let global = global.downcast_ref::<GlobalTransform>()?;
            Some(Box::new(global.compute_transform()))
        }));
        exposure
    }

    /// Adds a component. If its short name is taken, it goes by its full type path.
    pub(crate) fn add(&mut self, mut component: ExposedComponent) {
        if self.components.iter().any(|known| known.type_id() == component.type_id()) {
            return;
        }
        if self.names.contains_key(component.name) {
            component.name = component.info.type_path();
        }
        self.names.insert(component.name, self.components.len() as u32);
        self.components.push(component);
    }

    /// Adds the curated components that the app registered; if `all`, every registered component.
    pub(crate) fn add_registered(&mut self, registry: &TypeRegistry, all: bool) {
        let mut found: Vec<_> = registry
            .iter_with_data::<ReflectComponent>()
            .map(|(registration, access)| (registration.type_info(), access))
            .filter(|(info, _)| {
                let path = info.type_path();
                CURATED_BY_PATH.contains(&path) || (all && !is_internal(info))
            })
            .collect();
        // Sort: the registry is a hash map, and numbers and names must not depend on its order.
        found.sort_by_key(|(info, _)| info.type_path());
        for (info, access) in found {
            self.add(ExposedComponent::of_registered(info, access));
        }
    }

    /// Finds out which components can't be changed, and gives all fields their numbers. Call it again after adding more.
    pub(crate) fn freeze(&mut self, world: &mut World) {
        // A relationship is only known once both of its components are registered.
        let ids: Vec<_> =
            self.components.iter().map(|component| component.register(world)).collect();
        for (component, id) in self.components.iter_mut().zip(ids) {
            let info = world.components().get_info(id);
            component.read_only |= !info.is_some_and(ComponentInfo::mutable);
            let relation = info.and_then(ComponentInfo::relationship_accessor);
            // Only Bevy may change a relationship target. A relationship that despawns its sources could nest too
            // deeply; the depth is only checked for parents and children.
            component.fixed |= match relation {
                Some(RelationshipAccessor::RelationshipTarget { .. }) => true,
                Some(RelationshipAccessor::Relationship { linked_spawn, .. }) => {
                    *linked_spawn && component.type_id() != TypeId::of::<ChildOf>()
                }
                None => component.type_id() == TypeId::of::<Children>(),
            };
            component.read_only |= component.fixed;
        }
        self.child_of = self.number_of(TypeId::of::<ChildOf>());
        self.fields = FieldIds::of(&self.components);
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.components.len()
    }

    pub(crate) fn get(&self, number: u32) -> &ExposedComponent {
        &self.components[number as usize]
    }

    /// The number of [`ChildOf`], if it is exposed.
    pub(crate) fn child_of(&self) -> Option<u32> {
        self.child_of
    }

    /// The number of a component by its type.
    pub(crate) fn number_of(&self, type_id: TypeId) -> Option<u32> {
        let number = self.components.iter().position(|component| component.type_id() == type_id)?;
        Some(number as u32)
    }

    pub(crate) fn number(&self, name: &str) -> Result<u32, ScriptError> {
        self.names.get(name).copied().ok_or_else(|| {
            let names = self.names.keys().copied().chain(PROPERTIES);
            ScriptError::UnknownComponent { name: name.to_owned(), similar: suggest(name, names) }
        })
    }
}

/// Components that Bevy or this crate depends on: never exposed.
fn is_internal(info: &TypeInfo) -> bool {
    let path = info.type_path();
    info.type_id() == TypeId::of::<TransformTreeChanged>()
        || path.starts_with("bevy_lua_pool::")
        || path.starts_with("bevy_ecs::observer")
        || path.starts_with("bevy_ecs::resource")
        || path.starts_with("bevy_ecs::system")
}
