//! The simulator, as a test: a few hundred seeds hold, and a seed gives the same run twice. `./test sim` runs more.

#![expect(clippy::tests_outside_test_module, reason = "all of this is a test")]

use std::thread;

use throttle_sim::{
    setup::Setup,
    world::{self, Failure},
};

/// How many seeds; mutation testing asks for more by `THROTTLE_SIM_SEEDS`.
const SEEDS: u64 = 300;
const STEPS: usize = 1_000;
const THREADS: u64 = 4;

#[test]
fn everything_holds_whatever_the_seed() {
    let seeds = std::env::var("THROTTLE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let first_failure = |thread: u64| -> Option<(u64, Failure)> {
        (thread..seeds)
            .step_by(usize::try_from(THREADS).unwrap())
            .find_map(|seed| Some((seed, world::run(&Setup::draw(seed, STEPS), false).failure?)))
    };
    thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || first_failure(thread))).collect();
        for thread in threads {
            let failure = thread.join().unwrap();
            assert!(failure.is_none(), "{failure:?}");
        }
    });
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || world::run(&Setup::draw(7, STEPS), true).trace;
    assert!(!run().is_empty());
    assert_eq!(run(), run());
}
