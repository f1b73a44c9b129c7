//! `throttle health`: a server that is ready, one that is not, and none.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread,
};

use crate::support::{Launch, Server, free_port};

/// What is asked, and of which server: exit code, standard output and standard error.
fn health(port: u16, arguments: &[&str]) -> (i32, String, String) {
    let url = format!("http://127.0.0.1:{port}");
    Launch::new(&[&["health"], arguments].concat()).env("THROTTLE_URL", &url).run()
}

#[test]
fn a_server_that_serves_is_ready_and_alive() {
    let server = Server::start("[semaphores]\nA = 1");
    let url = format!("http://127.0.0.1:{}", server.port);
    assert_eq!(health(server.port, &[]), (0, format!("{url} is ready: Ok"), String::new()));
    assert_eq!(health(server.port, &["--live"]), (0, format!("{url} is alive: Ok"), String::new()));
    let nobody = free_port();
    let list = format!("http://127.0.0.1:{nobody},{url}");
    let (code, stdout, _) = Launch::new(&["health", "--url", &list]).run();
    assert_eq!(code, 0, "one of the list is enough: {stdout}");
}

#[test]
fn whoever_has_no_token_may_ask() {
    let launch = Launch::new(&["--port", "0"]).file("[security]\ntokens = 'tokens.toml'");
    std::fs::write(launch.path("tokens.toml"), "").expect("written");
    let server = Server::launch(launch.env("THROTTLE_LOG", "info"));
    assert_eq!(health(server.port, &[]).0, 0);
}

#[test]
fn a_server_out_of_reach_is_not_ready() {
    let port = free_port();
    let (code, stdout, stderr) = health(port, &[]);
    assert_eq!((code, stdout.as_str()), (1, ""), "the code that health checks know");
    assert!(stderr.starts_with(&format!("throttle: http://127.0.0.1:{port} is not ready: ")), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn one_that_does_not_answer_is_given_up() {
    // Connections wait to be accepted, and never are.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("bound").port();
    let (code, _, stderr) = health(port, &["--timeout", "100ms", "--live"]);
    assert_eq!(code, 1);
    assert!(stderr.contains("is not alive: "), "{stderr}");
}

/// What is said of a server that gives this answer.
fn answered(status: &str, body: &str) -> (i32, String, String) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("bound").port();
    let length = body.len();
    let answer = format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}");
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a request");
        let read = stream.read(&mut [0; 4096]).expect("a head");
        assert_ne!(read, 0);
        stream.write_all(answer.as_bytes()).expect("taken");
    });
    let said = health(port, &[]);
    server.join().expect("asked once");
    said
}

#[test]
fn one_that_is_about_to_stop_is_not_ready() {
    let problem = r#"{"type":"about:blank","title":"Unavailable","status":503,"code":"unavailable",
                      "detail":"The server is about to stop. Ask another one, or try again."}"#;
    let (code, _, stderr) = answered("503 Service Unavailable", problem);
    assert_eq!(code, 1);
    assert!(
        stderr.ends_with("is not ready: The server is about to stop. Ask another one, or try again."),
        "{stderr}"
    );
}

#[test]
fn another_program_on_the_port_is_not_ready() {
    let (code, _, stderr) = answered("200 OK", "<html>\n<h1>Welcome</h1>");
    assert_eq!(code, 1);
    assert!(stderr.contains("Welcome") && stderr.lines().count() == 1, "{stderr}");
}

#[test]
fn a_limit_of_nothing_is_refused() {
    for wrong in ["0s", "soon"] {
        let (code, _, stderr) = health(1, &["--timeout", wrong]);
        assert_eq!(code, 2, "{stderr}");
        assert!(stderr.contains("--timeout"), "{stderr}");
    }
}
