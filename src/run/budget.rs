//! [`Budget`]: the time for all runs of a frame.

use std::fmt::{self, Debug};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::run::stage::Stage;

/// Tells the time since some fixed moment. Tests set their own.
#[derive(Clone, Default)]
pub(crate) struct Clock(Option<Arc<dyn Fn() -> Duration + Send + Sync>>);

impl Clock {
    pub(super) fn now(&self) -> Duration {
        static BEGAN: OnceLock<Instant> = OnceLock::new();
        match &self.0 {
            Some(now) => now(),
            None => BEGAN.get_or_init(Instant::now).elapsed(),
        }
    }
}

impl Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clock").field(&self.now()).finish()
    }
}

/// The time for all runs of a frame: those of its fixed steps, then those of its update.
#[derive(Debug, Default)]
pub(crate) struct Budget {
    pub(super) clock: Clock,
    frame: u64,
    /// What the stages of this frame have used.
    spent: Duration,
    /// For each kind of stage: this frame had one already.
    had: [bool; 2],
    /// What the last update needed. `None`: more than it got.
    update_needs: Option<Duration>,
}

/// The time for one stage.
#[derive(Clone, Debug)]
pub(crate) struct StageBudget {
    clock: Clock,
    began: Duration,
    /// When it is spent. `None`: never.
    deadline: Option<Duration>,
    /// One invocation runs even if there is no time left: so all do in the end.
    pub(super) one_may_run: bool,
}

impl Budget {
    /// Begins a stage of a frame in which all runs may take so long.
    pub(super) fn begin(&mut self, stage: Stage, frame: u64, all: Option<Duration>) -> StageBudget {
        if self.frame != frame {
            self.begin_frame(frame);
        }
        let one_may_run = !std::mem::replace(&mut self.had[stage as usize], true);
        let began = self.clock.now();
        let share = all.map(|all| match stage {
            // The update comes last. Leave it what it needs, up to a half.
            Stage::FixedUpdate => all - self.update_needs.unwrap_or(all).min(all / 2),
            Stage::Update => all,
        });
        let deadline = share.map(|share| began + share.saturating_sub(self.spent));
        StageBudget { clock: self.clock.clone(), began, deadline, one_may_run }
    }

    /// Ends a stage. `anything_waits`: there was not enough time for all.
    pub(super) fn end(&mut self, stage: Stage, budget: &StageBudget, anything_waits: bool) {
        let took = self.clock.now().saturating_sub(budget.began);
        self.spent += took;
        if stage == Stage::Update {
            self.update_needs = (!anything_waits).then_some(took);
            // It is the last stage of its frame.
            self.begin_frame(self.frame);
        }
    }

    fn begin_frame(&mut self, frame: u64) {
        (self.frame, self.spent, self.had) = (frame, Duration::ZERO, [false; 2]);
    }
}

impl StageBudget {
    pub(super) fn is_limited(&self) -> bool {
        self.deadline.is_some()
    }

