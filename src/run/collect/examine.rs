//! [`Examiner`]: the careful way to collect, for entities to which something may have happened.

use bevy::asset::Assets;
use bevy::ecs::change_detection::Tick;
use bevy::prelude::{AssetServer, Entity};

use crate::run::collect::align::{ScriptNames, align};
use crate::run::collect::known::KnownScripts;
use crate::run::collect::receivers::Receivers;
use crate::run::frame::Frame;
use crate::run::invocation::{Invocation, InvocationExtras};
use crate::run::stage::Stage;
use crate::run::stop::StopQueue;
use crate::script::{Backoff, LuaScript, LuaScripts, ScriptState, ScriptStates};
use crate::vm::{Callback, CallbackSet};

/// Examines entities one by one and adds what is due on them to the frame.
pub(super) struct Examiner<'e> {
    pub(super) frame: &'e mut Frame,
    pub(super) receivers: &'e mut Receivers,
    pub(super) stopped: &'e mut StopQueue,
    pub(super) known: &'e mut KnownScripts,
    pub(super) scripts: &'e Assets<LuaScript>,
    pub(super) assets: Option<&'e AssetServer>,
}

/// A script on an entity.
#[derive(Clone, Copy)]
struct ScriptOnEntity<'s> {
    entity: Entity,
    /// When the entity's list of scripts was last changed.
    list_changed: Tick,
    /// Its index in that list.
    slot: usize,
    script: &'s LuaScript,
}

impl Examiner<'_> {
    /// Matches an entity's scripts and states, and adds what is due.
    pub(super) fn examine(
        &mut self,
        entity: Entity,
        scripts: &LuaScripts,
        list_changed: Tick,
        states: &mut ScriptStates,
    ) {
        let origin = states.origin;
        let names = ScriptNames { scripts: self.scripts, assets: self.assets };
        align(entity, scripts, states, names, self.stopped);
        let states = &mut states.states;
        if !scripts.enabled {
            self.receivers.wait(&mut self.frame.stage_mail, entity, None);
            for (slot, state) in states.iter_mut().enumerate() {
                self.frame.programs.count_script(state, entity, list_changed, slot);
            }
            return;
        }
        let before = self.frame.invocations.len();
        for (slot, (handle, state)) in scripts.scripts.iter().zip(states).enumerate() {
            let Some(script) = self.scripts.get(handle) else {
                self.receivers.wait(&mut self.frame.stage_mail, entity, Some(slot));
                continue;
            };
            if state.attached.program.is_none() {
                self.known.keep(handle);
            }
            let script = ScriptOnEntity { entity, list_changed, slot, script };
            if let Some(mut invocation) = self.invocation(script, state) {
                if let Some(origin) = self.frame.shares.count(origin) {
                    invocation.more.get_or_insert_default().origin = Some(origin);
                }
                self.frame.any_waits |= invocation.waiting > 0;
                self.frame.invocations.push(invocation);
            }
        }
        if self.frame.invocations.len() > before + 1 {
            self.frame.shared.push(entity);
        }
    }

    /// What is due for one script, if anything.
    fn invocation(
        &mut self,
        ScriptOnEntity { entity, list_changed, slot, script }: ScriptOnEntity<'_>,
        state: &mut ScriptState,
    ) -> Option<Invocation> {
        let frame = &mut *self.frame;
        let stage = frame.stage;
        let program = script.program();
        let attached = &mut state.attached;
        if attached.program.as_ref().is_none_or(|known| known.id() != program.id()) {
            attached.reload = attached.program.is_some() && state.started;
            // By this name the state is found again once it was saved and loaded.
            if state.script != **program.name() {
                state.script = program.name().to_string();
            }
            attached.backoff = Backoff::default();
            attached.program = Some(program.clone());
        }
        let number = frame.programs.count_script(state, entity, list_changed, slot)?;
        let attached = &mut state.attached;
        if !attached.backoff.may_run(frame.number) {
            return None;
        }
        let takes_messages = attached.backoff.takes_messages(frame.number);
        let defined = program.callbacks();
        let may_define = |callback| defined.is_none_or(|defined| defined.contains(callback));
        let mail = if takes_messages && may_define(Callback::Message) {
            self.receivers.take(&frame.stage_mail, entity, slot, defined.is_some())
        } else {
            // Perhaps another script of the entity takes them.
            0..0
        };
        let ticks = may_define(stage.callback());
        let mut due = CallbackSet::default();
        for (callback, is_due) in [
            (Callback::Start, !state.started),
            // It goes with the frame, not with the fixed steps in it.
            (Callback::Reload, attached.reload && stage == Stage::Update),
            (Callback::Message, !mail.is_empty()),
            (stage.callback(), ticks),
        ] {
            if is_due {
                due.insert(callback);
            }
        }
        (due != CallbackSet::default()).then(|| Invocation {
            due,
            more: (!mail.is_empty()).then(|| {
                Box::new(InvocationExtras {
                    mail,
                    unsure: defined.is_none(),
                    ..InvocationExtras::default()
                })
            }),
            delta: attached.pending_delta[stage as usize] + if ticks { frame.delta } else { 0.0 },
            waiting: attached.waiting[stage as usize].into(),
            ..Invocation::new(entity, slot, number)
        })
    }
}
