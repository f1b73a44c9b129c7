//! The state machine of Throttle: who holds what, who waits, and when a lease ends.
//!
//! This crate decides; it does nothing else. It knows no network, no disk, no clock and no thread, so it
//! cannot fail for reasons of theirs, and a run is a function of its inputs: the same commands with the
//! same times and random numbers give the same replies and the same events.
//!
//! # Words
//! A *semaphore* has a name, a `max`, and a `level`. A *peer* is one thread of execution of a client; its
//! lease ends unless a heartbeat moves it. A *lock* is a peer's count on a semaphore, acquired or pending.
//!
//! # Contract of use
//! 1. Build a [`Core`] and declare its semaphores with [`Core::set_semaphore`].
//! 2. Send commands ([`Core::new_peer`], [`Core::acquire`], …). Each takes `now`, which never runs
//!    backwards: a smaller value is taken as the largest one seen. A command first ends every lease that is
//!    over at `now`, so none ever sees a peer whose time and margin have passed.
//! 3. After *every* command, failed ones included, take what happened with [`Core::drain_events`]. It holds
//!    the grants to other peers that the command made possible; whoever waits for one is to be told now.
//! 4. Call [`Core::advance`] at or soon after [`Core::next_deadline`]. The deadline may be earlier than the
//!    first lease that really ends (a renewed lease keeps its old place in the index until that comes up),
//!    never later.
//! 5. To make state durable, write the events of a command as one unit before its reply leaves. Feeding
//!    them to [`Core::replay`] in the same order builds the same state again; [`Core::snapshot`] is a short
//!    list of events with the same outcome.
//!
//! # Cost
//! Every command is O(1) or O(log n) in the number of peers, waiters and semaphores, plus its own output:
//! what a peer holds, what is granted. Nothing is recomputed by a scan: the leases are indexed by their
//! end, each queue is an order-statistic tree, and counts are kept as they change.

#![expect(
    clippy::indexing_slicing,
    reason = "slots are the core's own numbers: each is in its table for as long as an index names it, which the audit checks"
)]

mod acquire;
mod arena;
mod audit;
mod counted;
mod deadlock;
mod error;
mod event;
mod grant;
mod index;
mod lease;
mod manage;
mod names;
mod obstacle;
mod owner;
mod passing;
mod pattern;
mod peer;
mod pending;
pub mod planted;
mod presence;
mod queue;
mod release;
mod replay;
mod restore;
mod semaphore;
mod slot;
mod state;
mod step;
mod time;
mod usage;
mod view;

pub use acquire::{Acquire, Status};
pub use counted::counted;
pub use error::{
    AcquireError, InUse, LimitReached, Link, NewPeerError, ReleaseError, RemoveError, Resource, RestoreError,
    Share, UnknownPeer, UnknownSemaphore,
};
pub use event::{EndCause, Event};
pub use names::{Labels, Name, PeerId, Token};
pub use obstacle::{AheadView, Closed, ClosedView};
pub use owner::{Account, By, Claim, Oversight, Owner};
pub use queue::Rank;
pub use restore::{Restore, RestoreLock};
pub use semaphore::{Deadlock, Order, Origin, Spec};
pub use state::{Core, Limits, RestorePolicy, Settings};
pub use time::Time;
pub use usage::{Quota, Usage};
pub use view::{HeldView, HolderView, PeerView, PendingView, SemaphoreView, WaiterView};
