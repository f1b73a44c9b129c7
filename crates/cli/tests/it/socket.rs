//! Unix domain sockets, sockets that a server is given at its start, and telling who started it how it is.

use std::{
    fs,
    io::{BufReader, Write as _},
    net::TcpListener,
    os::{
        fd::AsRawFd as _,
        unix::{
            fs::{FileTypeExt as _, PermissionsExt as _},
            net::{UnixDatagram, UnixListener, UnixStream},
        },
    },
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use socket2::SockRef;

use crate::support::{Answer, Client, Launch, Process, request, until};

const FILE: &str = "address = \"unix:t.sock\"\nsemaphores.A = 1\n";

/// Asks a server behind a Unix domain socket.
fn ask(path: &Path, method: &str, route: &str, body: &str) -> Answer {
    let mut stream = UnixStream::connect(path).expect("the server accepts connections");
    stream.write_all(request(method, route, body).as_bytes()).expect("sent");
    Answer::read(&mut BufReader::new(stream), false).expect("an answer")
}

fn start(file: &str) -> (Process, std::path::PathBuf) {
    let launch = Launch::new(&[]).file(file).env("THROTTLE_LOG", "info");
    let path = launch.path("t.sock");
    let process = launch.start();
    process.stderr.line("Listening on unix:t.sock");
    (process, path)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).expect("there").permissions().mode() & 0o777
}

