//! Values by reflection.
//!
//! The implementations are by hand for the sake of `try_apply`. Bevy's own leaves elements of a list behind the end of
//! the applied one in place, and what it could not apply half done. A state loaded over a newer one must become the
//! loaded one, or stay unchanged.

mod fields;
pub(crate) mod implement;
mod table;
mod value;
