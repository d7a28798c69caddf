//! Applies what an invocation asked for besides its own state: writes, commands, messages, events.

use bevy::prelude::{Messages, World};

use crate::bindings::{Command, WriteLog};
use crate::run::apply::spawn::{Spawner, equip_spawned};
use crate::run::apply::stage::ApplyingStage;
use crate::run::invocation::Invocation;
use crate::run::mailbox::QueuedMail;
use crate::run::messages::{Outbox, ScriptEvent, ScriptFailed};
use crate::run::outcome::{InvocationOutcome, OutcomeExtras};

impl ApplyingStage<'_> {
    /// Applies all effects, and leaves an empty outcome.
    pub(super) fn apply_effects(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        outcome: &mut InvocationOutcome,
    ) {
        let mut writes = std::mem::take(&mut outcome.writes);
        if !writes.is_empty() {
            let new = outcome.more.as_ref().map_or(&[][..], |more| &more.new);
            writes.retain(|write| {
                let is_of_field = write.value.is_of_field();
                if is_of_field {
                    self.write_field(world, write, new);
                }
                !is_of_field
            });
        }
        // What is left inserts and removes components, which may run code of the game.
        if let Some(more) = outcome.more.take() {
            self.apply_extras(world, invocation, *more, writes, outcome.put_aside);
        } else if !writes.is_empty() {
            let program = self.program_of(invocation);
            let spawner = Spawner { entity: invocation.entity, script: program.name() };
            for write in writes.drain() {
                self.write_component(world, spawner, write, &[]);
            }
        }
    }

    /// Applies what few outcomes have.
    fn apply_extras(
        &mut self,
        world: &mut World,
        invocation: &Invocation,
        mut more: OutcomeExtras,
        mut writes: WriteLog,
        put_aside: bool,
    ) {
        let number = invocation.program as usize;
        self.report.count_failures(self.figures[number], more.failures.len() as u64);
        let program = self.program_of(invocation);
        let (entity, script) = (invocation.entity, program.name());
        let spawner = Spawner { entity, script };
        if !more.effects.logs.is_empty() {
            self.log(number, Some(entity), &more.effects.logs);
        }
        if !more.effects.spawned.is_empty() {
            equip_spawned(world, spawner, &mut more, self.report);
        }
        for write in writes.drain() {
            self.write_component(world, spawner, write, &more.new);
        }
        for command in more.effects.commands.drain(..) {
            match command {
                Command::Despawn(entity) => {
                    self.report.frame.despawned += u64::from(world.despawn(entity));
                }
                Command::Host(command) => command(world),
            }
        }
        let messages = more.effects.messages.drain(..);
        self.mail.extend(messages.map(|mail| QueuedMail::new(mail, program.name_hash())));
        for (name, payload) in more.effects.emitted.drain(..) {
            let script = script.clone();
            self.emit(world, ScriptEvent { entity, script, name, payload });
        }
        for (callback, failure) in more.failures.drain(..) {
            self.report.log_failure(entity, callback, &failure);
            let mut failures = world.resource_mut::<Messages<ScriptFailed>>();
            if failures.len() < Outbox::MOST_FAILURES {
                failures.write(ScriptFailed { entity, callback, failure, put_aside });
            }
        }
    }
}
