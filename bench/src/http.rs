//! As much of HTTP/1.1 as a load generator needs: requests laid out beforehand, and a parser that looks at
//! the status line and the length of the body and at nothing else.

use std::cell::Cell;
use std::io::Write as _;

thread_local! {
    /// A line of the head of every request, with its end.
    static HEADER: Cell<&'static str> = const { Cell::new("") };
}

/// From now on every request of this thread has this line in its head, or none.
pub(crate) fn set_header(line: &'static str) {
    HEADER.set(line);
}

/// A whole answer. It borrows the bytes that were read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer<'a> {
    /// The status code.
    pub(crate) status: u16,
    /// The body, which may be empty.
    pub(crate) body: &'a [u8],
}

impl Answer<'_> {
    /// The body as a peer id.
    pub(crate) fn peer(&self) -> Option<u64> {
        std::str::from_utf8(self.body).ok()?.trim().parse().ok()
    }

    /// An error unless the status is `expected`.
    pub(crate) fn expect(&self, expected: u16) -> Result<(), String> {
        if self.status == expected {
            return Ok(());
        }
        let body: String = String::from_utf8_lossy(self.body).chars().take(200).collect();
        Err(format!("expected an answer with status {expected}, got {}: {body:?}", self.status))
    }
}

/// The first answer in `bytes` and how many bytes it took; `None` if it is not complete yet.
///
/// Bodies must come with their length, which is what servers do for the small answers measured here. A
/// chunked body or an interim answer is an error rather than a guess.
pub(crate) fn parse(bytes: &[u8]) -> Result<Option<(Answer<'_>, usize)>, String> {
    let mut status = None;
    let mut length = None;
    let mut rest = bytes;
    loop {
        let Some(end) = rest.iter().position(|&byte| byte == b'\n') else { return Ok(None) };
        let (line, tail) = rest.split_at(end);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        rest = tail.get(1..).unwrap_or_default();
        if status.is_none() {
            status = Some(status_of(line)?);
        } else if line.is_empty() {
            break;
        } else if let Some(value) = field(line, b"content-length") {
            length = Some(number(value).ok_or("a Content-Length that is no number")?);
        } else if field(line, b"transfer-encoding").is_some() {
            return Err("a body with a transfer encoding, which this client does not read".into());
        }
    }
    let status = status.ok_or("an answer without a status line")?;
    let length = match (length, status) {
        (_, 204 | 304) => 0,
        (Some(length), _) => length,
        (None, _) => return Err(format!("an answer with status {status} without a Content-Length")),
    };
    let Some(body) = rest.get(..length) else { return Ok(None) };
    Ok(Some((Answer { status, body }, bytes.len() - rest.len() + length)))
}

fn status_of(line: &[u8]) -> Result<u16, String> {
    let wrong = || format!("not a status line: {:?}", String::from_utf8_lossy(line));
    let code = line.strip_prefix(b"HTTP/1.1 ").ok_or_else(wrong)?.get(..3).ok_or_else(wrong)?;
    let status = number(code).and_then(|code| u16::try_from(code).ok()).ok_or_else(wrong)?;
    if status < 200 { Err(format!("an interim answer with status {status}")) } else { Ok(status) }
}

/// The value of the header line, if that is its name.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, value) = line.split_at_checked(name.len())?;
    let value = value.strip_prefix(b":")?;
    found.eq_ignore_ascii_case(name).then(|| value.trim_ascii())
}

fn number(digits: &[u8]) -> Option<usize> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Appends a request. `target` is written between the method and the version, e.g. `/peers/{id}`.
fn push(out: &mut Vec<u8>, method: &str, target: std::fmt::Arguments<'_>, tail: &str) {
    let (version, rest) = tail.split_at(VERSION.len());
    // Writing to a vector cannot fail.
    let _ = write!(out, "{method} {target}{version}{}{rest}", HEADER.get());
}

/// What every tail begins with.
const VERSION: &str = " HTTP/1.1\r\n";
const NO_BODY: &str = " HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const EXPIRES: &str = concat!(
    " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 19\r\n\r\n",
    r#"{"expires_in":"1h"}"#
);
const ONE: &str =
    " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: 1\r\n\r\n1";

/// `POST /new_peer`, for an hour.
pub(crate) fn new_peer(out: &mut Vec<u8>) {
    push(out, "POST", format_args!("/new_peer"), EXPIRES);
}

/// `PUT /peers/{id}`, for an hour: a heartbeat.
pub(crate) fn heartbeat(out: &mut Vec<u8>, peer: u64) {
    push(out, "PUT", format_args!("/peers/{peer}"), EXPIRES);
}

/// `DELETE /peers/{id}`.
pub(crate) fn delete_peer(out: &mut Vec<u8>, peer: u64) {
    push(out, "DELETE", format_args!("/peers/{peer}"), NO_BODY);
}

/// `PUT /peers/{id}/{semaphore}` with a count of one; `query` is empty or starts with `?`.
pub(crate) fn acquire(out: &mut Vec<u8>, peer: u64, semaphore: &str, query: &str) {
    push(out, "PUT", format_args!("/peers/{peer}/{semaphore}{query}"), ONE);
}

