//! Finds out who sends a request, by what it shows.

use std::{
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, SystemTime},
};

use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use throttle_core::Owner;
use tokio::time::{Instant, sleep};
use tracing::{error, info};

use crate::{
    changes::Changes,
    config::ConfigError,
    net::{ClientName, client_of},
};

use super::{
    caller::Caller,
    file::Tokens,
    jwt::{Identified, Issuer, JwtConfig, NoIdentity, READ_AGAIN_AFTER, READ_EVERY},
    quota::Quotas,
    rate::{Rate, Rates},
    token::Hash,
};

/// The cookie with which the dashboard shows the token of whoever signed in.
pub const COOKIE_NAME: &str = "throttle_token";

/// The request shows nothing by which anybody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// Why it is not found out at once who sends a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doubt {
    /// It shows nothing that is right.
    Unauthenticated,
    /// It shows a token with a key that may be new.
    UnknownKey,
}

/// Who may come in, and how often.
#[derive(Debug)]
pub struct Guard {
    tokens: Option<File>,
    issuer: Option<Arc<Issuer>>,
    /// How often each identity has asked for something, of those that have a rate.
    rates: Rates<Owner>,
    /// How often one address may ask for something.
    address_rate: Option<Rate>,
    address_rates: Rates<IpAddr>,
    /// The paths that are open to all.
    public: Vec<String>,
    /// Whether the server listens beyond this machine.
    is_reachable: AtomicBool,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    /// The quotas of identities of whom it says nothing.
    usual: Quotas,
    tokens: RwLock<Arc<Tokens>>,
    /// How often the file was read.
    generation: AtomicU64,
}

/// What lets somebody read a stream: until his token expires, or other tokens or keys count.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    generation: u64,
    expires: Option<SystemTime>,
}

impl Guard {
    /// Lets everybody in.
    pub fn open(address_rate: Option<Rate>) -> Self {
        let now = Instant::now();
        Self {
            tokens: None,
            issuer: None,
            rates: Rates::new(now),
            address_rate,
            address_rates: Rates::new(now),
            public: Vec::new(),
            is_reachable: AtomicBool::new(false),
        }
    }

    /// Lets in whoever shows a token of this file, and everybody to what is `public`.
    ///
    /// # Errors
    ///
    /// If the file is not right.
    pub fn with_tokens(
        mut self,
        path: PathBuf,
        usual: Quotas,
        public: Vec<String>,
    ) -> Result<Self, ConfigError> {
        let tokens = RwLock::new(Arc::new(Tokens::read(&path, usual)?));
        self.tokens = Some(File { path, usual, tokens, generation: AtomicU64::new(0) });
        self.public = public;
        Ok(self)
    }

    /// Lets in whoever shows a token of this issuer, too; the file of tokens says what he may do.
    ///
    /// # Errors
    ///
    /// If the keys of the issuer are in a file that is not right.
    pub fn with_issuer(mut self, issuer: JwtConfig) -> Result<Self, ConfigError> {
        self.issuer = Some(Arc::new(Issuer::new(issuer)?));
        Ok(self)
    }

    /// Whether nobody has to say who he is.
    pub fn is_open(&self) -> bool {
        self.tokens.is_none()
    }

    /// The server listens beyond this machine.
    pub fn is_reached(&self) {
        self.is_reachable.store(true, Relaxed);
    }

    /// Whether other machines may reach a server at which nobody has to say who he is.
    pub fn is_exposed(&self) -> bool {
        self.is_open() && self.is_reachable.load(Relaxed)
    }

    /// Reads the file again, for [`Guard::adopt`].
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn read(&self) -> Result<Option<Tokens>, ConfigError> {
        self.tokens.as_ref().map(|file| Tokens::read(&file.path, file.usual)).transpose()
    }

    /// From now on these tokens count.
    pub fn adopt(&self, tokens: Option<Tokens>) {
        if let (Some(file), Some(tokens)) = (&self.tokens, tokens) {
            *file.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
            file.generation.fetch_add(1, Relaxed);
        }
        if let Some(issuer) = &self.issuer {
            issuer.forget();
        }
    }

