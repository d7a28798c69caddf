//! Runs what is due, in parallel, on pooled VMs. Nothing in the world changes meanwhile.
//!
//! Workers take chunks of invocations. Where nothing is due but `on_update` or `on_fixed_update`, a worker runs all
//! invocations of one program that follow one another in a [`batch`]; all others run one by one ([`single`]).

mod batch;
mod counts;
mod outcomes;
mod seed;
mod single;
mod stage;
mod turn_order;
mod worker;

use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::sync::{Mutex, PoisonError};

use bevy::ecs::reflect::AppTypeRegistry;
use bevy::prelude::{Local, World};
use bevy::tasks::ComputeTaskPool;

use crate::bindings::{Bindings, ColumnQuery, ComponentColumn, UsedColumns};
use crate::run::execute::outcomes::{OutcomeChunk, sort_by_program};
use crate::run::execute::single::DoneInBatch;
use crate::run::execute::stage::ExecutingStage;
use crate::run::execute::turn_order::{LATELY, turn_order};
use crate::run::execute::worker::Worker;
use crate::run::frame::Frame;
use crate::run::lua_pool::LuaPool;
use crate::run::outcome::InvocationOutcome;
use crate::run::shares::Turns;
use crate::script::ScriptStates;
use crate::vm::engage;

/// Invocations that a worker takes at a time, at least.
const MIN_CHUNK: usize = 64;

/// How the invocations of a stage are divided.
struct Division {
    /// Chunks for each worker. With several, none has much left to do when the others are done.
    chunks_per_worker: usize,
    /// The most invocations in a chunk.
    max_chunk: usize,
}

/// All invocations are of one program. They lie side by side in memory, where the processor prefetches.
const OF_ONE_PROGRAM: Division = Division { chunks_per_worker: 16, max_chunk: 1024 };

/// Invocations of several programs are mixed: the larger the chunk, the more of them are of one program.
const OF_MANY_PROGRAMS: Division = Division { chunks_per_worker: 2, max_chunk: 8192 };

/// Runs all invocations of [`Frame`] and puts their outcomes there, in the order of the invocations.
///
/// `states` finds what nearly all runs use, `used` what scripts use.
pub(crate) fn execute(
    world: &mut World,
    states: &mut ColumnQuery<ScriptStates>,
    mut used: Local<UsedColumns>,
) {
    let mut frame = std::mem::take(&mut *world.resource_mut::<Frame>());
    let Some(pool) = world.get_resource::<LuaPool>().cloned() else {
        panic!("{}", LuaPool::UNFINISHED)
    };
    let budget = frame.budget.begin(frame.stage, frame.number, pool.config().frame_budget);
    let mut anything_waits = false;
    if frame.is_pending() {
        let registry = world.resource::<AppTypeRegistry>().clone();
        let mut outcomes = std::mem::take(&mut frame.outcomes);
        outcomes.resize_with(frame.invocations.len(), InvocationOutcome::default);
        let tallies = std::mem::take(&mut frame.tallies);
        let order = turn_order(&frame);
        frame.shares.begin_stage(&mut frame.invocations, order.as_deref());
        let limits = frame.limits(pool.config());
        let world = &*world;
        let bindings: &Bindings = world.resource();
        let columns = used.of_stage(world, &bindings.exposure);
        let stage = ExecutingStage {
            world,
            frame: &frame,
            turns: Turns::new(&frame.invocations, order.as_deref(), &limits),
            states: ComponentColumn::new(world, states),
            columns: &columns,
            bindings,
            registry: &registry.read(),
            budget: &budget,
            pool: &pool,
            leased: AtomicUsize::new(0),
            anything_waits: AtomicBool::new(false),
            tallies: Mutex::new(tallies),
            paths: Mutex::default(),
        };
        run_all(&stage, &mut outcomes);
        anything_waits = stage.anything_waits.into_inner();
        let tallies = stage.tallies.into_inner().unwrap_or_else(PoisonError::into_inner);
        let paths = stage.paths.into_inner().unwrap_or_else(PoisonError::into_inner);
        frame.leased = stage.leased.into_inner();
        frame.paths += paths;
        frame.tallies = tallies;
        frame.outcomes = outcomes;
        frame.shares.warn_of_spawns(&frame.programs, &limits);
    } else {
        frame.outcomes.clear();
    }
    frame.budget.end(frame.stage, &budget, anything_waits);
    let kind = frame.stage as usize;
    frame.crowded[kind] += u64::from(anything_waits);
    let lately = &mut frame.crowded_lately[kind];
    *lately = if anything_waits { LATELY } else { lately.saturating_sub(1) };
    frame.executed = Some(world.increment_change_tick());
    *world.resource_mut::<Frame>() = frame;
}

