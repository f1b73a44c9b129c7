//! The dialect of the clients 0.2.0 to 0.5.13: short paths, bare JSON values, errors as plain text.

mod answer;
mod locks;
mod peers;

pub(super) use answer::{Answer, text, try_again};
pub(super) use locks::{acquire, is_acquired, release_lock, remainder};
pub(super) use peers::{heartbeat, list_peers, new_peer, release_peer, remove_expired, restore};
