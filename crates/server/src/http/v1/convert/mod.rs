//! From what the core shows to what answers say. Each answer is made from a view of the core while the engine is
//! locked, out of numbers and shared strings only, and written as JSON after that.

mod event;
mod peer;
mod reload;
mod semaphore;
mod time;

pub(super) use event::{event, subjects};
pub(super) use peer::{is_visible, listed_peer, peer};
pub(super) use reload::difference;
pub(super) use semaphore::{Part, asked_deadlock, asked_order, detail, holder, semaphore, unused_detail};
pub(super) use time::stamp;
