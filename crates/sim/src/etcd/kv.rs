//! What a server asks of etcd, as slots: a request waits until the world fills its slot, or gives it up.

use std::{
    collections::BTreeMap,
    fmt,
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};

use throttle_etcd::{
    EtcdError, Kv,
    proto::{Operation, RangeRequest, RangeResponse, RequestOp, TxnRequest, TxnResponse},
};

use super::store::Store;
use crate::time::Moment;

/// The way of a run of a server to etcd.
#[derive(Clone, Default)]
pub struct SimKv(Arc<Mutex<Wire>>);

#[derive(Default)]
struct Wire {
    asked: u64,
    /// What was asked for and has no outcome yet, and outcomes that nobody has looked at.
    slots: BTreeMap<u64, Option<Told>>,
    /// What the world has not seen yet.
    out: Vec<(u64, Ask)>,
}

/// What is asked of etcd, or of the clock.
#[derive(Clone, PartialEq)]
pub enum Ask {
    Range(RangeRequest),
    Txn(TxnRequest),
    Grant(u64),
    KeepAlive(i64),
    Revoke(i64),
    Compact(i64),
    Pause(Duration),
}

/// What is answered.
#[derive(Clone, PartialEq)]
pub enum Told {
    Range(RangeResponse),
    Txn(TxnResponse),
    Lease(i64),
    Lives(bool),
    Done,
    Failed(EtcdError),
}

impl SimKv {
    fn lock(&self) -> MutexGuard<'_, Wire> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What was asked for since the last time.
    pub fn drain(&self) -> Vec<(u64, Ask)> {
        std::mem::take(&mut self.lock().out)
    }

    /// Fills a slot, unless it was filled, or nobody waits for it any more.
    pub fn fill(&self, slot: u64, told: Told) {
        if let Some(empty @ None) = self.lock().slots.get_mut(&slot) {
            *empty = Some(told);
        }
    }

    /// Whether a slot is still to be filled.
    pub fn is_open(&self, slot: u64) -> bool {
        matches!(self.lock().slots.get(&slot), Some(None))
    }

    fn ask(&self, ask: Ask) -> Asked {
        Asked { kv: self.clone(), ask: Some(ask), slot: 0 }
    }
}

/// A key as a text.
fn text(key: &[u8]) -> String {
    String::from_utf8_lossy(key).into_owned()
}

/// In short: values are left out.
impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |RequestOp { request }: &RequestOp| match request {
            Some(Operation::Put(put)) => format!("put {}", text(&put.key)),
            Some(Operation::Range(range)) => format!("get {}", text(&range.key)),
            Some(Operation::DeleteRange(gone)) => {
                format!("delete {}..{}", text(&gone.key), text(&gone.range_end))
            }
            None => String::new(),
        };
        match self {
            Self::Range(range) => write!(f, "get {}..{}", text(&range.key), text(&range.range_end)),
            Self::Txn(txn) => {
                let compared = txn.compare.iter().map(|one| text(&one.key));
                write!(f, "if {:?} ", compared.collect::<Vec<_>>())?;
                f.debug_list().entries(txn.success.iter().map(of)).finish()
            }
            Self::Grant(seconds) => write!(f, "grant {seconds} s"),
            Self::KeepAlive(lease) => write!(f, "keep {lease} alive"),
            Self::Revoke(lease) => write!(f, "revoke {lease}"),
            Self::Compact(revision) => write!(f, "compact {revision}"),
            Self::Pause(length) => write!(f, "pause {length:?}"),
        }
    }
}

/// In short, as well.
impl fmt::Debug for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(found) => {
                f.debug_list().entries(found.kvs.iter().map(|found| text(&found.key))).finish()
            }
            Self::Txn(answer) => {
                let revision = answer.header.as_ref().map_or(0, |header| header.revision);
                write!(f, "{} at {revision}", if answer.succeeded { "done" } else { "not done" })
            }
            Self::Lease(lease) => write!(f, "lease {lease}"),
            Self::Lives(lives) => write!(f, "{}", if *lives { "it lives" } else { "it is gone" }),
            Self::Done => write!(f, "done"),
            Self::Failed(error) => write!(f, "{error}"),
        }
    }
}

