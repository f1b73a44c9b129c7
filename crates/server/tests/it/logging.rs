//! Where the log goes. Asks the process to stop by a signal, so that all it wrote is known.

use std::{
    io::Read as _,
    net::{TcpStream, UdpSocket},
    time::Duration,
};

use crate::support::{Launch, Server, free_port, until};

#[test]
fn what_is_logged() {
    let run = |file: &str, filter: Option<&str>| {
        let port = free_port();
        let mut launch = Launch::new(&["--port", &port.to_string()]).file(file);
        if let Some(filter) = filter {
            launch = launch.env("THROTTLE_LOG", filter);
        }
        let process = launch.start();
        until("it listens", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Server { process, port }.stop()
    };
    let listens = |lines: &[String]| lines.iter().any(|line| line.contains("INFO  throttle] Listening on"));
    let semaphore = "[semaphores]\nA = 1\n";
    let info = "[semaphores]\nA = 1\n[logging.stderr]\nlevel = 'info'";
    assert_eq!(run(semaphore, None), Vec::<String>::new(), "nothing to warn of");
    assert!(listens(&run(info, None)));
    assert!(listens(&run(semaphore, Some("info"))));
    assert!(listens(&run(semaphore, Some("warn,throttle=info"))));
    assert!(listens(&run(semaphore, Some("DEBUG"))));
    assert_eq!(run("", Some("off")), Vec::<String>::new());
    assert_eq!(run(info, Some("error")), Vec::<String>::new());
    assert!(listens(&run(info, Some(" "))));
    let lines = run(semaphore, Some("throttle=loud"));
    assert!(lines.iter().any(|line| line.contains("WARN") && line.contains("throttle=loud")), "{lines:?}");
}

fn gelf_message(socket: &UdpSocket) -> serde_json::Value {
    let mut datagram = vec![0; 65_536];
    let length = socket.recv(&mut datagram).expect("a message");
    let mut text = String::new();
    flate2::read::ZlibDecoder::new(&datagram[..length]).read_to_string(&mut text).expect("compressed");
    serde_json::from_str(&text).expect("JSON")
}

#[test]
fn graylog_gets_the_messages_and_stderr_none() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a port");
    socket.set_read_timeout(Some(Duration::from_secs(30))).expect("settable");
    let port = socket.local_addr().expect("bound").port();
    let gelf = format!(
        "[semaphores]\nA = 1\n[logging.gelf]\nname = 'MyThrottleServer'\nhost = '127.0.0.1'\nport = {port}\n\
         level = 'INFO'\n"
    );
    let listening = |socket: &UdpSocket| loop {
        let message = gelf_message(socket);
        assert_eq!((&message["version"], &message["host"]), (&"1.1".into(), &"MyThrottleServer".into()));
        let text = message["short_message"].as_str().expect("a message").to_owned();
        if let Some(port) = text.strip_prefix("Listening on http://127.0.0.1:") {
            assert_eq!(message["level"], 6);
            break port.parse().expect("a port");
        }
    };
    let process = Launch::new(&["--port", "0"]).file(&gelf).env("THROTTLE_LOG", "info").start();
    let server = Server { port: listening(&socket), process };
    server.get("/health").is(200, "Ok");
    assert_eq!(server.stop(), Vec::<String>::new());
    assert_eq!(gelf_message(&socket)["short_message"], "Shutting down.");

    // Unless the file asks for both.
    let both = format!("{gelf}[logging.stderr]\nlevel = 'INFO'\n");
    let server = Server::launch(Launch::new(&["--port", "0"]).file(&both));
    assert_eq!(server.port, listening(&socket));
}
