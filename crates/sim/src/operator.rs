//! Operators: they look, resize, pause, release, remove and reload, at any time.

use std::{collections::BTreeMap, sync::Arc};

use throttle_core::{Origin, Spec};

use crate::{
    message::Call,
    setup::{Faults, Setup, pick},
};

/// What an operator does now.
pub fn act(random: &mut fastrand::Rng, setup: &Setup, faults: &Faults, peers: &[u64]) -> Call {
    let semaphore = pick(random, &setup.names).clone();
    let spec = setup.spec_of(&semaphore).unwrap_or(Spec::with_max(1));
    let is_member = semaphore.contains('/');
    let kinds = if faults.resizes { 9 } else { 4 };
    match if setup.is_tangled && random.bool() { 4 } else { random.u8(0..kinds) } {
        0 | 1 => Call::LookAtSemaphore { semaphore },
        2 if !peers.is_empty() => {
            let peer = *pick(random, peers);
            Call::EndPeer { peer, reason: Some(Arc::from(format!("reason {}", random.u8(..)))) }
        }
        3 if !peers.is_empty() => Call::Look { peer: *pick(random, peers) },
        4 => Call::Resize { semaphore, max: random.i64(0..=spec.max + 1) },
        5 => {
            let spec = Spec { max: random.i64(0..=spec.max + 1), origin: Origin::Runtime, ..spec };
            Call::SetSemaphore { semaphore, spec }
        }
        6 if !is_member => Call::RemoveSemaphore { semaphore, force: random.bool() },
        7 => {
            let mut declared = setup.declared.clone();
            if random.bool() {
                declared.remove(&*semaphore);
            } else if let Some(spec) = declared.get_mut(&*semaphore) {
                spec.max = random.i64(1..=spec.max);
            }
            Call::Reload { declared }
        }
        8 => Call::Resume,
        _ => {
            let declared: BTreeMap<_, _> = setup.declared.clone();
            if faults.resizes { Call::Reload { declared } } else { Call::LookAtSemaphore { semaphore } }
        }
    }
}
