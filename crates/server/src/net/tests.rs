use std::{
    convert::Infallible,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header::HeaderValue, service::service_fn};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{link::Link, *};

const LIMIT: usize = 16 * 1024;
const LARGE: usize = 3 << 20;

struct Server {
    address: SocketAddr,
    stats: Arc<NetStats>,
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
    /// Whether a request to `/block` was dropped before its time was over.
    abandoned: Arc<AtomicBool>,
}

struct Abandoned(Arc<AtomicBool>);

impl Drop for Abandoned {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

async fn answer(
    request: Request<Incoming>,
    abandoned: Arc<AtomicBool>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut response = Response::new(Full::default());
    *response.body_mut() = match request.uri().path() {
        "/block" => {
            let guard = Abandoned(abandoned);
            request_waits();
            sleep(Duration::from_millis(400)).await;
            std::mem::forget(guard);
            "unblocked".into()
        }
        "/large" => vec![b'x'; LARGE].into(),
        "/body" => match read_body(request.into_body(), LIMIT, Duration::from_millis(300)).await {
            Ok(body) => body.into(),
            Err(error) => {
                *response.status_mut() = match error {
                    BodyError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
                    BodyError::Late => StatusCode::REQUEST_TIMEOUT,
                    BodyError::Broken(_) => StatusCode::BAD_REQUEST,
                };
                error.to_string().into()
            }
        },
        path => path.to_owned().into(),
    };
    Ok(response)
}

async fn start(change: impl FnOnce(&mut Settings)) -> Server {
    let listener = bind("127.0.0.1", 0, None).await.expect("a free port");
    let address = address_of(&listener);
    let mut settings = Settings::from(&crate::config::Limits::default());
    settings.head_timeout = Duration::from_millis(300);
    change(&mut settings);
    let stats = Arc::clone(&settings.stats);
    let (stop, stopped) = oneshot::channel::<()>();
    let abandoned = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&abandoned);
    let service = service_fn(move |request| answer(request, Arc::clone(&flag)));
    let task = tokio::spawn(serve(listener, service, settings, async {
        let _ = stopped.await;
    }));
    Server { address, stats, stop, task, abandoned }
}

fn address_of(listener: &Listener) -> SocketAddr {
    match listener.local().expect("an address") {
        Local::Tcp(address) => address,
        Local::Unix(path) => panic!("it listens at {path:?}"),
    }
}

impl Server {
    async fn connect(&self) -> Client {
        Client(TcpStream::connect(self.address).await.expect("a connection"))
    }
}

struct Client(TcpStream);

impl Client {
    async fn send(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("sent");
    }

    /// Reads one answer with a `content-length`.
    async fn answer(&mut self) -> String {
        let mut bytes = Vec::new();
        let head = loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break end + 4;
            }
            assert_ne!(self.read(&mut bytes).await, 0, "closed after {:?}", String::from_utf8_lossy(&bytes));
        };
        let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length: usize = length.split("\r\n").next().expect("a line").parse().expect("a number");
        while bytes.len() < head + length {
            let missing = head + length - bytes.len();
            let mut part = vec![0; missing];
            timeout(Duration::from_secs(5), self.0.read_exact(&mut part))
                .await
                .expect("in time")
                .expect("read");
            bytes.extend_from_slice(&part);
        }
        assert_eq!(bytes.len(), head + length, "more than an answer");
        String::from_utf8(bytes).expect("text")
    }

    // Byte by byte, so that no part of the next answer is taken.
    async fn read(&mut self, bytes: &mut Vec<u8>) -> usize {
        let mut byte = [0];
        let length = timeout(Duration::from_secs(5), self.0.read(&mut byte))
            .await
            .expect("in time")
            .expect("no reset");
        bytes.extend_from_slice(&byte[..length]);
        length
    }

    /// Reads up to the end, which must not be a reset.
    async fn rest(&mut self) -> String {
        let mut text = String::new();
        let read = timeout(Duration::from_secs(5), self.0.read_to_string(&mut text));
        read.await.expect("closed in time").expect("no reset");
        text
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")
}

