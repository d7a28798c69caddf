//! Takes back a stage that was collected and never applied.

use bevy::ecs::change_detection::DetectChangesMut;

use crate::run::collect::unchanged::Scripted;
use crate::run::frame::Frame;
use crate::run::invocation::Invocation;
use crate::run::mailbox::Mailbox;
use crate::run::stop::{StopQueue, Stopped};
use crate::run::worker_tally::WorkerTally;
use crate::vm::Callback;

/// Takes back what was collected and never applied, because a run condition held back a later system set. Gives the
/// invocations of the stage before, whose memory can be reused.
pub(super) fn put_back(
    frame: &mut Frame,
    entities: &mut Scripted<'_, '_>,
    mailbox: &mut Mailbox,
    stopped: &mut StopQueue,
) -> Vec<Invocation> {
    if frame.executed.take().is_some() {
        frame.outcomes.clear();
        frame.tallies.iter_mut().for_each(WorkerTally::clear);
    }
    if frame.began.take().is_none() {
        return std::mem::take(&mut frame.invocations);
    }
    for number in 0..frame.invocations.len() {
        frame.leave_mail(number, 0);
    }
    mailbox.put_back(&mut frame.stage_mail);
    let invocations = std::mem::take(&mut frame.invocations);
    for invocation in invocations.iter().filter(|it| !it.due.contains(Callback::Stop)) {
        if let Ok((_, _, mut states)) = entities.get_mut(invocation.entity)
            && let Some(state) = states.bypass_change_detection().states.get_mut(invocation.slot())
            && state.attached.number == invocation.program
        {
            state.attached.pending_delta[frame.stage as usize] = invocation.delta;
        }
    }
    let programs = &frame.programs.list;
    let stops = invocations.into_iter().filter_map(|mut invocation| {
        let last = invocation.take_stop()?;
        let program = programs[invocation.program as usize].program.clone();
        Some(Stopped { entity: invocation.entity, program, last })
    });
    stopped.stopped.splice(0..0, stops);
    Vec::new()
}
