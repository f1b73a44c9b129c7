//! The peer of a lock around this process, and the right to use it.
//!
//! `throttle run` tells of it by environment variables. To the server all that is asked for in the name of one peer
//! comes from one thread of execution. So one process at a time may ask in its name, else two that ask for the same
//! lock would both hold the one that the first of them got.

use std::{
    collections::BTreeMap,
    env,
    fs::{self, File},
    io::{self, Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process,
    time::Duration,
};

pub(crate) const PEER_ID: &str = "THROTTLE_PEER_ID";
pub(crate) const PEER_URL: &str = "THROTTLE_PEER_URL";
pub(crate) const PEER_TTL_MS: &str = "THROTTLE_PEER_TTL_MS";
pub(crate) const PEER_LOCK_FILE: &str = "THROTTLE_PEER_LOCK_FILE";
pub(crate) const TOKEN: &str = "THROTTLE_FENCING_TOKEN";
pub(crate) const TOKENS: &str = "THROTTLE_FENCING_TOKENS";

/// The peer of a lock around this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outer {
    pub(crate) peer: u64,
    /// The server, as whoever made the peer reaches it. The same one may have other names.
    pub(crate) url: Option<String>,
    /// The length of its lease, which is not to be changed from here.
    pub(crate) ttl: Duration,
    /// The file that is locked by whoever asks in the name of the peer.
    pub(crate) lock_file: Option<PathBuf>,
    /// The fencing tokens of all that is held around this process.
    pub(crate) tokens: BTreeMap<String, u64>,
}

impl Outer {
    /// What the environment tells. Without an id and the length of the lease there is nothing to share.
    pub(crate) fn from(environment: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let peer = environment(PEER_ID)?.parse().ok()?;
        let ttl =
            environment(PEER_TTL_MS)?.parse().ok().map(Duration::from_millis).filter(|ttl| !ttl.is_zero())?;
        let tokens = environment(TOKENS).and_then(|text| serde_json::from_str(&text).ok());
        let tokens: BTreeMap<String, String> = tokens.unwrap_or_default();
        Some(Self {
            peer,
            url: environment(PEER_URL),
            ttl,
            lock_file: environment(PEER_LOCK_FILE).map(PathBuf::from),
            tokens: tokens
                .into_iter()
                .filter_map(|(name, token)| Some((name, token.parse().ok()?)))
                .collect(),
        })
    }
}

/// The file that is locked by whoever asks in the name of a peer, made by the owner of the peer. It is removed when
/// this is dropped.
pub(crate) struct LockFile {
    path: PathBuf,
}

impl LockFile {
    pub(crate) fn create() -> io::Result<Self> {
        let name = format!("throttle-{}-{:016x}.lock", process::id(), fastrand::u64(..));
        let path = env::temp_dir().join(name);
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&path)?;
        Ok(Self { path })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        // What is left in a directory for temporary files is in nobody's way.
        let _ = fs::remove_file(&self.path);
    }
}

/// The right to ask in the name of a peer, until it is dropped. The system takes it from a process that ends.
pub(crate) struct Claim {
    file: File,
}

impl Claim {
    /// `None` if another has it, or if it is not to be had.
    pub(crate) fn take(path: &Path) -> Option<Self> {
        let file = File::options().read(true).write(true).open(path).ok()?;
        file.try_lock().ok()?;
        Some(Self { file })
    }

    /// What the one before asked for and did not release: it was killed.
    pub(crate) fn left_behind(&mut self) -> io::Result<Vec<String>> {
        let mut text = String::new();
        self.file.rewind()?;
        self.file.read_to_string(&mut text)?;
        Ok(if text.is_empty() { Vec::new() } else { serde_json::from_str(&text)? })
    }

    /// Takes note of what is asked for, before it is; of nothing, once it is released.
    pub(crate) fn note(&mut self, names: &[&str]) -> io::Result<()> {
        let text = if names.is_empty() { String::new() } else { serde_json::to_string(names)? };
        // At no moment is it empty while there is something to note.
        self.file.rewind()?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // A process that was started meanwhile may have the file open for a moment.
        let _ = self.file.unlock();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_from_the_environment() {
        let variables = [
            (PEER_ID, "18446744073709551615"),
            (PEER_URL, "http://localhost:8000"),
            (PEER_TTL_MS, "30000"),
            (PEER_LOCK_FILE, "/tmp/a.lock"),
            (TOKENS, r#"{"A":"7","B":"none"}"#),
        ];
        let with = |left_out: &str| {
            let find =
                |wanted: &str| variables.iter().find(|(name, _)| *name == wanted && wanted != left_out);
            Outer::from(|wanted| find(wanted).map(|(_, value)| (*value).to_owned()))
        };
        let outer = with("").unwrap();
        assert_eq!((outer.peer, outer.ttl), (u64::MAX, Duration::from_secs(30)));
        assert_eq!(outer.tokens, BTreeMap::from([("A".to_owned(), 7)]));
        assert_eq!(with(PEER_ID), None);
        assert_eq!(with(PEER_TTL_MS), None);
        assert_eq!(with(TOKENS).unwrap().tokens, BTreeMap::new());
        assert_eq!(with(PEER_LOCK_FILE).unwrap().lock_file, None);
    }

    #[test]
    fn one_at_a_time_has_the_claim() {
        let file = LockFile::create().unwrap();
        let mut first = Claim::take(file.path()).unwrap();
        assert!(Claim::take(file.path()).is_none());
        first.note(&["A", "B"]).unwrap();
        drop(first);
        let mut second = Claim::take(file.path()).unwrap();
        assert_eq!(second.left_behind().unwrap(), ["A", "B"]);
        second.note(&[]).unwrap();
        assert_eq!(second.left_behind().unwrap(), [""; 0]);
        let path = file.path().to_owned();
        drop(file);
        assert!(Claim::take(&path).is_none());
    }
}
