//! What scripts call of the host: its functions, `print` and `log`, and the namespaces of live
//! values.

pub(super) mod answer;
pub(super) mod functions;
pub(super) mod log;
pub(super) mod servers;
