//! The simulator, as a test: a few hundred seeds hold, and a seed gives the same run twice. `./test sim` runs more.

#![expect(clippy::tests_outside_test_module, reason = "all of this is a test")]

use throttle_sim::{seeds, setup::Setup, world};

/// How many seeds; mutation testing asks for others by `THROTTLE_SIM_SEEDS`.
const SEEDS: u64 = 300;
const STEPS: usize = 1_000;

#[test]
fn everything_holds_whatever_the_seed() {
    let seeds = std::env::var("THROTTLE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let summary = seeds::run(0..seeds, STEPS, || false);
    assert!(summary.failed.is_none(), "{:?}", summary.failed);
    assert_eq!(summary.seeds, seeds);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || world::run(&Setup::draw(7, STEPS), true).trace;
    assert!(!run().is_empty());
    assert_eq!(run(), run());
}
