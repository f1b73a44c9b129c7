//! What answers look like. Each shape is made from a view of the core while the engine is locked, out of
//! numbers and shared strings only, and written as JSON after that.

mod event;
mod page;
mod peer;
mod scalar;
mod semaphore;

pub(super) use event::Event;
pub(super) use page::{PAGE, Page, cursor_after, name_before, no_cursor, page_length};
pub(super) use peer::Peer;
pub(super) use scalar::{Digits, Span, Stamp};
pub(super) use semaphore::{Deadlock, Holder, Semaphore, SemaphoreDetail};
