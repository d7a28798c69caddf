//! [`FieldIds`]: the fields of exposed components that are always in the same place, found once.
//!
//! Which fields a struct has is known from its type. So each gets a number when the app is built, and a
//! script that uses it by name gets there without comparing texts. What depends on a value (the fields of
//! an enum's variant, elements) has no spot and is found as it is used.

use bevy::platform::collections::HashMap;
use bevy::prelude::Transform;
use bevy::reflect::TypeInfo;

use super::component::ExposedComponent;
use super::effects::{LeafValue, ScalarWrite};
use super::reflect::{ScalarType, TypedScalar, is_leaf};
use super::transform::TransformVector;
use crate::vm::{Atom, FieldId, FieldPath};

/// FieldIds that one app may have; what exceeds them is found as it is used.
const MAX_SPOTS: usize = 10_000;

/// A component, or a field within it.
#[derive(Clone, Debug)]
pub(crate) struct KnownField {
    /// The number of the component.
    pub(crate) component: u32,
    /// The fields that lead there.
    pub(crate) path: FieldPath,
    /// What it holds, if that is a leaf of a common type.
    pub(crate) leaf: Option<ScalarType>,
    /// Which vector of a `Transform` it is: those are reached without reflection.
    pub(crate) of_transform: Option<TransformVector>,
    /// Its fields by name, sorted.
    fields: Box<[(Atom, FieldId)]>,
}

/// All spots of an app, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldIds {
    list: Vec<KnownField>,
    /// The components by the atoms of their names.
    components: Vec<Option<FieldId>>,
    /// The spots by where they are.
    places: HashMap<(u32, FieldPath), FieldId>,
    /// The number of `Transform`.
    transform: Option<u32>,
}

impl FieldIds {
    /// The spots of these components.
    pub(crate) fn of(components: &[ExposedComponent]) -> Self {
        let mut spots = Self::default();
        for (number, component) in (0..).zip(components) {
            if component.is_transform() {
                spots.transform = Some(number);
            }
            // What scripts see instead of a component is made anew each time.
            if component.has_view() {
                continue;
            }
            let spot = spots.add(number, FieldPath::default(), component.info);
            // Others are read as a whole, such as `Name`.
            let spot = spot.filter(|spot| spots.has_fields(*spot));
            if let (Some(spot), Some(atom)) = (spot, Atom::of(component.name)) {
                let end = atom.index() + 1;
                spots.components.resize(spots.components.len().max(end), None);
                spots.components[atom.index()] = Some(spot);
            }
        }
        spots
    }

    fn add(&mut self, component: u32, path: FieldPath, info: &TypeInfo) -> Option<FieldId> {
        if self.list.len() >= MAX_SPOTS {
            return None;
        }
        let spot = self.list.len() as FieldId;
        self.places.insert((component, path), spot);
        let leaf = ScalarType::of(info.type_id());
        let of_transform =
            if self.transform == Some(component) { TransformVector::at(&path) } else { None };
        self.list.push(KnownField { component, path, leaf, of_transform, fields: Box::default() });
        if !is_leaf(info.type_id())
            && let TypeInfo::Struct(info) = info
        {
            let fields = (0..).zip(info.iter()).filter_map(|(step, field)| {
                let inner = self.add(component, path.then(step)?, field.type_info()?)?;
                Some((Atom::of(field.name())?, inner))
            });
            let mut fields: Vec<_> = fields.collect();
            fields.sort_unstable();
            self.list[spot as usize].fields = fields.into();
        }
        Some(spot)
    }

    #[inline]
    pub(crate) fn get(&self, spot: FieldId) -> &KnownField {
        &self.list[spot as usize]
    }

    /// Whether a component is `Transform`, by its number.
    #[inline]
    pub(crate) fn is_transform(&self, component: u32) -> bool {
        self.transform == Some(component)
    }

    /// The spot of a place, if it has one.
    pub(crate) fn at(&self, component: u32, path: FieldPath) -> Option<FieldId> {
        self.places.get(&(component, path)).copied()
    }

    /// The component of a name.
    #[inline]
    pub(crate) fn component(&self, name: Atom) -> Option<FieldId> {
        self.components.get(name.index()).copied().flatten()
    }

    /// Whether a spot has fields that are reached one by one.
    pub(crate) fn has_fields(&self, spot: FieldId) -> bool {
        !self.get(spot).fields.is_empty()
    }

    /// A field within a spot.
    #[inline]
    pub(crate) fn field(&self, within: FieldId, name: Atom) -> Option<FieldId> {
        let fields = &self.get(within).fields;
        // Nearly all have a few.
        fields.iter().find(|(known, _)| *known == name).map(|(_, spot)| *spot)
    }
}

/// Writes a scalar of a [`Transform`]; gives whether the value differed, or `None` if it is not one of its vectors.
/// The caller marks the component as changed.
pub(crate) fn write_transform(
    fields: &FieldIds,
    leaf: &ScalarWrite,
    transform: &mut Transform,
) -> Option<bool> {
    match (fields.get(leaf.spot).of_transform, &leaf.value) {
        (Some(vector), LeafValue::Small(TypedScalar::Vec3(new))) => {
            Some(vector.write(transform, *new))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bevy::prelude::{Component, Reflect, Transform, Vec3};

    use super::*;

    #[derive(Component, Reflect)]
    struct Deep {
        inner: Inner,
        kind: Option<f32>,
    }

    #[derive(Reflect)]
    struct Inner {
        list: Vec<f32>,
        speed: f32,
    }

    fn atom(name: &str) -> Atom {
        Atom::of(name).expect("few names")
    }

    #[test]
    fn every_field_of_a_struct_has_a_spot() {
        let components = [ExposedComponent::of::<Transform>(), ExposedComponent::of::<Deep>()];
        let spots = FieldIds::of(&components);
        let deep = spots.component(atom("Deep")).expect("it is exposed");
        let inner = spots.field(deep, atom("inner")).expect("it has the field");
        let speed = spots.get(spots.field(inner, atom("speed")).expect("it has the field"));
        assert_eq!((speed.component, speed.path.steps()), (1, &[0, 1][..]));
        assert_eq!(speed.leaf, ScalarType::of(std::any::TypeId::of::<f32>()));
        assert_eq!(spots.field(deep, atom("speed")), None);
        let kind = spots.get(spots.field(deep, atom("kind")).expect("it has the field"));
        assert!(
            kind.leaf.is_none() && kind.fields.is_empty(),
            "what it holds depends on its value"
        );

        let transform = spots.component(atom("Transform")).expect("it is exposed");
        let translation = spots.field(transform, atom("translation")).expect("it has the field");
        assert_eq!(
            spots.get(translation).leaf,
            ScalarType::of(std::any::TypeId::of::<Vec3>()),
            "a vector is one value"
        );
        assert_eq!(spots.field(translation, atom("x")), None);
        assert_eq!(spots.component(atom("translation")), None);
    }
}
