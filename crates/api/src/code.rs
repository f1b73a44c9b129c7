//! The codes of problems, and what each of them means.

use std::{error::Error, fmt, str::FromStr};

use serde::{Deserialize, Serialize, de::IntoDeserializer as _, de::value};
#[cfg(feature = "openapi")]
use utoipa::ToSchema;

/// Why a request was refused, for programs. Codes never change their meaning; new ones may be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The request is not what it should be.
    InvalidRequest,
    /// No semaphore has this name.
    UnknownSemaphore,
    /// The peer expired, was released, or never existed.
    PeerGone,
    /// No live lock on this semaphore has this token.
    TokenGone,
    /// The count is above `max`.
    CountExceedsMax,
    /// A level is not below those that the peer holds.
    HierarchyViolation,
    /// The peer waits for something else.
    AlreadyPending,
    /// The request would wait for ever.
    Deadlock,
    /// The wait ended without a grant.
    NotAcquired,
    /// The semaphore has holders or waiters.
    InUse,
    /// The configuration file is not right.
    InvalidConfiguration,
    /// The peer is known, and holds other locks than these.
    RestoreConflict,
    /// The body is larger than the server reads.
    TooLarge,
    /// The body is not declared to be JSON.
    UnsupportedMediaType,
    /// A bound of the server is used up.
    LimitReached,
    /// The server is about to stop, or not ready yet.
    Unavailable,
    /// There is no such route.
    NotFound,
    /// The route has no such method.
    MethodNotAllowed,
    /// The body did not arrive in time.
    RequestTimeout,
    /// The request shows no token that is known.
    Unauthenticated,
    /// The caller may not do that.
    Forbidden,
    /// A browser sends the request for a page of another origin.
    CrossOrigin,
    /// A browser knows the server by a name that the server does not know.
    UnknownHost,
}

/// The error of text that is none of the codes that this release knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownCode;

impl Code {
    /// The status that an answer with this code has.
    pub const fn status(self) -> u16 {
        match self {
            Self::InvalidRequest => 400,
            Self::UnknownSemaphore | Self::NotFound => 404,
            Self::PeerGone | Self::TokenGone => 410,
            Self::CountExceedsMax
            | Self::HierarchyViolation
            | Self::AlreadyPending
            | Self::Deadlock
            | Self::NotAcquired
            | Self::InUse
            | Self::InvalidConfiguration
            | Self::RestoreConflict => 409,
            Self::TooLarge => 413,
            Self::UnsupportedMediaType => 415,
            Self::LimitReached => 429,
            Self::Unavailable => 503,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::Unauthenticated => 401,
            Self::Forbidden | Self::CrossOrigin | Self::UnknownHost => 403,
        }
    }

    /// Whether the same request may succeed in a moment.
    pub const fn asks_to_retry(self) -> bool {
        matches!(self, Self::LimitReached | Self::Unavailable)
    }

