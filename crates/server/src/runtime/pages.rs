//! Walks over the peers and the semaphores, in bounded steps, so that a long list holds up no grant.

use throttle_core::{Name, PeerView, SemaphoreView};
use throttle_journal::Wall;

use super::engine::Engine;

/// How many places in the table of peers are looked at while the engine is locked once.
const STEP: usize = 256;
/// How many places are looked at for one page.
const WALK: usize = 256 * STEP;

/// Some of the peers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerPage<R> {
    /// What was seen of them, each with its place.
    pub items: Vec<(usize, R)>,
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

impl Engine {
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
                    page.items.push((place, seen));
                }
                (false, core.peer_places())
            });
            at = at.saturating_add(STEP);
            if is_full || at >= places {
                return page;
            }
        }
        // A cursor from beyond the table has nothing behind it.
        page.next = (at > from).then_some(at);
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
}
