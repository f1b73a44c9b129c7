//! What is asked of etcd. The same code runs on a real one and on that of the simulator.

use std::{error::Error, fmt, future::Future, time::Duration};

use throttle_journal::LogError;

use crate::proto::{RangeRequest, RangeResponse, TxnRequest, TxnResponse};

/// Why etcd gave no answer from which something follows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EtcdError {
    /// It refuses such a request. The sentence says what to do.
    Refused(String),
    /// No answer came, or one that says nothing: what was asked for may be done or not, or be done later.
    Unknown(String),
    /// What was to be read was as it was too long ago: etcd has forgotten it.
    Compacted,
}

impl fmt::Display for EtcdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(why) | Self::Unknown(why) => f.write_str(why),
            Self::Compacted => f.write_str("etcd has forgotten what was to be read"),
        }
    }
}

impl Error for EtcdError {}

impl From<EtcdError> for LogError {
    fn from(error: EtcdError) -> Self {
        match error {
            EtcdError::Compacted => Self::Trimmed,
            EtcdError::Refused(why) | EtcdError::Unknown(why) => Self::Io(why),
        }
    }
}

/// The operations of etcd that are used here. A request may be lost, so may its answer; and one that was given up may
/// still arrive.
pub trait Kv: Clone + Send + Sync + 'static {
    /// Reads keys; unless it names a revision, as they were at a moment after it was called.
    fn range(&self, request: RangeRequest) -> impl Future<Output = Result<RangeResponse, EtcdError>> + Send;

    /// Does operations in one step, if something holds.
    fn txn(&self, request: TxnRequest) -> impl Future<Output = Result<TxnResponse, EtcdError>> + Send;

    /// Makes a lease. Returns its id.
    fn grant(&self, seconds: u64) -> impl Future<Output = Result<i64, EtcdError>> + Send;

    /// Renews a lease. Tells whether it was still there.
    fn keep_alive(&self, lease: i64) -> impl Future<Output = Result<bool, EtcdError>> + Send;

    /// Ends a lease, and with it the keys that have it.
    fn revoke(&self, lease: i64) -> impl Future<Output = Result<(), EtcdError>> + Send;

    /// Forgets what was before a revision.
    fn compact(&self, revision: i64) -> impl Future<Output = Result<(), EtcdError>> + Send;

    /// Waits.
    fn pause(&self, length: Duration) -> impl Future<Output = ()> + Send;

    /// Whether nobody waits any more for what is still to be done.
    fn is_stopping(&self) -> bool;

    /// Takes note of why something has to be tried again, or that it has not.
    fn held(&self, why: Option<&EtcdError>);
}