    /// The code, for people.
    pub const fn title(self) -> &'static str {
        self.about().0
    }

    /// When it occurs.
    pub const fn meaning(self) -> &'static str {
        self.about().1
    }

    /// What the detail of such a problem may say.
    pub const fn example(self) -> &'static str {
        self.about().2
    }

    /// The title, when it occurs, and what a detail may say.
    #[expect(clippy::too_many_lines, reason = "a table, a row for each code")]
    const fn about(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::InvalidRequest => (
                "Invalid request",
                "the request is not what it should be; the detail says what would be right.",
                "expires_in is \"5\": time unit needed, for example 5sec or 5ms. Expected a duration from 0s to \
                 10years such as \"30s\", \"5m\", \"250ms\" or \"1h 30m\".",
            ),
            Self::UnknownSemaphore => (
                "Unknown semaphore",
                "no semaphore has this name; the detail offers names that are near.",
                "No semaphore is called \"B\". Known names that are near: \"A\".",
            ),
            Self::PeerGone => (
                "Peer gone",
                "the peer expired, was released, or never existed; the detail says which, while the server remembers.",
                "Peer 15248218688310292863 was released by an operator at 2026-03-03T19:02:42.000000Z: stuck since \
                 noon. It holds nothing any more. Make a new one with POST /v1/peers.",
            ),
            Self::TokenGone => (
                "Token no longer live",
                "no live lock on this semaphore has this token.",
                "No live lock on semaphore \"A\" has the token 1795480000000001: it was released, it expired, or it \
                 was never given. Refuse what comes with it.",
            ),
            Self::CountExceedsMax => (
                "Count exceeds max",
                "the count is above `max`, so it could never be granted.",
                "A count of 3 on semaphore \"A\" can never be granted, as its max is 2. Ask for at most 2, or raise \
                 its max first.",
            ),
            Self::HierarchyViolation => (
                "Lock hierarchy violation",
                "a peer that holds a level may ask only for lower ones.",
                "A lock of level 0 is held, so only lower levels can be asked for (or the same lock with the same or \
                 a smaller count), but semaphore \"B\" has level 1. Release first what is held, or ask for all of it \
                 in one request.",
            ),
            Self::AlreadyPending => (
                "Another request is pending",
                "a peer has at most one pending request.",
                "The peer already waits for other locks. Ask for just those again, or release them first.",
            ),
            Self::Deadlock => (
                "Deadlock",
                "the request could not be granted even after every peer that waits for nothing has released all that \
                 it holds; the detail names the chain of peers.",
                "The request would wait for ever: this peer waits for \"B\", which is held by peer #2; peer #2 waits for \
                 \"A\", which is held by this peer. Release what is held, and ask for all of it in one request.",
            ),
            Self::NotAcquired => (
                "Not acquired",
                "the wait ended without a grant, and the request is not in the queue any more.",
                "The locks were not to be had in time, and the peer is removed. Wait longer, or try again later.",
            ),
            Self::InUse => (
                "Semaphore in use",
                "the semaphore has holders or waiters.",
                "Semaphore \"A\" is in use by 2 locks and 1 waiting request. Wait until they are gone, or add \
                 ?force=true to release those locks and withdraw those requests.",
            ),
            Self::InvalidConfiguration => (
                "Invalid configuration",
                "the configuration file is not right, so nothing changed.",
                "Nothing changed. throttle.toml:3: semaphores.A: found -1; allowed: an integer from 0 to \
                 9223372036854775807.",
            ),
            Self::RestoreConflict => (
                "Restore conflict",
                "the peer is known, and holds other locks than these.",
                "The peer is known to the server and holds other locks than these.",
            ),
            Self::TooLarge => (
                "Body too large",
                "the body is larger than the server reads.",
                "The body is too large: at most 16384 bytes are read here.",
            ),
            Self::UnsupportedMediaType => (
                "Unsupported media type",
                "the body is not declared to be JSON.",
                "The body must be JSON and say so: set the header Content-Type to application/json.",
            ),
            Self::LimitReached => (
                "Limit reached",
                "a bound of the server is used up.",
                "The server is at a limit: the limit of 10000000 live peers is reached. Try again later.",
            ),
            Self::Unavailable => (
                "Unavailable",
                "the server is about to stop, or not ready yet.",
                "The server is about to stop. Ask another one, or try again.",
            ),
            Self::NotFound => (
                "Not found",
                "there is no such route.",
                "There is no route \"/v1/nope\". GET /openapi.json describes those that there are.",
            ),
            Self::MethodNotAllowed => (
                "Method not allowed",
                "the route has no such method.",
                "The method PUT is not allowed on \"/v1/peers\". The header Allow lists those that are.",
            ),
            Self::RequestTimeout => (
                "Request timeout",
                "the body did not arrive in time.",
                "The body of the request did not arrive in time.",
            ),
            Self::CrossOrigin => (
                "Request from another origin",
                "a browser sends the request for a page that is not this server's.",
                "The request comes from a web page of another origin (\"https://example.com\"). From browsers this \
                 server takes requests of its own pages only. A proxy in front of it must pass the header Host on as \
                 it is.",
            ),
            Self::UnknownHost => (
                "Unknown host",
                "a browser sends the request, and knows the server by a name that the server does not know.",
                "The browser knows this server as \"t.example.com\", and the server does not know that name as its \
                 own. Open it by its address, or add the name, without a port, to hosts in the section [http] of its \
                 configuration file.",
            ),
            Self::Unauthenticated => (
                "Not authenticated",
                "the request shows no token, or one that is not known or has expired.",
                "The request shows no token that is known here. Send one in the header Authorization, as Bearer or as \
                 the password of Basic.",
            ),
            Self::Forbidden => (
                "Not allowed",
                "the caller lacks a right; the detail names it, and the semaphore.",
                "\"etl\" lacks the right \"acquire\" over semaphore \"web/db\".",
            ),
        }
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.serialize(f)
    }
}

impl FromStr for Code {
    type Err = UnknownCode;

    fn from_str(name: &str) -> Result<Self, UnknownCode> {
        Self::deserialize(name.into_deserializer()).map_err(|_: value::Error| UnknownCode)
    }
}

impl fmt::Display for UnknownCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a code that this release knows")
    }
}

impl Error for UnknownCode {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_written_and_read_by_their_names() {
        assert_eq!(Code::CountExceedsMax.to_string(), "count_exceeds_max");
        assert_eq!("count_exceeds_max".parse(), Ok(Code::CountExceedsMax));
        assert_eq!("count_exceeds".parse::<Code>(), Err(UnknownCode));
    }
}