#[tokio::test]
async fn keep_alive_and_pipelining() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    for path in ["/one", "/two"] {
        client.send(&get(path)).await;
        assert!(client.answer().await.ends_with(path));
    }
    client.send(&[get("/3"), get("/4"), get("/5")].concat()).await;
    for path in ["/3", "/4", "/5"] {
        assert!(client.answer().await.ends_with(path));
    }
    assert_eq!((server.stats.accepted(), server.stats.open()), (1, 1));
}

#[tokio::test]
async fn an_answer_does_not_wait_for_what_follows_in_the_pipeline() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    // Released clients of other languages end a body with a stray line.
    client.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n42\r\n").await;
    assert!(client.answer().await.ends_with("\r\n\r\n42"));
    let start = Instant::now();
    client.send(&[get("/one"), get("/block"), get("/two"), "GET /th".to_owned()].concat()).await;
    assert!(client.answer().await.ends_with("/one"));
    assert!(start.elapsed() < Duration::from_millis(300));
    assert!(client.answer().await.ends_with("unblocked"));
    assert!(client.answer().await.ends_with("/two"));
    client.send("ree HTTP/1.1\r\nhost: x\r\n\r\n").await;
    assert!(client.answer().await.ends_with("/three"));
}

#[tokio::test]
async fn a_slow_head_is_told_so() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    for part in ["GET / HT", "TP/1.1\r\n"] {
        client.send(part).await;
        sleep(Duration::from_millis(100)).await;
    }
    let answer = client.rest().await;
    assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer}");
    assert!(answer.ends_with("connection: close\r\n\r\nThe head of the request did not arrive in time.\n"));
    let took = start.elapsed();
    assert!((250..600).contains(&took.as_millis()), "counts from the opening: {took:?}");
    // The server waits for the client to close before it counts the connection.
    drop(client);
    sleep(Duration::from_millis(100)).await;
    assert_eq!((server.stats.head_timeouts(), server.stats.open()), (1, 0));
}

#[tokio::test]
async fn a_new_connection_must_send_something() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    let start = Instant::now();
    assert_eq!(client.rest().await, "");
    let took = start.elapsed();
    assert!((250..600).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn an_idle_connection_stays_but_a_later_head_must_be_quick() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&get("/one")).await;
    client.answer().await;
    sleep(Duration::from_millis(700)).await;
    client.send(&get("/two")).await;
    assert!(client.answer().await.ends_with("/two"));
    sleep(Duration::from_millis(400)).await;
    let start = Instant::now();
    client.send("GET /thr").await;
    assert!(client.rest().await.starts_with("HTTP/1.1 408 "));
    let took = start.elapsed();
    assert!((250..600).contains(&took.as_millis()), "{took:?}");
}

/// The system asks whether a client is there that sends nothing.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn clients_that_vanish_are_noticed() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&get("/one")).await;
    client.answer().await;
    let port = server.address.port();
    let ours = client.0.local_addr().expect("an address").port();
    let (local, remote) = (format!(":{port:04X} "), format!(":{ours:04X} 01 "));
    until(|| {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("a table");
        let line = table.lines().find(|line| line.contains(&local) && line.contains(&remote));
        // Its timer is that of keep-alive.
        line.is_some_and(|line| line.split_whitespace().nth(5).is_some_and(|timer| timer.starts_with("02:")))
    })
    .await;
}

#[tokio::test]
async fn idle_connections_end_but_blocked_requests_do_not() {
    let server = start(|settings| settings.idle_timeout = Duration::from_millis(200)).await;
    let mut client = server.connect().await;
    client.send(&get("/block")).await;
    assert!(client.answer().await.ends_with("unblocked"));
    let start = Instant::now();
    assert_eq!(client.rest().await, "");
    let took = start.elapsed();
    assert!((150..500).contains(&took.as_millis()), "{took:?}");
}

#[tokio::test]
async fn an_answer_that_nobody_reads_is_given_up() {
    let server = start(|settings| settings.answer_timeout = Duration::from_millis(200)).await;
    let mut clients = Vec::new();
    // The system buffers a few megabytes of the answers.
    for _ in 0..3 {
        let mut client = server.connect().await;
        client.send(&get("/large").repeat(8)).await;
        clients.push(client);
    }
    sleep(Duration::from_millis(1500)).await;
    assert_eq!((server.stats.accepted(), server.stats.open()), (3, 0));
    assert_eq!(server.stats.answer_timeouts(), 3);
}

