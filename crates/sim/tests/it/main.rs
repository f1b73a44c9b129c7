//! The simulator, as a test: a few hundred seeds hold, and a seed gives the same run twice. `./test sim` runs more.

#![expect(clippy::tests_outside_test_module, reason = "all of this is a test")]

use throttle_sim::{seeds, setup::Setup, world};

/// How many seeds; mutation testing asks for others by `THROTTLE_SIM_SEEDS`.
const SEEDS: u64 = 300;
/// Their runs take longer.
const SEEDS_OF_CLUSTERS: u64 = 100;
const STEPS: usize = 1_000;

#[test]
fn everything_holds_whatever_the_seed() {
    let seeds = std::env::var("THROTTLE_SIM_SEEDS").map_or(SEEDS, |seeds| seeds.parse().unwrap());
    let summary = seeds::run(Setup::draw, 0..seeds, STEPS, || false);
    assert!(summary.failed.is_none(), "{:?}", summary.failed);
    assert_eq!(summary.seeds, seeds);
}

#[test]
fn everything_holds_in_a_cluster() {
    let summary = seeds::run(Setup::draw_cluster, 0..SEEDS_OF_CLUSTERS, STEPS, || false);
    assert!(summary.failed.is_none(), "{:?}", summary.failed);
    assert_eq!(summary.seeds, SEEDS_OF_CLUSTERS);
}

#[test]
fn the_same_seed_gives_the_same_run() {
    for draw in [Setup::draw, Setup::draw_cluster] {
        let run = || world::run(&draw(7, STEPS), true).trace;
        assert!(!run().is_empty());
        assert_eq!(run(), run());
    }
}
