//! Where the server is and how to talk to it: from arguments, else from the environment.

use std::{collections::BTreeMap, env, fmt, fs, path::PathBuf, time::Duration};

use reqwest::Url;

use crate::{
    Client, Error,
    labels::{self, Labels},
    outer::Outer,
};

const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
const DEFAULT_RETRY: Duration = Duration::from_mins(2);

/// Settings of a [`Client`]. What is not set here comes from the environment.
#[derive(Clone, Default)]
#[must_use]
pub struct ClientBuilder {
    url: Option<String>,
    token: Option<String>,
    token_file: Option<PathBuf>,
    cacert: Option<PathBuf>,
    timeout: Option<Duration>,
    retry_for: Option<Duration>,
    labels: BTreeMap<String, String>,
    without_usual_labels: bool,
    priority: i32,
    new_peers: bool,
}

impl ClientBuilder {
    /// URL of the server; `localhost:8000` means `http://localhost:8000`. Default: `THROTTLE_URL`.
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        self.url = Some(url.as_ref().to_owned());
        self
    }

    /// Bearer token sent with each request. Default: `THROTTLE_TOKEN`.
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// File with the bearer token. It is read for each request, so a token may be replaced at any time.
    /// Default: `THROTTLE_TOKEN_FILE`.
    pub fn token_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.token_file = Some(path.into());
        self
    }

    /// PEM file with the only authorities to be trusted. Default: `THROTTLE_CACERT`, else those that this
    /// machine trusts.
    pub fn cacert(mut self, path: impl Into<PathBuf>) -> Self {
        self.cacert = Some(path.into());
        self
    }

    /// How long a single attempt may take, besides the time for which it asks the server to block. Default:
    /// 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For how long a request is repeated while the server is out of reach or busy. Default: 2 minutes.
    ///
    /// Renewals are not bound by this: they are repeated as long as the lock may still be held.
    pub fn retry_for(mut self, time: Duration) -> Self {
        self.retry_for = Some(time);
        self
    }

    /// A label of every peer that the client makes, for people who look at who holds what. A server up to 0.5 has
    /// none.
    ///
    /// The usual ones are `host`, `pid`, `user` and `program`; a label of the same key takes their place. There are
    /// at most 16, with keys of up to 63 and values of up to 255 characters.
    pub fn label(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.labels.insert(key.into(), value.into());
        self
    }

    /// Leaves the usual labels out: nothing is told of this process but what [`label`](Self::label) says.
    pub fn without_usual_labels(mut self) -> Self {
        self.without_usual_labels = true;
        self
    }

    /// The priority of all locks for which [`LockRequest::priority`](crate::LockRequest::priority) says nothing
    /// else. Default: 0.
    pub fn priority(mut self, priority: i32) -> Self {
        self.priority = priority;
        self
    }

    /// Gives each lock a peer of its own, also in a process that was started under a lock, as by `throttle run`.
    ///
    /// Else locks share the peer of the lock around them, so that the server sees their order: a lock that is held
    /// around them is had at once, levels count, and a deadlock with the holder of the lock around them is found.
    pub fn new_peers(mut self) -> Self {
        self.new_peers = true;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::Configuration`] if there is no URL, or if a setting makes no sense.
    pub fn build(self) -> Result<Client, Error> {
        Client::with_settings(self.resolve(|name| env::var(name).ok().filter(|value| !value.is_empty()))?)
    }

    fn resolve(self, environment: impl Fn(&str) -> Option<String>) -> Result<Settings, Error> {
        let url = self.url.or_else(|| environment("THROTTLE_URL")).ok_or_else(|| {
            Error::Configuration("no server given: pass its URL, or set THROTTLE_URL".to_owned())
        })?;
        let token = match (self.token, self.token_file) {
            (Some(token), _) => Some(Token::Text(token)),
            (None, Some(path)) => Some(Token::File(path)),
            (None, None) => environment("THROTTLE_TOKEN")
                .map(Token::Text)
                .or_else(|| environment("THROTTLE_TOKEN_FILE").map(|path| Token::File(path.into()))),
        };
        let timeout = self.timeout.unwrap_or(DEFAULT_TIMEOUT);
        if timeout.is_zero() {
            return Err(Error::Configuration(
                "the timeout is 0; an answer needs some time to arrive, for instance 10 s".to_owned(),
            ));
        }
        let usual = (!self.without_usual_labels).then(labels::usual);
        let url = normalize(&url)?;
        Ok(Settings {
            shown_url: without_password(&url),
            url,
            token,
            cacert: self.cacert.or_else(|| environment("THROTTLE_CACERT").map(PathBuf::from)),
            timeout,
            retry_for: self.retry_for.unwrap_or(DEFAULT_RETRY),
            labels: Labels::new(self.labels, usual.into_iter().flatten())?,
            priority: self.priority,
            outer: Outer::from(environment).filter(|_| !self.new_peers),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Without the token.
        let url = self.url.as_deref().map(without_password);
        formatter.debug_struct("ClientBuilder").field("url", &url).finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Token {
    Text(String),
    File(PathBuf),
}

/// All that is known about how to reach a server, and what is to be told to it.
pub(crate) struct Settings {
    /// Without a slash at the end.
    pub(crate) url: String,
    /// The same without a password, for people.
    pub(crate) shown_url: String,
    token: Option<Token>,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) timeout: Duration,
    pub(crate) retry_for: Duration,
    pub(crate) labels: Labels,
    pub(crate) priority: i32,
    /// The peer of a lock around this process.
    pub(crate) outer: Option<Outer>,
}

impl Settings {
    /// The bearer token to send now.
    pub(crate) fn token(&self) -> Result<Option<String>, Error> {
        match &self.token {
            None => Ok(None),
            Some(Token::Text(token)) => Ok(Some(token.clone())),
            Some(Token::File(path)) => {
                let text = fs::read_to_string(path).map_err(|error| {
                    Error::Configuration(format!("the token file {} cannot be read: {error}", path.display()))
                })?;
                match text.trim() {
                    "" => Err(Error::Configuration(format!(
                        "the token file {} is empty; one line with the token is needed",
                        path.display()
                    ))),
                    token => Ok(Some(token.to_owned())),
                }
            }
        }
    }
}

fn normalize(url: &str) -> Result<String, Error> {
    let text = url.trim();
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = |why: &str| {
        let url = without_password(url);
        Error::Configuration(format!(
            "the server URL is {url:?}{why}; something like http://localhost:8000 is needed"
        ))
    };
    let parsed = Url::parse(&text).map_err(|error| wrong(&format!(" ({error})")))?;
    if !matches!(parsed.scheme(), "http" | "https") || parsed.host_str().is_none() {
        return Err(wrong(""));
    }
    if parsed.query().is_some() || parsed.fragment().is_some() {
        return Err(wrong(" and has a query or a fragment"));
    }
    Ok(parsed.as_str().trim_end_matches('/').to_owned())
}

/// A URL as it is shown to people, also one that is wrong.
fn without_password(url: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let Some((user, _)) = authority.rsplit_once('@') else { return url.to_owned() };
    let Some((name, password)) = user.split_once(':') else { return url.to_owned() };
    let start = url.len() - rest.len() + name.len();
    let end = start + 1 + password.len();
    [url.get(..start).unwrap_or_default(), url.get(end..).unwrap_or_default()].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(builder: ClientBuilder, variables: &[(&str, &str)]) -> Result<Settings, Error> {
        builder.resolve(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn a_url_needs_no_scheme() {
        for (given, expected) in [
            ("localhost:8000", "http://localhost:8000"),
            ("http://localhost:8000/", "http://localhost:8000"),
            (" https://locks.example.org/team/ ", "https://locks.example.org/team"),
            ("127.0.0.1", "http://127.0.0.1"),
        ] {
            assert_eq!(normalize(given).unwrap(), expected);
        }
        for wrong in ["", "ftp://host", "http://", "http://host:port", "http://host/?a=1"] {
            assert!(matches!(normalize(wrong), Err(Error::Configuration(_))), "{wrong}");
        }
    }

    #[test]
    fn a_password_is_shown_nowhere() {
        for (url, shown) in [
            ("http://etl:secret@host:8000/a@b", "http://etl@host:8000/a@b"),
            ("etl:se@cret@host", "etl@host"),
            ("http://etl@host:8000", "http://etl@host:8000"),
            ("http://host:8000", "http://host:8000"),
        ] {
            assert_eq!(without_password(url), shown);
        }
        let settings = resolve(ClientBuilder::default().url("http://etl:secret@host"), &[]).unwrap();
        assert_eq!((&*settings.url, &*settings.shown_url), ("http://etl:secret@host", "http://etl@host"));
        let wrong = normalize("http://etl:secret@host:port").unwrap_err().to_string();
        assert!(!wrong.contains("secret"), "{wrong}");
        let builder = format!("{:?}", ClientBuilder::default().url("http://etl:secret@host"));
        assert!(!builder.contains("secret"), "{builder}");
    }

    #[test]
    fn an_argument_beats_the_environment() {
        let variables = [
            ("THROTTLE_URL", "http://environment"),
            ("THROTTLE_TOKEN", "environment"),
            ("THROTTLE_TOKEN_FILE", "/environment"),
            ("THROTTLE_CACERT", "/environment.pem"),
        ];
        let settings = resolve(ClientBuilder::default(), &variables).unwrap();
        assert_eq!(settings.url, "http://environment");
        assert_eq!(settings.token().unwrap().as_deref(), Some("environment"));
        assert_eq!(settings.cacert, Some("/environment.pem".into()));

        let builder = ClientBuilder::default().url("argument").token("argument").cacert("/argument.pem");
        let settings = resolve(builder, &variables).unwrap();
        assert_eq!(settings.url, "http://argument");
        assert_eq!(settings.token().unwrap().as_deref(), Some("argument"));
        assert_eq!(settings.cacert, Some("/argument.pem".into()));

        let missing = ClientBuilder::default().token_file("/does/not/exist");
        let error = resolve(missing, &variables).unwrap().token().unwrap_err();
        assert!(error.to_string().contains("/does/not/exist"), "{error}");
    }

    #[test]
    fn no_url_is_an_error_that_says_what_to_do() {
        let error = resolve(ClientBuilder::default(), &[]).err().unwrap();
        assert!(error.to_string().contains("THROTTLE_URL"));
    }
}