#[tokio::test]
async fn an_answer_that_is_read_too_slowly_is_given_up() {
    let server = start(|settings| settings.answer_timeout = Duration::from_millis(300)).await;
    let Client(mut socket) = server.connect().await;
    socket.write_all(get("/large").repeat(8).as_bytes()).await.expect("sent");
    let mut part = vec![0; 16 * 1024];
    while server.stats.answer_timeouts() == 0 {
        let _ = timeout(Duration::from_secs(5), socket.read(&mut part)).await.expect("in time");
        sleep(Duration::from_millis(20)).await;
    }
}

#[test]
fn the_time_for_a_stream_to_go_unread_begins_anew_whenever_all_of_it_is_sent() {
    let link = Link::new(&Budget::new(0));
    let mut cx = Context::from_waker(Waker::noop());
    for (length, begins_anew) in [(None, true), (Some(100), false)] {
        assert!(link.answer(length));
        // Until the client stops to read long after its beginning.
        for _ in 0..2 {
            link.push(b"event");
            let before = link.view().turn;
            assert!(link.send(&mut tokio::io::sink(), &mut cx).is_ok());
            assert_eq!(link.view().turn != before, begins_anew);
        }
    }
}

#[tokio::test]
async fn requests_and_answers_on_their_way_have_a_budget_together() {
    let server = start(|settings| settings.buffers = Budget::new(6000)).await;
    let body = "x".repeat(5000);
    let head = format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n", body.len() + 1);
    let mut first = server.connect().await;
    first.send(&[&*head, &*body].concat()).await;
    let refused = "HTTP/1.1 503 Service Unavailable\r\n";
    // It takes about 3,000 bytes beyond those that each has, and so does the next.
    let (mut second, mut third) = (server.connect().await, server.connect().await);
    until(|| server.stats.open() == 3).await;
    sleep(Duration::from_millis(50)).await;
    second.send(&[&*head, &*body].concat()).await;
    let answer = second.rest().await;
    assert!(answer.starts_with(refused) && answer.contains("no room"), "{answer}");
    let mut large = server.connect().await;
    large.send(&get("/large")).await;
    let answer = large.rest().await;
    assert!(answer.starts_with(refused) && answer.contains("retry-after: 1\r\n"), "{answer}");
    third.send(&get("/small")).await;
    assert!(third.answer().await.ends_with("/small"), "others do not notice");
    first.send("y").await;
    assert!(first.answer().await.ends_with("xy"));
    let mut again = server.connect().await;
    again.send(&[&*head, &*body, "z"].concat()).await;
    assert!(again.answer().await.ends_with("xz"), "there is room again");
    drop((second, large));
    until(|| server.stats.too_much() == 2).await;
}

async fn until(mut happened: impl FnMut() -> bool) {
    let wait = async {
        while !happened() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(Duration::from_secs(5), wait).await.expect("in time");
}

#[tokio::test]
async fn large_answers_are_whole() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&get("/large").repeat(2)).await;
    for _ in 0..2 {
        let answer = client.answer().await;
        assert!(answer.len() > LARGE && answer.ends_with("xxxx"));
    }
}

