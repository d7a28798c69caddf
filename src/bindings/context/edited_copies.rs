//! [`EditedCopies`]: copies of components that include what the script wrote to their fields.

use std::cell::OnceCell;

use bevy::prelude::Entity;
use bevy::reflect::Reflect;

/// Copies of components that include what the script wrote to their fields. A copy is made when it is first needed and
/// kept up to date from then on.
///
/// A linked list of `OnceCell`s, so that a copy can be added through `&self` and then borrowed: a host function gets
/// `&T` from [`ScriptContext::get`](super::ScriptContext::get).
#[derive(Default)]
pub(super) struct EditedCopies {
    first: OnceCell<Box<EditedCopy>>,
}

struct EditedCopy {
    entity: Entity,
    component: u32,
    value: Box<dyn Reflect>,
    next: OnceCell<Box<Self>>,
}

impl EditedCopies {
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.first.get().is_none()
    }

    /// The copy of a component; calls `make` if there is none yet.
    pub(super) fn get_or_make<E>(
        &self,
        entity: Entity,
        component: u32,
        make: impl FnOnce() -> Result<Box<dyn Reflect>, E>,
    ) -> Result<&dyn Reflect, E> {
        let mut next = &self.first;
        while let Some(copy) = next.get() {
            if copy.is_of(entity, component) {
                return Ok(copy.value.as_ref());
            }
            next = &copy.next;
        }
        let value = make()?;
        let made = || Box::new(EditedCopy { entity, component, value, next: OnceCell::new() });
        Ok(next.get_or_init(made).value.as_ref())
    }

    /// The copy of a component, if there is one, for updating it.
    pub(super) fn get_mut(&mut self, entity: Entity, component: u32) -> Option<&mut dyn Reflect> {
        let mut next = self.first.get_mut();
        while let Some(copy) = next {
            if copy.is_of(entity, component) {
                return Some(copy.value.as_mut());
            }
            next = copy.next.get_mut();
        }
        None
    }

    /// Drops all copies.
    pub(super) fn clear(&mut self) {
        // In a loop: the default drop would recurse once per copy and could overflow the stack.
        let mut next = self.first.take();
        while let Some(mut copy) = next {
            next = copy.next.take();
        }
    }
}

impl Drop for EditedCopies {
    fn drop(&mut self) {
        self.clear();
    }
}

impl EditedCopy {
    fn is_of(&self, entity: Entity, component: u32) -> bool {
        self.entity == entity && self.component == component
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_made_once_and_a_long_list_is_dropped() {
        let entity = Entity::PLACEHOLDER;
        let mut copies = EditedCopies::default();
        assert!(copies.is_empty());
        for component in 0..100_000_u32 {
            let made = || Ok::<_, ()>(Box::new(component) as Box<dyn Reflect>);
            let last = component.saturating_sub(1);
            // Only the first ones: the list is walked.
            if component < 100 {
                assert!(copies.get_or_make(entity, component, made).is_ok());
                assert!(copies.get_or_make(entity, last, || Err(())).is_ok());
            } else {
                let rest = copies.first.take();
                let next = rest.map_or_else(OnceCell::new, OnceCell::from);
                let value: Box<dyn Reflect> = Box::new(component);
                copies.first = Box::new(EditedCopy { entity, component, value, next }).into();
            }
        }
        let copy = copies.get_mut(entity, 5).expect("it was made");
        *copy.downcast_mut::<u32>().expect("it is a number") = 7;
        let again = copies.get_or_make(entity, 5, || Err(())).expect("it is there");
        assert_eq!(again.downcast_ref(), Some(&7_u32));
        assert!(copies.get_or_make(entity, 100_000, || Err(())).is_err());
        copies.clear();
        assert!(copies.is_empty() && copies.get_mut(entity, 5).is_none());
    }
}
