//! What answers look like. Each shape is made from a view of the core while the engine is locked, out of
//! numbers and shared strings only, and written as JSON after that.

mod event;
mod peer;
mod scalar;

pub(super) use event::Event;
pub(super) use peer::Peer;
pub(super) use scalar::{Digits, Stamp};
