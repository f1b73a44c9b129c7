//! Finds out who sends a request, by what it shows.

use std::{
    path::PathBuf,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::SystemTime,
};

use axum::http::{
    HeaderMap,
    header::{AUTHORIZATION, COOKIE},
};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use tracing::{error, info};

use crate::{changes, config::ConfigError, net::ClientName};

use super::{caller::Caller, file::Tokens};

/// The cookie with which the dashboard shows the token of whoever signed in.
pub const COOKIE_NAME: &str = "throttle_token";

/// The request shows nothing by which anybody is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unauthenticated;

/// Who may come in.
#[derive(Debug, Default)]
pub struct Guard {
    tokens: Option<File>,
    /// The paths that are open to all.
    public: Vec<String>,
    /// Whether the server listens beyond this machine.
    is_reachable: AtomicBool,
}

#[derive(Debug)]
struct File {
    path: PathBuf,
    tokens: RwLock<Arc<Tokens>>,
    /// How often the file was read.
    generation: AtomicU64,
}

/// What lets somebody read a stream: until his token expires, or other tokens count.
#[derive(Clone, Copy, Debug)]
pub struct Pass {
    generation: u64,
    expires: Option<SystemTime>,
}

impl Guard {
    /// Lets everybody in.
    pub fn open() -> Self {
        Self::default()
    }

    /// Lets in whoever shows a token of this file, and everybody to what is `public`.
    ///
    /// # Errors
    ///
    /// If the file is not right.
    pub fn with_tokens(path: PathBuf, public: Vec<String>) -> Result<Self, ConfigError> {
        let tokens = RwLock::new(Arc::new(Tokens::read(&path)?));
        let file = File { path, tokens, generation: AtomicU64::new(0) };
        Ok(Self { tokens: Some(file), public, ..Self::default() })
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
        self.tokens.as_ref().map(|file| Tokens::read(&file.path)).transpose()
    }

    /// From now on these tokens count.
    pub fn adopt(&self, tokens: Option<Tokens>) {
        if let (Some(file), Some(tokens)) = (&self.tokens, tokens) {
            *file.tokens.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(tokens);
            file.generation.fetch_add(1, Relaxed);
        }
    }

    /// Takes up changes of the file, for as long as the server runs.
    pub async fn watch(&self) {
        let Some(file) = &self.tokens else { return };
        changes::each(&[&file.path], || match self.read() {
            Ok(tokens) => {
                self.adopt(tokens);
                info!("The tokens were read again, as their file changed.");
            }
            Err(error) => error!("The tokens stay as they were. {error}"),
        })
        .await;
    }

    /// Who sends a request with these headers, over a connection of a client of this name. A token counts before that.
    ///
    /// # Errors
    ///
    /// If it shows nothing, nothing that is known, or more than one thing.
    pub fn caller(
        &self,
        headers: &HeaderMap,
        client: Option<&ClientName>,
    ) -> Result<Arc<Caller>, Unauthenticated> {
        let Some(tokens) = self.tokens() else { return Ok(Caller::anybody()) };
        if let Some(ClientName(name)) = client.filter(|_| !shows_anything(headers)) {
            return Ok(Arc::new(Caller::new(name, tokens.rights_of(name), None)));
        }
        let token = shown(headers).ok_or(Unauthenticated)?;
        tokens.find(&token, SystemTime::now()).ok_or(Unauthenticated)
    }

    /// What lets a caller read a stream.
    pub fn pass(&self, caller: &Caller) -> Pass {
        Pass { generation: self.generation(), expires: caller.expires() }
    }

    /// Whether it still does. If not, the reader may come again, and show what he has.
    pub fn is_good(&self, pass: Pass) -> bool {
        pass.generation == self.generation() && pass.expires.is_none_or(|expires| SystemTime::now() < expires)
    }

    fn generation(&self) -> u64 {
        self.tokens.as_ref().map_or(0, |file| file.generation.load(Relaxed))
    }

    /// Whose a token is, if it is known.
    pub fn find(&self, token: &str) -> Option<Arc<Caller>> {
        self.tokens()?.find(token, SystemTime::now())
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