    /// Takes up changes of the files, and of the keys of an issuer, for as long as the server runs.
    pub async fn watch(&self) {
        tokio::join!(self.watch_tokens(), self.watch_keys());
    }

    async fn watch_keys(&self) {
        let Some(issuer) = &self.issuer else { return };
        let mut changes = issuer.file().map(|path| Changes::of(vec![path]));
        if changes.is_none() {
            issuer.refresh().await;
        }
        loop {
            match &mut changes {
                Some(changes) => changes.next().await,
                None if issuer.has_keys() => sleep(READ_EVERY).await,
                None => sleep(READ_AGAIN_AFTER).await,
            }
            issuer.refresh().await;
        }
    }

    async fn watch_tokens(&self) {
        let Some(file) = &self.tokens else { return };
        let mut changes = Changes::of(vec![&file.path]);
        loop {
            changes.next().await;
            match self.read() {
                Ok(tokens) => {
                    self.adopt(tokens);
                    info!("The tokens were read again, as their file changed.");
                }
                Err(error) => error!("The tokens stay as they were. {error}"),
            }
        }
    }

    /// Who sends a request with these headers, over a connection of a client of this name. A token counts before that.
    ///
    /// # Errors
    ///
    /// If it shows nothing, nothing that is known, or more than one thing.
    pub async fn caller(
        &self,
        headers: &HeaderMap,
        client: Option<&ClientName>,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        let Some(tokens) = self.tokens() else { return Ok(Caller::anybody()) };
        if let Some(ClientName(name)) = client.filter(|_| !shows_anything(headers)) {
            return Ok(Arc::new(Caller::new(name, tokens.terms_of(name).clone(), None)));
        }
        let token = shown(headers).ok_or(Unauthenticated)?;
        self.whose(&token).await
    }

    /// Whose a token is.
    ///
    /// # Errors
    ///
    /// If it is not known, or not right.
    pub async fn whose(&self, token: &str) -> Result<Arc<Caller>, Unauthenticated> {
        match (self.find(token), &self.issuer) {
            (Ok(caller), _) => Ok(caller),
            (Err(Doubt::UnknownKey), Some(issuer)) => {
                // In a box, so that other requests need no room for it.
                Box::pin(issuer.read_again()).await;
                self.find(token).map_err(|_| Unauthenticated)
            }
            (Err(_), _) => Err(Unauthenticated),
        }
    }

    /// Counts a request of somebody.
    ///
    /// # Errors
    ///
    /// If it is one too many: how long until there is room for it, and how many there may be.
    pub fn count(&self, caller: &Caller) -> Result<(), (Duration, Rate)> {
        let Some(rate) = caller.rate() else { return Ok(()) };
        self.rates.take(caller.owner().clone(), rate, Instant::now()).map_err(|wait| (wait, rate))
    }

    /// Counts a request from an address.
    ///
    /// # Errors
    ///
    /// If it is one too many: how long until there is room for it, and how many there may be.
    pub fn count_from(&self, address: Option<IpAddr>) -> Result<(), (Duration, Rate)> {
        let (Some(rate), Some(address)) = (self.address_rate, address) else { return Ok(()) };
        self.address_rates.take(client_of(address), rate, Instant::now()).map_err(|wait| (wait, rate))
    }

    /// Whether it matters from which address requests come.
    pub fn counts_addresses(&self) -> bool {
        self.address_rate.is_some()
    }

    /// What lets a caller read a stream.
    pub fn pass(&self, caller: &Caller) -> Pass {
        Pass { generation: self.generation(), expires: caller.expires() }
    }

    /// Whether it still does. If not, the reader may come again, and show what he has.
    pub fn is_good(&self, pass: Pass) -> bool {
        pass.generation == self.generation() && pass.expires.is_none_or(|expires| SystemTime::now() < expires)
    }

    /// Counts how often something changed by which a token may be good no longer.
    fn generation(&self) -> u64 {
        let of_file = self.tokens.as_ref().map_or(0, |file| file.generation.load(Relaxed));
        of_file + self.issuer.as_ref().map_or(0, |issuer| issuer.changes())
    }

