//! Component values to and from [`ScriptValue`], by reflection.
//!
//! | Rust | Lua |
//! | --- | --- |
//! | `bool`, numbers, `String`, `Name`, `char` | boolean, number, string |
//! | `Duration` | number of seconds |
//! | `Vec2`, `Vec3`, `Vec3A`, `Dir3` | vector (a `Vec2` takes no z) |
//! | `Entity` | entity |
//! | `Color` | table `{red, green, blue, alpha}` in sRGB; takes `"#rrggbb"` too |
//! | struct | fields by name |
//! | tuple, tuple struct | fields by position from 1 |
//! | list, array, set | table of elements |
//! | map | table by key |
//! | `Option` | nil or the value |
//! | enum | the variant's name; a variant with fields is `{Name = fields}` |

mod construct;
mod copy;
mod leaf;
mod place;
mod read;
mod small;
mod table;
mod write;

pub(crate) use self::construct::construct;
pub(crate) use self::copy::{assign_if_it_differs, duplicate};
pub(crate) use self::leaf::is_leaf;
pub(crate) use self::place::{at, at_mut, field_name, map_entities, step};
pub(crate) use self::read::{Shape, read, shape};
pub(crate) use self::small::{ScalarKind, ScalarType};
pub(crate) use self::write::write;
