//! What happens on a server, as it tells it by server-sent events.

use std::collections::VecDeque;

use reqwest::Response;
use serde_json::Value;

use crate::Error;

/// No event is so long; a server that sends on and on without an end of an event is none of ours.
const LONGEST: usize = 1 << 20;

/// A stream of events, made by [`Client::events`](crate::Client::events).
#[derive(Debug)]
pub struct Events {
    response: Response,
    what: String,
    url: String,
    parser: Parser,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// What `Last-Event-ID` takes to go on after it.
    pub id: Option<String>,
    /// Its kind, such as `granted`; or the notice `missed` or `dropped`.
    pub kind: String,
    /// All that is told of it.
    pub data: Value,
}

impl Events {
    pub(crate) fn new(response: Response, what: String, url: String) -> Self {
        Self { response, what, url, parser: Parser::default() }
    }

    /// Waits for the next event; `None` when the server ends the stream. Dropping the future loses nothing.
    ///
    /// # Errors
    ///
    /// [`Error::Unreachable`] if the connection ends before the stream does, and [`Error::Server`] if what comes is
    /// no stream of events.
    pub async fn next(&mut self) -> Result<Option<Event>, Error> {
        loop {
            if let Some(event) = self.parser.ready.pop_front() {
                return Ok(Some(event));
            }
            let failed = |error: reqwest::Error| Error::Unreachable {
                what: self.what.clone(),
                url: self.url.clone(),
                sent: true,
                proxy: None,
                source: error.without_url().into(),
            };
            let Some(bytes) = self.response.chunk().await.map_err(failed)? else { return Ok(None) };
            if self.parser.feed(&bytes).is_err() {
                let message = "what comes is no stream of events".to_owned();
                return Err(Error::Server { what: self.what.clone(), status: 200, message });
            }
        }
    }
}

/// Makes events of the parts in which they arrive.
#[derive(Debug, Default)]
struct Parser {
    /// A line that is not yet complete.
    line: Vec<u8>,
    id: Option<String>,
    kind: String,
    data: String,
    ready: VecDeque<Event>,
}

impl Parser {
    fn feed(&mut self, bytes: &[u8]) -> Result<(), ()> {
        for part in bytes.split_inclusive(|&byte| byte == b'\n') {
            self.line.extend_from_slice(part);
            if self.line.len() + self.data.len() > LONGEST {
                return Err(());
            }
            if self.line.pop_if(|last| *last == b'\n').is_some() {
                let line = std::mem::take(&mut self.line);
                self.take_line(std::str::from_utf8(&line).map_err(drop)?.trim_end_matches('\r'))?;
            }
        }
        Ok(())
    }

    fn take_line(&mut self, line: &str) -> Result<(), ()> {
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut self.kind), std::mem::take(&mut self.data));
            if !data.is_empty() {
                let data = serde_json::from_str(&data).map_err(drop)?;
                self.ready.push_back(Event { id: self.id.clone(), kind, data });
            }
            return Ok(());
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.kind),
            "data" => self.data.push_str(value),
            // A comment keeps the connection open; other fields are for browsers.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const TEXT: &str = "retry: 1000\nid: i-0\n\n: nothing new\nid: i-1\n\nid: i-2\nevent: granted\ndata: {\"a\":\"ü\"}\n\n\
                        event: dropped\ndata: 1\n\n";

    #[test]
    fn events_come_whole_however_they_are_cut() {
        for length in 1..TEXT.len() {
            let mut parser = Parser::default();
            for part in TEXT.as_bytes().chunks(length) {
                parser.feed(part).unwrap();
            }
            let event = |kind: &str, data| Event { id: Some("i-2".to_owned()), kind: kind.to_owned(), data };
            assert_eq!(parser.ready, [event("granted", json!({"a": "ü"})), event("dropped", json!(1))]);
        }
    }

    #[test]
    fn what_is_no_stream_of_events_is_refused() {
        assert!(Parser::default().feed(b"data: {\n\n").is_err());
        assert!(Parser::default().feed(b"\xff\n").is_err());
        assert!(Parser::default().feed(&vec![b'x'; LONGEST + 1]).is_err());
    }
}
