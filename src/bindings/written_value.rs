//! [`WrittenValue`]: what a script wrote to a field, or made of a component.

use bevy::reflect::{PartialReflect, TypeRegistry};

use super::reflect::{TypedScalar, assign_if_it_differs, copy_value};

/// What a field is to be, or a whole component. Most are scalars, so the others are in a box.
#[derive(Debug)]
pub(crate) enum WrittenValue {
    Scalar(TypedScalar),
    /// A field that is not a scalar: a text, an enum, a list, a map, a struct.
    Whole(Box<WholeValue>),
    /// The component is inserted, or replaced as a whole.
    Insert(Box<WholeValue>),
    /// The component is removed.
    Remove,
}

#[derive(Debug)]
pub(crate) struct WholeValue {
    pub(crate) value: Box<dyn PartialReflect>,
    /// Roughly the bytes that the script last handed over for it.
    pub(crate) size: usize,
}

impl WrittenValue {
    /// Whether it is a value of a field of a component that is there.
    #[inline]
    pub(crate) fn is_of_field(&self) -> bool {
        matches!(self, Self::Scalar(_) | Self::Whole(_))
    }

    #[inline]
    pub(crate) fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// The value; `None` if the component is removed.
    pub(super) fn value(&self) -> Option<&dyn PartialReflect> {
        match self {
            Self::Scalar(scalar) => Some(scalar.as_partial_reflect()),
            Self::Whole(whole) | Self::Insert(whole) => Some(whole.value.as_ref()),
            Self::Remove => None,
        }
    }

    /// The value if it is no scalar.
    pub(crate) fn whole_mut(&mut self) -> Option<&mut WholeValue> {
        match self {
            Self::Whole(whole) | Self::Insert(whole) => Some(whole),
            Self::Scalar(_) | Self::Remove => None,
        }
    }

    /// Roughly the bytes that the script handed over for it, if it can be large.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Whole(whole) | Self::Insert(whole) => whole.size,
            Self::Scalar(_) | Self::Remove => 0,
        }
    }

    /// Writes it to where it belongs if that differs; gives whether it did, or `None` if that is of another type.
    pub(super) fn write_to(&self, target: &mut dyn PartialReflect) -> Option<bool> {
        match self {
            Self::Scalar(scalar) => scalar.write_to(target),
            Self::Whole(whole) | Self::Insert(whole) => {
                Some(assign_if_it_differs(target, whole.value.as_ref()))
            }
            Self::Remove => None,
        }
    }

    /// Copies it.
    ///
    /// # Panics
    /// If it can't be copied. Only values that can are logged.
    pub(super) fn duplicate(&self, registry: &TypeRegistry) -> Self {
        let copy = |whole: &WholeValue| {
            let value = copy_value(whole.value.as_ref(), registry);
            let value = value.expect("a value that can't be copied is not logged");
            Box::new(WholeValue { value, size: whole.size })
        };
        match self {
            Self::Scalar(scalar) => Self::Scalar(*scalar),
            Self::Whole(whole) => Self::Whole(copy(whole)),
            Self::Insert(whole) => Self::Insert(copy(whole)),
            Self::Remove => Self::Remove,
        }
    }
}