    fn find(&self, token: &str) -> Result<Arc<Caller>, Doubt> {
        let tokens = self.tokens().ok_or(Doubt::Unauthenticated)?;
        let (hash, now) = (Hash::of(token), SystemTime::now());
        match (tokens.find_hash(&hash, now), &self.issuer) {
            (Some(caller), _) => Ok(caller),
            (None, Some(issuer)) => self.find_issued(issuer, token, hash, now),
            (None, None) => Err(Doubt::Unauthenticated),
        }
    }

    fn find_issued(
        &self,
        issuer: &Issuer,
        token: &str,
        hash: Hash,
        now: SystemTime,
    ) -> Result<Arc<Caller>, Doubt> {
        let (known, generation) = issuer.known(&hash);
        if let Some(caller) = known {
            let is_good = caller.expires().is_none_or(|expires| now < expires);
            return if is_good { Ok(caller) } else { Err(Doubt::Unauthenticated) };
        }
        let Identified { name, expires } = issuer.identify(token).map_err(|why| match why {
            NoIdentity::Wrong => Doubt::Unauthenticated,
            NoIdentity::UnknownKey => Doubt::UnknownKey,
        })?;
        let tokens = self.tokens().ok_or(Doubt::Unauthenticated)?;
        let caller = Arc::new(Caller::new(&name, tokens.terms_of(&name).clone(), Some(expires)));
        issuer.remember(hash, &caller, generation);
        Ok(caller)
    }

    /// The tokens that count now.
    fn tokens(&self) -> Option<Arc<Tokens>> {
        let file = self.tokens.as_ref()?;
        Some(file.tokens.read().unwrap_or_else(PoisonError::into_inner).clone())
    }

    /// Whether everybody may ask for this path.
    pub fn is_public(&self, template: &str) -> bool {
        self.public.iter().any(|path| path == template)
    }
}

fn shows_anything(headers: &HeaderMap) -> bool {
    headers.contains_key(AUTHORIZATION) || cookie(headers).is_some()
}

/// The token that a request shows: as a bearer, as the password of HTTP Basic, or in the cookie of the dashboard.
pub fn shown(headers: &HeaderMap) -> Option<String> {
    let mut values = headers.get_all(AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => {
            let (scheme, rest) = value.to_str().ok()?.split_once(' ')?;
            let rest = rest.trim();
            if scheme.eq_ignore_ascii_case("bearer") {
                return Some(rest.to_owned());
            }
            if scheme.eq_ignore_ascii_case("basic") {
                let pair = String::from_utf8(BASE64_STANDARD.decode(rest).ok()?).ok()?;
                return Some(pair.split_once(':')?.1.to_owned());
            }
            None
        }
        (None, _) => cookie(headers),
        (Some(_), Some(_)) => None,
    }
}

fn cookie(headers: &HeaderMap) -> Option<String> {
    let all = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = all.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
    pairs.find(|(name, _)| *name == COOKIE_NAME).map(|(_, token)| token.to_owned())
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn token(headers: &[(HeaderName, &'static str)]) -> Option<String> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, HeaderValue::from_static(value));
        }
        shown(&map)
    }

    #[test]
    fn a_token_is_shown_in_three_ways() {
        for value in ["Bearer t", "bearer t", "BEARER  t ", "Basic OnQ=", "basic ZXRsOnQ="] {
            assert_eq!(token(&[(AUTHORIZATION, value)]).as_deref(), Some("t"), "{value}");
        }
        assert_eq!(token(&[(COOKIE, "a=b; throttle_token=t; c")]).as_deref(), Some("t"));
        // A password may have a colon.
        assert_eq!(token(&[(AUTHORIZATION, "Basic dTphOmI=")]).as_deref(), Some("a:b"));
    }

    #[test]
    fn anything_else_shows_nothing() {
        for value in ["", "Bearer", "t", "Digest t", "Basic t", "Basic /w==", "Basic dA=="] {
            assert_eq!(token(&[(AUTHORIZATION, value), (COOKIE, "throttle_token=t")]), None, "{value}");
        }
        assert_eq!(token(&[]), None);
        assert_eq!(token(&[(AUTHORIZATION, "Bearer t"), (AUTHORIZATION, "Bearer t")]), None);
    }
}