#[test]
fn a_server_listens_on_a_unix_domain_socket() {
    let (mut process, path) = start(FILE);
    assert_eq!(mode(&path), 0o660);
    let made = ask(&path, "POST", "/v1/locks", r#"{"expires_in":"1m","locks":{"A":1}}"#);
    let peer = made.shape(201)["id"].as_str().expect("an id").to_owned();
    assert_eq!(ask(&path, "GET", "/remainder?semaphore=A", "").text(), "0");
    ask(&path, "DELETE", &format!("/v1/peers/{peer}"), "").is_empty();
    // Nobody but this machine reaches it, so it does not warn of being open.
    assert_eq!(ask(&path, "GET", "/v1/permissions", "").shape(200)["exposed"], false);
    process.signal(rustix::process::Signal::TERM);
    assert_eq!(process.wait().code(), Some(0));
    assert!(!path.exists(), "the socket is gone with its server");
    assert!(!process.stderr.all().join("\n").contains("open"));
}

#[test]
fn a_waiter_behind_a_socket_that_goes_away_is_noticed() {
    let (_process, path) = start(&format!("{FILE}[queue]\nabsent_after = \"0s\"\n"));
    let holder = ask(&path, "POST", "/v1/locks", r#"{"expires_in":"1m","locks":{"A":1}}"#).shape(201);
    let mut waiter = UnixStream::connect(&path).expect("a connection");
    let body = r#"{"expires_in":"1m","locks":{"A":1},"wait":"1m"}"#;
    waiter.write_all(request("POST", "/v1/locks", body).as_bytes()).expect("sent");
    let queue = || ask(&path, "GET", "/v1/semaphores/A", "").shape(200)["queue"].clone();
    until("it waits", || queue().as_array().expect("a list").len() == 1);
    drop(waiter);
    until("it is absent", || queue()[0]["absent"] == true);
    let id = holder["id"].as_str().expect("an id");
    ask(&path, "DELETE", &format!("/v1/peers/{id}"), "").is_empty();
}

#[test]
fn a_socket_that_was_left_behind_is_taken_and_no_other_file() {
    let (mut killed, path) = start(&format!("{FILE}http.socket_mode = \"0600\"\n"));
    assert_eq!(mode(&path), 0o600);
    // One that is in use stays its server's.
    let second =
        Launch::new(&[]).file(format!("address = \"unix:{}\"\nsemaphores.A = 1\n", path.display())).fails();
    assert_eq!(
        second,
        format!(
            "Cannot listen on unix:{}: another server listens there. Stop it, or choose another path with --address.",
            path.display()
        )
    );
    assert_eq!(ask(&path, "GET", "/livez", "").status, 200);
    killed.signal(rustix::process::Signal::KILL);
    killed.wait();
    assert!(fs::symlink_metadata(&path).expect("left behind").file_type().is_socket());
    let address = format!("unix:{}", path.display());
    let next =
        Launch::new(&["--address", &address]).file("semaphores.A = 1").env("THROTTLE_LOG", "info").start();
    next.stderr.line("Listening on unix:");
    assert_eq!(ask(&path, "GET", "/livez", "").status, 200);

    let file = path.with_file_name("precious");
    fs::write(&file, "precious").expect("writable");
    let address = format!("unix:{}", file.display());
    let refused = Launch::new(&["--address", &address]).file("semaphores.A = 1").fails();
    assert_eq!(
        refused,
        format!(
            "Cannot listen on {address}: there is a file of another kind. Choose another path with --address."
        )
    );
    assert_eq!(fs::read_to_string(&file).expect("still there"), "precious");
    let tls = Launch::new(&[]).file(format!("{FILE}[tls]\ncert = \"a\"\nkey = \"b\"\n")).fails();
    assert_eq!(tls, "A Unix domain socket is not encrypted: leave out [tls], or listen on a port.");
}

#[test]
fn a_socket_stays_where_it_does_not_show_whether_somebody_listens() {
    let launch = Launch::new(&[]);
    // To connect to it fails, as it is for datagrams; and yet it is in use.
    let path = launch.path("log.sock");
    let log = UnixDatagram::bind(&path).expect("a socket");
    let address = format!("unix:{}", path.display());
    let error = Launch::new(&["--address", &address]).file("semaphores.A = 1").fails();
    let start =
        format!("Cannot listen on {address}: there is a socket, and perhaps somebody who listens on it: ");
    assert!(error.starts_with(&start), "{error}");
    UnixDatagram::unbound().expect("a socket").send_to(b"a line", &path).expect("it is still there");
    assert_eq!(log.recv(&mut [0; 10]).expect("readable"), 6);
}

/// A server that gets a socket from whoever starts it, by the protocol of systemd.
fn given(launch: &Launch, socket: i32, more: &str) -> std::process::Child {
    // The shell puts the socket where it is to be, and says for whom it is.
    let script = format!(
        "exec 3<&{socket}; LISTEN_PID=$$ LISTEN_FDS=1 {more} exec {} --port 1",
        env!("CARGO_BIN_EXE_throttle")
    );
    let mut command = Command::new("bash");
    command.args(["-c", &script]).current_dir(launch.path("")).env("THROTTLE_LOG", "info");
    command.stdin(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts")
}

/// Kills a process in the end.
struct Killed(std::process::Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inheritable(socket: &impl std::os::fd::AsFd) -> i32 {
    rustix::io::fcntl_setfd(socket, rustix::io::FdFlags::empty()).expect("settable");
    socket.as_fd().as_raw_fd()
}

#[test]
fn a_socket_that_is_given_counts_before_the_address() {
    let launch = Launch::new(&[]).file("semaphores.A = 1");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    let _server = Killed(given(&launch, inheritable(&listener), ""));
    // Whoever comes before it is ready waits, and is not refused.
    let mut client = Client::connect(port);
    until("it is ready", || client.send(request("GET", "/readyz", "")).answer().status == 200);
    // Clients that read nothing cost no more here than at a port of its own.
    let own = TcpListener::bind("127.0.0.1:0").expect("a free port");
    SockRef::from(&own).set_send_buffer_size(128 * 1024).expect("settable");
    let size = |listener| SockRef::from(listener).send_buffer_size().expect("known");
    assert_eq!(size(&listener), size(&own));

    let path = launch.path("given.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let _server = Killed(given(&launch, inheritable(&listener), ""));
    until("it is ready", || ask(&path, "GET", "/readyz", "").status == 200);
}

#[test]
fn whoever_started_it_is_told_how_it_is() {
    let launch = Launch::new(&["--port", "0"]).file("semaphores.A = 1").env("THROTTLE_LOG", "info");
    let path = launch.path("notify");
    let notified = UnixDatagram::bind(&path).expect("a socket");
    notified.set_read_timeout(Some(Duration::from_secs(30))).expect("settable");
    let next = || {
        let mut word = [0; 100];
        let length = notified.recv(&mut word).expect("it tells");
        String::from_utf8_lossy(&word[..length]).trim().to_owned()
    };
    let mut process =
        launch.env("NOTIFY_SOCKET", path.to_str().expect("a path")).env("WATCHDOG_USEC", "100000").start();
    // It may say that it lives before it says that it is ready.
    let words: Vec<String> = (0..3).map(|_| next()).collect();
    assert!(
        words.iter().any(|word| word == "READY=1") && words.iter().any(|word| word == "WATCHDOG=1"),
        "{words:?}"
    );
    process.signal(rustix::process::Signal::TERM);
    until("it says that it stops", || next() == "STOPPING=1");
    assert_eq!(process.wait().code(), Some(0));
}