#[tokio::test]
async fn malformed_requests_get_a_sentence() {
    let server = start(|_| {}).await;
    let long = format!("GET / HTTP/1.1\r\nhost: {}\r\n\r\n", "x".repeat(100_000));
    let address = format!("GET /{} HTTP/1.1\r\nhost: x\r\n\r\n", "x".repeat(66_000));
    for (request, status, sentence) in [
        ("nonsense\r\n\r\n", "400 Bad Request", "This is not a valid HTTP/1.1 request.\n"),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "400 Bad Request", "This is not a valid HTTP/1.1 request.\n"),
        (long.as_str(), "431 Request Header Fields Too Large", "The head of the request is too large.\n"),
        (address.as_str(), "4", "too "),
    ] {
        let mut client = server.connect().await;
        client.send(&get("/one")).await;
        client.answer().await;
        client.send(request).await;
        let answer = client.rest().await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains(&format!(
            "\r\ncontent-length: {}\r\n",
            answer.split("\r\n\r\n").nth(1).unwrap().len()
        )));
        assert!(answer.contains(sentence), "{answer}");
    }
    // Behind a good request, which is answered first.
    let mut client = server.connect().await;
    client.send(&format!("{}nonsense\r\n\r\n", get("/one"))).await;
    assert!(client.answer().await.ends_with("/one"));
    assert!(client.rest().await.ends_with("This is not a valid HTTP/1.1 request.\n"));
    drop(client);
    // A head that ends in its middle, from a client that still reads.
    let mut client = server.connect().await;
    client.send("GET /one HTTP/1.1\r\nhost").await;
    client.0.shutdown().await.expect("open");
    assert!(client.rest().await.ends_with("This is not a valid HTTP/1.1 request.\n"));
    drop(client);
    sleep(Duration::from_millis(100)).await;
    assert_eq!(server.stats.malformed(), 6);
}

#[tokio::test]
async fn one_connection_too_many_is_refused_readably() {
    let server = start(|settings| {
        settings.connections = 2;
        settings.is_probe = |method, path| method == "GET" && path == "/live";
        settings.headers.insert("x-own", HeaderValue::from_static("yes"));
    })
    .await;
    let mut first = server.connect().await;
    first.send(&get("/one")).await;
    first.answer().await;
    let mut second = server.connect().await;
    second.send(&get("/two")).await;
    second.answer().await;
    let mut third = server.connect().await;
    third.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 4\r\n\r\n").await;
    sleep(Duration::from_millis(50)).await;
    third.send("1234").await;
    let answer = third.rest().await;
    assert!(answer.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{answer}");
    for part in
        ["retry-after: 1\r\n", "connection: close\r\n", "x-own: yes\r\n", "Too many connections are open."]
    {
        assert!(answer.contains(part), "{answer}");
    }
    // A probe is answered nevertheless, once.
    let mut probe = server.connect().await;
    probe.send(&format!("{}{}", get("/live?verbose"), get("/live"))).await;
    let answer = probe.rest().await;
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("/live"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{answer}");
    drop(second);
    sleep(Duration::from_millis(100)).await;
    let mut fourth = server.connect().await;
    fourth.send(&get("/four")).await;
    assert!(fourth.answer().await.ends_with("/four"));
    assert_eq!((server.stats.accepted(), server.stats.refused()), (4, 1));
}

#[tokio::test]
async fn bodies() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    sleep(Duration::from_millis(50)).await;
    client.send("def").await;
    assert!(client.answer().await.ends_with("\r\n\r\nabcdef"));
    client.send("POST /body HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n").await;
    assert!(client.answer().await.ends_with("\r\n\r\nabc"));
    let exact = "x".repeat(LIMIT);
    client.send(&format!("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: {LIMIT}\r\n\r\n{exact}")).await;
    assert!(client.answer().await.ends_with(&exact));
    client.send("POST /body HTTP/1.1\r\nhost: x\r\ncontent-length: 6\r\n\r\nabc").await;
    assert!(client.answer().await.starts_with("HTTP/1.1 408 "));
}

#[tokio::test]
async fn a_client_reads_413_after_it_wrote_all_of_a_large_body() {
    let server = start(|_| {}).await;
    for framing in ["content-length: 2000000", "transfer-encoding: chunked"] {
        let mut client = server.connect().await;
        client.send(&format!("POST /body HTTP/1.1\r\nhost: x\r\n{framing}\r\n\r\n")).await;
        if framing.ends_with("chunked") {
            client.send("1e8480\r\n").await;
        }
        client.send(&"x".repeat(2_000_000)).await;
        sleep(Duration::from_millis(50)).await;
        let answer = client.rest().await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert!(answer.contains("larger than the limit of 16384 bytes"), "{answer}");
    }
}

#[tokio::test]
async fn a_client_that_leaves_ends_its_blocked_request() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&get("/block")).await;
    sleep(Duration::from_millis(50)).await;
    drop(client);
    sleep(Duration::from_millis(100)).await;
    assert!(server.abandoned.load(SeqCst));
    assert_eq!(server.stats.open(), 0);
}

