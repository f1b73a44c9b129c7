//! Tokens of an OpenID Connect issuer: JSON Web Tokens (RFC 7519), as Kubernetes gives them to service accounts and CI
//! systems to their jobs.

use std::{
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::{
        Arc, Mutex, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use foldhash::fast::RandomState;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde_json::{Map, Value};
use tokio::{spawn, sync::Mutex as AsyncMutex, time::Instant};
use tracing::{error, info};

use super::{
    caller::Caller,
    keys::{KeySet, use_ring},
    token::Hash,
};
use crate::{config::ConfigError, outgoing};

/// By how much the clocks of issuer and server may differ.
const LEEWAY: Duration = Duration::from_mins(1);
/// How often keys are read again at most because a token names one that is not known.
pub(super) const READ_AGAIN_AFTER: Duration = Duration::from_secs(30);
/// How often keys behind a URL are read again in any case: one that its issuer took back is good no longer than this.
pub(super) const READ_EVERY: Duration = Duration::from_mins(5);
/// The time in which they must arrive.
const FETCH_TIMEOUT: Duration = Duration::from_secs(5);
/// The largest set of keys, in bytes.
const SET_BYTES: usize = 1 << 20;
/// How many tokens are known again without another look at their signature.
const REMEMBERED: usize = 10_000;
/// The longest name of an identity, in bytes.
const IDENTITY_BYTES: usize = 512;

/// `[security.jwt]`: whose tokens count, beside those of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Who issues them, as they say it.
    pub issuer: String,
    /// For whom they must be.
    pub audience: String,
    /// Where the keys of the issuer are.
    pub keys: KeySource,
    /// The claim that is the name of the identity.
    pub identity: String,
    /// The authorities of the server that has the keys, if they are others than those that the machine trusts.
    pub ca: Option<PathBuf>,
}

/// Where the keys of an issuer are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// In a file.
    File(PathBuf),
    /// At an address, which begins with `https://`.
    Url(String),
}

impl FromStr for KeySource {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text.split_once("://") {
            Some(("https", rest)) if !rest.is_empty() => Ok(Self::Url(text.to_owned())),
            None if !text.is_empty() => Ok(Self::File(text.into())),
            _ => Err(()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Url(url) => f.write_str(url),
        }
    }
}

/// Why a token does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoIdentity {
    /// It is not right.
    Wrong,
    /// It names a key that is not known; it may be new.
    UnknownKey,
}

/// Who shows a token, and how long it is good.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Identified {
    pub(super) name: String,
    pub(super) expires: SystemTime,
}

/// An issuer of tokens, with its keys.
#[derive(Debug)]
pub(super) struct Issuer {
    config: JwtConfig,
    /// Gets the keys, if they are behind a URL.
    client: Option<reqwest::Client>,
    keys: RwLock<Arc<KeySet>>,
    /// Held while they are read.
    read_at: Arc<AsyncMutex<Option<Instant>>>,
    /// How often there came to be other keys in the place of some.
    changes: AtomicU64,
    known: Mutex<Known>,
}

/// Tokens that were found right.
#[derive(Debug, Default)]
struct Known {
    /// Counts how often something changed by which they may be so no longer.
    generation: u64,
    by_hash: HashMap<Hash, Arc<Caller>, RandomState>,
}

impl Issuer {
    /// One whose keys are in a file that can be read, or at an address that may be out of reach for now.
    ///
    /// # Errors
    ///
    /// If the file is not right, or the authorities cannot be read.
    pub(super) fn new(config: JwtConfig) -> Result<Self, ConfigError> {
        use_ring();
        let (keys, client) = match &config.keys {
            KeySource::File(path) => (of_file(path)?, None),
            KeySource::Url(_) => {
                let wrong = |message: String| ConfigError::file("security.jwt.ca", message);
                let tls = outgoing::tls(config.ca.as_deref()).map_err(wrong)?;
                let client = reqwest::Client::builder()
                    .timeout(FETCH_TIMEOUT)
                    .redirect(reqwest::redirect::Policy::none())
                    .https_only(true)
                    .tls_backend_preconfigured(tls)
                    .build()
                    .map_err(|error| wrong(error.to_string()))?;
                (KeySet::default(), Some(client))
            }
        };
        Ok(Self {
            config,
            client,
            keys: RwLock::new(Arc::new(keys)),
            read_at: Arc::default(),
            changes: AtomicU64::new(0),
            known: Mutex::default(),
        })
    }

    /// Whether there are keys: an address may be out of reach when the server starts.
    pub(super) fn has_keys(&self) -> bool {
        !self.keys.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How often there came to be other keys in the place of some, one of which may have been taken back.
    pub(super) fn changes(&self) -> u64 {
        self.changes.load(Relaxed)
    }

    /// The file with the keys, if they are in one.
    pub(super) fn file(&self) -> Option<&Path> {
        match &self.config.keys {
            KeySource::File(path) => Some(path),
            KeySource::Url(_) => None,
        }
    }

    /// Whoever showed this token before, and for how many changes of rights and keys there were until now.
    pub(super) fn known(&self, token: &Hash) -> (Option<Arc<Caller>>, u64) {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        (known.by_hash.get(token).cloned(), known.generation)
    }

    /// Remembers who showed a token, unless something has changed since.
    pub(super) fn remember(&self, token: Hash, caller: &Arc<Caller>, generation: u64) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.generation != generation {
            return;
        }
        if known.by_hash.len() >= REMEMBERED {
            known.by_hash.clear();
        }
        known.by_hash.insert(token, caller.clone());
    }

