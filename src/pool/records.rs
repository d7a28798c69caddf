//! [`Records`]: the records of all living VMs, found by their place.

use std::ops::{Index, IndexMut};

use crate::pool::record::Record;

/// A table with stable places. A place is used again when its VM is gone, so it is small.
#[derive(Default)]
pub(crate) struct Records {
    entries: Vec<Option<Record>>,
    free: Vec<usize>,
}

const GONE: &str = "a VM has a record until it is destroyed";

impl Records {
    pub(crate) fn len(&self) -> usize {
        self.entries.len() - self.free.len()
    }

    #[cfg(test)]
    pub(crate) fn places(&self) -> usize {
        self.entries.len()
    }

    /// Enters a record. Returns its place.
    pub(crate) fn insert(&mut self, record: Record) -> usize {
        match self.free.pop() {
            Some(place) => {
                self.entries[place] = Some(record);
                place
            }
            None => {
                self.entries.push(Some(record));
                self.entries.len() - 1
            }
        }
    }

    pub(crate) fn remove(&mut self, place: usize) -> Record {
        let record = self.entries[place].take().expect(GONE);
        self.free.push(place);
        record
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Record> {
        self.entries.iter().flatten()
    }

    /// The records with their places.
    pub(crate) fn with_places(&self) -> impl Iterator<Item = (usize, &Record)> {
        let entries = self.entries.iter().enumerate();
        entries.filter_map(|(place, record)| Some((place, record.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Record> {
        self.entries.iter_mut().flatten()
    }
}

impl Index<usize> for Records {
    type Output = Record;

    fn index(&self, place: usize) -> &Record {
        self.entries[place].as_ref().expect(GONE)
    }
}

impl IndexMut<usize> for Records {
    fn index_mut(&mut self, place: usize) -> &mut Record {
        self.entries[place].as_mut().expect(GONE)
    }
}
