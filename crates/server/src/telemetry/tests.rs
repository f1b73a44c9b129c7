use std::{
    io::{Read as _, Write},
    net::UdpSocket,
    sync::Mutex,
    time::SystemTime,
};

use flate2::read::ZlibDecoder;
use opentelemetry::trace::{SpanContext, SpanId, TraceFlags, TraceId, TraceState};
use serde_json::Value;
use tracing::{debug, error, info};

use super::*;
use crate::config::Gelf;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn record(
    logging: &Logging,
    filter: Option<&str>,
    events: impl FnOnce(),
) -> (String, Telemetry, Option<String>) {
    let memory = Memory::default();
    let writer = memory.clone();
    let (subscriber, telemetry, complaint) =
        subscriber(logging, filter, move || writer.clone()).expect("subscriber");
    tracing::subscriber::with_default(subscriber, events);
    let text = String::from_utf8(memory.0.lock().unwrap().clone()).expect("text");
    (text, telemetry, complaint)
}

/// Lines without the time, which is checked for its form.
fn lines(text: &str) -> Vec<&str> {
    text.lines()
        .map(|line| {
            let (time, rest) = line.split_at("[2020-03-03T19:02:42Z ".len());
            let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
            assert_eq!(shape, "[0000-00-00T00:00:00Z ");
            rest
        })
        .collect()
}

#[test]
fn the_time_is_utc_to_the_second() {
    let mut line = String::new();
    let time = SystemTime::UNIX_EPOCH + Duration::from_millis(1_583_262_162_999);
    text::start(&mut line, time, tracing::Level::WARN, "throttle").expect("text");
    assert_eq!(line, "[2020-03-03T19:02:42Z WARN  throttle] ");
}

#[test]
fn text_lines() {
    let (text, _, complaint) = record(&Logging::default(), None, || {
        warn!("No semaphores configured.");
        warn!(target: "throttle_service::net", peer = 7_u64, name = "A b", plain = "x", forged = "a\n[x", "Odd\nline");
        error!(target: "hyper::proto", reason = ?"quoted", "broken");
        info!("not at WARN");
    });
    assert_eq!(complaint, None);
    assert_eq!(
        lines(&text),
        [
            "WARN  throttle] No semaphores configured.",
            "WARN  throttle] Odd\\nline peer=7 name=\"A b\" plain=x forged=\"a\\n[x\"",
            "ERROR hyper::proto] broken reason=\"quoted\"",
        ]
    );
}

#[test]
fn json_lines() {
    let logging =
        Logging { stderr: Some(Stderr { format: LogFormat::Json, ..Stderr::default() }), gelf: None };
    let (text, _, _) = record(&logging, None, || {
        warn!("No semaphores configured.");
        warn!(peer = %7, count = -1, share = 0.5, ok = true, level = "odd", "Odd\nline \"quoted\"");
        info!("not at WARN");
    });
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).expect("an object each")).collect();
    assert!(text.starts_with("{\"timestamp\":\""), "the time comes first: {text}");
    for line in &mut lines {
        let time = line["timestamp"].take();
        humantime::parse_rfc3339(time.as_str().expect("text")).expect("a time");
    }
    let start = |message: &str| serde_json::json!({ "timestamp": null, "level": "WARN", "target": "throttle", "message": message });
    let mut odd = start("Odd\nline \"quoted\"");
    let fields =
        serde_json::json!({ "peer": "7", "count": -1, "share": 0.5, "ok": true, "field.level": "odd" });
    odd.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    assert_eq!(lines, [start("No semaphores configured."), odd]);
}

#[tokio::test]
async fn what_happens_in_a_trace_tells_its_ids() {
    let parent = SpanContext::new(
        TraceId::from_hex("0af7651916cd43dd8448eb211c80319c").unwrap(),
        SpanId::from_hex("b7ad6b7169203331").unwrap(),
        TraceFlags::SAMPLED,
        true,
        TraceState::default(),
    );
    trace::turn_on();
    let (socket, logging) = graylog();
    let both = Logging { stderr: Some(Stderr::default()), ..logging };
    let (text, ..) = trace::scope(Arc::new(trace::Traced::by_client(&parent)), async {
        record(&both, None, || {
            warn!(semaphore = "A", "In it.");
            warn!(trace_id = "another", "Of another.");
        })
    })
    .await;
    let ids = "trace_id=0af7651916cd43dd8448eb211c80319c span_id=b7ad6b7169203331";
    assert_eq!(
        lines(&text),
        [
            &*format!("WARN  throttle] In it. semaphore=A {ids}"),
            "WARN  throttle] Of another. trace_id=another"
        ]
    );
    let message = decode(&receive(&socket));
    assert_eq!(message["_trace_id"], "0af7651916cd43dd8448eb211c80319c");
    assert_eq!((&message["_span_id"], &message["_semaphore"]), (&"b7ad6b7169203331".into(), &"A".into()));
    let (text, ..) = record(&both, None, || warn!("Out of it."));
    assert_eq!(lines(&text), ["WARN  throttle] Out of it."]);
}

