//! [`PoolError`]: why there is no lease.

use std::any::Any;
use std::time::Duration;

use thiserror::Error;

/// The error that factories and resetters return; any error fits in.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a pool gave no VM.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PoolError {
    /// All VMs were leased until the time was over.
    #[error(
        "no VM became free in {waited:?}: {leased} of {max_size} are leased; try again later, \
         raise `max_size` or `acquire_timeout`, or hold leases for a shorter time"
    )]
    Exhausted {
        /// The time spent waiting; close to zero for `try_acquire`.
        waited: Duration,
        /// The most VMs there may be.
        max_size: usize,
        /// The VMs that are leased now.
        leased: usize,
    },
    /// The factory failed or panicked. Nobody else is affected and the slot is free again.
    #[error("a VM can't be made: {0}; mend the cause and acquire again")]
    Create(#[source] BoxError),
    /// No VM is free, and the configuration says not to wait
    /// ([`Overflow::Defer`](crate::pool::Overflow::Defer)).
    #[error(
        "no VM is free at this moment: {leased} of {max_size} are leased; ask again later, such as \
         in the next frame, or choose another `overflow` to wait for one"
    )]
    Deferred {
        /// The VMs that are leased now.
        leased: usize,
        /// The most VMs there may be.
        max_size: usize,
    },
    /// The pool is suspended, and wasn't resumed in time.
    #[error("the pool is suspended, and was not resumed in {waited:?}; call `resume` to go on")]
    Suspended {
        /// The time spent waiting.
        waited: Duration,
    },
    /// Who waited was told to stop: see [`VmPool::acquire_unless`](crate::pool::VmPool::acquire_unless).
    #[error(
        "the waiting for a VM was interrupted after {waited:?}; acquire again if one is still needed"
    )]
    Interrupted {
        /// The time spent waiting.
        waited: Duration,
    },
    /// The factory took too long. Nobody else is affected and the slot is free again.
    #[error(
        "a VM was not made within {limit:?}; mend the factory if it hangs, or raise \
         `create_timeout`"
    )]
    CreateTimedOut {
        /// The configured `create_timeout`.
        limit: Duration,
    },
    /// So many calls of the factory hang that it isn't called again before one comes back.
    #[error(
        "no VM can be made: {hung} calls of the factory have not come back within {limit:?}; mend \
         the factory, which hangs"
    )]
    FactoryHangs {
        /// The calls that haven't come back.
        hung: usize,
        /// The configured `create_timeout`.
        limit: Duration,
    },
    /// The pool is closed, or was closed while the caller waited.
    #[error("the pool is closed and gives no more leases; make a new pool to go on")]
    Closed,
}

/// A panic of user code that the pool caught, as an error.
#[derive(Debug, Error)]
#[error("{what} panicked: {message}")]
pub(crate) struct CaughtPanic {
    what: &'static str,
    message: String,
}

impl CaughtPanic {
    pub(crate) fn new(what: &'static str, payload: &(dyn Any + Send)) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "without a text".to_owned());
        Self { what, message }
    }
}
