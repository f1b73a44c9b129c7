//! A peer, as logs and traces tell of it.
//!
//! Where nobody has to say who he is, whoever knows the id of a peer can end it. Logs go farther than ids should, so
//! they have the last digits: enough to find a peer in a list, and too few to guess the rest.

use std::{
    fmt,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
};

use throttle_core::PeerId;

/// What is left of an id: these last digits.
const SHOWN: u64 = 1_000_000;

/// Whether a peer can be used by its owner alone, so that its id is but a name.
static IDS_ARE_NAMES: AtomicBool = AtomicBool::new(false);

/// From now on ids are told in full.
pub fn show_ids() {
    IDS_ARE_NAMES.store(true, Relaxed);
}

/// A peer to be told of.
#[derive(Clone, Copy)]
pub struct ShownPeer(pub PeerId);

impl fmt::Display for ShownPeer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(peer) = self;
        if IDS_ARE_NAMES.load(Relaxed) { peer.fmt(f) } else { write!(f, "..{:06}", peer.0 % SHOWN) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_digits_of_an_id_are_told() {
        assert_eq!(ShownPeer(PeerId(u64::MAX)).to_string(), "..551615");
        assert_eq!(ShownPeer(PeerId(7)).to_string(), "..000007");
    }
}
