//! Lists whose errors name the number of the element.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::context::with_place;

/// Reads a list of elements, which errors call `what` and number from 1.
pub(crate) fn deserialize_list<'de, T, D>(from: D, what: &'static str) -> Result<Vec<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    from.deserialize_seq(ListVisitor { what, element: PhantomData })
}

struct ListVisitor<T> {
    what: &'static str,
    element: PhantomData<T>,
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list: a {} after the other", self.what)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Vec<T>, A::Error> {
        let mut list = Vec::new();
        loop {
            let locate = |error| with_place(&format!("{} {}", self.what, list.len() + 1), error);
            match from.next_element().map_err(locate)? {
                Some(element) => list.push(element),
                None => return Ok(list),
            }
        }
    }
}
