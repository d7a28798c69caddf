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
