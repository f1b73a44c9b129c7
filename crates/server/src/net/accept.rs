//! Taking connections, as many as there may be.

use std::{
    collections::HashMap,
    io,
    net::IpAddr,
    sync::{Arc, Mutex, PoisonError, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::sleep,
};
use tracing::warn;

use super::{
    serve::NetStats,
    stream::{Listener, Stream},
    watched::client_of,
};
use crate::telemetry::Seldom;

/// Clients that come at the same time while all connections are in use: each is refused within half a second, and a
/// probe has as long again for its request and for its answer.
pub(super) const REFUSALS: usize = 128;
/// The pause after the system could not give a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The least time between two records about the same trouble.
const WARNING_PAUSE: Duration = Duration::from_mins(1);

/// A connection, and what becomes of it.
pub(super) struct Arrival {
    pub(super) stream: Stream,
    /// The address of its client, if it has one.
    pub(super) address: Option<IpAddr>,
    pub(super) terms: Admission,
    /// Its place, for as long as it is open.
    pub(super) place: Place,
}

/// Whether a connection is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Served,
    /// All connections are in use.
    Full,
    /// All connections that an address may have are in use.
    FullForAddress,
}

/// A place among all connections, or among those that are being refused; and one among those of an address.
pub(super) struct Place {
    _of_all: OwnedSemaphorePermit,
    _of_address: Option<PlaceOfAddress>,
}

/// Takes connections up to a limit, and refuses those beyond it.
pub(super) struct Acceptor {
    pub(super) slots: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    total: usize,
    by_address: Arc<ByAddress>,
    full_warning: Seldom,
    error_warning: Seldom,
}

impl Acceptor {
    pub(super) fn new(total: usize, per_address: usize) -> Self {
        Self {
            slots: Arc::new(Semaphore::new(total)),
            refusals: Arc::new(Semaphore::new(REFUSALS)),
            total,
            by_address: Arc::new(ByAddress { limit: per_address, open: Mutex::default() }),
            full_warning: Seldom::every(WARNING_PAUSE),
            error_warning: Seldom::every(WARNING_PAUSE),
        }
    }

    /// The next connection; `None` if the system had none to give after all, or it was ended at once.
    pub(super) async fn next(&mut self, listener: &Listener, stats: &NetStats) -> Option<Arrival> {
        let (stream, address) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                self.failed(&error, stats).await;
                return None;
            }
        };
        let arrival = |terms, all, own| {
            Some(Arrival { stream, address, terms, place: Place { _of_all: all, _of_address: own } })
        };
        let Ok(of_address) = self.by_address.enter(address) else {
            stats.refused_by_address.fetch_add(1, Relaxed);
            // Nobody waits for its sake: with every place for refusals taken, it just ends.
            let place = Arc::clone(&self.refusals).try_acquire_owned().ok()?;
            return arrival(Admission::FullForAddress, place, None);
        };
        if let Ok(slot) = Arc::clone(&self.slots).try_acquire_owned() {
            return arrival(Admission::Served, slot, of_address);
        }
        if self.full_warning.next().is_some() {
            warn!(
                target: "throttle",
                limit = self.total,
                "All connections are in use; further ones are answered 503. Raise limits.connections, and the \
                 limit of open files, if they are needed."
            );
        }
        // With every place taken, whoever connects has to wait for one in the backlog.
        tokio::select! {
            biased;
            Ok(slot) = Arc::clone(&self.slots).acquire_owned() => arrival(Admission::Served, slot, of_address),
            Ok(place) = Arc::clone(&self.refusals).acquire_owned() => arrival(Admission::Full, place, of_address),
            else => None,
        }
    }

    async fn failed(&mut self, error: &io::Error, stats: &NetStats) {
        // These concern the one connection that is lost, not the next.
        if matches!(
            error.kind(),
            io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::Interrupted
        ) {
            return;
        }
        stats.accept_errors.fetch_add(1, Relaxed);
        if self.error_warning.next().is_some() {
            warn!(
                target: "throttle",
                "Connections cannot be accepted for now: {error}. If files ran out, raise the limit of open files \
                 or lower limits.connections."
            );
        }
        sleep(ACCEPT_PAUSE).await;
    }
}

/// The connections that each address has open, if there is a limit to them.
struct ByAddress {
    /// 0: as many as there may be.
    limit: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One of the connections of an address.
struct PlaceOfAddress {
    all: Arc<ByAddress>,
    address: IpAddr,
}

/// An address has all connections that it may have.
struct AddressFull;

impl ByAddress {
    /// Counts a connection, if that is to be done.
    fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Option<PlaceOfAddress>, AddressFull> {
        let Some(address) = address.filter(|_| self.limit > 0).map(client_of) else { return Ok(None) };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(address).or_default();
        if *count >= self.limit {
            return Err(AddressFull);
        }
        *count += 1;
        Ok(Some(PlaceOfAddress { all: Arc::clone(self), address }))
    }
}

impl Drop for PlaceOfAddress {
    fn drop(&mut self) {
        let mut open = self.all.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.address);
            }
        }
    }
}
