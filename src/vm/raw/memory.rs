//! The memory of a VM: what it holds, and what it is refused.

pub(super) mod blocks;
pub(super) mod ceiling;
pub(super) mod collect;
pub(super) mod exact;
pub(super) mod internals;
pub(super) mod measured;
pub(super) mod refusal;
pub(super) mod weigh;
