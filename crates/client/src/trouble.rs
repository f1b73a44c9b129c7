//! Trouble with a server: what it is in words, while requests are repeated and when they are given up.

use std::{error::Error as StdError, fmt, io, iter, time::Duration};

use reqwest::StatusCode;
use tokio::{sync::mpsc::UnboundedSender, time::error::Elapsed};

use crate::Error;

/// Why a request for a lock is being repeated.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Trouble {
    /// What is wrong, such as `no connection to the server at http://localhost:8000: connection refused`.
    pub why: String,
    /// The server, or the servers with commas between them.
    pub url: String,
    /// For how long it is still repeated; then it fails.
    pub left: Duration,
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.why)
    }
}

/// Who is told of trouble, and with `None` that it is over.
pub(crate) type Telling = UnboundedSender<Option<Trouble>>;

/// What an answer comes to that is no success.
pub(crate) fn answered(url: &str, status: StatusCode, message: &str) -> String {
    let message = match message {
        "" => String::new(),
        message => format!(": {message}"),
    };
    format!("the server at {url} answers with status {}{message}", status.as_u16())
}

/// Where no answer came from.
pub(crate) struct Silence<'a> {
    /// Whether the request may have arrived.
    pub(crate) sent: bool,
    /// The HTTP proxy before the server.
    pub(crate) proxy: Option<&'a str>,
    /// Why.
    pub(crate) source: &'a (dyn StdError + 'static),
}

impl Silence<'_> {
    /// What is out of reach. `at` names the server, such as ` at http://localhost:8000`.
    pub(crate) fn what(&self, at: &str) -> String {
        let Self { sent, proxy, .. } = *self;
        if self.is_caused_by(|text| text.contains("InvalidContentType")) {
            return format!(
                "the server{at} does not speak TLS there; a URL that begins with http:// may be meant"
            );
        }
        if self.is_caused_by(|text| text.contains("invalid HTTP version")) {
            return format!(
                "what answers{at} does not speak HTTP; a URL that begins with https:// may be meant"
            );
        }
        let cause = self.cause();
        let Some(proxy) = proxy else {
            let missing = if sent { "no answer from" } else { "no connection to" };
            return format!("{missing} the server{at}: {cause}");
        };
        if sent {
            format!("no answer from the server{at}, by way of the proxy {proxy}: {cause}")
        } else if self.is_tunnel() {
            format!("no connection to the server{at}, by way of the proxy {proxy}: {cause}")
        } else {
            format!("no connection to the proxy {proxy}; the server itself was not asked: {cause}")
        }
    }

    /// Whether the server itself is not there, as far as is known.
    pub(crate) fn is_of_server(&self) -> bool {
        !self.sent
            && self.proxy.is_none()
            && !self.is_caused_by(|text| text.contains("InvalidContentType") || text.contains("HTTP version"))
    }

    /// The proxy is there, but will not or cannot connect to the server.
    fn is_tunnel(&self) -> bool {
        self.is_caused_by(|text| text.starts_with("tunnel error"))
    }

    /// Whether no address is known for the name of the server, or of the proxy.
    fn is_name_unknown(&self) -> bool {
        self.is_caused_by(|text| text.starts_with("dns error") || text.contains("lookup address"))
    }

    /// In a few words.
    fn cause(&self) -> String {
        if self.is_name_unknown() {
            return "its name is not known".to_owned();
        }
        let known = self.chain().find_map(|error| {
            let io = error.downcast_ref::<io::Error>().map(io::Error::kind);
            let is_late = error.is::<Elapsed>()
                || error.downcast_ref::<reqwest::Error>().is_some_and(reqwest::Error::is_timeout);
            match io {
                Some(io::ErrorKind::ConnectionRefused) => Some("connection refused"),
                Some(io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable) => {
                    Some("no way leads there")
                }
                Some(io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted) => {
                    Some("the connection was cut")
                }
                Some(io::ErrorKind::TimedOut) => Some("nothing came in time"),
                _ => is_late.then_some("nothing came in time"),
            }
        });
        match known {
            Some(known) => known.to_owned(),
            // The deepest error is the one that says most.
            None => self.chain().last().map(ToString::to_string).unwrap_or_default(),
        }
    }

    fn chain(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        iter::successors(Some(self.source), |&error| error.source())
    }

    fn is_caused_by(&self, is_it: impl Fn(&str) -> bool) -> bool {
        self.chain().any(|error| is_it(&error.to_string()))
    }
}

impl Error {
    /// What is wrong, in one sentence with the URL of the server but without what was asked of it, where no answer
    /// arrived; else the message.
    pub fn trouble(&self) -> String {
        match (self, self.silence()) {
            (Self::Unreachable { url, .. }, Some(silence)) => silence.what(&format!(" at {url}")),
            _ => self.to_string(),
        }
    }

    /// Whether nothing answers where the server should be, as far as is known: it does not run, or is elsewhere.
    pub fn is_nobody_there(&self) -> bool {
        self.silence().is_some_and(|silence| silence.is_of_server())
    }

    /// Whether no address is known for the name in the URL.
    pub fn is_name_unknown(&self) -> bool {
        self.silence().is_some_and(|silence| silence.is_of_server() && silence.is_name_unknown())
    }

    fn silence(&self) -> Option<Silence<'_>> {
        match self {
            Self::Unreachable { sent, proxy, source, .. } => {
                Some(Silence { sent: *sent, proxy: proxy.as_deref(), source: &**source })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unreachable(sent: bool, proxy: Option<&str>, source: io::Error) -> Error {
        Error::Unreachable {
            what: "GET http://a:1/health".to_owned(),
            url: "http://a:1".to_owned(),
            sent,
            proxy: proxy.map(str::to_owned),
            source: source.into(),
        }
    }

    #[test]
    fn the_cause_is_told_in_words() {
        let refused = || io::Error::from(io::ErrorKind::ConnectionRefused);
        let error = unreachable(false, None, refused());
        assert_eq!(error.trouble(), "no connection to the server at http://a:1: connection refused");
        assert_eq!(
            error.to_string(),
            "GET http://a:1/health: no connection to the server: connection refused. Is it running there, and are host \
             and port right?"
        );
        assert!(error.is_nobody_there() && !error.is_name_unknown());
        for (sent, proxy, source, expected) in [
            (true, None, io::ErrorKind::TimedOut.into(), "no answer from the server: nothing came in time"),
            (
                false,
                None,
                io::Error::other("dns error"),
                "no connection to the server: its name is not known",
            ),
            (true, None, io::Error::other("odd"), "no answer from the server: odd"),
            (
                false,
                Some("http://p (HTTP_PROXY)"),
                refused(),
                "no connection to the proxy http://p (HTTP_PROXY); the server itself was not asked: connection refused",
            ),
        ] {
            let said = unreachable(sent, proxy, source).to_string();
            assert!(said.contains(expected), "{said}");
        }
    }
}