/// Such as `nc -N`: it sends, closes its side, and reads.
#[tokio::test]
async fn a_client_that_leaves_ends_its_blocked_request_though_it_sent_more() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&[&get("/block"), "\r\nGET /next HT"].concat()).await;
    sleep(Duration::from_millis(100)).await;
    client.send("TP/1.1\r\n").await;
    drop(client);
    until(|| server.abandoned.load(SeqCst)).await;
}

#[tokio::test]
async fn what_comes_while_a_request_waits_is_answered_after_it() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&[get("/block"), "GET /ne".to_owned()].concat()).await;
    for part in ["xt HTTP/1.1\r\n", "host: x\r\n\r\n"] {
        sleep(Duration::from_millis(50)).await;
        client.send(part).await;
    }
    assert!(client.answer().await.ends_with("unblocked"));
    assert!(client.answer().await.ends_with("/next"));
}

#[tokio::test]
async fn a_client_that_sends_no_more_reads_its_answers() {
    let server = start(|_| {}).await;
    let mut client = server.connect().await;
    client.send(&format!("{}{}", get("/one"), get("/two"))).await;
    client.0.shutdown().await.expect("half closed");
    let answers = client.rest().await;
    assert!(answers.contains("/one") && answers.ends_with("/two"), "{answers}");
}

#[tokio::test]
async fn shutdown_ends_what_is_idle_and_finishes_what_is_not() {
    let server = start(|_| {}).await;
    let mut fresh = server.connect().await;
    let mut idle = server.connect().await;
    idle.send(&get("/one")).await;
    idle.answer().await;
    let mut busy = server.connect().await;
    busy.send(&get("/block")).await;
    sleep(Duration::from_millis(50)).await;
    let start = Instant::now();
    server.stop.send(()).expect("running");
    assert_eq!(idle.rest().await, "");
    assert_eq!(fresh.rest().await, "");
    assert!(start.elapsed() < Duration::from_millis(250));
    let answer = busy.rest().await;
    assert!(answer.ends_with("unblocked") && answer.contains("connection: close\r\n"), "{answer}");
    timeout(Duration::from_secs(1), server.task).await.expect("in time").expect("no panic");
    assert!(TcpStream::connect(server.address).await.is_err());
}

#[tokio::test]
async fn shutdown_does_not_wait_for_ever() {
    let server = start(|settings| {
        settings.grace = Duration::from_millis(100);
        settings.head_timeout = Duration::from_mins(1);
    })
    .await;
    let mut client = server.connect().await;
    client.send("GET /one").await;
    sleep(Duration::from_millis(50)).await;
    server.stop.send(()).expect("running");
    timeout(Duration::from_millis(500), server.task).await.expect("in time").expect("no panic");
}

#[tokio::test]
async fn listening_fails_with_advice() {
    let listener = bind("127.0.0.1", 0, None).await.expect("a free port");
    let port = address_of(&listener).port();
    let error = bind("127.0.0.1", port, None).await.expect_err("in use").to_string();
    assert_eq!(
        error,
        format!(
            "Cannot listen on 127.0.0.1:{port}: the port is in use. Stop the process that uses it, or choose another \
             port with --port."
        )
    );
    let error = bind("203.0.113.7", 0, None).await.expect_err("not ours").to_string();
    assert!(error.starts_with("Cannot listen on 203.0.113.7:0: no network interface"), "{error}");
    let error = bind("no such host", 8000, None).await.expect_err("no host").to_string();
    assert!(error.starts_with("Cannot listen on no such host:8000: this is no address"), "{error}");
    let error = bind("not:an:address", 8000, None).await.expect_err("no address").to_string();
    assert!(error.starts_with("Cannot listen on [not:an:address]:8000: "), "{error}");
}

#[test]
fn capacity_leaves_files_for_the_rest() {
    assert_eq!(capacity(50_000, None), 50_000);
    assert_eq!(capacity(50_000, Some(1024)), 1024 - 192);
    assert_eq!(capacity(500, Some(1 << 20)), 500);
    assert_eq!(capacity(500, Some(64)), 16);
}
