//! Counters of what happens, for each semaphore that has series of its own.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, PoisonError, RwLock},
};

use foldhash::fast::RandomState;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec};
use throttle_core::{Core, EndCause, Event, Name, Origin};

use crate::{history::Grants, runtime::Observer};

/// Under which name those are shown together that have no series of their own.
pub(super) const OTHER: &str = "other";

/// The semaphores and patterns that have series of their own: what the configuration declares, and of those that
/// requests make as many as a limit allows.
#[derive(Default)]
pub(super) struct Shown {
    limit: usize,
    names: RwLock<Names>,
}

#[derive(Default)]
struct Names {
    declared: HashSet<Name>,
    made: HashSet<Name>,
}

impl Shown {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, names: RwLock::default() }
    }

    /// The name that a semaphore is shown under.
    pub(super) fn name_of<'a>(&self, name: &'a Name) -> &'a str {
        let names = self.names.read().unwrap_or_else(PoisonError::into_inner);
        if names.declared.contains(name) || names.made.contains(name) { name } else { OTHER }
    }

    /// Gives `name` series of its own, if it `is_declared` or there is room. Tells whether it has them now.
    fn admit(&self, name: &Name, is_declared: bool) -> bool {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        let Names { declared, made } = &mut *names;
        if is_declared {
            made.remove(name);
            declared.insert(name.clone());
        } else if !declared.contains(name) && made.len() < self.limit {
            made.insert(name.clone());
        }
        declared.contains(name) || made.contains(name)
    }

    fn forget(&self, name: &Name) {
        let mut names = self.names.write().unwrap_or_else(PoisonError::into_inner);
        names.declared.remove(name);
        names.made.remove(name);
    }
}

/// Counts what the core reports.
pub struct Recorder {
    families: Families,
    shown: Arc<Shown>,
    /// The same for the histories, which have no series.
    grants: Arc<Grants>,
    by_semaphore: HashMap<Name, Arc<Series>, RandomState>,
    /// By the name that they are shown under.
    shared: HashMap<Name, Arc<Series>, RandomState>,
}

#[derive(Clone)]
pub(super) struct Families {
    pub(super) grants: IntCounterVec,
    pub(super) releases: IntCounterVec,
    pub(super) expiries: IntCounterVec,
    pub(super) restores: IntCounterVec,
    pub(super) overcommits: IntCounterVec,
    pub(super) withdrawals: IntCounterVec,
    pub(super) wait_seconds: HistogramVec,
    pub(super) hold_seconds: HistogramVec,
    pub(super) expired_peers: IntCounter,
}

/// The counters that are shown under one name, looked up once.
struct Series {
    name: Name,
    grants: IntCounter,
    releases: IntCounter,
    expiries: IntCounter,
    restores: IntCounter,
    overcommits: IntCounter,
    withdrawals: IntCounter,
    wait_seconds: Histogram,
    hold_seconds: Histogram,
}

impl Observer for Recorder {
    fn adopt(&mut self, core: &Core) {
        for semaphore in core.semaphores(None) {
            self.show(semaphore.name(), semaphore.pattern(), semaphore.spec().origin);
        }
    }

    fn observe(&mut self, event: &Event) {
        match event {
            Event::SemaphoreSet { semaphore, spec, pattern, .. } => {
                self.show(semaphore, pattern.as_ref(), spec.origin);
            }
            Event::SemaphoreRemoved { semaphore } => self.forget(semaphore),
            Event::Granted { semaphore, waited, .. } => {
                self.grants.count(semaphore);
                self.on(semaphore, |series| {
                    series.grants.inc();
                    series.wait_seconds.observe(waited.map_or(0.0, |waited| waited.as_secs_f64()));
                });
            }
            Event::Released { semaphore, held, cause, .. } => {
                self.on(semaphore, |series| {
                    let ended = if *cause == EndCause::Expired { &series.expiries } else { &series.releases };
                    ended.inc();
                    series.hold_seconds.observe(held.as_secs_f64());
                });
            }
            Event::Restored { semaphore, .. } => self.on(semaphore, |series| series.restores.inc()),
            Event::Overcommitted { semaphore, .. } => self.on(semaphore, |series| series.overcommits.inc()),
            Event::Withdrawn { semaphore, .. } => self.on(semaphore, |series| series.withdrawals.inc()),
            Event::PeerEnded { cause: EndCause::Expired, .. } => self.families.expired_peers.inc(),
            Event::SemaphoreRetired { .. }
            | Event::PeerCreated { .. }
            | Event::PeerOwned { .. }
            | Event::SemaphoreOwned { .. }
            | Event::PeerEnded {
                cause: EndCause::Released | EndCause::Operator | EndCause::Removed | EndCause::ExceedsMax,
                ..
            }
            | Event::LeaseChanged { .. }
            | Event::Queued { .. }
            | Event::Connected { .. }
            | Event::Shrunk { .. }
            | Event::Counters { .. }
            | Event::Cooling { .. }
            | Event::Paused { .. } => {}
        }
    }
}

impl Recorder {
    pub(super) fn new(families: Families, shown: Arc<Shown>, grants: Arc<Grants>) -> Self {
        Self { families, shown, grants, by_semaphore: HashMap::default(), shared: HashMap::default() }
    }

    /// The members of a pattern share its series, and so do those for whom there is no room.
    fn show(&mut self, semaphore: &Name, pattern: Option<&Name>, origin: Origin) {
        let own = pattern.unwrap_or(semaphore);
        if self.by_semaphore.get(semaphore).is_some_and(|series| series.name == *own) {
            return;
        }
        self.forget(semaphore);
        let is_declared = origin == Origin::File || pattern.is_some();
        let name = if self.shown.admit(own, is_declared) { own.clone() } else { OTHER.into() };
        let Self { families, shared, .. } = self;
        let series = shared.entry(name).or_insert_with_key(|name| Arc::new(families.series(name))).clone();
        self.by_semaphore.insert(semaphore.clone(), series);
    }

    /// Counts something on a semaphore, which was set before.
    fn on(&self, semaphore: &Name, count: impl FnOnce(&Series)) {
        if let Some(series) = self.by_semaphore.get(semaphore) {
            count(series);
        }
    }

    fn forget(&mut self, semaphore: &Name) {
        // What members counted stays with their pattern, and what the others counted, too.
        let series = self.by_semaphore.remove(semaphore);
        if **semaphore == *OTHER || series.is_some_and(|series| series.name != *semaphore) {
            return;
        }
        self.shown.forget(semaphore);
        self.shared.remove(semaphore);
        let Families {
            grants,
            releases,
            expiries,
            restores,
            overcommits,
            withdrawals,
            wait_seconds,
            hold_seconds,
            expired_peers: _,
        } = &self.families;
        let label = &[&**semaphore];
        for counter in [grants, releases, expiries, restores, overcommits, withdrawals] {
            // It has no series if it was never made; then there is nothing to forget.
            let _ = counter.remove_label_values(label);
        }
        for histogram in [wait_seconds, hold_seconds] {
            let _ = histogram.remove_label_values(label);
        }
    }
}

impl Families {
    fn series(&self, name: &Name) -> Series {
        let label = &[&**name];
        Series {
            name: name.clone(),
            grants: self.grants.with_label_values(label),
            releases: self.releases.with_label_values(label),
            expiries: self.expiries.with_label_values(label),
            restores: self.restores.with_label_values(label),
            overcommits: self.overcommits.with_label_values(label),
            withdrawals: self.withdrawals.with_label_values(label),
            wait_seconds: self.wait_seconds.with_label_values(label),
            hold_seconds: self.hold_seconds.with_label_values(label),
        }
    }
}
