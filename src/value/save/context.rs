//! [`ReadContext`] and [`ReadPosition`]: what a reader knows of the save and of its place in it.

use std::cell::Cell;

use serde::de::{Deserializer, Error};

use crate::value::trail::{PathStep, Trail, show_path};

/// What the readers of one save share.
pub(super) struct ReadContext {
    pub(super) human_readable: bool,
    /// Whether the error has its place already: it passes every reader on its way out.
    has_place: Cell<bool>,
}

impl ReadContext {
    pub(super) fn new<'de, D: Deserializer<'de>>(from: &D) -> Self {
        Self { human_readable: from.is_human_readable(), has_place: Cell::new(false) }
    }
}

/// The place of a reader.
#[derive(Clone, Copy)]
pub(super) struct ReadPosition<'p> {
    pub(super) context: &'p ReadContext,
    pub(super) trail: Option<&'p Trail<'p>>,
    /// The number of tables around the place.
    pub(super) depth: usize,
}

impl<'p> ReadPosition<'p> {
    pub(super) const fn root(context: &'p ReadContext) -> Self {
        Self { context, trail: None, depth: 0 }
    }

    /// The place of what is inside a table at this place.
    pub(super) fn inside(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    /// Adds the place to an error.
    pub(super) fn locate<E: Error>(self, error: E) -> E {
        self.locate_inside(&[], error)
    }

    /// Adds the place `steps` further in to an error.
    pub(super) fn locate_inside<E: Error>(self, steps: &[PathStep<'_>], error: E) -> E {
        let mut path = Trail::steps(self.trail);
        path.extend(steps);
        if path.is_empty() || self.context.has_place.replace(true) {
            return error;
        }
        with_place(&format!("`{}`", show_path(path)), error)
    }
}

/// Adds a place to an error. Returns the error as it is if the format drops custom messages.
pub(super) fn with_place<E: Error>(place: &str, error: E) -> E {
    let with_place = E::custom(format_args!("{place}: {error}"));
    if with_place.to_string().contains(place) { with_place } else { error }
}
