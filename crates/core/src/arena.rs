//! Memory for rows of one kind, in chunks: to make room never moves more than one chunk of them, so that none of a
//! million inserts takes long.

use std::ops::{Index, IndexMut};

/// How many rows a chunk has.
const CHUNK: usize = 1 << 15;

pub(crate) struct Arena<T> {
    /// All but the last are full of places.
    chunks: Vec<Vec<Place<T>>>,
    /// How many rows there are.
    len: usize,
    /// The place of the next row: the one that came free last, or a new one.
    next: usize,
}

enum Place<T> {
    Used(T),
    /// Not in use; with the place that came free before it.
    Free(usize),
}

impl<T> Arena<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: Vec::new(), len: 0, next: 0 }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// How many places there are: all rows are below that.
    pub(crate) fn places(&self) -> usize {
        // All chunks before the last are full.
        self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len())
    }

    pub(crate) fn insert(&mut self, row: T) -> usize {
        let at = self.next;
        if let Some(place) = self.place_mut(at) {
            if let Place::Free(before) = std::mem::replace(place, Place::Used(row)) {
                self.next = before;
            }
        } else {
            if let Some(chunk) = self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
                chunk.push(Place::Used(row));
            } else {
                // Only the first one has to be small while there are few.
                let mut chunk = Vec::with_capacity(if self.chunks.is_empty() { 0 } else { CHUNK });
                chunk.push(Place::Used(row));
                self.chunks.push(chunk);
            }
            self.next = at + 1;
        }
        self.len += 1;
        at
    }

    /// Takes a row out.
    ///
    /// # Panics
    ///
    /// If there is none: places are kept by those who inserted into them.
    pub(crate) fn remove(&mut self, at: usize) -> T {
        let next = self.next;
        let place = self.place_mut(at).filter(|place| matches!(place, Place::Used(_)));
        let before = place.map(|place| std::mem::replace(place, Place::Free(next)));
        let Some(Place::Used(row)) = before else { nothing_at(at) };
        self.next = at;
        self.len -= 1;
        row
    }

    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        match self.chunks.get(at / CHUNK)?.get(at % CHUNK)? {
            Place::Used(row) => Some(row),
            Place::Free(_) => None,
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (usize, &T)> + Clone {
        self.chunks.iter().flatten().enumerate().filter_map(|(at, place)| match place {
            Place::Used(row) => Some((at, row)),
            Place::Free(_) => None,
        })
    }

    fn place_mut(&mut self, at: usize) -> Option<&mut Place<T>> {
        self.chunks.get_mut(at / CHUNK)?.get_mut(at % CHUNK)
    }
}

impl<T> Index<usize> for Arena<T> {
    type Output = T;

    fn index(&self, at: usize) -> &T {
        match self.get(at) {
            Some(row) => row,
            None => nothing_at(at),
        }
    }
}

impl<T> IndexMut<usize> for Arena<T> {
    fn index_mut(&mut self, at: usize) -> &mut T {
        match self.place_mut(at) {
            Some(Place::Used(row)) => row,
            _ => nothing_at(at),
        }
    }
}

#[cold]
#[expect(clippy::panic, reason = "as indexing does")]
fn nothing_at(at: usize) -> ! {
    panic!("no row is at place {at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stay_where_they_are_and_places_are_used_again() {
        let mut arena = Arena::new();
        let rows = 3 * CHUNK + 5;
        for row in 0..rows {
            assert_eq!(arena.insert(row), row);
        }
        assert_eq!((arena.len(), arena.places()), (rows, rows));
        for at in [7, CHUNK, 2 * CHUNK - 1] {
            assert_eq!(arena.remove(at), at);
            assert_eq!(arena.get(at), None);
        }
        assert_eq!(arena.len(), rows - 3);
        assert_eq!(arena.iter().count(), rows - 3);
        assert!(arena.iter().all(|(at, row)| at == *row));
        // The place that came free last is used first, and a new one when there is none.
        for at in [2 * CHUNK - 1, CHUNK, 7, rows] {
            assert_eq!(arena.insert(at), at);
        }
        arena[7] = 1;
        assert_eq!((arena[7], arena[rows], arena.len(), arena.places()), (1, rows, rows + 1, rows + 1));
        assert_eq!(arena.get(rows + 1), None);
    }
}