    /// Whether no time is left.
    pub(super) fn is_spent(&self) -> bool {
        self.deadline.is_some_and(|deadline| self.clock.now() >= deadline)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use bevy::MinimalPlugins;
    use bevy::app::App;
    use bevy::asset::{AssetPlugin, Assets};
    use bevy::prelude::{Fixed, Time};
    use bevy::time::TimeUpdateStrategy;

    use super::*;
    use crate::bindings::LuaAppExt;
    use crate::config::LuaPoolConfig;
    use crate::plugin::LuaPoolPlugin;
    use crate::pool::PoolConfig;
    use crate::run::Frame;
    use crate::script::{LuaScript, LuaScripts, ScriptStates};
    use crate::snapshot::LuaSnapshot;
    use crate::value::ScriptValue;

    /// An app in which each call of `work()` by a script moves the clock by a millisecond.
    struct Works {
        app: App,
        worked: Arc<AtomicU64>,
    }

    /// The clock is read for one run in so many.
    const BETWEEN_LOOKS: u64 = 8;

    impl Works {
        fn new(entities: usize, budget: u64, fixed_steps: u32, script: &str) -> Self {
            let patience = Duration::from_secs(60);
            let config = LuaPoolConfig {
                pool: PoolConfig {
                    min_size: 1,
                    max_size: 1,
                    acquire_timeout: patience,
                    create_timeout: patience,
                    reset_timeout: patience,
                    ..PoolConfig::default()
                },
                frame_budget: Some(Duration::from_millis(budget)),
                run_time_limit: patience,
                ..LuaPoolConfig::default()
            };
            let step = Duration::from_millis(10);
            let plugin = LuaPoolPlugin { config, ..LuaPoolPlugin::default() };
            let worked = Arc::new(AtomicU64::new(0));
            let counter = worked.clone();
            let mut app = App::new();
            app.add_plugins((MinimalPlugins, AssetPlugin::default(), plugin))
                .insert_resource(TimeUpdateStrategy::ManualDuration(step * fixed_steps.max(1)))
                .add_lua_function("work", move |(): ()| {
                    counter.fetch_add(1, Ordering::Relaxed);
                });
            let fixed = if fixed_steps == 0 { patience * 1000 } else { step };
            app.insert_resource(Time::<Fixed>::from_duration(fixed));
            app.finish();
            app.cleanup();
            let now = worked.clone();
            let now = move || Duration::from_millis(now.load(Ordering::Relaxed));
            app.world_mut().resource_mut::<Frame>().budget.clock = Clock(Some(Arc::new(now)));
            let script = LuaScript::from_source("works", script).expect("it compiles");
            let script = app.world_mut().resource_mut::<Assets<LuaScript>>().add(script);
            let all = vec![LuaScripts::new(script); entities];
            app.world_mut().spawn_batch(all).for_each(drop);
            // In the first frame no time has passed.
            app.update();
            Self { app, worked }
        }

        /// Runs a frame; gives the milliseconds that its runs took.
        fn frame(&mut self) -> u64 {
            let before = self.worked.load(Ordering::Relaxed);
            self.app.update();
            let total = &self.app.world().resource::<LuaSnapshot>().total;
            assert_eq!(total.failed, 0);
            self.worked.load(Ordering::Relaxed) - before
        }

        /// The least and the largest value of a field on any entity.
        fn extremes(&mut self, field: &str) -> (u64, u64) {
            let world = self.app.world_mut();
            let mut states = world.query::<&ScriptStates>();
            let counts = states.iter(world).map(|states| match states.get("works") {
                Some(state) => match state.get(field) {
                    ScriptValue::Number(count) => *count as u64,
                    _ => 0,
                },
                None => 0,
            });
            let counts: Vec<u64> = counts.collect();
            let least = counts.iter().min().expect("there are entities");
            (*least, *counts.iter().max().expect("there are entities"))
        }
    }

    const UPDATES: &str = "function on_update(self) work() self.n = (self.n or 0) + 1 end";

    const BOTH: &str = "
    function on_update(self) work() self.n = (self.n or 0) + 1 end
    function on_fixed_update(self) work() self.fixed = (self.fixed or 0) + 1 end";

    #[test]
    fn the_budget_is_that_of_the_whole_frame_however_many_fixed_steps_it_has() {
        for fixed_steps in [0, 1, 8] {
            let mut works = Works::new(100, 40, fixed_steps, BOTH);
            for frame in 0..10 {
                let took = works.frame();
                // One of each kind may run without any time left.
                let most = 40 + BETWEEN_LOOKS + 2;
                assert!((40..=most).contains(&took), "{fixed_steps} {frame}: {took} ms");
            }
        }
    }

    #[test]
    fn a_frame_in_time_defers_nothing() {
        let mut works = Works::new(10, 200, 8, BOTH);
        for _ in 0..5 {
            assert_eq!(works.frame(), 90);
        }
        let total = works.app.world().resource::<LuaSnapshot>().total;
        assert_eq!(total.deferred, 0);
    }

    #[test]
    fn under_light_overload_nobody_waits_more_often_than_the_others() {
        for (entities, budget) in [(100, 92), (100, 60), (30, 22), (100, 9)] {
            let mut works = Works::new(entities, budget, 0, UPDATES);
            for _ in 0..300 {
                works.frame();
            }
            let (least, most) = works.extremes("n");
            assert!(
                least > 20 && most - least <= 1 + least / 20,
                "{entities} {budget}: {least} to {most}"
            );
        }
    }

    #[test]
    fn neither_fixed_steps_nor_updates_wait_for_the_others_and_each_kind_is_fair() {
        for (entities, budget, fixed_steps) in [(50, 90, 1), (50, 60, 1), (50, 100, 8), (50, 20, 4)]
        {
            let mut works = Works::new(entities, budget, fixed_steps, BOTH);
            let before = works.worked.load(Ordering::Relaxed);
            for _ in 0..400 {
                works.frame();
            }
            let worked = works.worked.load(Ordering::Relaxed) - before;
            let what = format!("{entities} {budget} {fixed_steps}");
            let mut of_kinds = [0; 2];
            for (kind, field) in ["n", "fixed"].into_iter().enumerate() {
                let (least, most) = works.extremes(field);
                assert!(
                    least > 20 && most - least <= 2 + least / 10,
                    "{what}: {field} {least} to {most}"
                );
                of_kinds[kind] = most * entities as u64;
            }
            let least = of_kinds.into_iter().min().expect("there are two");
            assert!(least >= worked / 4, "{what}: {of_kinds:?} of {worked}");
        }
    }
}
