//! The bodies of requests.

mod entries;
mod locks;
mod peers;
mod semaphores;
mod text;
mod whole;

pub use entries::Entries;
pub use locks::{LocksBody, OnTimeout, ReleaseBody, SessionBody};
pub use peers::{HeartbeatBody, NewPeerBody};
pub use semaphores::{ChangeBody, NewRate, SemaphoreBody};
pub use text::{DurationText, RateText};
pub use whole::Whole;
