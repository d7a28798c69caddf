//! Applies what the runs of a stage want to change, as if on one thread and in the stable order.
//!
//! Most outcomes change only their own entity and its state: these are applied in [`parallel`]. All others follow
//! one by one: first the states are stored, then everything else is applied, which may run code of the game.

mod components;
mod conflicts;
mod effects;
mod logs;
mod messages;
mod new_entities;
pub(super) mod parallel;
mod spawn;
mod stage;
mod state;

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::prelude::{Local, World};

use crate::bindings::{Bindings, LateBindings};
use crate::run::apply::conflicts::WriteConflicts;
use crate::run::apply::messages::count_unheard;
use crate::run::apply::parallel::{ParallelApply, PlainQuery, set_bits};
use crate::run::apply::stage::{ApplyingStage, MAX_DESCENDANTS_VISITED};
use crate::run::frame::Frame;
use crate::run::lua_pool::LuaPool;
use crate::run::report::Report;
use crate::script::RetryPolicy;

/// Applies the outcomes of [`Frame`].
///
/// `query` finds the entities that plain outcomes change. `left` is a buffer that is kept from frame to frame: a bit
/// for each invocation whose outcome is not plain.
pub(crate) fn apply(world: &mut World, query: &mut PlainQuery, mut left: Local<Vec<u64>>) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    // If a run condition kept the stage from being executed, collecting puts the invocations back.
    if let Some(executed) = frame.executed.take()
        && let Some(began) = frame.began.take()
    {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let bindings = world.remove_resource::<Bindings>().expect("the plugin inserted it");
        let mut report = std::mem::take(&mut *world.resource_mut::<Report>());
        let mut programs = std::mem::take(&mut frame.programs);
        let shares = std::mem::take(&mut frame.shares);
        let mut stage = ApplyingStage {
            conflicts: WriteConflicts::new(&mut frame),
            stage: frame.stage,
            executed,
            figures: report.figure_numbers(&programs),
            programs: &mut programs,
            shares: &shares,
            frame: frame.number,
            retry_policy: RetryPolicy::from(world.resource::<LuaPool>().config()),
            registry: &registry.read(),
            bindings: &bindings,
            report: &mut report,
            last_stored: None,
            known_stops: frame.known_stops,
            mail: Vec::new(),
            refused_events: Vec::new(),
            visits_left: MAX_DESCENDANTS_VISITED,
        };
        stage.report.count_runs(&stage.figures, &mut frame.tallies);
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        let parallel = ParallelApply {
            invocations: &frame.invocations,
            programs: stage.programs,
            fields: &bindings.exposure.fields,
            contended: &stage.conflicts.shared,
            stage: stage.stage,
            retry: &stage.retry_policy,
            executed,
            threads: world.resource::<LuaPool>().config().pool.max_size,
        };
        let writes = parallel.apply(world, query, &mut outcomes, &mut left, &mut frame.paths);
        stage.report.frame.writes += writes;
        stage.log_file_levels();
        // States first: what follows may run code of the game, which may change any of them.
        for number in set_bits(&left) {
            let (invocation, outcome) = (&frame.invocations[number], &mut outcomes[number]);
            if !outcome.deferred {
                stage.allocate_spawned(world, invocation, outcome);
                outcome.put_aside = stage.store_state(world, invocation, outcome);
            }
        }
        let undelivered = count_unheard(&mut frame, stage.programs, &outcomes, &left);
        stage.report.frame.undelivered += undelivered;
        for number in set_bits(&left) {
            let outcome = &mut outcomes[number];
            if !frame.invocations[number].mail().is_empty() {
                let taken = outcome.more.as_ref().map_or(0, |more| more.mail_taken);
                frame.leave_mail(number, taken);
            }
            let invocation = &mut frame.invocations[number];
            if outcome.deferred {
                stage.store_deferral(world, invocation);
            } else {
                stage.apply_effects(world, invocation, outcome);
                frame.paths.applied_one_by_one += 1;
            }
            outcome.deferred = false;
            invocation.more = None;
        }
        frame.outcomes = outcomes;
        stage.warn_of_stray_globals();
        stage.warn_of_lines_left_out();
        stage.send(world, &mut frame.stage_mail);
        frame.programs = programs;
        frame.shares = shares;
        report.end_of_stage(began.elapsed(), frame.leased);
        *world.resource_mut::<Report>() = report;
        world.insert_resource(bindings);
    }
    *world.resource_mut::<Frame>() = frame;
    // Nothing is in use any more, the registry of types included.
    LateBindings::apply(world);
}
