//! HTTP as attackers speak it: as many requests at once as they like, and answers that they read or not.

use std::{
    fmt::Write as _,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::Outcome;

/// What was sent so far.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    requests: AtomicU64,
    bytes: AtomicU64,
}

impl Sent {
    pub(crate) fn add(&self, requests: usize, bytes: usize) {
        self.requests.fetch_add(requests as u64, Relaxed);
        self.bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// Requests and bytes.
    pub(crate) fn figures(&self) -> (u64, u64) {
        (self.requests.load(Relaxed), self.bytes.load(Relaxed))
    }
}

/// A request with a body of JSON, or none.
pub(crate) fn request(line: &str, body: Option<&Value>) -> String {
    with_headers(line, "", body)
}

/// The same with more lines in its head, each with its end.
pub(crate) fn with_headers(line: &str, headers: &str, body: Option<&Value>) -> String {
    let mut text = format!("{line} HTTP/1.1\r\nhost: localhost\r\n{headers}");
    let body = body.map(Value::to_string).unwrap_or_default();
    if !body.is_empty() {
        // Writing to a string cannot fail.
        let _ = write!(text, "content-type: application/json\r\ncontent-length: {}\r\n", body.len());
    }
    text + "\r\n" + &body
}

pub(crate) struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Outcome<Value> {
        Ok(serde_json::from_slice(&self.body)?)
    }
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Outcome<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new() })
    }

    /// Sends bytes, and reads nothing.
    pub(crate) async fn send(&mut self, bytes: &[u8], requests: usize, sent: &Sent) -> Outcome<()> {
        sent.add(requests, bytes.len());
        Ok(self.stream.write_all(bytes).await?)
    }

    pub(crate) async fn ask(&mut self, request: &str, sent: &Sent) -> Outcome<Answer> {
        self.send(request.as_bytes(), 1, sent).await?;
        self.answer().await
    }

    /// Sends requests at once, and reads all their answers.
    pub(crate) async fn ask_all(&mut self, requests: &[String], sent: &Sent) -> Outcome<Vec<Answer>> {
        self.send(requests.concat().as_bytes(), requests.len(), sent).await?;
        let mut answers = Vec::with_capacity(requests.len());
        for _ in requests {
            answers.push(self.answer().await?);
        }
        Ok(answers)
    }

    pub(crate) async fn answer(&mut self) -> Outcome<Answer> {
        loop {
            if let Some((answer, length)) = parse(&self.unread) {
                self.unread.drain(..length);
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.unread).await? == 0 {
                return Err("the server closed the connection".into());
            }
        }
    }
}

/// The first answer, if all of it is there, and its length.
pub(crate) fn parse(bytes: &[u8]) -> Option<(Answer, usize)> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
    let head = str::from_utf8(bytes.get(..end)?).ok()?;
    let status = head.get(9..12)?.parse().ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let all = end + length.unwrap_or_default();
    Some((Answer { status, body: bytes.get(end..all)?.to_vec() }, all))
}
