//! [`FieldIds`]: the fields of exposed components that are always in the same place, found once.
//!
//! Which fields a struct has is known from its type. So each gets a number when the app is built, and a
//! script that uses it by name gets there without comparing texts. What depends on a value (the fields of
//! an enum's variant, elements) has no number and is found as it is used.

use bevy::platform::collections::HashMap;
use bevy::reflect::TypeInfo;

use super::component::ExposedComponent;
use super::reflect::{ScalarType, is_leaf};
use crate::vm::{Atom, FieldId, FieldPath};

/// Fields that one app may have. Those beyond are found as they are used, and written as a part of the field around
/// them.
const MAX_FIELDS: usize = 1 << 16;

/// A component, or a field within it.
#[derive(Clone, Debug)]
pub(crate) struct KnownField {
    /// The number of the component.
    pub(crate) component: u32,
    /// The fields that lead there.
    pub(crate) path: FieldPath,
    /// The type of what it holds, if that is a scalar.
    pub(crate) scalar: Option<ScalarType>,
    /// It has fields, by name or position, that are written one by one.
    pub(crate) is_compound: bool,
    /// Its fields by name, sorted.
    fields: Box<[(Atom, FieldId)]>,
}

/// All fields of an app, by number.
#[derive(Clone, Debug, Default)]
pub(crate) struct FieldIds {
    /// First the components, by their own numbers, then their fields.
    list: Vec<KnownField>,
    /// The components by the atoms of their names.
    components: Vec<Option<FieldId>>,
    /// The numbers by where the fields are.
    places: HashMap<(u32, FieldPath), FieldId>,
    /// The number of `Transform`.
    transform: Option<u32>,
}

impl FieldIds {
    /// The fields of these components.
    pub(crate) fn of(components: &[ExposedComponent]) -> Self {
        let mut ids = Self::default();
        for (number, component) in (0..).zip(components) {
            if component.is_transform() {
                ids.transform = Some(number);
            }
            ids.add(number, FieldPath::default(), Some(component.info));
        }
        for (number, component) in (0..).zip(components) {
            // What scripts see instead of a component is made anew each time.
            if component.has_view() {
                continue;
            }
            ids.add_fields(number, component.info);
            // Others are read as a whole, such as `Name`.
            if ids.has_fields(number)
                && let Some(atom) = Atom::of(component.name)
            {
                let end = atom.index() + 1;
                ids.components.resize(ids.components.len().max(end), None);
                ids.components[atom.index()] = Some(number);
            }
        }
        ids
    }

    fn add(&mut self, component: u32, path: FieldPath, info: Option<&TypeInfo>) -> FieldId {
        let id = self.list.len() as FieldId;
        self.places.insert((component, path), id);
        self.list.push(KnownField {
            component,
            path,
            scalar: info.and_then(|info| ScalarType::of(info.type_id())),
            is_compound: false,
            fields: Box::default(),
        });
        id
    }

    /// Adds the fields within one, and theirs.
    fn add_fields(&mut self, of: FieldId, info: &TypeInfo) {
        if is_leaf(info.type_id()) {
            return;
        }
        match info {
            TypeInfo::Struct(info) => {
                let fields = info.iter().map(|field| (Atom::of(field.name()), field.type_info()));
                self.add_each(of, fields);
            }
            TypeInfo::TupleStruct(info) => {
                self.add_each(of, info.iter().map(|field| (None, field.type_info())));
            }
            TypeInfo::Tuple(info) => {
                self.add_each(of, info.iter().map(|field| (None, field.type_info())));
            }
            _ => {}
        }
    }

