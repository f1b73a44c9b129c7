//! Many seeds at once, on all processors.

use std::{
    ops::Range,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use crate::{
    setup::{Draw, Setup},
    world::{self, Failure},
};

/// What many runs came to.
pub struct Summary {
    pub seeds: u64,
    pub steps: u64,
    /// The failure with the least seed of those that were found.
    pub failed: Option<(u64, Setup, Failure)>,
}

/// Runs these seeds, each with so many steps in its faulty part, until one fails or `is_over` says so.
pub fn run(draw: Draw, seeds: Range<u64>, steps: usize, is_over: impl Fn() -> bool + Sync) -> Summary {
    let (next, taken) = (AtomicU64::new(seeds.start), AtomicU64::new(0));
    let (has_failed, failed) = (AtomicBool::new(false), Mutex::new(None::<(u64, Setup, Failure)>));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                while !has_failed.load(Relaxed) && !is_over() {
                    let seed = next.fetch_add(1, Relaxed);
                    if seed >= seeds.end {
                        break;
                    }
                    let setup = draw(seed, steps);
                    let outcome = world::run(&setup, false);
                    taken.fetch_add(outcome.steps as u64, Relaxed);
                    if let Some(failure) = outcome.failure {
                        has_failed.store(true, Relaxed);
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        if failed.as_ref().is_none_or(|(other, ..)| seed < *other) {
                            *failed = Some((seed, setup, failure));
                        }
                    }
                }
            });
        }
    });
    Summary {
        seeds: next.into_inner().min(seeds.end) - seeds.start,
        steps: taken.into_inner(),
        failed: failed.into_inner().unwrap_or_else(PoisonError::into_inner),
    }
}
