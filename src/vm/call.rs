//! [`Call`]: one run, and what it used up.

use std::ffi::c_int;

use super::callback::Callback;
use super::program::Program;
use crate::value::{ScriptTable, ScriptValue};

/// One run: which callback, with what.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// The function.
    pub callback: Callback,
    /// What becomes its `self`.
    pub state: &'a ScriptTable,
    /// What follows `self`.
    pub args: &'a [ScriptValue],
    /// Where its random numbers start.
    pub seed: u64,
}

/// A source that is to run once.
#[derive(Clone, Copy)]
pub(crate) struct Evaluation<'e> {
    pub(crate) program: &'e Program,
    /// The global of that name.
    pub(crate) params: &'e ScriptTable,
    /// The seed of its random numbers.
    pub(crate) seed: u64,
    pub(crate) results: Results,
}

/// Which of the values that a function returns are wanted. The others may be anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Results {
    /// None.
    Ignored,
    /// The first one, which is nil if there is none.
    First,
    /// All that there are.
    All,
}

impl Results {
    /// How many results Luau is to leave.
    pub(super) const fn count(self) -> c_int {
        match self {
            Self::Ignored => 0,
            Self::First => 1,
            Self::All => mlua::ffi::LUA_MULTRET,
        }
    }
}

/// What a run used up that depends on the script and what it was given alone, and not on the machine or on who
/// ran before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    /// Safepoints that the callback came to, and what long work of built-ins is worth in them. Only if
    /// they are counted: see [`Vm::count_steps`].
    pub(crate) steps: u64,
    /// The same of the file level, if that ran for it.
    pub(crate) file_steps: u64,
    /// It drew random numbers.
    pub(crate) drew: bool,
}
