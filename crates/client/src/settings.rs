//! Where the servers are and how to talk to it: from arguments, else from the environment.

use std::{collections::BTreeMap, env, fmt, fs, path::PathBuf, time::Duration};

use crate::{
    Client, Error,
    labels::{self, Labels},
    outer::Outer,
    servers::{Servers, without_passwords},
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
    ///
    /// Servers of one cluster are a list with commas between them, as in `http://a:8000,http://b:8000`: the one that
    /// answered last is asked, and the next one if it is out of reach or answers 503. A comma within a URL is written
    /// `%2C`.
    pub fn url(mut self, url: impl AsRef<str>) -> Self {
        self.url = Some(url.as_ref().to_owned());
        self
    }

    /// URLs of the servers of one cluster: the same as [`url`](Self::url) with commas between them.
    pub fn urls(self, urls: impl IntoIterator<Item: AsRef<str>>) -> Self {
        let urls: Vec<_> = urls.into_iter().map(|url| url.as_ref().to_owned()).collect();
        self.url(urls.join(","))
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

    /// How long a single attempt at one server may take, besides the time for which it asks the server to block.
    /// Default: 10 s.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// For how long a request is repeated while the server is out of reach or busy. Default: 2 minutes. Each of
    /// several servers is asked once in any case.
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
        Ok(Settings {
            servers: Servers::read(&url)?,
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
        let url = self.url.as_deref().map(without_passwords);
        formatter.debug_struct("ClientBuilder").field("url", &url).finish_non_exhaustive()
    }
}

#[derive(Clone)]
enum Token {
    Text(String),
    File(PathBuf),
}

/// All that is known about how to reach the servers, and what is to be told to them.
pub(crate) struct Settings {
    pub(crate) servers: Servers,
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

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(builder: ClientBuilder, variables: &[(&str, &str)]) -> Result<Settings, Error> {
        builder.resolve(|wanted| {
            variables.iter().find(|(name, _)| *name == wanted).map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn servers_are_given_one_by_one_or_as_a_list() {
        let variables = [("THROTTLE_URL", "http://a:8000,http://b:8000")];
        let of = |builder, variables: &[_]| resolve(builder, variables).unwrap().servers.text();
        assert_eq!(of(ClientBuilder::default(), &variables), variables[0].1);
        assert_eq!(of(ClientBuilder::default().urls(["a:8000", "b:8000"]), &[]), variables[0].1);
        assert_eq!(of(ClientBuilder::default().urls(vec!["c".to_owned()]), &variables), "http://c");
        assert!(resolve(ClientBuilder::default().urls([""; 0]), &variables).is_err());
    }

    #[test]
    fn a_password_is_not_debugged() {
        let builder = format!("{:?}", ClientBuilder::default().url("http://a,http://etl:secret@host"));
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
        assert_eq!(settings.servers.text(), "http://environment");
        assert_eq!(settings.token().unwrap().as_deref(), Some("environment"));
        assert_eq!(settings.cacert, Some("/environment.pem".into()));

        let builder = ClientBuilder::default().url("argument").token("argument").cacert("/argument.pem");
        let settings = resolve(builder, &variables).unwrap();
        assert_eq!(settings.servers.text(), "http://argument");
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
