//! Plain data between Lua and the host.

pub(super) mod arguments;
pub(super) mod changes;
pub(super) mod entity;
pub(super) mod plain;
pub(super) mod problem;
pub(super) mod push;
pub(super) mod read;
