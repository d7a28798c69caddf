//! [`Call`]: one run, and what it used up.

use std::ffi::c_int;

use super::callback::Callback;
use super::program::Program;
use crate::value::{ScriptTable, ScriptValue};

/// One run of a callback.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The callback.
    pub callback: Callback,
    /// Its `self`.
    pub state: &'a ScriptTable,
    /// The arguments after `self`.
    pub args: &'a [ScriptValue],
    /// The seed of its random numbers.
    pub seed: u64,
}

/// One run of a whole source.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'e> {
    pub(crate) program: &'e Program,
    /// The value of the global `params`.
    pub(crate) params: &'e ScriptTable,
    /// The seed of its random numbers.
    pub(crate) seed: u64,
    pub(crate) results: Results,
}

/// Which of the values that a function returns are wanted. The others need not be data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// None.
    Ignored,
    /// The first one, which is nil if there is none.
    First,
    /// All.
    All,
}

impl Results {
    /// How many results to ask Luau for.
    pub(super) const fn count(self) -> c_int {
        match self {
            Self::Ignored => 0,
            Self::First => 1,
            Self::All => mlua::ffi::LUA_MULTRET,
        }
    }
}

/// What a run used up, as far as it is the same on every machine: it depends on the script and its arguments alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// The safepoints that the callback reached, and the long work of built-ins in units of
    /// [`STEP_NANOS`](super::STEP_NANOS). 0 unless [steps are counted](super::Vm::count_steps).
    pub(crate) steps: u64,
    /// The steps of the file level, if it ran for this run.
    pub(crate) file_steps: u64,
    /// Whether it drew random numbers.
    pub(crate) drew: bool,
}
