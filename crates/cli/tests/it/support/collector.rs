//! A collector of traces that keeps what it gets.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{Arc, Condvar, Mutex},
    thread,
    time::{Duration, Instant},
};

use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{KeyValue, any_value::Value},
    trace::v1::{Span, span::Event},
};
use prost::Message as _;

const PATIENCE: Duration = Duration::from_secs(30);

/// Speaks OTLP over HTTP on a port of its own, for as long as the test runs.
pub(crate) struct Collector {
    pub(crate) port: u16,
    kept: Arc<Kept>,
}

#[derive(Default)]
struct Kept {
    requests: Mutex<Vec<ExportTraceServiceRequest>>,
    more: Condvar,
}

impl Collector {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("bound").port();
        let kept = Arc::<Kept>::default();
        let to = kept.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, to) = (stream.expect("a connection"), to.clone());
                thread::spawn(move || to.serve(stream));
            }
        });
        Self { port, kept }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// All spans so far.
    pub(crate) fn spans(&self) -> Vec<Span> {
        spans(&self.kept.requests.lock().expect("no panic"))
    }

    /// The first span of this name, now or as soon as it comes.
    pub(crate) fn span(&self, name: &str) -> Span {
        let until = Instant::now() + PATIENCE;
        let mut requests = self.kept.requests.lock().expect("no panic");
        loop {
            let spans = spans(&requests);
            if let Some(span) = spans.iter().find(|span| span.name == name) {
                return span.clone();
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let names: Vec<_> = spans.iter().map(|span| &span.name).collect();
                panic!("no span {name:?}: {names:?}");
            }
            requests = self.kept.more.wait_timeout(requests, left).expect("no panic").0;
        }
    }

    /// What the first request told of its sender.
    pub(crate) fn resource(&self) -> Vec<KeyValue> {
        let requests = self.kept.requests.lock().expect("no panic");
        let resource = requests[0].resource_spans[0].resource.as_ref().expect("a resource");
        resource.attributes.clone()
    }
}

fn spans(requests: &[ExportTraceServiceRequest]) -> Vec<Span> {
    let scopes = requests.iter().flat_map(|request| &request.resource_spans).flat_map(|r| &r.scope_spans);
    scopes.flat_map(|scope| scope.spans.clone()).collect()
}

impl Kept {
    /// Answers the requests of one connection.
    fn serve(&self, stream: TcpStream) {
        let mut stream = BufReader::new(stream);
        loop {
            let mut head = Vec::new();
            loop {
                let mut line = String::new();
                if stream.read_line(&mut line).unwrap_or(0) == 0 {
                    return;
                }
                match line.trim_end() {
                    "" => break,
                    line => head.push(line.to_ascii_lowercase()),
                }
            }
            assert_eq!(head[0], "post /v1/traces http/1.1");
            let header = |name: &str| head.iter().find_map(|line| line.strip_prefix(name));
            assert_eq!(header("content-type: "), Some("application/x-protobuf"));
            let length = header("content-length: ").expect("a length").parse().expect("a number");
            let mut body = vec![0; length];
            stream.read_exact(&mut body).expect("a body");
            let request = ExportTraceServiceRequest::decode(&*body).expect("protobuf");
            self.requests.lock().expect("no panic").push(request);
            self.more.notify_all();
            let answer = ExportTraceServiceResponse::default().encode_to_vec();
            let head = "HTTP/1.1 200 OK\r\ncontent-type: application/x-protobuf\r\n";
            let _ = write!(stream.get_mut(), "{head}content-length: {}\r\n\r\n", answer.len());
            let _ = stream.get_mut().write_all(&answer);
        }
    }
}

/// An attribute as text.
pub(crate) fn attribute(attributes: &[KeyValue], key: &str) -> Option<String> {
    let found = attributes.iter().find(|attribute| attribute.key == key)?;
    Some(match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => text.clone(),
        Value::IntValue(number) => number.to_string(),
        other => panic!("{key} is {other:?}"),
    })
}

/// The event of this name.
pub(crate) fn event<'a>(span: &'a Span, name: &str) -> &'a Event {
    span.events.iter().find(|event| event.name == name).unwrap_or_else(|| panic!("no {name}: {span:?}"))
}
