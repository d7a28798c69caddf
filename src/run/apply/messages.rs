//! Sends messages and emits events on behalf of scripts.

use bevy::prelude::{Messages, World};

use crate::bindings::Backlog;
use crate::run::apply::parallel::set_bits;
use crate::run::apply::stage::ApplyingStage;
use crate::run::frame::Frame;
use crate::run::mailbox::{Mailbox, RefusedMail, StageMail};
use crate::run::messages::{Outbox, ScriptEvent};
use crate::run::outcome::InvocationOutcome;
use crate::run::program_table::ProgramTable;
use crate::run::stage::Stage;
use crate::vm::Callback;

impl ApplyingStage<'_> {
    /// Emits an event, if there is room for it.
    pub(super) fn emit(&mut self, world: &mut World, event: ScriptEvent) {
        let mut events = world.resource_mut::<Messages<ScriptEvent>>();
        if self.report.outbox.has_room_for(&event, events.len()) {
            events.write(event);
        } else if self.refused_events.iter().all(|(known, _)| *known != event.script) {
            self.refused_events.push((event.script, event.entity));
        }
    }

    /// Puts messages that were not taken in this stage back, and sends the new ones after them. Reports what was
    /// refused.
    pub(super) fn send(&mut self, world: &mut World, stage_mail: &mut StageMail) {
        let mail = std::mem::take(&mut self.mail);
        self.report.frame.messages += mail.len() as u64;
        let mut mailbox = world.resource_mut::<Mailbox>();
        mailbox.put_back(stage_mail);
        let refused = mailbox.put(mail);
        let mut backlog = world.resource_mut::<Backlog>();
        // Hardly anything is sent in fixed steps, so only an update can end it.
        if !refused.is_empty() || self.stage == Stage::Update {
            backlog.refuses = !refused.is_empty();
        }
        for RefusedMail { from, sender, to, line, limit, count } in refused {
            self.report.frame.undelivered += count;
            let mut programs = self.programs.list.iter().map(|carried| &carried.program);
            if let Some(program) = programs.find(|program| program.name_hash() == from) {
                let message = format!(
                    "messages were refused, the first one to {to}: {limit}; send less, or to those that take \
                     messages"
                );
                self.report.log_refusal((program.name(), line), sender, &message);
            }
        }
        for (script, sender) in self.refused_events.drain(..) {
            let message = format!(
                "events were not emitted: of the last two frames, read or not, {} with {} bytes are kept; \
                 emit fewer",
                Outbox::MOST.count,
                Outbox::MOST.bytes
            );
            self.report.log_refusal((&script, None), sender, &message);
        }
    }
}

/// Counts the messages that no script of their receivers has an `on_message` for, as far as that was not known before
/// the stage was executed.
pub(super) fn count_unheard(
    frame: &mut Frame,
    programs: &ProgramTable,
    outcomes: &[InvocationOutcome],
    left: &[u64],
) -> u64 {
    if frame.unsure.is_empty() {
        return 0;
    }
    let mut unsure = std::mem::take(&mut frame.unsure);
    for number in set_bits(left) {
        let (invocation, outcome) = (&frame.invocations[number], &outcomes[number]);
        let known = programs.list[invocation.program as usize].program.callbacks();
        let hears = known.is_none_or(|known| known.contains(Callback::Message));
        let takes = outcome.deferred || outcome.unfinished || !outcome.started || hears;
        if takes && invocation.more.as_ref().is_some_and(|more| more.unsure) {
            for number in invocation.mail() {
                let number = number as usize;
                unsure[number] &= !frame.stage_mail[number].is_for(invocation.slot());
            }
        }
    }
    let unheard = unsure.iter().filter(|unheard| **unheard).count() as u64;
    unsure.clear();
    frame.unsure = unsure;
    unheard
}
