//! `throttle-sim`: real nodes in a world of one seed.
//!
//! A node, the memory log, clients of every dialect, a network and operators, all driven by one random number: the same
//! seed gives the same run, byte for byte. What must hold is judged from outside, from what clients were told. See
//! `docs/simulation.md`.

#![expect(
    clippy::disallowed_methods,
    reason = "it tells how long it took; nothing inside a run reads a clock"
)]

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::Parser;
use throttle_sim::{
    planted,
    seeds::{self, Summary},
    setup::{Draw, Setup},
    shrink,
    world::{self, Failure},
};

/// Runs real nodes in a simulated world, and checks what clients are told
#[derive(Parser, Debug)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, default_value_t = 0)]
    start: u64,
    /// Runs this seed only
    #[arg(long)]
    seed: Option<u64>,
    /// Prints every step of the seed
    #[arg(long, requires = "seed")]
    trace: bool,
    /// Runs seeds for so many minutes, however many they are
    #[arg(long)]
    minutes: Option<u64>,
    /// How many steps the faulty part of a run has
    #[arg(long, default_value_t = 1_000)]
    steps: usize,
    /// Runs clusters of servers on etcd, instead of single servers
    #[arg(long)]
    cluster: bool,
    /// Plants each known fault in turn, and prints how many seeds it takes to find it
    #[arg(long)]
    planted: bool,
}

impl Arguments {
    /// What a seed decides.
    fn draw(&self) -> Draw {
        if self.cluster { Setup::draw_cluster } else { Setup::draw }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if arguments.planted {
        return planted::run(arguments.cluster, arguments.start, arguments.seeds, arguments.steps);
    }
    if let Some(seed) = arguments.seed {
        return one(&arguments, seed);
    }
    many(&arguments)
}

fn one(arguments: &Arguments, seed: u64) -> ExitCode {
    let (setup, is_traced) = (arguments.draw()(seed, arguments.steps), arguments.trace);
    let outcome = world::run(&setup, is_traced);
    if is_traced {
        println!("{setup:#?}");
        print!("{}", outcome.trace);
    }
    match outcome.failure {
        None => {
            println!("Seed {seed}: {} steps, and everything holds.", outcome.steps);
            ExitCode::SUCCESS
        }
        Some(failure) => {
            report(seed, &setup, &failure, is_traced);
            ExitCode::FAILURE
        }
    }
}

fn many(arguments: &Arguments) -> ExitCode {
    let begun = Instant::now();
    let end = arguments.minutes.map(|minutes| begun + Duration::from_secs(60 * minutes));
    let last = end.map_or(arguments.start.saturating_add(arguments.seeds), |_| u64::MAX);
    let is_over = || end.is_some_and(|end| Instant::now() >= end);
    let Summary { seeds, steps, failed } =
        seeds::run(arguments.draw(), arguments.start..last, arguments.steps, is_over);
    if let Some((seed, setup, failure)) = failed {
        report(seed, &setup, &failure, false);
        return ExitCode::FAILURE;
    }
    let took = begun.elapsed().as_secs_f64();
    println!("{seeds} seeds, {steps} steps, {took:.1} s: everything holds.");
    ExitCode::SUCCESS
}

/// Prints what failed, and the shortest trace of it that can be found.
fn report(seed: u64, setup: &Setup, failure: &Failure, is_traced: bool) {
    println!("Seed {seed} of commit {} violates {}: {}", commit(), failure.invariant, failure.sentence);
    let kind = if setup.cluster.is_some() { "--cluster " } else { "" };
    println!(
        "It does so at step {}. `throttle-sim {kind}--seed {seed} --trace` shows every step.",
        failure.step
    );
    if !is_traced {
        let (simplest, _) = shrink::shortest(setup, failure);
        let outcome = world::run(&simplest, true);
        println!("The shortest run found that fails so, with its setup:\n{simplest:#?}\n{}", outcome.trace);
    }
}

/// The commit of the working directory, if it is that of a repository.
fn commit() -> String {
    let described = std::process::Command::new("git").args(["describe", "--always", "--dirty"]).output();
    let described = described.ok().filter(|output| output.status.success());
    described.map_or_else(
        || "unknown".to_owned(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
