//! A node of Throttle: everything that decides, and nothing else.
//!
//! The [core](throttle_core) has the rules of locks. This crate adds what a server decides around them: which requests
//! wait and for how long, which request repeats another one, how a peer ended, which events readers are shown, what a
//! restart means, and when an answer may leave. It knows no network, disk, clock, thread or randomness either: a run is
//! a function of its inputs, which is how a simulator can repeat a failure from its seed.
//!
//! # Contract of use
//! 1. Build a [`Follower`] from the log, or from nothing, and [promote](Follower::promote) it.
//! 2. For each command: [`Node::advance`] to the present, run one or more commands, then [`Node::publish`] what came of
//!    them. All three happen in one turn: nothing else may come between them. Commands take `now`, and a random number
//!    where they need one; `now` is that of [`Node::advance`].
//! 3. Do what [`Output`] says: append records to the log, wake waiting requests, tell observers.
//! 4. Let an answer leave once its [`Condition`] holds. [`Node::appended`] tells the node how far the log is safe.
//! 5. Call [`Node::advance`] at or soon after [`Node::next_deadline`]: leases, rates, waits and the end of a time
//!    without grants all fall due by it.
//!
//! # Where things are
//! A module for each kind of command ([`acquiring`], [`sessions`], [`managing`], [`recovery`]), one for each thing
//! that a node remembers (`waits`, [`idempotency`], [`endings`], [`event_log`]), and [`role`], [`output`] and
//! [`node`], which hold them together.

pub mod acquiring;
pub mod declared;
pub mod endings;
pub mod event_log;
pub mod idempotency;
pub mod kind;
pub mod managing;
pub mod node;
pub mod output;
pub mod recovery;
pub mod refusal;
pub mod role;
pub mod sessions;
pub mod suggestion;
mod tenure;
mod waits;

pub use acquiring::{Ask, Outcome, Session, Step, Waiting};
pub use declared::{Adopted, Declared, Difference, Usage};
pub use endings::Ending;
pub use event_log::{Beginning, Found, LoggedEvent, Missed, Page};
pub use idempotency::IdempotencyKey;
pub use kind::{EventKind, cause_name};
pub use node::{Bounds, Node};
pub use output::{Condition, Observed, Offset, Output};
pub use recovery::Holding;
pub use refusal::{Refusal, SetRefusal};
pub use role::Follower;
pub use sessions::NewPeer;
pub use tenure::{Confirmation, Tenure, UNCONFIRMED_MAX};
pub use waits::{Ticket, TooManyWaits};
