//! The time in which one server leads, and how each of its writes proves that it still does.

use throttle_core::planted;
use throttle_journal::{Epoch, LogError};

use crate::{
    keys::Keys,
    kv::{EtcdError, Kv},
    proto::{
        Compare, CompareResult, CompareTarget, KeyValue, Operation, RangeRequest, Target, TxnRequest,
        TxnResponse,
    },
    retry::Pauses,
};

/// A time in which one server leads: the key of the leader as it made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Term {
    /// The creation revision of the key: greater than that of every earlier leader.
    pub epoch: Epoch,
    /// Its value. A cluster that is restored from a backup gives the same revisions once more, but not the same values.
    pub(crate) value: Vec<u8>,
}

/// Writes of a leader.
#[derive(Clone)]
pub(crate) struct Fenced<K> {
    pub(crate) kv: K,
    pub(crate) keys: Keys,
    pub(crate) term: Term,
}

impl<K: Kv> Fenced<K> {
    /// A transaction that has an effect only while this leader leads. If it has none, the answer has what it says at
    /// `look`, with the key of the leader first.
    fn request(&self, more: Vec<Compare>, success: Vec<Operation>, look: Vec<Vec<u8>>) -> TxnRequest {
        let mut compare = if planted!(NoFence) { Vec::new() } else { self.term.is_leader(&self.keys) };
        compare.extend(more);
        let look = [vec![self.keys.leader()], look].concat();
        let look = look.into_iter().map(|key| Operation::Range(RangeRequest::of(key)).into());
        TxnRequest { failure: look.collect(), ..TxnRequest::of(compare, success) }
    }

    /// Sends one until an answer comes. Every attempt has the same bytes, so it does not matter which of them arrive,
    /// and when; whatever comes of an attempt that was given up, a later one finds.
    pub(crate) async fn sure(
        &self,
        more: Vec<Compare>,
        success: Vec<Operation>,
        look: Vec<Vec<u8>>,
    ) -> Result<TxnResponse, LogError> {
        let request = self.request(more, success, look);
        let mut pauses = Pauses::default();
        loop {
            match self.kv.txn(request.clone()).await {
                Ok(answer) => {
                    self.kv.held(None);
                    return Ok(answer);
                }
                Err(error) if is_taken_for_done(&error) => {
                    return Ok(TxnResponse { succeeded: true, ..TxnResponse::default() });
                }
                Err(EtcdError::Unknown(why)) if is_taken_for_failed() => return Err(LogError::Busy(why)),
                Err(error) => self.try_again(&error, &mut pauses).await?,
            }
        }
    }

    /// The same for what only another leader can prevent.
    pub(crate) async fn surely(&self, success: Vec<Operation>) -> Result<TxnResponse, LogError> {
        let answer = self.sure(Vec::new(), success, Vec::new()).await?;
        if answer.succeeded { Ok(answer) } else { Err(LogError::Superseded) }
    }

    /// Reads keys, however long that takes.
    pub(crate) async fn read(&self, request: RangeRequest) -> Result<Vec<KeyValue>, LogError> {
        let mut pauses = Pauses::default();
        let mut was_held = false;
        loop {
            match self.kv.range(request.clone()).await {
                Ok(found) => {
                    // What holds up others, such as an etcd that is full, may go on.
                    if was_held {
                        self.kv.held(None);
                    }
                    return Ok(found.kvs);
                }
                Err(error) => {
                    self.try_again(&error, &mut pauses).await?;
                    was_held = true;
                }
            }
        }
    }

    async fn try_again(&self, error: &EtcdError, pauses: &mut Pauses) -> Result<(), LogError> {
        if self.kv.is_stopping() {
            return Err(LogError::Io(error.to_string()));
        }
        self.kv.held(Some(error));
        self.kv.pause(pauses.next_pause()).await;
        Ok(())
    }
}

impl Term {
    /// That the key of the leader is the one that this leader made.
    pub(crate) fn is_leader(&self, keys: &Keys) -> Vec<Compare> {
        let compare = |target: CompareTarget, value| Compare {
            result: CompareResult::Equal.into(),
            target: target.into(),
            key: keys.leader(),
            value: Some(value),
        };
        vec![
            compare(CompareTarget::Create, Target::CreateRevision(self.epoch.0.cast_signed())),
            compare(CompareTarget::Value, Target::Value(self.value.clone())),
        ]
    }

    /// Whether that key, as it was found, is the one that this leader made.
    pub(crate) fn made(&self, leader: Option<&KeyValue>) -> bool {
        leader.is_some_and(|found| {
            Epoch(found.create_revision.cast_unsigned()) == self.epoch && found.value == self.value
        })
    }
}

/// Whether a planted fault takes a write for done that etcd has not done, or not answered.
fn is_taken_for_done(error: &EtcdError) -> bool {
    let is_unanswered = matches!(error, EtcdError::Unknown(_)) && planted!(UnansweredTakenForDone);
    is_unanswered || matches!(error, EtcdError::Refused(_)) && planted!(RefusedTakenForDone)
}

/// Whether a planted fault takes a write for failed that etcd has not answered.
fn is_taken_for_failed() -> bool {
    [planted!(UnansweredTakenForFailed), planted!(RepeatedWithMore)].contains(&true)
}

/// That a key is there, or is not.
pub(crate) fn exists(key: Vec<u8>, is_there: bool) -> Compare {
    let result = if is_there { CompareResult::Greater } else { CompareResult::Equal };
    Compare {
        result: result.into(),
        target: CompareTarget::Create.into(),
        key,
        value: Some(Target::CreateRevision(0)),
    }
}
