//! Patterns: names with a `*`. Each name that matches one is a semaphore of its own, made on first use and
//! gone when it is idle.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
    ops::Bound,
};

use crate::{
    error::{LimitReached, Resource, Share, UnknownSemaphore},
    event::Event,
    names::Name,
    owner::{By, Owner},
    semaphore::{Deadlock, Origin, Semaphore, Spec},
    slot::SemaphoreSlot,
    state::Core,
    time::Time,
};

/// The longest name that a pattern makes a semaphore of, in bytes.
const MEMBER_NAME_BYTES_MAX: usize = 512;

/// All patterns, found by what stands before and after their star.
#[derive(Default)]
pub(crate) struct Patterns {
    by_name: BTreeMap<Name, Spec>,
    /// What stands before the star, to what stands after it.
    by_prefix: BTreeMap<Box<str>, BTreeSet<Box<str>>>,
    /// The lengths of all prefixes, longest first, and how many patterns have each.
    pub(crate) prefix_lengths: BTreeMap<Reverse<usize>, usize>,
    /// How many members each has, those of patterns that are gone included.
    pub(crate) member_counts: BTreeMap<Name, usize>,
}

/// What stands before and after the star; `None` for a name that has none.
fn split(pattern: &str) -> Option<(&str, &str)> {
    pattern.split_once('*')
}

impl Patterns {
    fn insert(&mut self, pattern: &str, spec: Spec) -> Option<Spec> {
        let before = self.by_name.insert(pattern.into(), spec);
        if let (None, Some((prefix, suffix))) = (before, split(pattern)) {
            self.by_prefix.entry(prefix.into()).or_default().insert(suffix.into());
            *self.prefix_lengths.entry(Reverse(prefix.len())).or_default() += 1;
        }
        before
    }

    fn remove(&mut self, pattern: &str) -> Option<Spec> {
        let spec = self.by_name.remove(pattern)?;
        let (prefix, suffix) = split(pattern)?;
        if let Some(suffixes) = self.by_prefix.get_mut(prefix) {
            suffixes.remove(suffix);
            if suffixes.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
        let count = self.prefix_lengths.entry(Reverse(prefix.len())).or_default();
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.prefix_lengths.remove(&Reverse(prefix.len()));
        }
        Some(spec)
    }

    /// All of them by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Name, Spec)> {
        self.by_name.iter().map(|(name, spec)| (name, *spec))
    }

    /// The pattern that a name is a member of: of those that match, the one with the longest part before the
    /// star, then the one with the longest part after it.
    fn of(&self, name: &str) -> Option<(&Name, Spec)> {
        for &Reverse(length) in self.prefix_lengths.keys() {
            let Some((prefix, rest)) = name.split_at_checked(length) else { continue };
            let Some(suffixes) = self.by_prefix.get(prefix) else { continue };
            let ends = (0..=rest.len()).filter_map(|at| rest.get(at..));
            if let Some(suffix) = ends.filter(|end| suffixes.contains(*end)).max_by_key(|end| end.len()) {
                return self
                    .by_name
                    .get_key_value(format!("{prefix}*{suffix}").as_str())
                    .map(|(n, s)| (n, *s));
            }
        }
        None
    }
}

impl Core {
    /// Declares a pattern: a name with one `*`, which stands for any run of characters. Members that exist get
    /// the new `spec` as if each had been set to it.
    pub fn set_pattern(&mut self, now: Time, pattern: &str, spec: Spec) {
        let now = self.begin(now);
        let spec = Spec { max: spec.max.max(0), origin: Origin::Pattern, ..spec };
        let before = self.patterns.insert(pattern, spec);
        self.detecting += usize::from(spec.deadlock == Deadlock::Detect);
        self.detecting -= usize::from(before.is_some_and(|before| before.deadlock == Deadlock::Detect));
        if before != Some(spec) {
            for member in self.members(pattern) {
                // The pattern may have been taken back a while ago.
                let was_leaving = std::mem::take(&mut self.semaphores[member].is_leaving);
                if was_leaving && self.semaphores[member].spec == spec {
                    self.emit_set(member);
                }
                self.change_spec(now, member, spec);
            }
        }
        self.finish(now);
    }

    /// Takes a pattern back. Its members that are in use go when they are idle. Tells whether there was one.
    pub fn remove_pattern(&mut self, now: Time, pattern: &str) -> bool {
        let now = self.begin(now);
        let Some(spec) = self.patterns.remove(pattern) else { return false };
        self.detecting -= usize::from(spec.deadlock == Deadlock::Detect);
        for member in self.members(pattern) {
            self.retire(member);
        }
        self.finish(now);
        true
    }

