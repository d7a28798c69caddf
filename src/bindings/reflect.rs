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

mod copy;
mod leaf;
mod path;
mod read;
mod scalar;
mod table;
mod value_path;
mod write;

pub(crate) use self::copy::{assign_if_it_differs, copy_value, duplicate};
pub(crate) use self::leaf::is_leaf;
pub(crate) use self::path::{at, at_mut, field_name, map_entities, step};
pub(crate) use self::read::{ValueForm, form, read};
pub(crate) use self::scalar::{ScalarType, TypedScalar, as_scalar, read_scalar};
pub(crate) use self::value_path::ValuePath;
pub(crate) use self::write::{construct, write};