    fn add_each(
        &mut self,
        of: FieldId,
        fields: impl Iterator<Item = (Option<Atom>, Option<&'static TypeInfo>)>,
    ) {
        let KnownField { component, path, .. } = *self.get(of);
        let mut named = Vec::new();
        for (step, (name, info)) in fields.enumerate() {
            let Some(path) = path.then(step) else { break };
            if self.list.len() >= MAX_FIELDS {
                break;
            }
            let id = self.add(component, path, info);
            named.extend(name.map(|name| (name, id)));
            if let Some(info) = info {
                self.add_fields(id, info);
            }
        }
        named.sort_unstable();
        let known = &mut self.list[of as usize];
        (known.is_compound, known.fields) = (true, named.into());
    }

    #[inline]
    pub(crate) fn get(&self, id: FieldId) -> &KnownField {
        &self.list[id as usize]
    }

    /// The component of a field, and the way there.
    pub(crate) fn place_of(&self, id: FieldId) -> (u32, FieldPath) {
        let KnownField { component, path, .. } = *self.get(id);
        (component, path)
    }

    /// Whether a component is `Transform`, by its number.
    #[inline]
    pub(crate) fn is_transform(&self, component: u32) -> bool {
        self.transform == Some(component)
    }

    /// A whole component.
    #[inline]
    pub(crate) fn component_field(&self, component: u32) -> FieldId {
        component
    }

    /// The field at a place, if it has a number.
    pub(crate) fn at(&self, component: u32, path: FieldPath) -> Option<FieldId> {
        self.places.get(&(component, path)).copied()
    }

    /// The field at a place, or else the nearest one around it that has a number.
    pub(crate) fn nearest(&self, component: u32, path: FieldPath) -> FieldId {
        let steps = path.steps();
        let around = (0..=steps.len()).rev().filter_map(|len| path_of(&steps[..len]));
        let mut known = around.filter_map(|path| self.at(component, path));
        known.next().unwrap_or(self.component_field(component))
    }

    /// The nearest field around one that is no whole component.
    pub(crate) fn around(&self, id: FieldId) -> Option<FieldId> {
        let KnownField { component, path, .. } = self.get(id);
        let (_, steps) = path.steps().split_last()?;
        Some(self.nearest(*component, path_of(steps)?))
    }

    /// Whether one field is another, or around it.
    pub(crate) fn contains(&self, outer: FieldId, inner: FieldId) -> bool {
        let (outer, inner) = (self.get(outer), self.get(inner));
        outer.component == inner.component && outer.path.contains(&inner.path)
    }

    /// The component of a name.
    #[inline]
    pub(crate) fn component(&self, name: Atom) -> Option<FieldId> {
        self.components.get(name.index()).copied().flatten()
    }

    /// Whether a field has fields that are reached by name.
    pub(crate) fn has_fields(&self, id: FieldId) -> bool {
        !self.get(id).fields.is_empty()
    }

    /// A field within another.
    #[inline]
    pub(crate) fn field(&self, within: FieldId, name: Atom) -> Option<FieldId> {
        let fields = &self.get(within).fields;
        // Nearly all have a few.
        fields.iter().find(|(known, _)| *known == name).map(|(_, id)| *id)
    }
}

fn path_of(steps: &[u16]) -> Option<FieldPath> {
    steps.iter().try_fold(FieldPath::default(), |path, step| path.then(usize::from(*step)))
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
    fn every_field_of_a_struct_has_a_number() {
        let components = [ExposedComponent::of::<Transform>(), ExposedComponent::of::<Deep>()];
        let ids = FieldIds::of(&components);
        let deep = ids.component(atom("Deep")).expect("it is exposed");
        let inner = ids.field(deep, atom("inner")).expect("it has the field");
        let speed = ids.get(ids.field(inner, atom("speed")).expect("it has the field"));
        assert_eq!((speed.component, speed.path.steps()), (1, &[0, 1][..]));
        assert_eq!(speed.scalar, ScalarType::of(std::any::TypeId::of::<f32>()));
        assert_eq!(ids.field(deep, atom("speed")), None);
        let kind = ids.get(ids.field(deep, atom("kind")).expect("it has the field"));
        assert!(
            kind.scalar.is_none() && kind.fields.is_empty(),
            "what it holds depends on its value"
        );

        let transform = ids.component(atom("Transform")).expect("it is exposed");
        let translation = ids.field(transform, atom("translation")).expect("it has the field");
        assert_eq!(
            ids.get(translation).scalar,
            ScalarType::of(std::any::TypeId::of::<Vec3>()),
            "a vector is one value"
        );
        assert_eq!(ids.field(translation, atom("x")), None);
        assert_eq!(ids.component(atom("translation")), None);
        assert_eq!((ids.component_field(0), ids.component_field(1)), (transform, deep));
    }

    #[derive(Component, Reflect)]
    struct Wrapped(f32, (u8, String));

    #[test]
    fn fields_by_position_have_numbers_and_what_has_none_is_found_by_what_is_around_it() {
        let ids = FieldIds::of(&[ExposedComponent::of::<Wrapped>()]);
        let whole = FieldPath::default();
        let path = |steps: &[usize]| {
            steps.iter().fold(whole, |path, step| path.then(*step).expect("it is short"))
        };
        let first = ids.get(ids.at(0, path(&[0])).expect("it has one"));
        assert_eq!(first.scalar, ScalarType::of(std::any::TypeId::of::<f32>()));
        let pair = ids.at(0, path(&[1])).expect("it has one");
        assert!(ids.get(pair).is_compound && !ids.has_fields(pair));
        let text = ids.at(0, path(&[1, 1])).expect("it has one");
        assert!(!ids.get(text).is_compound);
        assert_eq!(ids.nearest(0, path(&[1, 1])), text);
        assert_eq!(ids.nearest(0, path(&[1, 7])), pair);
        assert_eq!(ids.nearest(0, path(&[7, 1])), ids.component_field(0));
    }
}
