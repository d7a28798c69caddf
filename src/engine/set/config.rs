//! The configuration, figures and errors of an [`EngineSet`](crate::EngineSet).

use std::time::Duration;

use crate::engine::builder::EngineError;
use crate::error::Failure;
use crate::value::ScriptTable;

/// One mebibyte.
const MIB: usize = 1024 * 1024;

/// How many engines an [`EngineSet`](crate::EngineSet) keeps, and how much they may hold together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineSetConfig {
    /// The maximum number of engines. Default: 64; at least 1.
    pub max_engines: usize,
    /// Memory limit of all engines together in bytes: an idle engine counts what it holds, one in use
    /// `max_engine_memory`. Default: 1 GiB; at least `max_engine_memory`.
    pub max_total_memory: usize,
    /// Memory limit of each engine in bytes; an engine that is made with a larger limit gets this one. Default:
    /// 50 MiB; at least 1 MiB.
    pub max_engine_memory: usize,
    /// How long [`EngineSet::with`](crate::EngineSet::with) waits for an engine that another thread uses, or for room.
    /// Default: 1 s.
    pub wait: Duration,
}

impl Default for EngineSetConfig {
    fn default() -> Self {
        Self {
            max_engines: 64,
            max_total_memory: 1024 * MIB,
            max_engine_memory: 50 * MIB,
            wait: Duration::from_secs(1),
        }
    }
}

impl EngineSetConfig {
    /// Checks the numbers.
    ///
    /// # Errors
    /// [`EngineSetError::Config`] for the first one that is too small.
    pub(super) fn check(&self) -> Result<(), EngineSetError> {
        let at_least = |field, value, least| {
            if value < least {
                return Err(EngineSetError::Config { field, value, least });
            }
            Ok(())
        };
        at_least("max_engines", self.max_engines, 1)?;
        at_least("max_engine_memory", self.max_engine_memory, MIB)?;
        at_least("max_total_memory", self.max_total_memory, self.max_engine_memory)
    }
}

/// What is left of an engine that was evicted.
#[derive(Clone, Debug, PartialEq)]
pub struct Evicted<K> {
    /// The key of the engine.
    pub key: K,
    /// Its globals that are plain data, for [`LuaEngine::restore`](crate::LuaEngine::restore); an error if they are
    /// larger than the engine's `value_limit`, or if reading them takes longer than 10 s and than its `time_limit`. Its
    /// `call_timeout` and its [`Interrupter`](crate::engine::Interrupter) don't apply here.
    pub state: Result<ScriptTable, Failure>,
}

/// The figures of an [`EngineSet`](crate::EngineSet).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EngineSetStats {
    /// All engines, those in use included.
    pub engines: usize,
    /// Engines that are in use, being made or being evicted.
    pub in_use: usize,
    /// Bytes that count towards `max_total_memory`.
    pub memory_bytes: usize,
    /// Engines made since the set was made.
    pub created: u64,
    /// Engines evicted since the set was made.
    pub evicted: u64,
}

/// Why [`EngineSet::with`](crate::EngineSet::with) has no engine, [`EngineSet::try_with`](crate::EngineSet::try_with) no
/// value, or [`EngineSet::new`](crate::EngineSet::new) no set.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EngineSetError {
    /// Another thread used the engine, or all room was taken, for too long.
    #[error(
        "no engine in {waited:?}: it is in use, or all room is; use engines for a shorter time, or \
         raise `wait`, `max_engines` or `max_total_memory`"
    )]
    Busy {
        /// The time spent waiting.
        waited: Duration,
    },
    /// The engine can't be made, or something can't be registered with it.
    #[error(transparent)]
    Make(#[from] EngineError),
    /// A script failed.
    #[error(transparent)]
    Script(#[from] Failure),
    /// The configuration is invalid.
    #[error("`{field}` is {value}: at least {least} is needed")]
    Config {
        /// The field.
        field: &'static str,
        /// Its value.
        value: usize,
        /// Its least valid value.
        least: usize,
    },
}
