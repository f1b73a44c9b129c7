//! What etcd keeps: keys with their past, transactions, leases. Whatever is asked for takes effect at once and in one
//! order; that requests take time, and get lost, is the network's doing.

use std::collections::{BTreeMap, BTreeSet};

use throttle_etcd::{
    EtcdError,
    proto::{
        Compare, CompareResult, CompareTarget, DeleteRangeRequest, DeleteRangeResponse, KeyValue, Operation,
        Outcome, PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, ResponseOp,
        Target, TxnRequest, TxnResponse,
    },
};

use crate::time::{Micros, Moment, SECOND};

/// The store.
#[derive(Debug)]
pub struct Store {
    revision: i64,
    /// What was before this revision is forgotten.
    compacted: i64,
    keys: BTreeMap<Vec<u8>, Vec<Version>>,
    leases: BTreeMap<i64, Lease>,
    /// How many leases there ever were.
    granted: i64,
    /// Whether its quota is used up: then it refuses whatever may add to it.
    pub is_full: bool,
}

/// A key as it was from one revision on.
#[derive(Clone, Debug)]
struct Version {
    created: i64,
    modified: i64,
    /// Without one, it was deleted then.
    value: Option<Vec<u8>>,
    lease: i64,
}

#[derive(Debug)]
struct Lease {
    length: Micros,
    ends_at: Moment,
}

impl Default for Store {
    fn default() -> Self {
        let (keys, leases) = (BTreeMap::new(), BTreeMap::new());
        Self { revision: 1, compacted: 0, keys, leases, granted: 0, is_full: false }
    }
}

impl Store {
    fn header(&self) -> ResponseHeader {
        ResponseHeader { revision: self.revision, ..ResponseHeader::default() }
    }

    /// The latest version of a key, if it is there.
    fn latest(&self, key: &[u8]) -> Option<&Version> {
        self.keys.get(key)?.last().filter(|version| version.value.is_some())
    }

    /// Reads keys.
    ///
    /// # Errors
    ///
    /// If the revision that is asked for is forgotten.
    pub fn range(&self, request: &RangeRequest) -> Result<RangeResponse, EtcdError> {
        let RangeRequest { key, range_end, limit, revision, keys_only } = request;
        let revision = if *revision > 0 { *revision } else { self.revision };
        if revision < self.compacted {
            return Err(EtcdError::Compacted);
        }
        let limit = usize::try_from(*limit).ok().filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let mut kvs = Vec::new();
        let mut more = false;
        for (key, versions) in self.between(key, range_end) {
            let version = versions.iter().rev().find(|version| version.modified <= revision);
            let Some((version, value)) = version.and_then(|one| Some((one, one.value.as_ref()?))) else {
                continue;
            };
            more = kvs.len() >= limit;
            if more {
                break;
            }
            kvs.push(KeyValue {
                key: key.clone(),
                create_revision: version.created,
                mod_revision: version.modified,
                value: if *keys_only { Vec::new() } else { value.clone() },
                lease: version.lease,
            });
        }
        Ok(RangeResponse { header: Some(self.header()), kvs, more })
    }

    fn between(&self, key: &[u8], range_end: &[u8]) -> impl Iterator<Item = (&Vec<u8>, &Vec<Version>)> {
        let end = if range_end.is_empty() { [key, &[0]].concat() } else { range_end.to_vec() };
        self.keys.range(key.to_vec()..end.max(key.to_vec()))
    }

    /// Does operations in one step.
    ///
    /// # Errors
    ///
    /// If it is refused: then nothing of it is done.
    pub fn txn(&mut self, request: &TxnRequest) -> Result<TxnResponse, EtcdError> {
        let may_put = request.success.iter().chain(&request.failure);
        if self.is_full && may_put.clone().any(|one| matches!(one.request, Some(Operation::Put(_)))) {
            return Err(EtcdError::Refused("etcdserver: mvcc: database space exceeded".to_owned()));
        }
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        let operations = if succeeded { &request.success } else { &request.failure };
        let operations: Vec<_> =
            operations.iter().filter_map(|RequestOp { request }| request.clone()).collect();
        for operation in &operations {
            if let Operation::Put(PutRequest { lease, .. }) = operation
                && *lease != 0
                && !self.leases.contains_key(lease)
            {
                return Err(EtcdError::Refused("etcdserver: requested lease not found".to_owned()));
            }
        }
        // All that is written has one revision, and a transaction that writes nothing has none of its own.
        let (before, mut has_written) = (self.revision, false);
        self.revision += 1;
        let mut responses = Vec::new();
        for operation in operations {
            let outcome = match operation {
                Operation::Range(range) => Outcome::Range(self.range(&range)?),
                Operation::Put(put) => {
                    has_written = true;
                    self.put(put);
                    Outcome::Put(PutResponse::default())
                }
                Operation::DeleteRange(DeleteRangeRequest { key, range_end }) => {
                    let deleted = self.delete(&key, &range_end);
                    has_written |= deleted > 0;
                    Outcome::DeleteRange(DeleteRangeResponse { header: None, deleted })
                }
            };
            responses.push(ResponseOp { response: Some(outcome) });
        }
        if !has_written {
            self.revision = before;
        }
        Ok(TxnResponse { header: Some(self.header()), succeeded, responses })
    }