/// `DELETE /peers/{id}/{semaphore}`.
pub(crate) fn release(out: &mut Vec<u8>, peer: u64, semaphore: &str) {
    push(out, "DELETE", format_args!("/peers/{peer}/{semaphore}"), NO_BODY);
}

/// `POST /v1/peers/{id}/heartbeat`, for an hour.
pub(crate) fn v1_heartbeat(out: &mut Vec<u8>, peer: u64) {
    push(out, "POST", format_args!("/v1/peers/{peer}/heartbeat"), EXPIRES);
}

/// `POST /v1/heartbeats` for these peers, for an hour.
pub(crate) fn v1_heartbeats(out: &mut Vec<u8>, peers: impl Iterator<Item = u64>) {
    let ids: Vec<_> = peers.map(|peer| format!("\"{peer}\"")).collect();
    body(
        out,
        "POST",
        format_args!("/v1/heartbeats"),
        &format!(r#"{{"expires_in":"1h","peers":[{}]}}"#, ids.join(",")),
    );
}

/// `POST /v1/locks` with a count of one, for an hour.
pub(crate) fn v1_session(out: &mut Vec<u8>, semaphore: &str) {
    let json = format!(r#"{{"locks":{{"{semaphore}":1}},"expires_in":"1h"}}"#);
    body(out, "POST", format_args!("/v1/locks"), &json);
}

/// `PUT /v1/peers/{id}/locks` with a count of one.
pub(crate) fn v1_acquire(out: &mut Vec<u8>, peer: u64, semaphore: &str) {
    body(out, "PUT", format_args!("/v1/peers/{peer}/locks"), &format!(r#"{{"locks":{{"{semaphore}":1}}}}"#));
}

/// `DELETE /v1/peers/{id}/locks/{semaphore}`.
pub(crate) fn v1_release(out: &mut Vec<u8>, peer: u64, semaphore: &str) {
    push(out, "DELETE", format_args!("/v1/peers/{peer}/locks/{semaphore}"), NO_BODY);
}

/// Appends a request with a body of JSON.
fn body(out: &mut Vec<u8>, method: &str, target: std::fmt::Arguments<'_>, body: &str) {
    let tail = format!(
        " HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    push(out, method, target, &tail);
}

/// `POST` of JSON to a fixed path.
pub(crate) fn post(out: &mut Vec<u8>, path: &str, json: &str) {
    body(out, "POST", format_args!("{path}"), json);
}

/// `GET` of a fixed path.
pub(crate) fn get(out: &mut Vec<u8>, path: &str) {
    push(out, "GET", format_args!("{path}"), NO_BODY);
}

#[cfg(test)]
mod tests {
    use super::*;

    const OK: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\nContent-Length: 2\r\n\r\nOk";

    #[test]
    fn an_answer_is_taken_once_it_is_complete() {
        for cut in 0..OK.len() {
            assert_eq!(parse(&OK[..cut]), Ok(None), "cut at {cut}");
        }
        assert_eq!(parse(OK), Ok(Some((Answer { status: 200, body: b"Ok" }, OK.len()))));
    }

    #[test]
    fn pipelined_answers_are_taken_one_by_one() {
        let two = [OK, b"HTTP/1.1 202 Accepted\r\ncontent-length:0\r\n\r\n"].concat();
        let (first, used) = parse(&two).unwrap().unwrap();
        assert_eq!((first.status, used), (200, OK.len()));
        let (second, rest) = parse(&two[used..]).unwrap().unwrap();
        assert_eq!((second.status, second.body, used + rest), (202, &b""[..], two.len()));
    }

    #[test]
    fn an_answer_without_content_needs_no_length() {
        let bytes = b"HTTP/1.1 204 No Content\r\n\r\n";
        assert_eq!(parse(bytes).unwrap().unwrap(), (Answer { status: 204, body: b"" }, bytes.len()));
    }

    #[test]
    fn what_it_cannot_read_is_an_error() {
        for wrong in [
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: two\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "HTTP/1.1 2\r\n\r\n",
            "SSH-2.0-x\r\n",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_peer_id_keeps_all_of_its_64_bits() {
        let max = Answer { status: 200, body: b"18446744073709551615" };
        assert_eq!(max.peer(), Some(u64::MAX));
        assert_eq!(Answer { status: 200, body: b"Ok" }.peer(), None);
    }

    #[test]
    fn the_length_that_a_request_announces_is_that_of_its_body() {
        let mut requests = Vec::new();
        new_peer(&mut requests);
        heartbeat(&mut requests, 7);
        acquire(&mut requests, 7, "A", "?block_for=60s");
        release(&mut requests, 7, "A");
        let text = String::from_utf8(requests).unwrap();
        let heads: Vec<&str> = text.split(" HTTP/1.1").collect();
        assert_eq!(heads[0], "POST /new_peer");
        assert!(heads[1].ends_with("PUT /peers/7"), "{heads:?}");
        assert!(heads[2].ends_with("}PUT /peers/7/A?block_for=60s"), "{heads:?}");
        assert!(heads[3].ends_with("\r\n\r\n1DELETE /peers/7/A"), "{heads:?}");
        assert_eq!(r#"{"expires_in":"1h"}"#.len(), 19);
    }
}
