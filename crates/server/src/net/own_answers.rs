//! The answers that the accept loop gives by itself, before any route.

use std::fmt::Write as _;

use hyper::{HeaderMap, StatusCode};

use super::date::date;

/// The answers that this layer gives by itself: a sentence of plain text, after which the connection ends.
pub(super) struct OwnAnswers {
    /// Lines that each of them has in its head.
    headers: String,
}

impl OwnAnswers {
    pub(super) fn new(headers: &HeaderMap) -> Self {
        let mut lines = String::new();
        for (name, value) in headers {
            if let Ok(value) = value.to_str() {
                // Writing to a string cannot fail.
                let _ = write!(lines, "{name}: {value}\r\n");
            }
        }
        Self { headers: lines }
    }

    pub(super) fn late_head(&self) -> String {
        self.answer(StatusCode::REQUEST_TIMEOUT, "The head of the request did not arrive in time.")
    }

    pub(super) fn too_many_connections(&self) -> String {
        let sentence = "Too many connections are open. Try again in a second.";
        self.answer(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    pub(super) fn too_many_of_address(&self) -> String {
        let sentence = "Too many connections of one address are open. Try again in a second.";
        self.answer(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    pub(super) fn https_only(&self) -> String {
        let sentence = "The server speaks HTTPS here: begin the address with https://.";
        self.answer(StatusCode::BAD_REQUEST, sentence)
    }

    pub(super) fn too_much(&self) -> String {
        let sentence = "There is no room for this request or its answer: others on their way take all of it. Try again \
                        in a second.";
        self.answer(StatusCode::SERVICE_UNAVAILABLE, sentence)
    }

    /// To a head that hyper cannot read. `written` is what hyper wrote last: it may end with a bare head that tells
    /// so, which is to be replaced. Returns where that begins, and what comes there.
    pub(super) fn malformed(&self, written: &[u8]) -> (usize, String) {
        let (start, status) = error_head(written).unwrap_or((written.len(), StatusCode::BAD_REQUEST));
        let sentence = match status {
            StatusCode::URI_TOO_LONG => "The address of the request is too long.",
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => "The head of the request is too large.",
            _ => "This is not a valid HTTP/1.1 request.",
        };
        (start, self.answer(status, sentence))
    }

    fn answer(&self, status: StatusCode, sentence: &str) -> String {
        let date =
            date().and_then(|date| Some(format!("date: {}\r\n", date.to_str().ok()?))).unwrap_or_default();
        let retry = if status == StatusCode::SERVICE_UNAVAILABLE { "retry-after: 1\r\n" } else { "" };
        format!(
            "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: {}\r\n{date}{}{retry}\
             connection: close\r\n\r\n{sentence}\n",
            sentence.len() + 1,
            self.headers
        )
    }
}

/// Finds the answer of hyper to what it cannot read: a head of its own at the very end of what it wrote, without
/// a body.
fn error_head(written: &[u8]) -> Option<(usize, StatusCode)> {
    const START: &[u8] = b"HTTP/1.1 4";
    let start = written.windows(START.len()).rposition(|window| window == START)?;
    let head = str::from_utf8(written.get(start..)?).ok()?.strip_suffix("\r\n\r\n")?;
    let is_bare = !head.contains("\r\n\r\n") && head.contains("\r\ncontent-length: 0");
    let status = head.get(9..12)?.parse().ok()?;
    is_bare.then_some((start, status))
}
