//! Which servers there are: each has a key with a lease.

use std::time::Duration;

use throttle_journal::LogError;

use crate::{
    keys::Keys,
    kv::Kv,
    proto::{KeyValue, Operation, PutRequest, RangeRequest, TxnRequest},
};

/// How long a server that is gone is still listed.
const LISTED: Duration = Duration::from_secs(15);

/// The servers of a deployment.
#[derive(Clone)]
pub struct Registry<K> {
    kv: K,
    keys: Keys,
}

impl<K: Kv> Registry<K> {
    /// That of the deployment with these keys.
    pub fn new(kv: K, prefix: &str) -> Self {
        Self { kv, keys: Keys::new(prefix) }
    }

    /// Lists a server, by the name at which others reach it, for as long as this runs.
    pub async fn stay_listed(&self, name: &str) {
        loop {
            if let Ok(lease) = self.kv.grant(LISTED.as_secs()).await {
                let put = PutRequest { key: self.keys.server(name), value: Vec::new(), lease };
                let request = TxnRequest::of(Vec::new(), [Operation::Put(put)]);
                let mut is_there = self.kv.txn(request).await.is_ok();
                while is_there {
                    self.kv.pause(LISTED / 3).await;
                    is_there = self.kv.keep_alive(lease).await != Ok(false);
                }
            }
            self.kv.pause(LISTED / 15).await;
        }
    }

    /// The names of all servers that are listed.
    ///
    /// # Errors
    ///
    /// If etcd gives no answer.
    pub async fn names(&self) -> Result<Vec<String>, LogError> {
        let (key, range_end) = (self.keys.server(""), self.keys.servers_end());
        let request =
            RangeRequest { key: key.clone(), range_end, keys_only: true, ..RangeRequest::default() };
        let found = self.kv.range(request).await?.kvs;
        let name = |found: &KeyValue| Some(str::from_utf8(found.key.strip_prefix(&*key)?).ok()?.to_owned());
        Ok(found.iter().filter_map(name).collect())
    }
}
