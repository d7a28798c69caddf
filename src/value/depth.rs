//! How deep tables may nest in serialized values.

/// Levels of nested tables that are read and written: as many as a VM accepts.
pub(super) const MAX_DEPTH: usize = 32;

/// The error for a value that is nested deeper, to follow the name of the place.
pub(super) fn too_deep() -> String {
    format!("is nested deeper than {MAX_DEPTH} levels")
}
