//! What comes out of a node: records for the log, requests to wake, events for observers; and what an answer waits for.

use std::sync::Arc;

use throttle_core::Event;
use throttle_journal::Record;

use crate::waits::Ticket;

/// How many turns this node has handed over for the log, up to some point: its place in the log, as the node counts it.
/// The writer of the log puts many of them into one batch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Offset(pub u64);

/// What has to be so before an answer may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Condition {
    /// Nothing: the answer says nothing about peers and locks.
    Now,
    /// This node still led when the command ran. A single server always does.
    Confirmed,
    /// The log is safe up to here, and what the answer tells is in it.
    Committed(Offset),
}

/// Something for the shell to do.
#[derive(Debug)]
pub enum Output<'a> {
    /// Append these records to the log, all or none of them. The log then reaches `upto`.
    Append {
        /// What happened in one turn.
        records: &'a [Record],
        /// How far the log reaches with them.
        upto: Offset,
    },
    /// A waiting request may go on.
    Wake {
        /// Identifies it.
        ticket: Ticket,
        /// Whether that fell due by itself, so that it is not the doing of the command of this turn.
        fell_due: bool,
    },
    /// Something happened.
    Observed(Observed<'a>),
}

/// An event, for logs, metrics and traces.
#[derive(Clone, Copy, Debug)]
pub struct Observed<'a> {
    /// The event.
    pub event: &'a Event,
    /// What the operator who caused it gave as the reason.
    pub reason: Option<&'a Arc<str>>,
    /// Whether it fell due by itself, so that it is not the doing of the command of this turn.
    pub fell_due: bool,
    /// The first of the waiting requests that it ends the wait of.
    pub woken: Option<Ticket>,
}
