//! How much of each semaphore was acquired and pending lately, and how often it was granted: sixty samples, taken in
//! equal steps.
//!
//! Only samples that are not zero are kept, and only of so many semaphores, so an idle semaphore costs nothing.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use throttle_core::{Name, Time};
use tokio::time::{MissedTickBehavior, interval};

use crate::runtime::Engine;

/// How many samples a history has.
pub const SAMPLES: usize = 60;

/// How many semaphores are looked at while the engine is locked once.
const STEP: usize = 500;

/// What a semaphore was like at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sample {
    /// The count acquired.
    pub acquired: i64,
    /// The count that waited.
    pub pending: i64,
    /// How many locks were granted since the sample before.
    pub grants: u64,
}

/// How many locks of each semaphore were granted since that was last asked: of as many semaphores as have a history.
#[derive(Debug)]
pub struct Grants {
    limit: usize,
    counts: Mutex<Counts>,
}

type Counts = HashMap<Name, u64, foldhash::fast::RandomState>;

impl Grants {
    /// Counts one more.
    pub fn count(&self, semaphore: &Name) {
        let mut counts = self.lock();
        if let Some(count) = counts.get_mut(semaphore) {
            *count += 1;
        } else if counts.len() < self.limit {
            counts.insert(semaphore.clone(), 1);
        }
    }

    fn take(&self) -> Counts {
        std::mem::take(&mut *self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The histories of all semaphores.
pub struct History {
    limit: usize,
    step: Duration,
    grants: Arc<Grants>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// How many samples were taken of each semaphore.
    taken: u64,
    /// When the last one was.
    at: Time,
    /// The samples that are not zero, each with its number, the oldest first.
    semaphores: HashMap<Name, VecDeque<(u64, Sample)>>,
}

/// The last samples of some semaphores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// When the last one was taken.
    pub at: Time,
    /// For each name that was asked for: its samples, the oldest first.
    pub samples: Vec<Vec<Sample>>,
}

impl History {
    /// An empty one, of at most `limit` semaphores with something to tell.
    pub fn new(limit: usize, step: Duration) -> Self {
        let grants = Arc::new(Grants { limit, counts: Mutex::default() });
        Self { limit, step, grants, kept: Mutex::default() }
    }

    /// Where grants are counted.
    pub fn grants(&self) -> Arc<Grants> {
        self.grants.clone()
    }

    /// The time between two samples.
    pub fn step(&self) -> Duration {
        self.step
    }

    /// Takes samples for ever.
    pub async fn run(&self, engine: &Arc<Engine>) {
        let mut ticks = interval(self.step);
        // After a pause of the machine, time goes on from there.
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            self.sample(engine).await;
        }
    }

    /// Takes a sample of every semaphore, in short steps.
    async fn sample(&self, engine: &Arc<Engine>) {
        let number = self.lock().taken;
        let mut grants = self.grants.take();
        let mut after: Option<Name> = None;
        loop {
            let mut found: Vec<(Name, Sample)> = Vec::new();
            let begin = after.take();
            engine.view(|core| {
                for (place, semaphore) in core.semaphores(begin.as_deref()).take(STEP).enumerate() {
                    let sample = Sample {
                        acquired: semaphore.acquired(),
                        pending: semaphore.pending(),
                        grants: grants.remove(semaphore.name()).unwrap_or_default(),
                    };
                    if sample != Sample::default() {
                        found.push((semaphore.name().clone(), sample));
                    }
                    if place + 1 == STEP {
                        after = Some(semaphore.name().clone());
                    }
                }
            });
            self.lock().add(number, found, self.limit);
            if after.is_none() {
                break;
            }
            // Others want the engine, too.
            tokio::task::yield_now().await;
        }
        // Members of patterns that came and went since the sample before.
        let gone = grants.into_iter().map(|(name, grants)| (name, Sample { grants, ..Sample::default() }));
        self.lock().add(number, gone.collect(), self.limit);
        let now = engine.now();
        self.lock().end(number, now);
    }

    /// The samples of these semaphores; zeros for what is not known or was not there.
    pub fn of<'a>(&self, names: impl Iterator<Item = &'a str>) -> Seen {
        let kept = self.lock();
        let first = kept.taken.saturating_sub(SAMPLES as u64);
        let length = usize::try_from(kept.taken - first).unwrap_or(SAMPLES);
        let samples = names.map(|name| {
            let mut line = vec![Sample::default(); length];
            for &(number, sample) in kept.semaphores.get(name).into_iter().flatten() {
                let place = number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
                if let Some(slot) = place.and_then(|place| line.get_mut(place)) {
                    *slot = sample;
                }
            }
            line
        });
        Seen { samples: samples.collect(), at: kept.at }
    }

