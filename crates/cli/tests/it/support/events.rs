//! A reader of `/v1/events`.

use std::time::{Duration, Instant};

use serde_json::Value;

use super::{client::Client, server::Server};

/// Longer than anything should take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// One event, or notice.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Sent {
    pub(crate) id: Option<String>,
    pub(crate) event: String,
    pub(crate) data: Value,
}

impl Sent {
    /// The number in its id.
    pub(crate) fn number(&self) -> u64 {
        number(self.id.as_deref().expect("an id"))
    }
}

pub(crate) fn number(id: &str) -> u64 {
    id.rsplit('-').next().and_then(|digits| digits.parse().ok()).expect("an id ends with a number")
}

/// An open stream.
pub(crate) struct Events {
    client: Client,
    text: String,
    /// The last id that came, with or without an event.
    pub(crate) last_id: String,
}

impl Events {
    /// The next event. `None`: the stream has ended as it should.
    pub(crate) fn try_next(&mut self) -> Option<Sent> {
        let until = Instant::now() + PATIENCE;
        loop {
            // A silent stream is kept alive, so that no read of the connection is over.
            assert!(Instant::now() < until, "no event came; what came is {:?}", self.text);
            while let Some((block, rest)) = self.text.split_once("\n\n") {
                let sent = parse(block);
                if let Some(id) = &sent.id {
                    self.last_id.clone_from(id);
                }
                self.text = rest.to_owned();
                if !sent.data.is_null() {
                    return Some(sent);
                }
            }
            let Some(chunk) = self.client.chunk() else {
                assert_eq!(self.text, "", "cut off");
                return None;
            };
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
    }

    /// The next block as it is, be it a comment.
    pub(crate) fn block(&mut self) -> String {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let block = block.to_owned();
                self.text = rest.to_owned();
                return block;
            }
            let chunk = self.client.chunk().expect("the stream goes on");
            self.text += std::str::from_utf8(&chunk).expect("text");
        }
    }

    #[track_caller]
    pub(crate) fn next(&mut self) -> Sent {
        self.try_next().expect("the stream goes on")
    }

    /// The next events, as many as asked for.
    pub(crate) fn take(&mut self, count: usize) -> Vec<Sent> {
        (0..count).map(|_| self.next()).collect()
    }

    /// Reads to the end of the stream and of the connection.
    pub(crate) fn rest(&mut self) -> Vec<Sent> {
        let rest = std::iter::from_fn(|| self.try_next()).collect();
        assert_eq!(self.client.rest(), "");
        rest
    }
}

fn parse(block: &str) -> Sent {
    let mut sent = Sent { id: None, event: String::new(), data: Value::Null };
    for line in block.lines() {
        match line.split_once(": ").expect("a field or a comment") {
            ("id", id) => sent.id = Some(id.to_owned()),
            ("event", event) => event.clone_into(&mut sent.event),
            ("data", data) => sent.data = serde_json::from_str(data).expect("JSON"),
            ("retry", pause) => assert!(pause.parse::<u32>().is_ok()),
            (field, _) => assert_eq!(field, "", "{block}"),
        }
    }
    sent
}

impl Server {
    /// Opens a stream, and returns once it is there.
    pub(crate) fn events(&self, query: &str, last_id: Option<&str>) -> Events {
        let header = last_id.map(|id| format!("last-event-id: {id}\r\n")).unwrap_or_default();
        self.stream(&format!("/v1/events{query}"), &header)
    }

    /// Opens any stream of server-sent events.
    pub(crate) fn stream(&self, path: &str, headers: &str) -> Events {
        let mut client = self.connect();
        client.send(format!("GET {path} HTTP/1.1\r\nhost: throttle\r\n{headers}\r\n"));
        let answer = client.answer_to_head();
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("content-type"), Some("text/event-stream"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        Events { client, text: String::new(), last_id: String::new() }
    }
}
