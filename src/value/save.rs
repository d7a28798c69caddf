//! The serde form of values in saves: lossless, bit for bit, in every format.
//!
//! There are two forms. Human-readable formats (RON, JSON) nest tables, leave out what is empty, and tolerate more
//! than is written today:
//!
//! ```ron
//! (array: [Number(1.0)], fields: [(String("name"), String("x")), (String("far"), NotFinite("inf"))])
//! ```
//!
//! Binary formats (postcard, bincode) need not be self-describing: what comes next follows from what was read, so
//! nothing is left out. A table is a [list of tokens](flat): one for the table with the number of elements and fields,
//! then theirs. So neither the format nor its reader recurses, however deep tables nest. Human-readable formats use
//! the list as well for tables below the eighth level, since their readers limit how deep text may nest.
//!
//! A save is untrusted input. Reading allocates nothing for lengths that are only announced, accepts no more levels
//! than a VM does, and names the place in errors.

mod context;
mod flat;
mod key;
mod leaf;
mod list;
mod number;
mod read;
mod tag;
mod text;
mod write;

pub(crate) use self::list::deserialize_list;
pub(crate) use self::read::deserialize_self;
pub(crate) use self::text::deserialize_text;