/// Does what is asked for, now.
pub fn done(store: &mut Store, now: Moment, ask: &Ask) -> Told {
    let lease = match ask {
        Ask::Range(request) => return store.range(request).map_or_else(Told::Failed, Told::Range),
        Ask::Txn(request) => return store.txn(request).map_or_else(Told::Failed, Told::Txn),
        Ask::Grant(seconds) => return store.grant(now, *seconds).map_or_else(Told::Failed, Told::Lease),
        Ask::Compact(revision) => {
            return store.compact(*revision).map_or_else(Told::Failed, |()| Told::Done);
        }
        Ask::Pause(_) => return Told::Done,
        Ask::KeepAlive(lease) => return Told::Lives(store.keep_alive(now, *lease)),
        Ask::Revoke(lease) => *lease,
    };
    if store.revoke(lease) {
        Told::Done
    } else {
        Told::Failed(EtcdError::Refused("etcdserver: requested lease not found".to_owned()))
    }
}

/// A request that is under way.
struct Asked {
    kv: SimKv,
    /// It is sent when somebody first waits for it.
    ask: Option<Ask>,
    slot: u64,
}

impl Future for Asked {
    type Output = Told;

    fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Told> {
        let kv = self.kv.clone();
        let mut wire = kv.lock();
        if let Some(ask) = self.ask.take() {
            wire.asked += 1;
            self.slot = wire.asked;
            wire.slots.insert(self.slot, None);
            wire.out.push((self.slot, ask));
        }
        match wire.slots.get_mut(&self.slot).and_then(Option::take) {
            Some(told) => {
                wire.slots.remove(&self.slot);
                Poll::Ready(told)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.kv.lock().slots.remove(&self.slot);
    }
}

fn unfit<T>(told: Told) -> Result<T, EtcdError> {
    match told {
        Told::Failed(error) => Err(error),
        other => Err(EtcdError::Unknown(format!("this answers something else: {other:?}"))),
    }
}

impl Kv for SimKv {
    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, EtcdError> {
        match self.ask(Ask::Range(request)).await {
            Told::Range(found) => Ok(found),
            told => unfit(told),
        }
    }

    async fn txn(&self, request: TxnRequest) -> Result<TxnResponse, EtcdError> {
        match self.ask(Ask::Txn(request)).await {
            Told::Txn(answer) => Ok(answer),
            told => unfit(told),
        }
    }

    async fn grant(&self, seconds: u64) -> Result<i64, EtcdError> {
        match self.ask(Ask::Grant(seconds)).await {
            Told::Lease(lease) => Ok(lease),
            told => unfit(told),
        }
    }

    async fn keep_alive(&self, lease: i64) -> Result<bool, EtcdError> {
        match self.ask(Ask::KeepAlive(lease)).await {
            Told::Lives(lives) => Ok(lives),
            told => unfit(told),
        }
    }

    async fn revoke(&self, lease: i64) -> Result<(), EtcdError> {
        match self.ask(Ask::Revoke(lease)).await {
            Told::Done => Ok(()),
            told => unfit(told),
        }
    }

    async fn compact(&self, revision: i64) -> Result<(), EtcdError> {
        match self.ask(Ask::Compact(revision)).await {
            Told::Done => Ok(()),
            told => unfit(told),
        }
    }

    async fn pause(&self, length: Duration) {
        self.ask(Ask::Pause(length)).await;
    }

    /// Whoever stops drops what it waits for.
    fn is_stopping(&self) -> bool {
        false
    }

    fn held(&self, _: Option<&EtcdError>) {}
}
