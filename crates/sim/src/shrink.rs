//! The shortest trace that still fails: fewer steps, fewer clients, fewer kinds of faults.

use crate::{
    cluster::setup::Cluster,
    setup::{Faults, Setup},
    time::MS,
    world::{self, Failure},
};

/// One way to make a run simpler.
type Simpler = fn(&mut Setup);

const WAYS: [Simpler; 27] = [
    |setup| setup.faults = Faults { delay_max: setup.faults.delay_max, ..Faults::none() },
    |setup| setup.faults.crashes = 0,
    |setup| setup.faults.pauses = 0,
    |setup| setup.faults.stops = 0,
    |setup| setup.faults.lost_logs = 0,
    |setup| setup.faults.operators = 0,
    |setup| setup.faults.thefts = 0,
    |setup| setup.faults.resizes = false,
    |setup| setup.faults.lost = 0,
    |setup| setup.faults.doubled = 0,
    |setup| setup.faults.failing_writes = 0,
    |setup| setup.faults.careless = false,
    |setup| (setup.faults.write_max, setup.faults.delay_max) = (MS, MS),
    |setup| setup.cluster = setup.cluster.take().map(Cluster::without_faults),
    |setup| of_cluster(setup, |cluster| cluster.lost = 0),
    |setup| of_cluster(setup, |cluster| cluster.unanswered = 0),
    |setup| of_cluster(setup, |cluster| cluster.late = 0),
    |setup| of_cluster(setup, |cluster| cluster.sluggish = 0),
    |setup| of_cluster(setup, |cluster| cluster.cuts = 0),
    |setup| of_cluster(setup, |cluster| cluster.outages = 0),
    |setup| of_cluster(setup, |cluster| (cluster.floods, cluster.elections) = (0, 0)),
    |setup| of_cluster(setup, |cluster| cluster.lies = 0),
    |setup| of_cluster(setup, |cluster| cluster.revocations = 0),
    |setup| of_cluster(setup, |cluster| cluster.drift = 0),
    |setup| of_cluster(setup, |cluster| cluster.servers = 2),
    |setup| setup.clients = (setup.clients / 2).max(1),
    |setup| setup.clients = setup.clients.saturating_sub(1).max(1),
];

fn of_cluster(setup: &mut Setup, simplify: impl FnOnce(&mut Cluster)) {
    if let Some(cluster) = &mut setup.cluster {
        simplify(cluster);
    }
}

/// The simplest run that fails as this one does, and its failure.
pub fn shortest(setup: &Setup, failure: &Failure) -> (Setup, Failure) {
    let (mut best, mut failed) = (setup.clone(), failure.clone());
    let attempt = |best: &mut Setup, failed: &mut Failure, simpler: Setup| {
        let outcome = world::run(&simpler, false);
        let again = outcome.failure.filter(|again| again.invariant == failed.invariant);
        let is_better = again.is_some();
        if let Some(again) = again {
            (*best, *failed) = (simpler, again);
        }
        is_better
    };
    best.steps = best.steps.min(failed.step);
    for _ in 0..3 {
        for way in WAYS {
            let mut simpler = best.clone();
            way(&mut simpler);
            attempt(&mut best, &mut failed, simpler);
        }
        let mut steps = best.steps.min(failed.step);
        while steps > 1 {
            let simpler = Setup { steps: steps - steps.div_ceil(4), ..best.clone() };
            if !attempt(&mut best, &mut failed, simpler) {
                break;
            }
            steps = best.steps.min(failed.step);
        }
    }
    (best, failed)
}