    /// Keys or rights have changed: every token is looked at again.
    pub(super) fn forget(&self) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.generation += 1;
        known.by_hash.clear();
    }

    /// Who shows a token, if the issuer gave it for this server and it is good now.
    pub(super) fn identify(&self, token: &str) -> Result<Identified, NoIdentity> {
        let Header { kid, crit, .. } = decode_header(token).map_err(|_| NoIdentity::Wrong)?;
        if crit.is_some() {
            // It asks for something that is not done here.
            return Err(NoIdentity::Wrong);
        }
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner).clone();
        let key = keys.find(kid.as_deref()).ok_or(NoIdentity::UnknownKey)?;
        let claims = decode::<Map<String, Value>>(token, &key.decoding, &self.validation(&key.algorithms))
            .map_err(|_| NoIdentity::Wrong)?
            .claims;
        self.identified(&claims).ok_or(NoIdentity::Wrong)
    }

    fn validation(&self, algorithms: &[Algorithm]) -> Validation {
        let mut validation = Validation::new(Algorithm::default());
        validation.algorithms = algorithms.to_vec();
        validation.leeway = LEEWAY.as_secs();
        validation.validate_nbf = true;
        validation.set_issuer(&[&self.config.issuer]);
        validation.set_audience(&[&self.config.audience]);
        validation.set_required_spec_claims(&["exp", "iss", "aud"]);
        validation
    }

    fn identified(&self, claims: &Map<String, Value>) -> Option<Identified> {
        let name = claims.get(&self.config.identity)?.as_str()?.to_owned();
        let is_right = !name.is_empty() && name.len() <= IDENTITY_BYTES && !name.contains(char::is_control);
        let seconds = claims.get("exp")?.as_f64()?;
        let until = Duration::try_from_secs_f64(seconds).ok()?.checked_add(LEEWAY)?;
        let expires = SystemTime::UNIX_EPOCH.checked_add(until)?;
        is_right.then_some(Identified { name, expires })
    }

    /// Reads the keys again because a token names one that is not known, unless that was done just now.
    pub(super) async fn read_again(self: &Arc<Self>) {
        let mut read_at = self.read_at.clone().lock_owned().await;
        if read_at.is_none_or(|at| at.elapsed() >= READ_AGAIN_AFTER) {
            let issuer = self.clone();
            // In a task of its own: if whoever asks went away with it, all others would be without the keys until they
            // are due again.
            let _ = spawn(async move { issuer.read(&mut read_at).await }).await;
        }
    }

    /// Reads the keys again, as they are of an age at which that is due.
    pub(super) async fn refresh(&self) {
        let mut read_at = self.read_at.lock().await;
        self.read(&mut read_at).await;
    }

    async fn read(&self, read_at: &mut Option<Instant>) {
        *read_at = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => self.adopt(keys),
            Err(why) => error!("The keys of the issuer {:?} stay as they were. {why}", self.config.issuer),
        }
    }

    fn adopt(&self, keys: KeySet) {
        let keys = Arc::new(keys);
        let mut current = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *current, keys.clone());
        drop(current);
        if before == keys {
            return;
        }
        self.forget();
        if before.is_empty() {
            info!("The keys of the issuer {:?} were read.", self.config.issuer);
        } else {
            self.changes.fetch_add(1, Relaxed);
        }
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let (url, client) = match (&self.config.keys, &self.client) {
            (KeySource::Url(url), Some(client)) => (url, client),
            (KeySource::File(path), _) => return of_file(path).map_err(|error| error.to_string()),
            (KeySource::Url(_), None) => return Err("There is no way to get them.".to_owned()),
        };
        let failed = |error: reqwest::Error| format!("{url}: {}.", outgoing::reasons(&error.without_url()));
        let answer = client.get(url).send().await.and_then(reqwest::Response::error_for_status);
        let mut answer = answer.map_err(failed)?;
        let mut text = Vec::new();
        while let Some(part) = answer.chunk().await.map_err(failed)? {
            text.extend_from_slice(&part);
            if text.len() > SET_BYTES {
                return Err(format!("{url}: is larger than {SET_BYTES} bytes."));
            }
        }
        KeySet::parse(&text).map_err(|why| format!("{url}: {why}."))
    }
}

fn of_file(path: &Path) -> Result<KeySet, ConfigError> {
    let wrong = |message: String| ConfigError::file(&path.display().to_string(), message);
    let text = fs::read(path).map_err(|error| wrong(format!("cannot be read: {error}")))?;
    if text.len() > SET_BYTES {
        return Err(wrong(format!("is larger than {SET_BYTES} bytes")));
    }
    KeySet::parse(&text).map_err(wrong)
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt as _, AsyncWriteExt as _},
        net::TcpListener,
    };

    use super::*;

    const KEYS: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    #[tokio::test]
    async fn keys_are_read_to_the_end_though_whoever_asked_goes_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/jwks", listener.local_addr().unwrap());
        let config = JwtConfig {
            issuer: "https://issuer.example".to_owned(),
            audience: "throttle".to_owned(),
            keys: KeySource::Url(url),
            identity: "sub".to_owned(),
            ca: None,
        };
        let tls = outgoing::no_tls().unwrap();
        let issuer = Arc::new(Issuer {
            config,
            client: Some(reqwest::Client::builder().tls_backend_preconfigured(tls).build().unwrap()),
            keys: RwLock::default(),
            read_at: Arc::default(),
            changes: AtomicU64::new(0),
            known: Mutex::default(),
        });
        let mut asking = Box::pin(issuer.read_again());
        let mut stream = tokio::select! {
            () = &mut asking => panic!("nobody has answered"),
            accepted = listener.accept() => accepted.unwrap().0,
        };
        drop(asking);
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|length| length > 0)
        {
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{KEYS}", KEYS.len());
        let _ = stream.write_all(answer.as_bytes()).await;
        // It waits for those that are on their way, and asks for none itself.
        issuer.read_again().await;
        assert!(issuer.has_keys());
    }
}
