//! [`EngineCore`]: how an engine performs a task, within its limits and with its figures.

use std::sync::Arc;
use std::time::Duration;

use cpu_time::ThreadTime;

use super::builder::{EngineError, EngineSettings};
use super::host::EngineHost;
use super::output::OutputBuffer;
use crate::api_registry::ApiRegistry;
use crate::error::{Failure, ScriptError, Setting};
use crate::pool::TimingHistogram;
use crate::value::{IntoScriptArgs, ScriptTable, ScriptValue};
use crate::vm::{CallBounds, LoadedChunk, Performed, Session, SessionLimits, Task, WallDeadline};

/// The name of a source in errors, where it has no other.
pub(super) const CHUNK: &str = "chunk";

/// An engine without its compiled sources: a call borrows one of those while it borrows this mutably.
#[derive(Debug)]
pub(super) struct EngineCore {
    pub(super) session: Session,
    pub(super) offer: ApiRegistry,
    pub(super) output: OutputBuffer,
    pub(super) limits: SessionLimits,
    pub(super) call_timeout: Option<Duration>,
    max_source_size: usize,
    pub(super) calls: u64,
    pub(super) failures: u64,
    pub(super) timeouts: u64,
    pub(super) call_time: TimingHistogram,
}

impl EngineCore {
    pub(super) fn new(settings: &EngineSettings, offer: ApiRegistry) -> Result<Self, EngineError> {
        Ok(Self {
            session: Session::new(offer.api(), settings.memory_limit)?,
            offer,
            output: OutputBuffer::new(settings.output_limit),
            limits: SessionLimits {
                time: settings.time_limit,
                value_size: settings.value_limit,
                call: CallBounds::default(),
            },
            call_timeout: settings.call_timeout,
            max_source_size: settings.max_source_size,
            calls: 0,
            failures: 0,
            timeouts: 0,
            call_time: TimingHistogram::new(),
        })
    }

    /// Begins a call: its time and its cancellation count from here.
    pub(super) fn begin(&mut self) {
        self.session.begin_call();
        let wall = self.call_timeout.and_then(WallDeadline::within);
        self.limits.call = CallBounds { wall, ..CallBounds::default() };
    }

    pub(super) fn load(&mut self, name: &Arc<str>, source: &str) -> Result<LoadedChunk, Failure> {
        let max_size = self.max_source_size;
        self.loading(name, |session| session.load(name, source, max_size))
    }

    /// Loads `source` as an expression if it is one, otherwise as a chunk.
    pub(super) fn load_expression(
        &mut self,
        name: &Arc<str>,
        source: &str,
    ) -> Result<LoadedChunk, Failure> {
        let max_size = self.max_source_size;
        self.loading(name, |session| session.load_expression(name, source, max_size))
    }

    /// Loads a chunk, and counts the time towards the call.
    fn loading(
        &mut self,
        name: &Arc<str>,
        load: impl FnOnce(&Session) -> Result<LoadedChunk, ScriptError>,
    ) -> Result<LoadedChunk, Failure> {
        let began = ThreadTime::now();
        let loaded = load(&self.session);
        self.limits.call.used += began.elapsed();
        loaded.map_err(|error| Failure::new(name, error))
    }

    /// Fails if what came before the run, such as compilation, has used up the time of the call.
    fn check_time(&self, task: Task<'_>) -> Result<(), Failure> {
        let SessionLimits { time: limit, call: CallBounds { used, wall, .. }, .. } = self.limits;
        let late = match wall {
            _ if used >= limit && !used.is_zero() => {
                ScriptError::TimedOut { limit, used, setting: Setting::EngineTimeLimit }
            }
            Some(wall) if wall.has_passed() => wall.error(),
            _ => return Ok(()),
        };
        let name = match task {
            Task::Run(chunk, _) => Arc::clone(chunk.name()),
            _ => CHUNK.into(),
        };
        Err(Failure::new(&name, late))
    }

    /// Runs a step that precedes a call. If it fails, the call counts as failed.
    pub(super) fn counted<T>(
        &mut self,
        prepare: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let result = prepare(self);
        if result.is_err() {
            self.calls += 1;
            self.failures += 1;
        }
        result
    }

    /// Converts the arguments of a call.
    pub(super) fn arguments(
        &mut self,
        name: &str,
        args: impl IntoScriptArgs,
    ) -> Result<Vec<ScriptValue>, Failure> {
        let failed = |error| Failure::new(&name.into(), error);
        self.counted(|_| args.into_script_args().map_err(failed))
    }

    /// Performs a task, and counts it as a call.
    pub(super) fn call(&mut self, task: Task<'_>) -> Result<Performed, Failure> {
        let result = self.perform(task);
        self.calls += 1;
        self.call_time.record(self.session.last_time());
        if let Err(failure) = &result {
            self.failures += 1;
            self.timeouts += u64::from(matches!(failure.error, ScriptError::TimedOut { .. }));
        }
        result
    }

    /// Performs a task without counting it as a call.
    pub(super) fn perform(&mut self, task: Task<'_>) -> Result<Performed, Failure> {
        self.check_time(task)?;
        let output = &mut self.output;
        output.begin();
        let log = |level, text, line| output.write(level, text, line);
        self.session.perform(task, &mut EngineHost::new(&self.offer, log), &self.limits)
    }

    /// Reads all globals that are plain data.
    pub(super) fn read_state(&mut self) -> Result<ScriptTable, Failure> {
        match self.perform(Task::State)?.values.into_first() {
            ScriptValue::Table(state) => Ok(state),
            _ => Ok(ScriptTable::default()),
        }
    }

    /// Changes what is offered, in the live VM too, or changes nothing.
    pub(super) fn offer(
        &mut self,
        add: impl FnOnce(&mut ApiRegistry) -> Result<(), EngineError>,
    ) -> Result<(), EngineError> {
        let mark = self.offer.mark();
        add(&mut self.offer)?;
        self.session.extend(self.offer.api(), mark.api).map_err(|error| {
            self.offer.roll_back(mark);
            error.into()
        })
    }
}
