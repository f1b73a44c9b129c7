//! Where peers and semaphores are in their tables: a number of the core's own for each, so that a look-up by name or
//! id is made once in a command. A slot is good for as long as an index of the core names it.

use std::{
    marker::PhantomData,
    ops::{Index, IndexMut, Range},
};

use crate::arena::Arena;

/// The place of a peer in the table of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerSlot(usize);

/// The place of a semaphore in the table of semaphores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SemaphoreSlot(usize);

impl PeerSlot {
    /// No slot is larger.
    pub(crate) const MAX: Self = Self(usize::MAX);
}

impl From<usize> for PeerSlot {
    fn from(slot: usize) -> Self {
        Self(slot)
    }
}

impl From<PeerSlot> for usize {
    fn from(PeerSlot(slot): PeerSlot) -> Self {
        slot
    }
}

impl From<usize> for SemaphoreSlot {
    fn from(slot: usize) -> Self {
        Self(slot)
    }
}

impl From<SemaphoreSlot> for usize {
    fn from(SemaphoreSlot(slot): SemaphoreSlot) -> Self {
        slot
    }
}

/// A table whose rows are found by slots of one kind only.
pub(crate) struct Table<S, T> {
    rows: Arena<T>,
    slots: PhantomData<fn() -> S>,
}

impl<S: From<usize> + Into<usize>, T> Table<S, T> {
    pub(crate) fn new() -> Self {
        Self { rows: Arena::new(), slots: PhantomData }
    }

    pub(crate) fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many slots there are, used and unused.
    pub(crate) fn places(&self) -> usize {
        self.rows.places()
    }

    pub(crate) fn insert(&mut self, row: T) -> S {
        self.rows.insert(row).into()
    }

    pub(crate) fn remove(&mut self, slot: S) -> T {
        self.rows.remove(slot.into())
    }

    pub(crate) fn contains(&self, slot: S) -> bool {
        self.rows.get(slot.into()).is_some()
    }

    pub(crate) fn get(&self, slot: S) -> Option<&T> {
        self.rows.get(slot.into())
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (S, &T)> + Clone {
        self.rows.iter().map(|(slot, row)| (slot.into(), row))
    }

    pub(crate) fn slots(&self) -> impl Iterator<Item = S> {
        self.iter().map(|(slot, _)| slot)
    }

    /// The rows in these places, each with its place. No place beyond [`Table::places`] is taken.
    pub(crate) fn iter_at(&self, places: Range<usize>) -> impl Iterator<Item = (usize, &T)> {
        let places = places.start..places.end.min(self.places());
        places.filter_map(|place| Some((place, self.rows.get(place)?)))
    }
}

impl<S: Into<usize>, T> Index<S> for Table<S, T> {
    type Output = T;

    fn index(&self, slot: S) -> &T {
        &self.rows[slot.into()]
    }
}

impl<S: Into<usize>, T> IndexMut<S> for Table<S, T> {
    fn index_mut(&mut self, slot: S) -> &mut T {
        &mut self.rows[slot.into()]
    }
}