    fn lock(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn add(&mut self, number: u64, found: Vec<(Name, Sample)>, limit: usize) {
        for (name, sample) in found {
            if let Some(line) = self.semaphores.get_mut(&name) {
                line.push_back((number, sample));
            } else if self.semaphores.len() < limit {
                self.semaphores.insert(name, VecDeque::from([(number, sample)]));
            }
        }
    }

    /// Ends the taking of samples of this number, and forgets what is too old.
    fn end(&mut self, number: u64, at: Time) {
        (self.taken, self.at) = (number + 1, at);
        let first = self.taken.saturating_sub(SAMPLES as u64);
        self.semaphores.retain(|_, line| {
            while line.front().is_some_and(|(number, _)| *number < first) {
                line.pop_front();
            }
            !line.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(acquired: i64) -> Sample {
        Sample { acquired, ..Sample::default() }
    }

    fn take(history: &History, found: &[(&str, i64)]) {
        let mut kept = history.lock();
        let number = kept.taken;
        let found = found.iter().map(|&(name, acquired)| (Name::from(name), sample(acquired))).collect();
        kept.add(number, found, history.limit);
        kept.end(number, Time::from_micros(number));
    }

    fn of(history: &History, name: &str) -> Vec<i64> {
        let seen = history.of([name].into_iter());
        seen.samples[0].iter().map(|sample| sample.acquired).collect()
    }

    #[test]
    fn samples_stand_at_their_time_with_zeros_between() {
        let history = History::new(10, Duration::from_secs(1));
        assert_eq!(of(&history, "A"), Vec::<i64>::new());
        take(&history, &[("B", 1)]);
        take(&history, &[("A", 2)]);
        take(&history, &[]);
        take(&history, &[("A", 3), ("B", 4)]);
        assert_eq!(of(&history, "A"), [0, 2, 0, 3]);
        assert_eq!(of(&history, "B"), [1, 0, 0, 4]);
        assert_eq!(of(&history, "C"), [0; 4]);
    }

    #[test]
    fn grants_are_counted_from_sample_to_sample_and_of_so_many_semaphores() {
        let history = History::new(2, Duration::from_secs(1));
        let grants = history.grants();
        for name in ["A", "B", "A", "C", "A"] {
            grants.count(&name.into());
        }
        let counted = grants.take();
        let of = |name: &str| counted.get(name).copied();
        assert_eq!((of("A"), of("B"), of("C")), (Some(3), Some(1), None));
        assert!(grants.take().is_empty());
    }

    #[test]
    fn what_is_old_goes_and_the_limit_is_kept() {
        let history = History::new(1, Duration::from_secs(1));
        take(&history, &[("A", 1), ("B", 1)]);
        assert_eq!(of(&history, "B"), [0], "no room");
        for _ in 1..SAMPLES {
            take(&history, &[]);
        }
        assert_eq!(of(&history, "A")[0], 1);
        take(&history, &[("B", 2)]);
        assert_eq!(of(&history, "A"), [0; SAMPLES]);
        assert_eq!(history.lock().semaphores.len(), 0, "there was no room when B was seen");
        take(&history, &[("B", 3)]);
        assert_eq!(of(&history, "B").last(), Some(&3));
    }
}