/// Runs all invocations; their outcomes are in their order afterwards.
fn run_all(stage: &ExecutingStage<'_>, outcomes: &mut [InvocationOutcome]) {
    let order = stage.turns.order();
    let tasks = ComputeTaskPool::get();
    let most_workers = outcomes.len().div_ceil(MIN_CHUNK);
    let workers =
        most_workers.min(stage.pool.config().pool.max_size).min(tasks.thread_num() + 1).max(1);
    let mut programs = stage.frame.programs.list.iter().filter(|program| program.in_use);
    let sorts = order.is_none() && programs.nth(1).is_some();
    let division = if sorts { OF_MANY_PROGRAMS } else { OF_ONE_PROGRAM };
    let size = match order {
        None => (outcomes.len() / (workers * division.chunks_per_worker))
            .clamp(MIN_CHUNK, division.max_chunk),
        // Those that have waited longest are to go first on all threads.
        Some(_) => MIN_CHUNK,
    };
    let chunks = Mutex::new(outcomes.chunks_mut(size).zip((0..).step_by(size)));
    tasks.scope(|scope| {
        for _ in 0..workers {
            scope.spawn(async {
                engage(|engaged| {
                    let next = || chunks.lock().unwrap_or_else(PoisonError::into_inner).next();
                    work(Worker::new(stage, engaged), sorts, next);
                });
            });
        }
    });
    // No worker took these: there was no VM.
    let untaken = chunks.into_inner().unwrap_or_else(PoisonError::into_inner);
    for (outcomes, first) in untaken {
        for (outcome, turn) in outcomes.iter_mut().zip(first..) {
            stage.skip(turn, outcome);
        }
    }
    defer_excess(stage, outcomes);
    if let Some(order) = order {
        let mut sorted = Vec::new();
        sorted.resize_with(outcomes.len(), InvocationOutcome::default);
        for (outcome, invocation) in outcomes.iter_mut().zip(order) {
            sorted[*invocation] = std::mem::take(outcome);
        }
        outcomes.swap_with_slice(&mut sorted);
    }
}

/// Takes chunks, each with the turn of its first invocation, and runs them until none is left. A worker without a VM
/// takes none: others may have one.
fn work<'f>(
    mut worker: Worker<'_>,
    sorts: bool,
    next: impl Fn() -> Option<(&'f mut [InvocationOutcome], usize)>,
) {
    let stage = worker.stage;
    let mut positions = Vec::new();
    while worker.lease.is_some()
        && let Some((outcomes, first)) = next()
    {
        if sorts {
            let invocations = &stage.frame.invocations[first..first + outcomes.len()];
            sort_by_program(invocations, &mut positions);
        }
        let mut chunk = OutcomeChunk::new(first, outcomes, stage.turns.order(), &positions);
        while let Some(invocation) = chunk.invocation_at(chunk.position()) {
            // The one that has waited longest runs however late it is, so that each does in the end.
            let must_run = chunk.is_first() && stage.budget.one_may_run;
            let is_in_time = must_run || !worker.counts.is_late(stage.budget);
            let may_run =
                is_in_time && stage.frame.shares.may_run(&stage.frame.invocations[invocation]);
            if !may_run || worker.lease.is_none() {
                let (turn, outcome) = chunk.take();
                stage.skip(turn, outcome);
            } else if !worker.run_batch(invocation, &mut chunk) {
                let (turn, outcome) = chunk.take();
                worker.run_invocation(turn, outcome, DoneInBatch::None);
            }
            if worker.is_vm_spent() {
                worker.replace_vm(stage.program_of(invocation));
            }
        }
    }
    worker.finish();
}

/// Defers the invocations that used up more together with others than they may. `outcomes` are in the order of turns.
fn defer_excess(stage: &ExecutingStage<'_>, outcomes: &mut [InvocationOutcome]) {
    let mut undone = Vec::new();
    stage.frame.shares.defer_excess(stage.turns, outcomes, |turn, outcome| {
        undone.push((stage.turns.at(turn).program, outcome.runs));
        stage.defer(outcome);
    });
    let mut tallies = stage.tallies.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(tally) = tallies.first_mut() {
        tally.undone.append(&mut undone);
    }
}
