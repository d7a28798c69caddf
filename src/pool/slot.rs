//! [`OccupiedSlot`]: a slot of the pool with its VM, and [`Grant`]: what somebody gets who asks for one.

use crate::pool::record::ResetTimer;
use crate::pool::stats::DestroyReason;
use crate::pool::sync::Arc;

/// A VM in its slot, with the place of its record. Its owner has the VM to itself.
pub(crate) struct OccupiedSlot<V> {
    pub(crate) place: usize,
    pub(crate) id: u64,
    pub(crate) reset_timer: Arc<ResetTimer>,
    /// What tells the VM from others, when it was last in the pool's own hands.
    pub(crate) identity: Option<u64>,
    pub(crate) vm: V,
}

/// What a thread gets that asks for a VM.
pub(crate) enum Grant<V> {
    /// An idle VM; it counts as leased.
    Ready(OccupiedSlot<V>),
    /// An idle VM that may not be leased again: destroy it, and use its slot.
    Expired(OccupiedSlot<V>, DestroyReason),
    /// A vacant slot to make a VM in. It has the generation of this moment: a VM whose making began before an
    /// `evict_all` counts as one of the old ones.
    Vacant(u64),
}
