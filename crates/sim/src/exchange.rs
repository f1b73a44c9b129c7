//! What those who judge learn: what clients are told, and what happens to servers and the network.

use std::sync::Arc;

use crate::{
    message::{Answer, Request},
    time::{Micros, Moment},
};

/// A request and what its client was told.
#[derive(Debug)]
pub struct Exchange<'a> {
    pub request: &'a Request,
    pub answer: &'a Answer,
    pub instance: u64,
    /// The epoch in which the server led that answered; 0 where there is only one.
    pub epoch: u64,
    pub at: Moment,
    /// The server held the request open.
    pub has_waited: bool,
}

/// Something that happens to the server, or to the network.
#[derive(Clone, Debug)]
pub enum Note {
    /// The server begins to run.
    Started { instance: u64 },
    /// The server stood still.
    StoodStill(Micros),
    /// From then on the leader of a cluster was not sure for so long that it led: that does not count for leases.
    Unconfirmed(Micros),
    /// The server begins to stop: whoever waits is answered.
    Stopping,
    /// The wall clock of the server was set.
    ClockSet,
    /// A request that its client has given up may still arrive, or arrive twice.
    Muddled(Arc<Request>),
    /// The server learned that the connection of a request is gone.
    Closed(Arc<Request>),
    /// Faults have ceased.
    Calm,
}
