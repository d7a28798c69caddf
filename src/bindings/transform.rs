//! The vectors of a `Transform`, reached without reflection.

use bevy::prelude::{Transform, Vec3};

use crate::vm::FieldPath;

/// A vector of a [`Transform`], the component that scripts use most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TransformVector {
    Translation,
    Scale,
}

impl TransformVector {
    /// By the order of the fields in the type.
    pub(crate) fn at(path: &FieldPath) -> Option<Self> {
        match path.steps() {
            [0] => Some(Self::Translation),
            [2] => Some(Self::Scale),
            _ => None,
        }
    }

    #[inline]
    pub(crate) fn of(self, transform: &Transform) -> Vec3 {
        match self {
            Self::Translation => transform.translation,
            Self::Scale => transform.scale,
        }
    }

    /// Writes it; gives whether the value differed.
    pub(crate) fn write(self, transform: &mut Transform, new: Vec3) -> bool {
        let place = match self {
            Self::Translation => &mut transform.translation,
            Self::Scale => &mut transform.scale,
        };
        let differs = *place != new;
        if differs {
            *place = new;
        }
        differs
    }
}
