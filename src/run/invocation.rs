//! [`Invocation`]: the runs of one script on one entity in one stage.

use std::ops::Range;

use bevy::prelude::Entity;

use crate::run::last_state::LastState;
use crate::run::order::order;
use crate::run::sweep::ByEntity;
use crate::vm::{Callback, CallbackSet};

/// The runs of one script on one entity in one stage. There are many: what few of them have is in a box.
pub(crate) struct Invocation {
    pub(crate) entity: Entity,
    /// The seconds since its last `on_update` or `on_fixed_update`.
    pub(crate) delta: f64,
    pub(crate) more: Option<Box<InvocationExtras>>,
    /// The index of the script and its state on the entity.
    pub(crate) slot: u32,
    /// The number of the program.
    pub(crate) program: u32,
    /// Stages for which it has been waiting.
    pub(crate) waiting: u32,
    /// The callbacks that are due, whether or not the script defines them. `on_start` is due until it has run,
    /// `on_message` if there is mail. `on_stop` is due alone.
    pub(crate) due: CallbackSet,
}

/// What few invocations have.
#[derive(Default)]
pub(crate) struct InvocationExtras {
    /// The messages to its entity, in the stage's mail. [`Frame::mail`](crate::run::frame::Frame::mail) gives those
    /// for its script.
    pub(crate) mail: Range<u32>,
    /// If a script spawned its entity: the number, in the stage, of the entity from which it descends.
    pub(crate) origin: Option<u32>,
    /// Its index among all invocations that descend from others.
    pub(crate) place: usize,
    /// It is not known yet whether its script defines `on_message`.
    pub(crate) unsure: bool,
    /// The last state of a script that was removed. Such an invocation does nothing but `on_stop`.
    pub(crate) stop: Option<LastState>,
}

impl Default for Invocation {
    fn default() -> Self {
        Self::new(Entity::PLACEHOLDER, 0, 0)
    }
}

impl Invocation {
    /// An invocation for which nothing is due yet.
    pub(crate) fn new(entity: Entity, slot: usize, program: u32) -> Self {
        Self {
            entity,
            delta: 0.0,
            more: None,
            slot: u32::try_from(slot).expect("an entity has fewer scripts than that"),
            program,
            waiting: 0,
            due: CallbackSet::default(),
        }
    }

    /// Whether this callback is due and no other.
    #[inline]
    pub(crate) fn is_due_alone(&self, callback: Callback) -> bool {
        self.due == CallbackSet::only(callback)
    }

    pub(crate) fn slot(&self) -> usize {
        self.slot as usize
    }

    /// Sorts invocations in the stable order.
    pub(super) fn key(&self) -> (u64, u32) {
        (order(self.entity), self.slot)
    }

    /// The messages to its entity, in the stage's mail.
    pub(crate) fn mail(&self) -> Range<u32> {
        self.more.as_ref().map_or(0..0, |more| more.mail.clone())
    }

    /// The last state of its script, if that was removed.
    pub(crate) fn stop(&self) -> Option<&LastState> {
        self.more.as_ref()?.stop.as_ref()
    }

    pub(super) fn take_stop(&mut self) -> Option<LastState> {
        self.more.as_mut()?.stop.take()
    }
}

impl ByEntity for Invocation {
    #[inline]
    fn entity(&self) -> Entity {
        self.entity
    }
}