#[test]
fn the_environment_beats_the_level() {
    let logging =
        Logging { stderr: Some(Stderr { level: LevelFilter::ERROR, ..Stderr::default() }), gelf: None };
    let events = || {
        info!(target: "throttle", "one");
        info!(target: "other", "two");
        debug!(target: "throttle_service", "three");
    };
    let (text, _, _) = record(&logging, Some("warn,throttle=debug"), events);
    assert_eq!(lines(&text), ["INFO  throttle] one", "DEBUG throttle] three"]);
    let (text, _, _) = record(&logging, Some("INFO"), events);
    assert_eq!(lines(&text), ["INFO  throttle] one", "INFO  other] two"]);
    let (text, _, complaint) = record(&logging, Some(""), events);
    assert_eq!((text.as_str(), complaint), ("", None));
    let (text, _, complaint) = record(&logging, Some("throttle=loud"), || error!("four"));
    assert_eq!(lines(&text), ["ERROR throttle] four"]);
    let complaint = complaint.expect("a complaint");
    assert!(complaint.starts_with("THROTTLE_LOG=\"throttle=loud\" cannot be understood"), "{complaint}");
}

fn graylog() -> (UdpSocket, Logging) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("socket");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("timeout");
    let port = socket.local_addr().expect("address").port();
    let gelf =
        Gelf { name: "my server".to_owned(), host: "127.0.0.1".to_owned(), port, level: LevelFilter::INFO };
    (socket, Logging { stderr: None, gelf: Some(gelf) })
}

fn receive(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 65536];
    let length = socket.recv(&mut buffer).expect("a datagram");
    buffer.truncate(length);
    buffer
}

fn decode(message: &[u8]) -> Value {
    let mut text = String::new();
    ZlibDecoder::new(message).read_to_string(&mut text).expect("zlib");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn gelf_messages() {
    let (socket, logging) = graylog();
    let (text, telemetry, _) = record(&logging, None, || {
        debug!("not at INFO");
        warn!(peer = 7_u64, id = -1, share = 0.5, name = "A", ok = true, "Lock lost.");
    });
    assert_eq!(text, "", "nothing on stderr");
    let mut message = decode(&receive(&socket));
    let time = message["timestamp"].take().as_f64().expect("a number");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_secs_f64();
    assert!((now - time).abs() < 60.0, "{time}");
    assert_eq!(
        message,
        serde_json::json!({
            "version": "1.1", "host": "my server", "short_message": "Lock lost.", "timestamp": null, "level": 4,
            "_target": "throttle", "_peer": 7, "_id_": -1, "_share": 0.5, "_name": "A", "_ok": "true",
        })
    );
    telemetry.shut_down(Duration::from_secs(5), Duration::ZERO);
    let stats = telemetry.gelf().expect("stats");
    assert_eq!((stats.sent(), stats.dropped()), (1, 0));
}

#[test]
fn large_gelf_messages_are_divided() {
    let (socket, logging) = graylog();
    // Does not shrink to a single datagram.
    let noise: String = (0..40_000_u32)
        .map(|n| char::from(b'!' + u8::try_from(n.wrapping_mul(2_654_435_761) >> 26).expect("6 bits")))
        .collect();
    let (_, telemetry, _) = record(&logging, None, || error!(noise, "Large."));
    let mut parts: Vec<Vec<u8>> = vec![receive(&socket)];
    let count = usize::from(parts[0][11]);
    while parts.len() < count {
        parts.push(receive(&socket));
    }
    assert!(count > 1);
    parts.sort_by_key(|part| part[10]);
    let mut message = Vec::new();
    for (number, part) in parts.iter().enumerate() {
        assert!(part.len() <= 1420);
        assert_eq!(part[..2], [0x1e, 0x0f]);
        assert_eq!(part[2..10], parts[0][2..10]);
        assert_eq!((usize::from(part[10]), usize::from(part[11])), (number, count));
        message.extend_from_slice(&part[12..]);
    }
    let message = decode(&message);
    assert_eq!(message["short_message"], "Large.");
    assert_eq!(message["_noise"].as_str().map(str::len), Some(noise.len().min(32_766)));
    drop(telemetry);
}

#[test]
fn stderr_is_off_beside_gelf_unless_asked_for() {
    let (_socket, mut logging) = graylog();
    let (text, _, _) = record(&logging, Some("trace"), || error!("hidden"));
    assert_eq!(text, "");
    logging.stderr = Some(Stderr::default());
    let (text, _, _) = record(&logging, None, || warn!("shown"));
    assert_eq!(lines(&text), ["WARN  throttle] shown"]);
}

#[test]
fn a_host_that_is_not_found_does_not_stop_the_server() {
    let (_socket, mut logging) = graylog();
    logging.gelf.as_mut().expect("gelf").host = "no-such-host.invalid".to_owned();
    let (_, telemetry, _) = record(&logging, None, || {
        for number in 0..5000 {
            warn!(number, "Too many for the queue.");
        }
    });
    assert!(telemetry.gelf().expect("stats").dropped() >= 900);
}
