//! [`Callback`]: the functions of a script that the host calls.

/// A callback that a script may define.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Callback {
    /// `on_stop(self)`: the script was removed or the entity despawned.
    Stop,
    /// `on_start(self)`: before anything else, once in the life of a state.
    Start,
    /// `on_reload(self)`: the script's text changed.
    Reload,
    /// `on_message(self, name, payload, sender)`
    Message,
    /// `on_fixed_update(self, dt)`
    FixedUpdate,
    /// `on_update(self, dt)`
    Update,
}

impl Callback {
    /// Every callback, in the order in which those that are due in one schedule run.
    pub const ALL: [Self; 6] =
        [Self::Stop, Self::Start, Self::Reload, Self::Message, Self::FixedUpdate, Self::Update];

    /// The name of the function.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stop => "on_stop",
            Self::Start => "on_start",
            Self::Reload => "on_reload",
            Self::Message => "on_message",
            Self::FixedUpdate => "on_fixed_update",
            Self::Update => "on_update",
        }
    }

    /// How many there are.
    pub(super) const COUNT: usize = Self::ALL.len();

    pub(super) const fn bit(self) -> u8 {
        1 << self as u8
    }
}

/// Which callbacks a script defines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallbackSet(u8);

impl CallbackSet {
    /// The set of this one alone.
    pub(crate) const fn only(callback: Callback) -> Self {
        Self(callback.bit())
    }

    /// Whether the script defines this one.
    #[must_use]
    pub const fn contains(self, callback: Callback) -> bool {
        self.0 & callback.bit() != 0
    }

    /// Adds one.
    pub(crate) const fn insert(&mut self, callback: Callback) {
        self.0 |= callback.bit();
    }
}
