//! [`Setting`]: which setting a limit comes from.

use std::fmt;

/// The setting that sets a limit.
///
/// Its text says where it is: `` `time_limit` of the engine ``.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Setting {
    /// `run_time_limit` of the pool: the CPU time of a run.
    RunTimeLimit,
    /// `run_memory_limit` of the pool: the memory of a run.
    RunMemoryLimit,
    /// `memory_limit` of the pool: the memory of a VM.
    MemoryLimit,
    /// `max_value_size` of the pool: the bytes of one value.
    MaxValueSize,
    /// `max_commands` of the pool: the commands of a run.
    MaxCommands,
    /// `max_messages` of the pool: the messages of a run.
    MaxMessages,
    /// `max_log_lines` of the pool: the log lines of a run.
    MaxLogLines,
    /// `call_timeout` of an engine, or of a pool outside Bevy: the wall time of a call.
    CallTimeout,
    /// `time_limit` of an engine: the CPU time of a call.
    EngineTimeLimit,
    /// `memory_limit` of an engine: the memory of its VM.
    EngineMemoryLimit,
    /// `output_limit` of an engine: the bytes of output of a call.
    EngineOutputLimit,
    /// `value_limit` of an engine: the bytes of one value.
    EngineValueLimit,
}

impl Setting {
    /// The name of the field, or of the method of the builder, that sets it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunTimeLimit => "run_time_limit",
            Self::RunMemoryLimit => "run_memory_limit",
            Self::MemoryLimit | Self::EngineMemoryLimit => "memory_limit",
            Self::MaxValueSize => "max_value_size",
            Self::MaxCommands => "max_commands",
            Self::MaxMessages => "max_messages",
            Self::MaxLogLines => "max_log_lines",
            Self::CallTimeout => "call_timeout",
            Self::EngineTimeLimit => "time_limit",
            Self::EngineOutputLimit => "output_limit",
            Self::EngineValueLimit => "value_limit",
        }
    }

    /// The setting that an engine has in place of this one of a pool.
    pub(crate) const fn of_engine(self) -> Self {
        match self {
            Self::RunTimeLimit => Self::EngineTimeLimit,
            Self::MemoryLimit | Self::RunMemoryLimit => Self::EngineMemoryLimit,
            Self::MaxValueSize => Self::EngineValueLimit,
            other => other,
        }
    }
}

/// The name, and where the setting is.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = match self {
            Self::EngineTimeLimit
            | Self::EngineMemoryLimit
            | Self::EngineOutputLimit
            | Self::EngineValueLimit => "of the engine",
            Self::CallTimeout => "of the engine or the pool",
            Self::MaxCommands => {
                "in the pool's configuration, or for this script in its `sandbox.scripts` (a spawn is one \
                 command, whatever it comes with)"
            }
            _ => "in the pool's configuration",
        };
        write!(f, "`{}` {place}", self.name())
    }
}
