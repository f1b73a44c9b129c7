//! Semaphores while the server runs: looked at, made, changed, removed.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{
    Core, HolderView, Origin, RemoveError, SemaphoreView, Spec, Time, Token, UnknownSemaphore, planted,
};
use throttle_journal::Record;

use crate::{
    declared::{Adopted, Declared, Difference, Usage},
    node::Node,
    refusal::SetRefusal,
};

/// A semaphore as it is, or as a pattern declares one that nobody uses now.
#[derive(Clone, Copy)]
pub enum Found<'a> {
    /// It is there.
    Used(SemaphoreView<'a>),
    /// The first request that names it makes it.
    Unused(Spec),
}

impl Node {
    /// Applies the changes of the configuration file, in one step. Returns what was there until then.
    pub fn declare(&mut self, now: Time, difference: &Difference, declared: &Declared) -> Adopted {
        let removed_in_use = removed_in_use(&self.core, &difference.removed);
        let mut before = Declared::new();
        let semaphores = declared.iter().map(|(name, spec)| (name.as_str().into(), (*spec).into()));
        self.append(Record::Declared { semaphores: semaphores.collect() });
        let changed = difference.changed.iter().map(|(name, (_, spec))| (name, spec));
        for (name, spec) in difference.added.iter().chain(changed) {
            if spec.origin == Origin::Pattern {
                self.core.set_pattern(now, name, *spec);
            } else {
                if let Ok(semaphore) = self.core.semaphore(name) {
                    before.insert(name.clone(), semaphore.spec());
                }
                self.core.set_semaphore(now, name, *spec);
            }
        }
        for (name, spec) in &difference.removed {
            if spec.origin == Origin::Pattern {
                self.core.remove_pattern(now, name);
            } else {
                // It may be gone already, by a request.
                let _ = self.core.retire_semaphore(now, name);
            }
        }
        Adopted { removed_in_use, before }
    }

    /// Takes note of who makes happen what happens in this turn, for those who read of it.
    pub fn acts(&mut self, by: Option<Arc<str>>) {
        self.word.by = by;
    }

    /// Creates a semaphore, or replaces what it is declared to be. Returns what it was, if it is not new.
    ///
    /// # Errors
    ///
    /// If there are too many.
    pub fn set_semaphore(&mut self, now: Time, name: &str, spec: Spec) -> Result<Option<Spec>, SetRefusal> {
        let before = self.core.semaphore(name).ok().map(|semaphore| semaphore.spec());
        if before.is_none() {
            self.core.check_room_for_semaphore()?;
        }
        self.core.set_semaphore(now, name, spec);
        Ok(before)
    }

    /// Changes what a semaphore is declared to be. Returns what it was.
    ///
    /// # Errors
    ///
    /// If it is not known, or there are too many.
    pub fn change_semaphore(
        &mut self,
        now: Time,
        name: &str,
        change: impl FnOnce(Spec) -> Spec,
    ) -> Result<Spec, SetRefusal> {
        // A member of a pattern may be changed before anybody uses it.
        let spec = match self.semaphore(name)? {
            Found::Used(semaphore) => semaphore.spec(),
            Found::Unused(spec) => {
                self.core.check_room_for_semaphore()?;
                spec
            }
        };
        self.core.set_semaphore(now, name, change(spec));
        Ok(spec)
    }

    /// Removes a semaphore; with `force` also from under those who use it.
    ///
    /// # Errors
    ///
    /// If it is not known, or in use.
    pub fn remove_semaphore(&mut self, now: Time, name: &str, force: bool) -> Result<(), RemoveError> {
        self.core.remove_semaphore(now, name, force)
    }

    /// Does a step of a removal by force where many use the semaphore. Returns how many are left.
    ///
    /// # Errors
    ///
    /// If it is not known.
    pub fn evict(&mut self, now: Time, name: &str) -> Result<usize, UnknownSemaphore> {
        self.core.evict(now, name)
    }

    /// A semaphore, which is not made by being looked at.
    ///
    /// # Errors
    ///
    /// If there is none of that name, and no pattern for it.
    pub fn semaphore(&self, name: &str) -> Result<Found<'_>, UnknownSemaphore> {
        match (self.core.semaphore(name), self.core.pattern_of(name)) {
            (Err(_), Some((_, spec))) => Ok(Found::Unused(spec)),
            (seen, _) => seen.map(Found::Used),
        }
    }

    /// The holder whose grant has this token, if it is live.
    ///
    /// # Errors
    ///
    /// If the semaphore is not known.
    pub fn holder(&self, semaphore: &str, token: Token) -> Result<Option<HolderView<'_>>, UnknownSemaphore> {
        Ok(match self.semaphore(semaphore)? {
            Found::Used(_) if planted!(LiveTokenDenied) => None,
            Found::Used(seen) if planted!(DeadTokenLives) => {
                seen.holder(token).or_else(|| seen.holders().next())
            }
            Found::Used(seen) => seen.holder(token),
            Found::Unused(_) => None,
        })
    }

    /// What is left of a semaphore; negative when it is overcommitted.
    ///
    /// # Errors
    ///
    /// If the semaphore is not known.
    pub fn remainder(&self, semaphore: &str) -> Result<i64, UnknownSemaphore> {
        Ok(match self.semaphore(semaphore)? {
            Found::Used(seen) if planted!(RemainderForgetsHolders) => seen.spec().max,
            Found::Used(seen) => seen.remainder(),
            Found::Unused(spec) => spec.max,
        })
    }
}

/// Those of the semaphores and patterns to be removed that somebody holds or waits for.
fn removed_in_use(core: &Core, removed: &Declared) -> BTreeMap<String, Usage> {
    let has_patterns = removed.values().any(|spec| spec.origin == Origin::Pattern);
    let members =
        has_patterns.then(|| core.semaphores(None).filter(|semaphore| semaphore.pattern().is_some()));
    let named = removed.keys().filter_map(|name| core.semaphore(name).ok());
    let mut in_use = BTreeMap::<String, Usage>::new();
    for semaphore in named.chain(members.into_iter().flatten()) {
        let name = semaphore.pattern().unwrap_or(semaphore.name());
        let (acquired, pending) = (semaphore.acquired(), semaphore.pending());
        if (acquired, pending) == (0, 0) || !removed.contains_key(&**name) {
            continue;
        }
        let usage = in_use.entry(name.to_string()).or_default();
        usage.acquired = usage.acquired.saturating_add(acquired);
        usage.pending = usage.pending.saturating_add(pending);
    }
    in_use
}