    fn holds(&self, compare: &Compare) -> bool {
        let latest = self.latest(&compare.key);
        let order = match &compare.value {
            Some(Target::CreateRevision(revision)) => latest.map_or(0, |one| one.created).cmp(revision),
            Some(Target::ModRevision(revision)) => latest.map_or(0, |one| one.modified).cmp(revision),
            // No value is that of a key that is not there.
            Some(Target::Value(value)) => match latest.and_then(|one| one.value.as_ref()) {
                Some(found) => found.cmp(value),
                None => return false,
            },
            None => return false,
        };
        let target = match CompareTarget::try_from(compare.target) {
            Ok(CompareTarget::Create) => matches!(compare.value, Some(Target::CreateRevision(_))),
            Ok(CompareTarget::Mod) => matches!(compare.value, Some(Target::ModRevision(_))),
            Ok(CompareTarget::Value) => matches!(compare.value, Some(Target::Value(_))),
            _ => false,
        };
        assert!(target, "a comparison that etcd would not take: {compare:?}");
        match CompareResult::try_from(compare.result) {
            Ok(CompareResult::Equal) => order.is_eq(),
            Ok(CompareResult::Greater) => order.is_gt(),
            Ok(CompareResult::Less) => order.is_lt(),
            Ok(CompareResult::NotEqual) => order.is_ne(),
            Err(_) => false,
        }
    }

    /// Writes a key at the present revision.
    fn put(&mut self, PutRequest { key, value, lease }: PutRequest) {
        let (modified, created) = (self.revision, self.latest(&key).map_or(self.revision, |one| one.created));
        let versions = self.keys.entry(key).or_default();
        versions.retain(|version| version.modified < modified);
        versions.push(Version { created, modified, value: Some(value), lease });
    }

    /// Deletes keys at the present revision. Returns how many.
    fn delete(&mut self, key: &[u8], range_end: &[u8]) -> i64 {
        let found = self
            .between(key, range_end)
            .filter(|(_, versions)| versions.last().is_some_and(|version| version.value.is_some()));
        let found: Vec<_> = found.map(|(key, _)| key.clone()).collect();
        for key in &found {
            if let Some(versions) = self.keys.get_mut(key) {
                versions.push(Version { created: 0, modified: self.revision, value: None, lease: 0 });
            }
        }
        i64::try_from(found.len()).unwrap_or(i64::MAX)
    }

    /// Makes a lease. Returns its id.
    ///
    /// # Errors
    ///
    /// If the quota is used up.
    pub fn grant(&mut self, now: Moment, seconds: u64) -> Result<i64, EtcdError> {
        if self.is_full {
            return Err(EtcdError::Refused("etcdserver: mvcc: database space exceeded".to_owned()));
        }
        self.granted += 1;
        let length = seconds * SECOND;
        self.leases.insert(self.granted, Lease { length, ends_at: now + length });
        Ok(self.granted)
    }

    /// Has a lease begin anew. Tells whether it is there.
    pub fn keep_alive(&mut self, now: Moment, lease: i64) -> bool {
        let found = self.leases.get_mut(&lease);
        found.map(|lease| lease.ends_at = now + lease.length).is_some()
    }

    /// Ends a lease, and the keys that have it. Tells whether it was there.
    pub fn revoke(&mut self, lease: i64) -> bool {
        if self.leases.remove(&lease).is_none() {
            return false;
        }
        let has_it = |version: &Version| version.value.is_some() && version.lease == lease;
        let keys = self.keys.iter().filter(|(_, versions)| versions.last().is_some_and(has_it));
        let keys: BTreeSet<_> = keys.map(|(key, _)| key.clone()).collect();
        if !keys.is_empty() {
            self.revision += 1;
            for key in keys {
                self.delete(&key, &[]);
            }
        }
        true
    }

    /// Ends the leases that are over.
    pub fn expire(&mut self, now: Moment) {
        let over = self.leases.iter().filter(|(_, lease)| lease.ends_at <= now);
        let over: Vec<_> = over.map(|(lease, _)| *lease).collect();
        for lease in over {
            self.revoke(lease);
        }
    }

    /// Another member leads: every lease begins anew.
    pub fn restart_leases(&mut self, now: Moment) {
        for lease in self.leases.values_mut() {
            lease.ends_at = now + lease.length;
        }
    }

    /// Forgets what was before a revision.
    ///
    /// # Errors
    ///
    /// If that is forgotten already.
    pub fn compact(&mut self, revision: i64) -> Result<(), EtcdError> {
        if revision <= self.compacted || revision > self.revision {
            return Err(EtcdError::Refused(
                "etcdserver: mvcc: required revision has been compacted".to_owned(),
            ));
        }
        self.compacted = revision;
        self.keys.retain(|_, versions| {
            let last = versions.iter().rposition(|version| version.modified <= revision).unwrap_or(0);
            versions.drain(..last);
            versions.first().is_some_and(|first| versions.len() > 1 || first.value.is_some())
        });
        Ok(())
    }

    /// The lease of a key, if it is there and has one.
    pub fn lease_of(&self, key: &[u8]) -> Option<i64> {
        self.latest(key).map(|version| version.lease).filter(|lease| *lease != 0)
    }

    /// At which revision a key was made, if it is there.
    pub fn created(&self, key: &[u8]) -> Option<i64> {
        self.latest(key).map(|version| version.created)
    }

    /// How many keys are there.
    pub fn len(&self) -> usize {
        self.keys.values().filter(|versions| versions.last().is_some_and(|one| one.value.is_some())).count()
    }

    /// Whether no key is there.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
