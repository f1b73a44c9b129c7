//! What things are called: peers, semaphores, tokens, labels.

use std::{collections::BTreeMap, fmt, sync::Arc};

/// The name of a semaphore. Cheap to clone.
pub type Name = Arc<str>;

/// What a client tells of a peer (host, pid, user, …), for people to read. Cheap to clone.
pub type Labels = Arc<BTreeMap<String, String>>;

/// Identifies a peer: a random number that never collides with a live one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub u64);

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "peer {}", self.0)
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A fencing token: belongs to one grant, and is larger than that of every earlier grant of this core. Where they
/// begin is an argument of `Core::new`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Token(pub u64);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "token {}", self.0)
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
