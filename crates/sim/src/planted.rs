//! Planted faults: ways to break core, node or log, each of which the simulator has to find.

use std::process::ExitCode;

#[cfg(planted)]
use crate::setup::{Draw, Setup};

/// Plants each fault in turn, and prints how many seeds it takes to find it.
#[cfg(not(planted))]
pub fn run(_: bool, _: u64, _: u64, _: usize) -> ExitCode {
    eprintln!(
        "This build has no planted faults. Run:\nRUSTFLAGS=\"--cfg planted\" cargo run --release \
         --target-dir target/planted -p throttle-sim -- --planted"
    );
    ExitCode::FAILURE
}

/// Plants each fault in turn, and prints how many seeds it takes to find it. A fault that `seeds` seeds do not find
/// is a failure: an invariant is missing.
#[cfg(planted)]
pub fn run(is_cluster: bool, start: u64, seeds: u64, steps: usize) -> ExitCode {
    use std::{
        sync::{
            Mutex, PoisonError,
            atomic::{AtomicUsize, Ordering::Relaxed},
        },
        thread,
    };

    use throttle_core::planted::Fault;

    let faults = if is_cluster { Fault::OF_CLUSTERS } else { Fault::OF_ONE };
    let draw: Draw = if is_cluster { Setup::draw_cluster } else { Setup::draw };
    // A panic is a find too, and is not worth a report.
    std::panic::set_hook(Box::new(|_| ()));
    let (next, lines) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let index = next.fetch_add(1, Relaxed);
                    let Some(fault) = faults.get(index) else { break };
                    let found = seeds_to_find(*fault, draw, start, seeds, steps);
                    lines.lock().unwrap_or_else(PoisonError::into_inner).push((index, *fault, found));
                }
            });
        }
    });
    let mut lines = lines.into_inner().unwrap_or_else(PoisonError::into_inner);
    lines.sort_unstable_by_key(|(index, ..)| *index);
    let mut outcome = ExitCode::SUCCESS;
    println!("{:<26} {:>6}  found by", "fault", "seeds");
    for (_, fault, found) in lines {
        let name = format!("{fault:?}");
        match found {
            Some((count, invariant)) => println!("{name:<26} {count:>6}  {invariant}"),
            None => {
                println!("{name:<26} {:>6}  NOTHING", "-");
                outcome = ExitCode::FAILURE;
            }
        }
    }
    outcome
}

/// How many seeds it takes to find a fault, and which invariant does.
#[cfg(planted)]
fn seeds_to_find(
    fault: throttle_core::planted::Fault,
    draw: Draw,
    start: u64,
    seeds: u64,
    steps: usize,
) -> Option<(u64, &'static str)> {
    use std::panic::catch_unwind;

    use throttle_core::planted::plant;

    use crate::world;

    for count in 1..=seeds {
        plant(Some(fault));
        let ran = catch_unwind(|| world::run(&draw(start + count - 1, steps), false));
        plant(None);
        match ran {
            Ok(outcome) => {
                if let Some(failure) = outcome.failure {
                    return Some((count, failure.invariant));
                }
            }
            Err(_) => return Some((count, "a panic")),
        }
    }
    None
}
