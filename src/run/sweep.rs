//! The sweep: work on entities in the order in which they lie in memory, on several threads.
//!
//! The rows of a table are neighbours in memory, so the processor loads the next one while it works on this one.
//! Looking entities up one by one takes several times as long. What else is known of an entity comes from a list
//! that is sorted by entity, through a [`SortedCursor`].

use bevy::prelude::Entity;

use crate::run::order::order;
use crate::run::threads::on_threads;

/// Entities that a thread takes at a time: few enough to spread the load, enough to make taking cheap.
pub(super) const CHUNK: usize = 1024;

/// Entities that lie side by side in a table, with some of their columns.
pub(super) struct TableChunk<'c, C> {
    pub(super) entities: &'c [Entity],
    pub(super) columns: C,
}

/// Columns of a table, or a part of them. All have the same number of rows.
pub(super) trait Columns: Send + Sized {
    /// Splits off the first rows.
    ///
    /// # Panics
    /// If there are fewer than `rows`.
    fn split_off_rows(&mut self, rows: usize) -> Self;
}

impl<T: Sync> Columns for &[T] {
    fn split_off_rows(&mut self, rows: usize) -> Self {
        self.split_off(..rows).expect("all columns have as many rows as there are entities")
    }
}

impl<T: Send> Columns for &mut [T] {
    fn split_off_rows(&mut self, rows: usize) -> Self {
        self.split_off_mut(..rows).expect("all columns have as many rows as there are entities")
    }
}

impl<C: Columns> Columns for Option<C> {
    fn split_off_rows(&mut self, rows: usize) -> Self {
        self.as_mut().map(|columns| columns.split_off_rows(rows))
    }
}

impl<A: Columns, B: Columns> Columns for (A, B) {
    fn split_off_rows(&mut self, rows: usize) -> Self {
        (self.0.split_off_rows(rows), self.1.split_off_rows(rows))
    }
}

/// Splits tables into chunks.
pub(super) fn chunks<'c, C: Columns>(
    tables: impl Iterator<Item = (&'c [Entity], C)>,
) -> Vec<TableChunk<'c, C>> {
    let mut chunks = Vec::new();
    for (entities, mut columns) in tables {
        chunks.extend(entities.chunks(CHUNK).map(|entities| {
            let columns = columns.split_off_rows(entities.len());
            TableChunk { entities, columns }
        }));
    }
    chunks
}

/// Does the work on each chunk, in no order, on at most so many threads.
///
/// The work gets the chunk, what was handed in for it, and a cursor into the list that is sorted by entity.
pub(super) fn sweep<'c, C: Columns, X: Send, T: ByEntity + Sync>(
    threads: usize,
    chunks: impl ExactSizeIterator<Item = (TableChunk<'c, C>, X)> + Send,
    sorted: &[T],
    work: impl Fn(TableChunk<'c, C>, X, SortedCursor<'_, T>) + Sync,
) {
    on_threads(threads, chunks, |(chunk, extra)| work(chunk, extra, SortedCursor::new(sorted)));
}

/// What belongs to an entity.
pub(super) trait ByEntity {
    fn entity(&self) -> Entity;
}

/// Finds what belongs to an entity in a list that is in the stable [order] of entities.
///
/// Entities mostly lie in that order in memory too. Then what is asked for is where the last answer ended; else it
/// is searched for.
pub(super) struct SortedCursor<'s, T> {
    sorted: &'s [T],
    /// Where the next answer probably is: behind the last one.
    next: usize,
}

impl<'s, T: ByEntity> SortedCursor<'s, T> {
    fn new(sorted: &'s [T]) -> Self {
        Self { sorted, next: 0 }
    }

    /// The index of the first item that belongs to an entity.
    #[inline]
    pub(super) fn find(&mut self, entity: Entity) -> Option<usize> {
        let is_its = |item: &T| item.entity() == entity;
        if !self.sorted.get(self.next).is_some_and(is_its) {
            if self.sorted.is_empty() {
                return None;
            }
            let key = order(entity);
            let key_of = |item: &T| order(item.entity());
            let (before, from) = self.sorted.split_at(self.next);
            if before.last().is_some_and(|last| key_of(last) >= key)
                || from.first().is_some_and(|first| key_of(first) < key)
            {
                self.next = self.sorted.partition_point(|item| key_of(item) < key);
            }
            if !self.sorted.get(self.next).is_some_and(is_its) {
                return None;
            }
        }
        self.next += 1;
        Some(self.next - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    impl ByEntity for Entity {
        fn entity(&self) -> Entity {
            *self
        }
    }

    fn entity(index: u32) -> Entity {
        Entity::from_raw_u32(index).expect("a small index")
    }

    #[test]
    fn what_belongs_to_an_entity_is_found_in_whatever_order_they_come() {
        let sorted = [2, 3, 3, 5, 9].map(entity);
        let expected = |index| sorted.iter().position(|item| *item == entity(index));
        let pairs = (0..11).flat_map(|one| (0..11).map(move |other| (one, other)));
        // Asked for an entity twice in a row, it may go on to a second item.
        for (one, other) in pairs.filter(|(one, other)| one != other) {
            let mut cursor = SortedCursor::new(&sorted);
            for index in [one, other, one, 10, other, 0] {
                let found = cursor.find(entity(index));
                assert_eq!(found, expected(index), "{index} of {one}, {other}");
            }
        }
        assert_eq!(SortedCursor::<Entity>::new(&[]).find(entity(1)), None);
    }

    #[test]
    fn every_row_is_in_one_chunk_and_the_columns_stay_side_by_side() {
        let entities: Vec<_> = (0..3 * CHUNK as u32 + 7).map(entity).collect();
        let (first, second) = entities.split_at(CHUNK + 1);
        let mut numbers: Vec<u32> = (0..entities.len() as u32).collect();
        let (first_numbers, second_numbers) = numbers.split_at_mut(CHUNK + 1);
        let tables = [(first, (first_numbers, Some(first))), (second, (second_numbers, None))];
        let chunks = chunks(tables.into_iter());
        let lengths: Vec<_> = chunks.iter().map(|chunk| chunk.entities.len()).collect();
        assert_eq!(lengths, [CHUNK, 1, CHUNK, CHUNK, 6]);
        let seen = std::sync::Mutex::new(Vec::new());
        let chunks = chunks.into_iter().zip(0..5);
        sweep(2, chunks, &entities, |chunk, extra, mut cursor| {
            let (numbers, same) = chunk.columns;
            assert_eq!(numbers.len(), chunk.entities.len());
            assert_eq!(same, (extra < 2).then_some(chunk.entities));
            for (entity, number) in chunk.entities.iter().zip(&*numbers) {
                assert_eq!(cursor.find(*entity), Some(*number as usize));
            }
            seen.lock().expect("no assertion failed").extend_from_slice(numbers);
        });
        let mut seen = seen.into_inner().expect("no assertion failed");
        seen.sort_unstable();
        assert_eq!(seen, numbers);
    }
}
