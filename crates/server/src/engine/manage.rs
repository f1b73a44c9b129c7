//! Semaphores while the server runs: looked at, made, changed, removed; and walks over what there is.

use std::collections::BTreeMap;

use throttle_core::{
    Core, HolderView, LimitReached, Name, Origin, PeerView, RemoveError, SemaphoreView, Spec, Token,
    UnknownSemaphore,
};
use throttle_journal::Wall;

use super::handle::Engine;
use crate::{
    journal::Record,
    reload::{Declared, Difference, Usage},
    telemetry::trace::{Subject, about},
};

/// How many places in the table of peers are looked at while the engine is locked once.
const STEP: usize = 256;
/// How many places are looked at for one page.
const WALK: usize = 256 * STEP;

/// Some of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPage<R> {
    /// What was seen of them.
    pub items: Vec<R>,
    /// Where the next page begins, if there may be more.
    pub next: Option<usize>,
}

/// Some of the semaphores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SemaphorePage<R> {
    /// What was seen of them.
    pub items: Vec<R>,
    /// The name after which the next page begins, if there may be more.
    pub next: Option<Name>,
}

/// Why a semaphore was not set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SetRefusal {
    /// There are as many as there may be.
    Limit(LimitReached),
    /// There is none of that name.
    Unknown(UnknownSemaphore),
}

impl Engine {
    /// Lets what the configuration file says differently now come into force, in one step. Returns what of it is
    /// removed while it is in use.
    pub fn declare(&self, difference: &Difference, declared: &Declared) -> BTreeMap<String, Usage> {
        self.with(|shared, now| {
            let in_use = removed_in_use(&shared.core, &difference.removed);
            let semaphores = declared.iter().map(|(name, spec)| (name.as_str().into(), (*spec).into()));
            shared.write_down(Record::Declared { semaphores: semaphores.collect() });
            let changed = difference.changed.iter().map(|(name, (_, spec))| (name, spec));
            for (name, spec) in difference.added.iter().chain(changed) {
                if spec.origin == Origin::Pattern {
                    shared.core.set_pattern(now, name, *spec);
                } else {
                    shared.core.set_semaphore(now, name, *spec);
                }
            }
            for (name, spec) in &difference.removed {
                if spec.origin == Origin::Pattern {
                    shared.core.remove_pattern(now, name);
                } else {
                    // It may be gone already, by a request.
                    let _ = shared.core.retire_semaphore(now, name);
                }
            }
            in_use
        })
    }

    /// Up to `limit` peers for which `look` sees something, from a place in their table on. The walk is
    /// bounded, so a page may be short of `limit` and not be the last one.
    pub fn peer_page<R>(
        &self,
        from: usize,
        limit: usize,
        look: impl Fn(PeerView<'_>, Wall) -> Option<R>,
    ) -> PeerPage<R> {
        let mut page = PeerPage { items: Vec::new(), next: None };
        let end = from.saturating_add(WALK);
        let mut at = from;
        while at < end {
            let (is_full, places) = self.view_with_wall(|core, wall| {
                for (place, peer) in core.peers_at(at..at.saturating_add(STEP)) {
                    let Some(seen) = look(peer, wall) else { continue };
                    if page.items.len() == limit {
                        page.next = Some(place);
                        return (true, 0);
                    }
                    page.items.push(seen);
                }
                (false, core.peer_places())
            });
            at = at.saturating_add(STEP);
            if is_full || at >= places {
                return page;
            }
        }
        page.next = Some(at);
        page
    }

    /// Up to `limit` semaphores for which `look` sees something, by name, from the first one after `after` on. The
    /// walk is bounded, so a page may be short of `limit` and not be the last one.
    pub fn semaphore_page<R>(
        &self,
        after: Option<Name>,
        limit: usize,
        look: impl Fn(SemaphoreView<'_>) -> Option<R>,
    ) -> SemaphorePage<R> {
        let mut page = SemaphorePage { items: Vec::new(), next: None };
        let mut last = after;
        for _ in 0..WALK / STEP {
            let begin = last.clone();
            let is_over = self.view(|core| {
                for (place, semaphore) in core.semaphores(begin.as_deref()).enumerate() {
                    if page.items.len() == limit {
                        page.next.clone_from(&last);
                        return true;
                    }
                    if place == STEP {
                        return false;
                    }
                    last = Some(semaphore.name().clone());
                    page.items.extend(look(semaphore));
                }
                true
            });
            if is_over {
                return page;
            }
        }
        page.next = last;
        page
    }

    /// Creates a semaphore, or replaces what it is declared to be. Tells whether it is new.
    pub fn set_semaphore<R>(
        &self,
        name: &str,
        spec: Spec,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
    ) -> Result<(bool, R), SetRefusal> {
        about(Subject::Semaphore(name));
        self.with(|shared, now| {
            let is_new = shared.core.semaphore(name).is_err();
            if is_new {
                shared.core.check_room_for_semaphore().map_err(SetRefusal::Limit)?;
            }
            shared.core.set_semaphore(now, name, spec);
            let seen = shared.core.semaphore(name).map_err(SetRefusal::Unknown)?;
            Ok((is_new, look(seen, shared.clock.wall(now))))
        })
    }

    /// Changes what a semaphore is declared to be.
    pub fn change_semaphore<R>(
        &self,
        name: &str,
        change: impl FnOnce(Spec) -> Spec,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
    ) -> Result<R, SetRefusal> {
        about(Subject::Semaphore(name));
        self.with(|shared, now| {
            // A member of a pattern may be changed before anybody uses it.
            let spec = match (shared.core.semaphore(name), shared.core.pattern_of(name)) {
                (Err(_), Some((_, spec))) => {
                    shared.core.check_room_for_semaphore().map_err(SetRefusal::Limit)?;
                    spec
                }
                (seen, _) => seen.map_err(SetRefusal::Unknown)?.spec(),
            };
            shared.core.set_semaphore(now, name, change(spec));
            let seen = shared.core.semaphore(name).map_err(SetRefusal::Unknown)?;
            Ok(look(seen, shared.clock.wall(now)))
        })
    }

    /// Removes a semaphore; with `force` also from under those who use it.
    pub fn remove_semaphore(&self, name: &str, force: bool) -> Result<(), RemoveError> {
        about(Subject::Semaphore(name));
        self.with(|shared, now| shared.core.remove_semaphore(now, name, force))
    }

    /// A look at one semaphore; or at what a member of a pattern is declared to be that nobody uses now. That one
    /// is not made by being looked at.
    pub fn semaphore<R>(
        &self,
        name: &str,
        look: impl FnOnce(SemaphoreView<'_>, Wall) -> R,
        look_at_unused: impl FnOnce(Spec) -> R,
    ) -> Result<R, UnknownSemaphore> {
        about(Subject::Semaphore(name));
        self.view_with_wall(|core, wall| match (core.semaphore(name), core.pattern_of(name)) {
            (Err(_), Some((_, spec))) => Ok(look_at_unused(spec)),
            (seen, _) => seen.map(|seen| look(seen, wall)),
        })
    }

    /// A look at the holder whose grant has this token, if it is live.
    pub fn holder<R>(
        &self,
        semaphore: &str,
        token: Token,
        look: impl FnOnce(HolderView<'_>, Wall) -> R,
    ) -> Result<Option<R>, UnknownSemaphore> {
        self.view_with_wall(|core, wall| match (core.semaphore(semaphore), core.pattern_of(semaphore)) {
            (Err(_), Some(_)) => Ok(None),
            (seen, _) => Ok(seen?.holder(token).map(|holder| look(holder, wall))),
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
