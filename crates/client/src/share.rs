//! Handing a peer on to the processes that the holder of a lock starts.

use std::{collections::BTreeMap, ffi::OsString, fs, path::Path, sync::Arc};

use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Error, background,
    clock::now,
    lease::Lease,
    outer::{Claim, LockFile, PEER_ID, PEER_LOCK_FILE, PEER_TTL_MS, PEER_URL, TOKEN, TOKENS},
    transport::Effort,
    v1,
};

/// The peer of a lock, to be shared by processes that its holder starts: made by [`Guard::share`](crate::Guard::share).
///
/// To be kept until they have ended.
#[must_use = "what the variables name is gone when this is dropped"]
pub struct Share {
    variables: Vec<(&'static str, OsString)>,
    _lock_file: Option<Arc<LockFile>>,
    _watch: DropGuard,
}

impl Share {
    /// The environment variables that may be set. Those that are not should be removed for a process that is started,
    /// as they are of a lock around this one.
    pub const VARIABLES: [&str; 6] = [PEER_ID, PEER_URL, PEER_TTL_MS, PEER_LOCK_FILE, TOKEN, TOKENS];

    /// The variables to be set for a process that is started.
    pub fn variables(&self) -> impl Iterator<Item = (&'static str, OsString)> {
        self.variables.iter().cloned()
    }

    pub(crate) fn new(
        lease: &Arc<Lease>,
        first: Option<u64>,
        tokens: &BTreeMap<String, u64>,
    ) -> Result<Self, Error> {
        let mut variables = vec![
            (PEER_ID, lease.peer.to_string().into()),
            (PEER_URL, lease.link.settings.servers.text().into()),
            (PEER_TTL_MS, lease.ttl.as_millis().to_string().into()),
        ];
        if let Some(token) = first {
            variables.push((TOKEN, token.to_string().into()));
        }
        // As strings: not every reader of JSON has whole numbers of 64 bits.
        let texts: BTreeMap<_, _> = tokens.iter().map(|(name, token)| (name, token.to_string())).collect();
        if let Ok(text) = serde_json::to_string(&texts)
            && !texts.is_empty()
        {
            variables.push((TOKENS, text.into()));
        }
        // Without a file a lock in there gets a peer of its own, unless it is held around it already. So it is where
        // the peer belongs to a lock further out: only that one can give back what is left in it.
        let lock_file = if lease.shared.is_some() { None } else { LockFile::create().ok().map(Arc::new) };
        if let Some(file) = &lock_file {
            variables.push((PEER_LOCK_FILE, file.path().into()));
        }
        let gone = CancellationToken::new();
        if let Some(file) = lock_file.clone() {
            let (lease, gone) = (Arc::clone(lease), gone.clone());
            background::handle()?.spawn(async move {
                tokio::select! {
                    () = gone.cancelled() => {}
                    () = lease.ended.cancelled() => {}
                    () = lease.lost.cancelled() => {}
                    () = release_what_is_left_behind(&lease, file.path()) => {}
                }
            });
        }
        Ok(Self { variables, _lock_file: lock_file, _watch: gone.drop_guard() })
    }
}

/// Gives back what a process asked for in the name of the peer that was killed since, for the lease would go on as long
/// as the owner of the peer does. It comes free one lease later, as with a peer of its own.
async fn release_what_is_left_behind(lease: &Lease, path: &Path) {
    loop {
        tokio::time::sleep(lease.ttl / 3).await;
        // While somebody uses it, the file is locked; and while nobody does, it is not to be locked in vain.
        if fs::metadata(path).map_or(0, |data| data.len()) == 0 {
            continue;
        }
        let Some(mut claim) = Claim::take(path) else { continue };
        let names = claim.left_behind().unwrap_or_default();
        if names.is_empty() {
            continue;
        }
        tokio::time::sleep(lease.ttl).await;
        let mut is_released = true;
        for name in &names {
            let effort = Effort { until: now() + lease.ttl, limit: lease.link.settings.timeout };
            let outcome = lease.link.exchange(&v1::release(lease.peer, &[name]), effort).await;
            is_released &= matches!(outcome, Ok(_) | Err(Error::UnknownSemaphore { .. }));
        }
        if is_released {
            // At worst it is released again.
            let _ = claim.note(&[]);
        }
    }
}
