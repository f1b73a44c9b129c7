//! Who leads: whoever made the key of the leader, which has a lease.

use throttle_journal::{Epoch, LogError, format::Chain};
use tokio::time::{sleep, timeout};
use tracing::warn;

use crate::{
    client::{Etcd, EtcdError},
    keys::{Keys, meta_value, read_meta},
    log::{exists, is_leader},
    proto::{
        DeleteRangeRequest, LeaseGrantRequest, LeaseGrantResponse, LeaseKeepAliveRequest,
        LeaseKeepAliveResponse, LeaseRevokeRequest, LeaseRevokeResponse, Operation, PutRequest, RangeRequest,
        RequestOp, TxnRequest,
    },
};

const GRANT: &str = "/etcdserverpb.Lease/LeaseGrant";
const REVOKE: &str = "/etcdserverpb.Lease/LeaseRevoke";
const KEEP_ALIVE: &str = "/etcdserverpb.Lease/LeaseKeepAlive";
/// How often a lease is renewed, in its own length.
const RENEWALS: u32 = 3;

/// A server that may lead.
pub struct Candidate {
    etcd: Etcd,
    keys: Keys,
    /// How others reach it, and what tells it from others: part of the key of the leader.
    name: String,
}

/// A server that leads, as far as it knows.
pub struct Leadership {
    etcd: Etcd,
    keys: Keys,
    lease: i64,
    epoch: Epoch,
}

/// Whether a server still led after it had asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confirmed {
    /// It did.
    Yes,
    /// Another one leads, or nobody.
    Deposed,
    /// Nobody knows: etcd gave no answer.
    Unknown(String),
}

impl Candidate {
    /// A server of this name.
    pub fn new(etcd: Etcd, name: impl Into<String>) -> Self {
        let keys = Keys::new(&etcd.settings().prefix);
        Self { etcd, keys, name: name.into() }
    }

    /// The id of the journal of this deployment; `new` becomes it, if there is none yet.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer.
    pub fn journal(&self, new: u64) -> Result<u64, LogError> {
        let key = self.keys.meta();
        let look = Operation::Range(RangeRequest { key: key.clone(), ..RangeRequest::default() });
        let put = Operation::Put(PutRequest { key: key.clone(), value: meta_value(new), lease: 0 });
        let request = TxnRequest {
            compare: vec![exists(key.clone(), false)],
            success: vec![RequestOp { request: Some(put) }],
            failure: vec![RequestOp { request: Some(look) }],
        };
        // Whatever comes of it, what is there then counts for everybody.
        let _ = self.etcd.wait(self.etcd.txn(&request));
        let found = self
            .etcd
            .wait(self.etcd.range(RangeRequest { key, ..RangeRequest::default() }))
            .map_err(EtcdError::of_log)?;
        let value = found
            .kvs
            .first()
            .ok_or_else(|| LogError::Io("etcd did not keep the id of the journal".to_owned()))?;
        read_meta(&value.value)
    }

    /// Tries to lead: makes the key of the leader, if nobody has it.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer; then it is not known who leads, and the lease that would have kept the key ends.
    pub fn try_lead(&self) -> Result<Option<Leadership>, LogError> {
        let seconds = self.etcd.settings().lease.as_secs().max(2);
        let grant = LeaseGrantRequest { ttl: seconds.cast_signed() };
        let granted: LeaseGrantResponse =
            self.etcd.wait(self.etcd.ask(GRANT, &grant)).map_err(EtcdError::of_log)?;
        let lease = granted.id;
        // The chain makes names that are the same in two runs different values.
        let nonce = Chain::start(lease.cast_unsigned()).to_bytes();
        let value = [self.name.as_bytes(), b" ", &nonce].concat();
        let key = self.keys.leader();
        let request = TxnRequest {
            compare: vec![exists(key.clone(), false)],
            success: vec![RequestOp {
                request: Some(Operation::Put(PutRequest { key: key.clone(), value: value.clone(), lease })),
            }],
            failure: Vec::new(),
        };
        let sent = self.etcd.wait(self.etcd.txn(&request));
        // The key says what came of it, also where the answer did not come.
        let found = self
            .etcd
            .wait(self.etcd.range(RangeRequest { key, ..RangeRequest::default() }))
            .map_err(EtcdError::of_log)?;
        let own = found.kvs.first().filter(|found| found.lease == lease && found.value == value);
        match (own, sent) {
            (Some(own), _) => {
                let epoch = Epoch(own.create_revision.cast_unsigned());
                let leadership =
                    Leadership { etcd: self.etcd.clone(), keys: self.keys.clone(), lease, epoch };
                leadership.keep_alive();
                Ok(Some(leadership))
            }
            // It may still arrive: with the lease gone, it has no effect.
            (None, sent) => {
                let revoked: Result<LeaseRevokeResponse, _> =
                    self.etcd.wait(self.etcd.ask(REVOKE, &LeaseRevokeRequest { id: lease }));
                match (sent, revoked) {
                    (Ok(_), _) | (_, Ok(_)) => Ok(None),
                    (Err(error), Err(_)) => Err(error.of_log()),
                }
            }
        }
    }
}

impl Leadership {
    /// Its epoch: greater than that of every earlier leader.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Whether this server led at some moment after this was called. Nothing else proves that it did: neither a clock,
    /// nor an answered keep-alive.
    pub fn confirm(&self) -> Confirmed {
        let request = RangeRequest { key: self.keys.leader(), keys_only: true, ..RangeRequest::default() };
        match self.etcd.wait(self.etcd.range(request)) {
            Ok(found) => {
                let epoch = found.kvs.first().map(|found| Epoch(found.create_revision.cast_unsigned()));
                if epoch == Some(self.epoch) { Confirmed::Yes } else { Confirmed::Deposed }
            }
            Err(error) => Confirmed::Unknown(error.to_string()),
        }
    }

    /// Leads no more, so that another one can at once: removes the key, if it is its own.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer; then another one leads once the lease is over.
    pub fn resign(self) -> Result<(), EtcdError> {
        let gone =
            Operation::DeleteRange(DeleteRangeRequest { key: self.keys.leader(), range_end: Vec::new() });
        let request = TxnRequest {
            compare: vec![is_leader(&self.keys, self.epoch)],
            success: vec![RequestOp { request: Some(gone) }],
            failure: Vec::new(),
        };
        self.etcd.wait(self.etcd.txn(&request))?;
        let _: Result<LeaseRevokeResponse, _> =
            self.etcd.wait(self.etcd.ask(REVOKE, &LeaseRevokeRequest { id: self.lease }));
        Ok(())
    }

    /// Renews the lease for as long as it lives. That the key is there follows from none of this.
    fn keep_alive(&self) {
        let (etcd, id) = (self.etcd.clone(), self.lease);
        let pause = etcd.settings().lease / RENEWALS;
        let task = {
            let etcd = etcd.clone();
            async move {
                loop {
                    sleep(pause).await;
                    let asked = etcd.renew(KEEP_ALIVE, LeaseKeepAliveRequest { id });
                    let renewed: Result<LeaseKeepAliveResponse, EtcdError> = timeout(pause, asked)
                        .await
                        .unwrap_or_else(|_| Err(EtcdError::Unknown("no answer".to_owned())));
                    match renewed {
                        Ok(renewed) if renewed.ttl > 0 => {}
                        // It is over: whoever asks for a confirmation learns that.
                        Ok(_) => return,
                        Err(error) => warn!("The lease of the leader was not renewed: {error}"),
                    }
                }
            }
        };
        etcd.spawn(task);
    }
}
