//! Several servers of one cluster, as the command line takes them. Those of these tests are ways to one.

use std::process::Stdio;

use crate::{
    run::gateway::{Gateway, Rules},
    support::{Launch, Server, free_port, until},
};

const SEMAPHORES: &str = "[semaphores]\nA = 1";
/// A server without a leader, or one that stops.
const NOT_READY: Rules = Rules {
    below: "",
    hidden: Some(("/", 503)),
    hidden_for: None,
    without_headers: false,
    decodes: false,
    lost_answers: 0,
    leader: None,
    cut: None,
};

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn redirecting_to(port: u16) -> Rules {
    Rules { leader: Some(port), ..Rules::default() }
}

#[test]
fn a_server_that_is_of_no_use_is_passed_over() {
    let server = Server::start(SEMAPHORES);
    let not_ready = Gateway::new(server.port, NOT_READY);
    let standby = Gateway::new(server.port, redirecting_to(server.port));
    for other in [url(free_port()), not_ready.url(), standby.url()] {
        for urls in [format!("{other},{}", url(server.port)), format!(" {} , {other}/", url(server.port))] {
            let (code, stdout, stderr) = Launch::new(&["status", "--url", &urls]).run();
            assert_eq!((code, &*stderr), (0, ""), "{urls}");
            assert!(stdout.contains("\nA "), "{stdout}");
            let set = Launch::new(&["semaphore", "set", "A", "--max", "2"]).env("THROTTLE_URL", &urls);
            assert_eq!(set.run().0, 0, "{urls}");
        }
    }
}

#[test]
fn a_command_goes_on_while_a_server_is_away() {
    let server = Server::start(SEMAPHORES);
    let (first, second) = (Gateway::new(server.port, Rules::default()), Gateway::new(server.port, NOT_READY));
    let urls = format!("{},{}", first.url(), second.url());
    let script = "echo $THROTTLE_PEER_URL; read x; exit 7";
    let arguments = ["run", "-s", "A", "--ttl", "3s", "--url", &urls, "--", "sh", "-c", script];
    let mut process = Launch::new(&arguments).stdin(Stdio::piped()).start();
    process.stdout.line(&urls);
    assert_eq!(second.requests(), [""; 0]);
    second.set(Rules::default());
    first.set(NOT_READY);
    let heartbeats = || second.requests().iter().filter(|what| what.ends_with("/heartbeat")).count();
    // Each comes after a third of the lease.
    until("the lease was renewed for longer than it is", || heartbeats() >= 4);
    assert_eq!(server.remainder("A"), 0);
    process.close_stdin();
    assert_eq!(process.wait().code(), Some(7));
    assert_eq!(server.remainder("A"), 1);
}

#[test]
fn what_is_watched_is_seen_by_way_of_the_next_server() {
    let server = Server::start(SEMAPHORES);
    let first = Gateway::new(server.port, Rules::default());
    let urls = format!("{},{}", first.url(), url(server.port));
    let watch = Launch::new(&["status", "--watch", "--url", &urls]).start();
    watch.stdout.line("A          0/1");
    first.set(NOT_READY);
    server.holder("A", 1, "5m");
    watch.stdout.line("A          1/1");
}

#[test]
fn a_redirect_to_a_server_that_is_not_in_the_list_names_it() {
    let server = Server::start(SEMAPHORES);
    let stranger = Gateway::new(server.port, Rules::default());
    let standby = Gateway::new(server.port, redirecting_to(stranger.port));
    for urls in [standby.url(), format!("{},{}", url(free_port()), standby.url())] {
        let launch = Launch::new(&["status", "--url", &urls]).env("THROTTLE_TOKEN", "secret");
        let told = launch.fails();
        assert!(told.contains(&stranger.url()) && told.contains("not in the list of servers"), "{told}");
    }
    assert_eq!(stranger.requests(), [""; 0]);
}

#[test]
fn an_entry_that_is_wrong_is_named() {
    let server = url(free_port());
    for (urls, entry) in [
        (format!("{server},"), "server 2 of the list is \"\""),
        (format!("{server},http://etl:secret@host:port"), "server 2 of the list is \"http://etl@host:port\""),
    ] {
        let (code, _, told) = Launch::new(&["status", "--url", &urls]).run();
        assert!(code == 2 && told.contains(entry) && !told.contains("secret"), "{told}");
    }
}

#[test]
fn a_token_that_anyone_can_read_on_the_way_is_worth_a_warning_for_each_server() {
    // The entry at the end is wrong, so nothing is sent.
    for urls in ["https://localhost:1,http://192.0.2.1:1,", "http://localhost:1,http://[::1]:1,"] {
        let launch = Launch::new(&["status", "--url", urls]).env("THROTTLE_TOKEN", "secret");
        let (code, _, stderr) = launch.run();
        assert_eq!(
            (code, stderr.contains("without encryption")),
            (2, urls.contains("192.0.2.1")),
            "{stderr}"
        );
    }
}
