//! The memory of a VM: what it holds, what it may hold, and what it was refused.
//!
//! The allocator of each VM is replaced by one that notes what it does ([`refusal`]); what Luau
//! allocates in it is counted when there is reason to ([`ceiling`]); and runs are measured exactly
//! where that must not depend on earlier runs ([`exact`]).

pub(super) mod blocks;
pub(super) mod ceiling;
pub(super) mod collect;
pub(super) mod exact;
pub(super) mod internals;
pub(super) mod measured;
pub(super) mod refusal;
pub(super) mod weigh;