    /// The patterns by name, each with what its members are.
    pub fn patterns(&self) -> impl Iterator<Item = (&Name, Spec)> {
        self.patterns.iter()
    }

    /// The pattern whose member a name is or would be on its first use.
    pub fn pattern_of(&self, name: &str) -> Option<(&Name, Spec)> {
        self.patterns.of(name).filter(|_| name.len() <= MEMBER_NAME_BYTES_MAX)
    }

    fn members(&self, pattern: &str) -> Vec<SemaphoreSlot> {
        let (prefix, _) = split(pattern).unwrap_or((pattern, ""));
        let from_prefix = self.semaphore_slots.range::<str, _>((Bound::Included(prefix), Bound::Unbounded));
        from_prefix
            .take_while(|(name, _)| name.starts_with(prefix))
            .map(|(_, &slot)| slot)
            .filter(|&slot| self.semaphores[slot].pattern.as_deref() == Some(pattern))
            .collect()
    }

    /// The semaphore of this name; made now if it is the member of a pattern.
    pub(crate) fn slot_or_member<E>(&mut self, by: By<'_>, name: &str) -> Result<SemaphoreSlot, E>
    where
        E: From<UnknownSemaphore> + From<LimitReached>,
    {
        if let Ok(slot) = self.semaphore_slot(name) {
            return Ok(slot);
        }
        let Some((pattern, spec)) = self.pattern_of(name) else {
            return Err(UnknownSemaphore(name.into()).into());
        };
        let pattern = pattern.clone();
        self.check_room(Resource::Semaphores, self.semaphores.len() + 1)?;
        let members = self.patterns.member_counts.get(&pattern).copied().unwrap_or(0);
        self.check_room(Resource::Members, members + 1)?;
        self.check_share(by, Share::Members)?;
        let slot = self.insert_semaphore(name.into(), spec);
        self.set_pattern_of(slot, Some(pattern));
        self.set_maker(slot, by.owner());
        self.semaphores[slot].is_announced = false;
        // Unless the command makes use of it, it goes again at its end.
        self.touch(slot);
        Ok(slot)
    }

    /// Makes a semaphore a member of this pattern, or of none; then it counts for nobody.
    pub(crate) fn set_pattern_of(&mut self, slot: SemaphoreSlot, pattern: Option<Name>) {
        if pattern.is_none() {
            self.set_maker(slot, Owner::NOBODY);
        }
        let counts = &mut self.patterns.member_counts;
        if let Some(pattern) = pattern.clone() {
            *counts.entry(pattern).or_default() += 1;
        }
        let before = std::mem::replace(&mut self.semaphores[slot].pattern, pattern);
        if let Some(before) = before
            && let Some(count) = counts.get_mut(&before)
        {
            *count -= 1;
            if *count == 0 {
                counts.remove(&before);
            }
        }
    }

    /// Enters a semaphore into the tables.
    pub(crate) fn insert_semaphore(&mut self, name: Name, spec: Spec) -> SemaphoreSlot {
        let slot = self.semaphores.insert(Semaphore::new(name.clone(), spec, self.seed));
        self.semaphores[slot].changed_at = self.next_sequence;
        self.semaphore_slots.insert(name, slot);
        self.detecting += usize::from(spec.deadlock == Deadlock::Detect);
        slot
    }

    /// Takes a semaphore that nobody uses out of the tables.
    pub(crate) fn drop_semaphore(&mut self, slot: SemaphoreSlot) {
        self.set_pattern_of(slot, None);
        let semaphore = self.semaphores.remove(slot);
        self.semaphore_slots.remove(&semaphore.name);
        self.detecting -= usize::from(semaphore.spec.deadlock == Deadlock::Detect);
        if let Some((&at, _)) = semaphore.cooling.first_key_value() {
            self.returns.remove(&(at, slot));
        }
        if semaphore.is_announced {
            self.events.push(Event::SemaphoreRemoved { semaphore: semaphore.name });
        }
    }

    /// Tells of a semaphore before anything that happens on it is told.
    pub(crate) fn announce(&mut self, slot: SemaphoreSlot) {
        if std::mem::replace(&mut self.semaphores[slot].is_announced, true) {
            return;
        }
        self.emit_set(slot);
        let Semaphore { name, maker, .. } = &self.semaphores[slot];
        if *maker != Owner::NOBODY {
            self.events.push(Event::SemaphoreOwned { semaphore: name.clone(), owner: maker.clone() });
        }
    }
}
