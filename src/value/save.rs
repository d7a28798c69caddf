//! The form of values in saves: every value comes back as it was, bit for bit, from every serde format.
//!
//! There are two forms. Formats for people (RON, JSON) have tables within tables, leave out what is empty,
//! and are read with more in them than is written today:
//!
//! ```ron
//! (array: [Number(1.0)], fields: [(String("name"), String("x")), (String("far"), NotFinite("inf"))])
//! ```
//!
//! Formats for programs (postcard, bincode) needn't describe themselves: their readers know what comes from
//! what came before, so nothing is left out. A table is a list of [tokens](flat): its own, with the number of
//! elements and fields, then theirs, and so on. So no format and no reader recurses, however deep tables nest.
//! Formats for people hold tables beyond the eighth level in that form, too, since their readers limit how deep
//! text may nest.
//!
//! Reading expects nothing of what it reads: it makes no room for what is only announced, takes no more
//! levels than a VM does, and its errors name the place.

mod flat;
mod number;
mod read;
mod tag;
mod write;

pub(crate) use self::read::{numbered, self_of_state, text};

/// Formats for people hold tables within each other up to this level.
const NESTED: usize = 8;
