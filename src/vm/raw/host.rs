//! What scripts call of the host.

pub(super) mod answer;
pub(super) mod functions;
pub(super) mod log;
pub(super) mod servers;
