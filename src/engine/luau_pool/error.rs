//! [`ExecuteError`]: why a run on a pool has no values.

use crate::error::Failure;
use crate::pool::PoolError;

/// Why [`LuauPool::execute`](crate::LuauPool::execute) returns no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExecuteError {
    /// No VM could be leased.
    #[error(transparent)]
    Pool(#[from] PoolError),
    /// The script failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}
