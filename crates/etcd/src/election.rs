//! Who leads: whoever made the key of the leader, which has a lease.

use std::time::Duration;

use throttle_core::planted;
use throttle_journal::{Epoch, LogError};

use crate::{
    keys::{Deployment, Keys},
    kv::{EtcdError, Kv},
    proto::{DeleteRangeRequest, Operation, PutRequest, RangeRequest, TxnRequest},
    term::{Term, exists},
};

/// How often a lease is renewed, in its own length.
const RENEWALS: u32 = 3;
/// etcd ends no lease before that.
const LEASE_SECONDS_MIN: u64 = 2;

/// A server that leads, as its key says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leader {
    /// The name that it gave itself: how others reach it.
    pub name: String,
    /// The epoch in which it leads.
    pub epoch: Epoch,
}

/// A server that may lead.
#[derive(Clone)]
pub struct Candidate<K> {
    kv: K,
    keys: Keys,
    name: String,
    lease: Duration,
}

/// A server that leads, as far as it knows.
pub struct Leadership<K> {
    kv: K,
    keys: Keys,
    lease: i64,
    length: Duration,
    term: Term,
}

/// Whether a server still led after it had asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It did.
    Yes,
    /// Another one leads, or nobody.
    Deposed,
    /// Nobody knows: etcd gave no answer.
    Unknown(EtcdError),
}

impl<K: Kv> Candidate<K> {
    /// A server of this name, which has no space in it. `lease` is how long after its last sign of life another one
    /// takes over.
    pub fn new(kv: K, prefix: &str, name: impl Into<String>, lease: Duration) -> Self {
        Self { kv, keys: Keys::new(prefix), name: name.into(), lease }
    }

    /// The deployment whose keys these are; it is `new`, if there is none yet.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer.
    pub async fn deployment(&self, new: Deployment) -> Result<Deployment, LogError> {
        let key = self.keys.meta();
        let put = Operation::Put(PutRequest { key: key.clone(), value: new.value(), lease: 0 });
        let request = TxnRequest::of(vec![exists(key.clone(), false)], [put]);
        let sent = self.kv.txn(request).await;
        // Whatever comes of it, what is there then counts for everybody.
        let found = self.kv.range(RangeRequest::of(key)).await?;
        match (found.kvs.first(), sent) {
            (Some(found), _) => Deployment::read(&found.value),
            (None, Err(error)) => Err(error.into()),
            (None, Ok(_)) => Err(LogError::Io("etcd did not keep who this deployment is".to_owned())),
        }
    }

    /// The deployment whose keys these are, if there is one.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer.
    pub async fn found(&self) -> Result<Option<Deployment>, LogError> {
        let found = self.kv.range(RangeRequest::of(self.keys.meta())).await?;
        found.kvs.first().map(|found| Deployment::read(&found.value)).transpose()
    }

    /// Tries to lead: makes the key of the leader, if nobody has it. The lease must be [kept
    /// alive](Leadership::keep_alive) from then on.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer; then it is not known who leads, and the lease that would have kept the key ends.
    pub async fn try_lead(&self) -> Result<Option<Leadership<K>>, LogError> {
        let lease = self.kv.grant(self.lease.as_secs().max(LEASE_SECONDS_MIN)).await?;
        // The lease makes names that are the same in two terms different values.
        let value = format!("{} {lease:016x}", self.name).into_bytes();
        let key = self.keys.leader();
        let put = Operation::Put(PutRequest { key: key.clone(), value: value.clone(), lease });
        let request = TxnRequest::of(vec![exists(key.clone(), false)], [put]);
        let sent = self.kv.txn(request).await;
        // The key says what came of it, also where the answer did not come.
        let found = self.kv.range(RangeRequest::of(key)).await?;
        if let Some(own) = found.kvs.first().filter(|found| found.lease == lease && found.value == value) {
            let term = Term { epoch: Epoch(own.create_revision.cast_unsigned()), value };
            let (kv, keys, length) = (self.kv.clone(), self.keys.clone(), self.lease);
            return Ok(Some(Leadership { kv, keys, lease, length, term }));
        }
        // The attempt may still arrive: with the lease gone, it has no effect.
        match (sent, self.kv.revoke(lease).await) {
            (Err(error), Err(_)) => Err(error.into()),
            _ => Ok(None),
        }
    }
}

impl<K: Kv> Leadership<K> {
    /// The time in which it leads.
    pub fn term(&self) -> &Term {
        &self.term
    }

    /// Whether this server led at some moment after this was called. Nothing else proves that it did: neither a clock,
    /// nor an answered keep-alive.
    pub async fn confirm(&self) -> Confirmed {
        if planted!(KeepAliveConfirms) {
            return match self.kv.keep_alive(self.lease).await {
                Ok(true) => Confirmed::Yes,
                Ok(false) => Confirmed::Deposed,
                Err(error) => Confirmed::Unknown(error),
            };
        }
        match self.kv.range(RangeRequest::of(self.keys.leader())).await {
            Ok(found) if self.term.made(found.kvs.first()) => Confirmed::Yes,
            Ok(_) => Confirmed::Deposed,
            Err(error) => Confirmed::Unknown(error),
        }
    }

    /// Renews the lease until it is over, as long as this server `may`: one that gets no confirmations must not keep
    /// others from leading. That the key is there follows from none of this: whoever asks for a
    /// [confirmation](Leadership::confirm) learns that.
    pub async fn keep_alive(&self, may: impl Fn() -> bool + Send) {
        let pause = self.length.max(Duration::from_secs(LEASE_SECONDS_MIN)) / RENEWALS;
        loop {
            self.kv.pause(pause).await;
            if may()
                && let Ok(false) = self.kv.keep_alive(self.lease).await
            {
                return;
            }
        }
    }

    /// Leads no more, so that another one can at once: removes the key, if it is its own. End
    /// [keep-alives](Leadership::keep_alive) before: if etcd gives no answer, another one leads once the lease is over.
    pub async fn resign(&self) {
        let range_end = Vec::new();
        let gone = Operation::DeleteRange(DeleteRangeRequest { key: self.keys.leader(), range_end });
        let _ = self.kv.txn(TxnRequest::of(self.term.is_leader(&self.keys), [gone])).await;
        let _ = self.kv.revoke(self.lease).await;
    }
}
